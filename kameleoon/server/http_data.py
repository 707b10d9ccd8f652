"""
The Data API: takes tracking, gives back visits.

Source:
    data-api.md, sections 6, 7, 9 and 12.
"""

from __future__ import annotations

import sqlite3
from functools import partial

from aiohttp import web

from kameleoon.server.answers import check_token, error_answer, is_true, json_answer, refusal, site_code_of
from kameleoon.server.lines import MAX_CODE_CHARACTERS, parse_json, parse_lines
from kameleoon.server.service import SERVICE
from kameleoon.server.visits import KINDS, Wanted, build_visits

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Source: data-api.md, section 5."""

_MAX_PREVIOUS_VISITS = 25


async def take_events(request: web.Request) -> web.Response:
    """
    ``POST /visit/events``: 204 once the events are stored, also when some lines are refused; 400 without a site code or with a body that
    is not UTF-8, 413 above `MAX_BODY_BYTES`, 503 when the database does not take them, so that the client tries again.
    """
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    try:
        content = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return error_answer(413, "body_too_large", f"the body is larger than {MAX_BODY_BYTES} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise refusal(400, "not_utf8", f"the body is not UTF-8 at byte {error.start}") from error
    parse = parse_json if is_true(request, "json") else parse_lines
    agent = None if is_true(request, "bodyUa") else request.headers.get("User-Agent")
    body = parse(text, visitor_code=_common_visitor(request), user_agent=agent)
    try:
        await service.with_storage(partial(service.storage.add, site_code, body))
    except sqlite3.Error as error:
        return error_answer(503, "not_stored", f"the events could not be stored: {error}")
    service.refusals.extend(body.refused)
    service.arrived.send((site_code, body))
    return web.Response(status=204)


def _common_visitor(request: web.Request) -> str | None:
    visitor_code = request.query.get("visitorCode")
    if visitor_code is not None and not 0 < len(visitor_code) <= MAX_CODE_CHARACTERS:
        raise refusal(400, "bad_visitor_code", f"visitorCode must have 1 to {MAX_CODE_CHARACTERS} characters")
    return visitor_code


async def give_visitor(request: web.Request) -> web.Response:
    """``GET /visit/visitor``: visits of a visitor, built from the stored events; empty for a visitor nothing is known of."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    visitor, identifier = request.query.get("visitorCode"), request.query.get("mappingValue")
    if not visitor and not identifier:
        raise refusal(400, "visitor_missing", "the query needs visitorCode=… or mappingValue=…")
    previous = request.query.get("maxNumberPreviousVisits", "0")
    if not (previous.isascii() and previous.isdigit() and len(previous) < 6):
        raise refusal(400, "bad_number", f"maxNumberPreviousVisits must be 0 to {_MAX_PREVIOUS_VISITS}")
    kinds = frozenset(KINDS if is_true(request, "all") else (kind for kind in KINDS if is_true(request, kind)))
    wanted = Wanted(kinds, is_true(request, "currentVisit"), min(int(previous), _MAX_PREVIOUS_VISITS))
    storage = service.storage

    def read() -> dict[str, object]:
        code = (storage.linked(site_code, identifier) or identifier) if identifier else visitor
        return build_visits(storage.events(site_code, code), wanted, now_ms=int(service.now_s() * 1000))

    return json_answer(await service.with_storage(read), pretty=is_true(request, "prettyPrint"))


async def give_map(request: web.Request) -> web.Response:
    """``GET /map/map``: the map of a key. None can be stored yet, so every key has the answer of an unknown one, an empty map."""
    site_code_of(request)
    check_token(request, request.app[SERVICE])
    if not request.query.get("key"):
        raise refusal(400, "key_missing", "the query needs key=…")
    return json_answer({}, pretty=is_true(request, "prettyPrint"))

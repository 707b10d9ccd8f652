"""
The Data API: takes tracking, gives back visits.

Source:
    data-api.md, sections 6, 7, 9 and 12.
"""

from __future__ import annotations

import json
import sqlite3
from functools import partial

from aiohttp import web

from kameleoon.server.answers import (
    check_strictly,
    check_token,
    error_answer,
    is_true,
    json_answer,
    listed,
    read_text,
    refusal,
    site_code_of,
)
from kameleoon.server.lines import MAX_CODE_CHARACTERS, parse_json, parse_lines
from kameleoon.server.service import SERVICE
from kameleoon.server.visits import KINDS, Wanted, build_visits

MAX_BODY_BYTES = 3 * 1024 * 1024
"""Source: data-api.md, section 5."""

MAX_SMALL_BODY_BYTES = 1024 * 1024
"""Of forgetting and of maps. Source: data-api.md, section 5."""

MAX_LISTED = 100
"""Keys that may be asked for at once. Source: data-api.md, section 9."""

_MAP_HOURS, _MAX_MAP_HOURS = 2208, 8784
_MAX_PREVIOUS_VISITS = 25


async def take_events(request: web.Request) -> web.Response:
    """
    ``POST /visit/events``: 204 once the events are stored, also when some lines are refused; 400 without a site code or with a body that
    is not UTF-8, 413 above `MAX_BODY_BYTES`, 503 when the database does not take them, so that the client tries again.
    """
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    text = await read_text(request, MAX_BODY_BYTES)
    parse = parse_json if is_true(request, "json") else parse_lines
    agent = None if is_true(request, "bodyUa") else request.headers.get("User-Agent")
    body = parse(
        text,
        visitor_code=_common_code(request, "visitorCode"),
        mapping_value=_common_code(request, "mappingValue"),
        user_agent=agent,
    )
    check_strictly(request, service, site_code, body)
    try:
        await service.with_storage(partial(service.storage.add, site_code, body))
    except sqlite3.Error as error:
        return error_answer(503, "not_stored", f"the events could not be stored: {error}")
    service.refusals.extend(body.refused)
    service.arrived.send((site_code, body))
    return web.Response(status=204)


def _common_code(request: web.Request, name: str) -> str | None:
    code = request.query.get(name)
    if code is not None and not 0 < len(code) <= MAX_CODE_CHARACTERS:
        raise refusal(400, "bad_visitor_code", f"{name} must have 1 to {MAX_CODE_CHARACTERS} characters")
    return code


async def give_visitor(request: web.Request) -> web.Response:
    """
    ``GET /visit/visitor``: visits of a visitor, built from the stored events; empty for a visitor nothing is known of.

    With ``mappingValue`` the history is that of all visitors linked to it, and the visit in progress that of the last one, or of
    ``visitorCode`` when that is given too.
    """
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
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
        codes = [*storage.linked(site_code, identifier), identifier] if identifier else []
        codes = list(dict.fromkeys([visitor, *codes] if visitor else codes))
        events = [event for code in codes for event in storage.events(site_code, code)]
        return build_visits(events, wanted, now_ms=int(service.now_s() * 1000), current_of=codes[0])

    return json_answer(await service.with_storage(read), pretty=is_true(request, "prettyPrint"))


async def forget(request: web.Request) -> web.Response:
    """``POST /visit/forget``: one visitor code per line; their data is gone when this is answered, and results are without them."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    text = await read_text(request, MAX_SMALL_BODY_BYTES)
    codes = [line for line in text.splitlines() if 0 < len(line) <= MAX_CODE_CHARACTERS]
    await service.with_storage(lambda: service.storage.forget(site_code, codes))
    return web.Response(status=204)


async def give_map(request: web.Request) -> web.Response:
    """``GET /map/map``: the map of a key; an unknown key has an empty one."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    key = request.query.get("key")
    if not key:
        raise refusal(400, "key_missing", "the query needs key=…")
    found = await service.with_storage(lambda: service.storage.maps(site_code, [key]))
    return json_answer(found.get(key, {}), pretty=is_true(request, "prettyPrint"))


async def give_maps(request: web.Request) -> web.Response:
    """``GET /map/maps``: the maps of several keys; unknown keys are left out."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    keys = listed(request, "keys", MAX_LISTED)
    found = await service.with_storage(lambda: service.storage.maps(site_code, keys))
    return json_answer(found, pretty=is_true(request, "prettyPrint"))


async def take_maps(request: web.Request) -> web.Response:
    """``POST /map/maps``: each map is replaced as a whole, an empty one removed; ``ttlHours`` is 92 days unless given."""
    service = request.app[SERVICE]
    site_code = site_code_of(request)
    check_token(request, service)
    check_strictly(request, service, site_code)
    hours = request.query.get("ttlHours", str(_MAP_HOURS))
    if not (hours.isascii() and hours.isdigit() and len(hours) < 6 and 0 < int(hours) <= _MAX_MAP_HOURS):
        raise refusal(400, "bad_number", f"ttlHours must be 1 to {_MAX_MAP_HOURS}")
    text = await read_text(request, MAX_SMALL_BODY_BYTES)
    try:
        maps = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(maps, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise refusal(400, "not_json", "the body is no JSON that can be stored") from error
    if not isinstance(maps, dict) or not all(_is_map(key, fields) for key, fields in maps.items()):
        raise refusal(
            400, "bad_map", "the body must be {key: {field: value}}, keys up to 100, fields up to 1024 characters"
        )
    lifetime_ms = int(hours) * 3_600_000
    await service.with_storage(lambda: service.storage.put_maps(site_code, maps, lifetime_ms=lifetime_ms))
    return web.Response(status=204)


def _is_map(key: str, fields: object) -> bool:
    return 0 < len(key) <= 100 and isinstance(fields, dict) and all(len(name) <= 1024 for name in fields)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")

"""OpenFeature's remote evaluation over HTTP: one flag, or all with an ETag."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import asked_site, json_answer
from kameleoon.server.ofrep import Context, ContextError, etag, evaluate, evaluate_all, read_context
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from kameleoon.server.site import Site

MAX_CONTEXT_BYTES = 256 * 1024


async def evaluate_flag(request: web.Request) -> web.Response:
    """``POST /ofrep/v1/evaluate/flags/{key}``."""
    site, now_ms = _asked(request)
    key = request.match_info["key"]
    environment = _environment(request, site)
    try:
        context = await _context(request, site, now_ms)
    except ContextError as error:
        return json_answer({"key": key, "errorCode": error.code, "errorDetails": str(error)}, 400)
    found = evaluate(site.decider, environment, key, context, now_ms)
    if found is None:
        details = f"there is no flag or variable {key!r}"
        return json_answer({"key": key, "errorCode": "FLAG_NOT_FOUND", "errorDetails": details}, 404)
    return json_answer(found)


async def evaluate_flags(request: web.Request) -> web.Response:
    """``POST /ofrep/v1/evaluate/flags``; 304 for the ``If-None-Match`` of the same answers."""
    site, now_ms = _asked(request)
    environment = _environment(request, site)
    try:
        context = await _context(request, site, now_ms)
    except ContextError as error:
        return json_answer({"errorCode": error.code, "errorDetails": str(error)}, 400)
    answers = evaluate_all(site.decider, environment, context, now_ms)
    tag = etag(answers)
    if tag in [known.strip().removeprefix("W/") for known in request.headers.get("If-None-Match", "").split(",")]:
        return web.Response(status=304, headers={"ETag": tag})
    return json_answer({"flags": answers}, headers={"ETag": tag, "Cache-Control": "no-cache"})


def _asked(request: web.Request) -> tuple[Site, int]:
    """The site, and now in ms since 1970."""
    service = request.app[SERVICE]
    return asked_site(request, service), int(service.now_s() * 1000)


def _environment(request: web.Request, site: Site) -> str:
    asked = request.query.get("environment", "")
    return asked if asked in site.published.project.environments else site.environment


async def _context(request: web.Request, site: Site, now_ms: int) -> Context:
    if (request.content_length or 0) > MAX_CONTEXT_BYTES:
        raise ContextError("INVALID_CONTEXT", f"the body is larger than {MAX_CONTEXT_BYTES} bytes")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise ContextError("PARSE_ERROR", "the body is not JSON") from error
    return read_context(body, site.published.project, now_ms)

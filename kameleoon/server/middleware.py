"""What happens to requests of SDKs and browsers before they are answered: faults on purpose, rate limits, other origins."""

from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import api_error, error_answer, has_good_token, is_of_api
from kameleoon.server.guard import GUARD
from kameleoon.server.limits import AUTOMATION, DATA_GET, DATA_OTHER
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DATA = ("/visit/", "/map/", "/product/")
_OPEN = (*_DATA, "/ofrep/", "/v3/")
_TOO_MANY = "the service's rate limit is exceeded"
_OWN = ("/page", "/health", "/project.yaml", "/results")
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-None-Match, X-Kameleoon-SDK-Type, X-Kameleoon-SDK-Version",
    "Access-Control-Expose-Headers": "ETag, Retry-After",
    "Access-Control-Max-Age": "600",
}


@web.middleware
async def open_to_other_origins(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let pages of any site read the paths that SDKs in browsers ask; page and API stay closed to them."""
    if not request.path.startswith(_OPEN):
        return await handler(request)
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return web.Response(status=204, headers=_CORS)
    answer = await handler(request)
    if not answer.prepared:
        answer.headers.update(_CORS)
    return answer


@web.middleware
async def fail_on_purpose(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Delay, refuse or cut off as many requests as was asked for."""
    faults = request.app[SERVICE].faults
    if not faults or request.path == "/" or request.path.startswith(_OWN):
        return await handler(request)
    if faults.latency_ms:
        await asyncio.sleep(faults.latency_ms / 1000)
    outcome = faults.draw(random.random())  # noqa: S311 - which requests fail is no secret
    if outcome is None:
        return await handler(request)
    if outcome == 0 and request.transport is not None:
        request.transport.abort()
    return error_answer(outcome or 503, "fault_on_purpose", "the server was told to fail like this")


@web.middleware
async def keep_rate_limits(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 429 with ``Retry-After`` to what goes beyond the service's limits."""
    service = request.app[SERVICE]
    limits = service.rate_limits
    if limits is None:
        return await handler(request)
    if request.path.startswith(_DATA):
        plain, with_token = DATA_GET if request.method == "GET" else DATA_OTHER
        has_token = has_good_token(request, service)
        asker = ("data", request.remote or "", request.method, "with a token" if has_token else "without")
        wait_s = limits.wait_s(asker, (with_token if has_token else plain,))
        if wait_s:
            return error_answer(429, "too_many_requests", _TOO_MANY, _retry_after(wait_s))
    elif is_of_api(request):
        token = request.headers.get("Authorization", "").partition(" ")[2].strip()
        is_good = has_good_token(request, service) or request.app[GUARD].is_token(token)
        wait_s = limits.wait_s(("automation", token), AUTOMATION) if is_good else 0.0
        if wait_s:
            return api_error(429, _TOO_MANY, headers=_retry_after(wait_s))
    return await handler(request)


def _retry_after(wait_s: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(wait_s))}

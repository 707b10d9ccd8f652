"""
Gives out the configuration that SDKs poll.

Source:
    network.md, section 4.3; automation-api.md, section 10.
"""

from __future__ import annotations

from email.utils import formatdate

from aiohttp import web

from kameleoon.server.answers import json_answer, known_site, refusal
from kameleoon.server.configuration import build_configuration
from kameleoon.server.service import SERVICE


async def configuration(request: web.Request) -> web.Response:
    """``GET /v3/{siteCode}``."""
    return _answer(request, embed_segments=False)


async def configuration_before_v3(request: web.Request) -> web.Response:
    """``GET /{siteCode}``, for SDKs up to 3.4.0."""
    return _answer(request, embed_segments=True)


def _answer(request: web.Request, *, embed_segments: bool) -> web.Response:
    site = known_site(request.app[SERVICE], request.match_info["site_code"])
    published = site.published
    project = published.project
    environment = request.query.get("environment") or site.environment
    if environment not in project.environments:
        known = ", ".join(project.environments)
        raise refusal(404, "unknown_environment", f"the project has no environment {environment!r}; it has {known}")
    last_modified = formatdate(published.modified_s, usegmt=True)
    headers = {"Last-Modified": last_modified, "Cache-Control": "no-cache"}
    # Compared as text: clients repeat what they were given, and any other date means that they have something else.
    if request.headers.get("If-Modified-Since") == last_modified:
        return web.Response(status=304, headers=headers)
    built = build_configuration(
        project,
        environment,
        modified_ms=published.modified_s * 1000,
        at_ms=published.at_ms,
        embed_segments=embed_segments,
    )
    return json_answer(built, headers=headers)

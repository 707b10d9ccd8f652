"""
The Automation API over HTTP. Every change goes through `Service.change`, as those of the page do.

Source:
    automation-api.md, sections 1 and 11.
"""

from __future__ import annotations

from aiohttp import web

from kameleoon.server import http_asked_results, http_entities, http_flags, http_sites
from kameleoon.server.http_api import checked

PREFIXES = ("", "/v1")


def routes() -> list[web.RouteDef]:
    """All paths, with and without the version in front."""
    found = (*http_sites.paths(), *http_flags.paths(), *http_asked_results.paths(), *http_entities.paths())
    return [
        web.route(method, prefix + path, checked(handler)) for prefix in PREFIXES for method, path, handler in found
    ]

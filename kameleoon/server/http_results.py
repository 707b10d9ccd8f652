"""What people and their scripts look at: results, health and the project."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from kameleoon.server.answers import is_true, json_answer
from kameleoon.server.guard import GUARD
from kameleoon.server.project_out import write_project
from kameleoon.server.service import SERVICE


async def give_results(request: web.Request) -> web.Response:
    """``GET /results``: results of the project, from events of ``siteCode`` if that is given."""
    service = request.app[SERVICE]
    site_code = request.query.get("siteCode")
    results = await service.with_storage(lambda: service.results(site_code))
    return json_answer(results.as_json(), pretty=is_true(request, "prettyPrint"))


async def give_project(request: web.Request) -> web.Response:
    """``GET /project.yaml``: the project as it is now, with what the page and the API changed."""
    text = write_project(request.app[SERVICE].published.project)
    return web.Response(text=text, content_type="application/yaml", headers={"Cache-Control": "no-store"})


async def give_health(request: web.Request) -> web.Response:
    """``GET /health``: that the server runs, what arrived, and why the last lines were refused that were."""
    service = request.app[SERVICE]
    if not request.app[GUARD].may_read(request):
        return json_answer({"status": "ok"})
    counters = await service.with_storage(service.storage.counters)
    refused = [asdict(line) for line in service.refusals]
    site_code = service.published.project.site_code
    return json_answer({"status": "ok", "siteCode": site_code, "counters": counters, "lastRefused": refused})

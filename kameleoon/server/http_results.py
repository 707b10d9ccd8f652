"""What people and their scripts look at: results, health and the project."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from kameleoon.server.answers import asked_site, is_true, json_answer
from kameleoon.server.guard import GUARD
from kameleoon.server.project_out import write_project
from kameleoon.server.service import SERVICE


async def give_results(request: web.Request) -> web.Response:
    """``GET /results``: results of a site, by default the main one; with an unknown ``siteCode`` from the events that were sent with it."""
    service = request.app[SERVICE]
    code = request.query.get("siteCode")
    site = service.main if code is None else service.site(code) or service.main
    results = await service.with_storage(lambda: site.results(code))
    return json_answer(results.as_json(), pretty=is_true(request, "prettyPrint"))


async def give_project(request: web.Request) -> web.Response:
    """``GET /project.yaml``: the project as it is now, with what the page and the API changed."""
    text = write_project(asked_site(request, request.app[SERVICE]).published.project)
    return web.Response(text=text, content_type="application/yaml", headers={"Cache-Control": "no-store"})


async def give_health(request: web.Request) -> web.Response:
    """``GET /health``: that the server runs, what arrived, and why the last lines were refused that were."""
    service = request.app[SERVICE]
    if not request.app[GUARD].may_read(request):
        return json_answer({"status": "ok"})
    counters = await service.with_storage(service.storage.counters)
    refused = [asdict(line) for line in service.refusals]
    codes = [site.code for site in service.sites]
    return json_answer(
        {"status": "ok", "siteCode": codes[0], "siteCodes": codes, "counters": counters, "lastRefused": refused}
    )

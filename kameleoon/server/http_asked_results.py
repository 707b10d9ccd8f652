"""
Results that are asked for through the Automation API, and fetched afterwards.

Source:
    automation-api.md, sections 9 and 11.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import json_answer
from kameleoon.server.automation_fields import FieldError
from kameleoon.server.automation_out import results_json
from kameleoon.server.http_api import NotFound, asked_sites, body_of, checked, id_of, one_of
from kameleoon.server.http_page import guarded
from kameleoon.server.http_results import give_results
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from kameleoon.server.http_api import Handler
    from kameleoon.server.project import Project


_MAX_RESULTS = 1000


def paths() -> list[tuple[str, str, Handler]]:
    """``(method, path, handler)``."""
    return [
        ("POST", "/feature-flags/{id}/results", _ask_results),
        ("POST", "/experiments/{id}/results", _ask_results),
    ]


async def give_results_of_both(request: web.Request) -> web.StreamResponse:
    """``GET /results``: with ``dataCode`` the results that were asked for through the API, else all of a site's."""
    if "dataCode" not in request.query:
        return await guarded(give_results)(request)
    return await checked(_give_asked_results)(request)


def _experiments(project: Project, number: int) -> frozenset[int]:
    """The experiments that an id stands for: itself, or those of a flag's rules."""
    rules = [(flag.id, rule.experiment_id) for flag in project.flags for _, rule in flag.all_rules()]
    return frozenset(experiment for flag, experiment in rules if number in {flag, experiment})


async def _ask_results(request: web.Request) -> web.Response:
    body, number = await body_of(request), id_of(request)
    site, experiments = one_of(
        (site, found) for site in asked_sites(request) if (found := _experiments(site.published.project, number))
    )
    if body.get("conversionType", "ALL_CONVERSION") not in {"ALL_CONVERSION", "CONVERTED_VISITS"}:
        raise FieldError("conversionType", "expected ALL_CONVERSION or CONVERTED_VISITS")
    asked = request.app[ASKED]
    code = secrets.token_urlsafe(16)
    asked[code] = (site, experiments, body)
    while len(asked) > _MAX_RESULTS:
        asked.popitem(last=False)
    return json_answer({"dataCode": code})


async def _give_asked_results(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    found = request.app[ASKED].get(request.query["dataCode"])
    if found is None:
        raise NotFound
    site, experiments, wanted = found
    results = await service.with_storage(site.results)
    rules = [rule for flag in results.flags for rule in flag.rules if rule.experiment_id in experiments]
    return json_answer(results_json(rules, wanted))


ASKED = web.AppKey("asked", OrderedDict)
"""Results that were asked for: `{data code: (site, experiment ids, the request's body)}`."""

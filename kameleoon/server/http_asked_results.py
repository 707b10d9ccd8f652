"""
Results that are asked for through the Automation API, and fetched afterwards.

Source:
    automation-api.md, sections 9 and 11.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import json_answer
from kameleoon.server.http_api import NotFound, asked_sites, body_of, checked, id_of, one_of
from kameleoon.server.http_page import guarded
from kameleoon.server.http_results import give_results
from kameleoon.server.service import SERVICE
from kameleoon.server.visit_results import VisitResults, read_asked

if TYPE_CHECKING:
    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.http_api import Handler
    from kameleoon.server.project import Project
    from kameleoon.server.service import Service

_log = logging.getLogger("kameleoon.server")

_MAX_RESULTS = 1000
_WAIT_S = 1.0


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
    results = VisitResults(site.published.project, experiments, read_asked(body))
    code = secrets.token_urlsafe(16)
    asked = request.app[ASKED]
    asked[code] = asyncio.create_task(_counted(request.app[SERVICE], site.code, experiments, results))
    while len(asked) > _MAX_RESULTS:
        _, oldest = asked.popitem(last=False)
        oldest.cancel()
    return json_answer({"dataCode": code})


async def _counted(service: Service, site: str, experiments: frozenset[int], results: VisitResults) -> Entity:
    """The answer, counted a few visitors at a time: what arrives meanwhile is stored between them."""
    storage = service.storage

    def count_some(after: int) -> int | None:
        going_on, visitors = storage.exposed_visitors(site, experiments, after=after)
        for events in visitors:
            results.add(events)
        return going_on

    after: int | None = 0
    while after is not None:
        after = await service.with_storage(partial(count_some, after))
    return results.as_json()


async def _give_asked_results(request: web.Request) -> web.Response:
    task = request.app[ASKED].get(request.query["dataCode"])
    if task is None:
        raise NotFound
    # Most are counted in no time; whoever asks then need not ask twice.
    await asyncio.wait({task}, timeout=_WAIT_S)
    if not task.done():
        return json_answer({"status": "WAITING"})
    try:
        return json_answer(task.result())
    except sqlite3.Error:
        _log.exception("results could not be counted")
        return json_answer({"status": "ERROR"})


async def end_asked_results(app: web.Application) -> None:
    """Count no more."""
    for task in app[ASKED].values():
        task.cancel()
    await asyncio.gather(*app[ASKED].values(), return_exceptions=True)


ASKED: web.AppKey[OrderedDict[str, asyncio.Task[Entity]]] = web.AppKey("asked", OrderedDict)
"""Results that were asked for: `{data code: what counts them}`."""

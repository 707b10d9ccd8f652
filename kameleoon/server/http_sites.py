"""
Sites and their environments in the Automation API.

Source:
    automation-api.md, sections 6, 7.1 and 11.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import json_answer
from kameleoon.server.automation_catalogue import new_site, patch_site
from kameleoon.server.automation_fields import FieldError, text
from kameleoon.server.automation_out import NAMED_FIELDS, site_id, site_json
from kameleoon.server.http_api import NotFound, asked_sites, body_of, change
from kameleoon.server.http_entities import listing
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.http_api import Handler
    from kameleoon.server.site import Site

REQUIRED = ("name", "url")


def paths() -> list[tuple[str, str, Handler]]:
    """``(method, path, handler)``."""
    return [
        ("GET", "/sites", listing(lambda project: [site_json(project)], NAMED_FIELDS)),
        ("POST", "/sites", _add),
        ("GET", "/sites/byCode/{code}", _give),
        ("GET", "/sites/{id}", _give),
        ("PATCH", "/sites/{id}", _patch),
        ("PUT", "/sites/{id}", _put),
        ("DELETE", "/sites/{id}", _remove),
        ("GET", "/environments", _give_environments),
    ]


def _found(request: web.Request) -> Site:
    """
    The site of the path's id or code.

    Raises:
        NotFound: There is none.
    """
    asked = request.match_info.get("code") or request.match_info["id"]
    for site in request.app[SERVICE].sites:
        if asked in {site.code, str(site_id(site.published.project))}:
            return site
    raise NotFound


async def _add(request: web.Request) -> web.Response:
    service, body = request.app[SERVICE], await body_of(request)
    _check_whole(body)
    project = new_site(body, {site.code for site in service.sites})
    site = await service.with_storage(partial(service.add_site, project))
    return json_answer(site_json(site.published.project), 201)


async def _give(request: web.Request) -> web.Response:
    return json_answer(site_json(_found(request).published.project))


async def _patch(request: web.Request) -> web.Response:
    return await _changed(request, await body_of(request))


async def _put(request: web.Request) -> web.Response:
    body = await body_of(request)
    _found(request)
    _check_whole(body)
    return await _changed(request, body)


async def _changed(request: web.Request, body: Entity) -> web.Response:
    site = _found(request)
    await change(request, site, lambda project: patch_site(project, body))
    return json_answer(site_json(site.published.project))


async def _remove(request: web.Request) -> web.Response:
    service, site = request.app[SERVICE], _found(request)
    if site.is_given:
        raise FieldError("id", "the server was started with this site; only those made through the API are deleted")
    await service.with_storage(partial(service.remove_site, site))
    return web.Response(status=204)


async def _give_environments(request: web.Request) -> web.Response:
    sites = asked_sites(request)
    return json_answer(
        [{"key": name, "siteCode": site.code} for site in sites for name in site.published.project.environments]
    )


def _check_whole(body: Entity) -> None:
    for name in REQUIRED:
        text(body, name)

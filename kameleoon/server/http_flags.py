"""
Flags and their rules in the Automation API.

Source:
    automation-api.md, sections 6, 7.2 to 7.4 and 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import json_answer
from kameleoon.server.automation_fields import FieldError, text, truth
from kameleoon.server.automation_flags import add_flag, duplicate_flag, patch_environment, patch_flag, remove_flag
from kameleoon.server.automation_out import FLAG_FIELDS, flag_json
from kameleoon.server.automation_rules import patch_rule
from kameleoon.server.edits import find_flag
from kameleoon.server.http_api import NotFound, asked_sites, body_of, change, id_of, one_of
from kameleoon.server.http_entities import listing, searching
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.http_api import Handler
    from kameleoon.server.project import Project
    from kameleoon.server.site import Site


def paths() -> list[tuple[str, str, Handler]]:
    """``(method, path, handler)``."""
    one = "/feature-flags/{code}/{key}"
    return [
        ("GET", "/feature-flags", listing(_flags, FLAG_FIELDS)),
        ("POST", "/feature-flags", _add),
        ("POST", "/feature-flags/search", searching(_flags, FLAG_FIELDS)),
        ("PATCH", "/feature-flags/rules/{id}", _patch_rule),
        ("GET", one, _give),
        ("PATCH", one, _patch),
        ("DELETE", one, _remove),
        ("POST", f"{one}/duplicate", _duplicate),
        ("PATCH", f"{one}/{{environment}}", _patch_environment),
    ]


def _flags(project: Project) -> Iterator[Entity]:
    return (flag_json(project, flag) for flag in project.flags)


def _site(request: web.Request) -> Site:
    """
    The site of the path, if it has the path's flag.

    Raises:
        NotFound: There is no such site, or it has no such flag.
    """
    site = request.app[SERVICE].site(request.match_info["code"])
    if site is None or all(flag.key != request.match_info["key"] for flag in site.published.project.flags):
        raise NotFound
    return site


def _flag(site: Site, key: str) -> Entity:
    project = site.published.project
    return flag_json(project, find_flag(project, key))


async def _add(request: web.Request) -> web.Response:
    body = await body_of(request)
    text(body, "featureKey", longest=255)
    site = request.app[SERVICE].site(text(body, "siteCode"))
    if site is None:
        raise FieldError("siteCode", f"there is no site {body['siteCode']!r}")
    await change(request, site, lambda project: add_flag(project, body))
    return json_answer(_flag(site, body["featureKey"]), 201)


async def _give(request: web.Request) -> web.Response:
    return json_answer(_flag(_site(request), request.match_info["key"]))


async def _patch(request: web.Request) -> web.Response:
    body, key = await body_of(request), request.match_info["key"]
    site = _site(request)
    _check_key(body, key)
    if truth(body, "isArchived", False):
        return await _remove(request)
    await change(request, site, lambda project: patch_flag(project, key, body))
    return json_answer(_flag(site, key))


async def _patch_environment(request: web.Request) -> web.Response:
    body, key, environment = await body_of(request), request.match_info["key"], request.match_info["environment"]
    site = _site(request)
    _check_key(body, key)

    def edit(project: Project) -> Project:
        of_flag: Entity = {
            name: body[name] for name in ("name", "variables", "variations", "bucketingKey") if name in body
        }
        return patch_environment(patch_flag(project, key, of_flag), key, environment, body)

    await change(request, site, edit)
    return json_answer(_flag(site, key))


async def _patch_rule(request: web.Request) -> web.Response:
    body, number = await body_of(request), id_of(request)
    site, key = one_of(
        (site, flag.key)
        for site in asked_sites(request)
        for flag in site.published.project.flags
        for _, rule in flag.all_rules()
        if rule.id == number
    )
    await change(request, site, lambda project: patch_rule(project, number, body))
    return json_answer(_flag(site, key))


async def _duplicate(request: web.Request) -> web.Response:
    body = await body_of(request) if request.can_read_body else {}
    site, key = _site(request), request.match_info["key"]
    before = {flag.key for flag in site.published.project.flags}
    await change(request, site, lambda project: duplicate_flag(project, key, body))
    (copy,) = {flag.key for flag in site.published.project.flags} - before
    return json_answer(_flag(site, copy), 201)


async def _remove(request: web.Request) -> web.Response:
    site, key = _site(request), request.match_info["key"]
    await change(request, site, lambda project: remove_flag(project, key))
    return web.Response(status=204)


def _check_key(body: Entity, key: str) -> None:
    if body.get("featureKey") != key:
        raise FieldError("featureKey", "required, and the same as in the path")

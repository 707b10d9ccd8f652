"""
Goals, segments, custom data, and all lists of the Automation API.

Source:
    automation-api.md, sections 5, 6, 7.5 to 7.9 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from kameleoon.server.answers import json_answer
from kameleoon.server.automation_catalogue import (
    put_custom_datum,
    put_goal,
    put_segment,
    remove_custom_datum,
    remove_goal,
    remove_segment,
)
from kameleoon.server.automation_fields import FieldError
from kameleoon.server.automation_out import (
    NAMED_FIELDS,
    custom_datum_json,
    experiments_json,
    goal_json,
    segment_json,
    site_id,
    variations_json,
)
from kameleoon.server.collections_of import from_body, from_query
from kameleoon.server.http_api import asked_sites, body_of, change, id_of, one_of
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.http_api import Handler
    from kameleoon.server.project import Project
    from kameleoon.server.service import Service
    from kameleoon.server.site import Site

    Build = Callable[[Project], Iterable[Entity]]


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A kind of entity that is made, changed and removed alike.

    Attributes:
        name: In paths.
        build: All entities of a project.
        put: A new entity, or with an id a changed one.
        remove: Without one.
        required: Fields without which there is no entity.
        fixed: Fields that only a replacement changes, not a patch.
    """

    name: str
    build: Build
    put: Callable[[Project, Entity, int | None], Project]
    remove: Callable[[Project, int], Project]
    required: tuple[str, ...]
    fixed: tuple[str, ...] = ()


KINDS = (
    Kind(
        "goals",
        lambda project: (goal_json(project, goal) for goal in project.goals),
        put_goal,
        remove_goal,
        ("name", "siteId", "type"),
    ),
    Kind(
        "segments",
        lambda project: (segment_json(project, segment) for segment in project.segments),
        put_segment,
        remove_segment,
        ("name", "siteId", "conditionsData"),
        ("conditionsData",),
    ),
    Kind(
        "custom-datas",
        lambda project: (custom_datum_json(project, datum) for datum in project.custom_data),
        put_custom_datum,
        remove_custom_datum,
        ("name", "siteId", "method"),
    ),
)


def paths() -> list[tuple[str, str, Handler]]:
    """``(method, path, handler)``."""
    found: list[tuple[str, str, Handler]] = []
    for name, build in (("experiments", experiments_json), ("variations", variations_json)):
        found += [
            ("GET", f"/{name}", listing(build, NAMED_FIELDS)),
            ("POST", f"/{name}/search", searching(build, NAMED_FIELDS)),
            ("GET", f"/{name}/{{id}}", partial(_give, build=build)),
        ]
    for kind in KINDS:
        found += [
            ("GET", f"/{kind.name}", listing(kind.build, NAMED_FIELDS)),
            ("POST", f"/{kind.name}", partial(_add, kind=kind)),
            ("POST", f"/{kind.name}/search", searching(kind.build, NAMED_FIELDS)),
            ("GET", f"/{kind.name}/{{id}}", partial(_give, build=kind.build)),
            ("PUT", f"/{kind.name}/{{id}}", partial(_put, kind=kind)),
            ("PATCH", f"/{kind.name}/{{id}}", partial(_patch, kind=kind)),
            ("DELETE", f"/{kind.name}/{{id}}", partial(_remove, kind=kind)),
        ]
    return found


def listing(build: Build, fields: Sequence[str]) -> Handler:
    """A list over all sites; *fields* may be named in filters and orders."""

    async def give(request: web.Request) -> web.Response:
        page, total = from_query(_all(request.app[SERVICE], build), request.query, fields)
        return json_answer(page, headers={"X-Total-Count": str(total)})

    return give


def searching(build: Build, fields: Sequence[str]) -> Handler:
    """The same for a search."""

    async def give(request: web.Request) -> web.Response:
        page, total = from_body(_all(request.app[SERVICE], build), await body_of(request), fields)
        return json_answer(page, headers={"X-Total-Count": str(total)})

    return give


def site_of(service: Service, body: Entity) -> Site:
    """
    The site of a body's ``siteId``.

    Raises:
        FieldError: It is missing, or there is no such site.
    """
    if body.get("siteId") is None:
        raise FieldError("siteId", "required")
    for site in service.sites:
        if body["siteId"] == site_id(site.published.project):
            return site
    raise FieldError("siteId", f"there is no site {body['siteId']!r}")


def _all(service: Service, build: Build) -> list[Entity]:
    return [entity for site in service.sites for entity in build(site.published.project)]


def _found(request: web.Request, build: Build) -> tuple[Site, Entity]:
    number = id_of(request)
    return one_of(
        (site, entity)
        for site in asked_sites(request)
        for entity in build(site.published.project)
        if entity["id"] == number
    )


def _entity(site: Site, build: Build, number: int) -> Entity:
    return next(entity for entity in build(site.published.project) if entity["id"] == number)


async def _give(request: web.Request, *, build: Build) -> web.Response:
    return json_answer(_found(request, build)[1])


async def _add(request: web.Request, *, kind: Kind) -> web.Response:
    body = await body_of(request)
    _check_whole(body, kind)
    site = site_of(request.app[SERVICE], body)
    before = {entity["id"] for entity in kind.build(site.published.project)}
    await change(request, site, lambda project: kind.put(project, body, None))
    added = [entity for entity in kind.build(site.published.project) if entity["id"] not in before]
    return json_answer(added[-1], 201)


async def _put(request: web.Request, *, kind: Kind) -> web.Response:
    body = await body_of(request)
    site, entity = _found(request, kind.build)
    _check_whole(body, kind)
    if site_of(request.app[SERVICE], body) is not site:
        raise FieldError("siteId", "an entity stays in its site")
    return await _changed(request, kind, site, entity, body)


async def _patch(request: web.Request, *, kind: Kind) -> web.Response:
    body = await body_of(request)
    site, entity = _found(request, kind.build)
    if fixed := [name for name in kind.fixed if name in body]:
        raise FieldError(fixed[0], "a patch cannot change it; replace the whole with PUT")
    if body.get("isDeleted") is True:
        return await _remove(request, kind=kind)
    return await _changed(request, kind, site, entity, body)


async def _changed(request: web.Request, kind: Kind, site: Site, entity: Entity, body: Entity) -> web.Response:
    await change(request, site, lambda project: kind.put(project, body, entity["id"]))
    return json_answer(_entity(site, kind.build, entity["id"]))


async def _remove(request: web.Request, *, kind: Kind) -> web.Response:
    site, entity = _found(request, kind.build)
    await change(request, site, lambda project: kind.remove(project, entity["id"]))
    return web.Response(status=204)


def _check_whole(body: Entity, kind: Kind) -> None:
    for name in kind.required:
        if body.get(name) is None:
            raise FieldError(name, "required")

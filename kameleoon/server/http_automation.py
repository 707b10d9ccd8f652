"""
The Automation API over HTTP. Every change goes through `Service.change`, as those of the page do.

Source:
    automation-api.md, sections 2, 3, 5, 6 and 11.
"""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from kameleoon.server.answers import json_answer
from kameleoon.server.automation_catalogue import (
    patch_site,
    put_custom_datum,
    put_goal,
    put_segment,
    remove_custom_datum,
    remove_goal,
    remove_segment,
)
from kameleoon.server.automation_fields import FieldError
from kameleoon.server.automation_flags import add_flag, patch_environment, patch_flag, remove_flag
from kameleoon.server.automation_out import (
    FLAG_FIELDS,
    NAMED_FIELDS,
    custom_datum_json,
    experiments_json,
    flag_json,
    goal_json,
    results_json,
    segment_json,
    site_id,
    site_json,
    variations_json,
)
from kameleoon.server.automation_rules import patch_rule
from kameleoon.server.collections_of import QueryError, from_body, from_query
from kameleoon.server.edits import EditError, find_flag
from kameleoon.server.guard import GUARD
from kameleoon.server.http_page import guarded
from kameleoon.server.http_results import give_results
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.project import Project

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PREFIXES = ("", "/v1")
_MAX_BODY_BYTES = 1024 * 1024
_MAX_RESULTS = 1000


class _NotFound(Exception):
    """There is no such entity."""


def routes() -> list[web.RouteDef]:
    """All paths, with and without the version in front."""
    found: list[web.RouteDef] = []
    for prefix in PREFIXES:
        for method, path, handler in _paths():
            found.append(web.route(method, prefix + path, _checked(handler)))
    return found


def _paths() -> list[tuple[str, str, Handler]]:
    paths: list[tuple[str, str, Handler]] = [
        ("GET", "/sites", partial(_list, build=lambda p: [site_json(p)], fields=NAMED_FIELDS)),
        ("GET", "/sites/byCode/{code}", _give_site),
        ("GET", "/sites/{id}", _give_site),
        ("PATCH", "/sites/{id}", _patch_site),
        ("GET", "/environments", _give_environments),
        ("GET", "/feature-flags", partial(_list, build=_flags, fields=FLAG_FIELDS)),
        ("POST", "/feature-flags", _add_flag),
        ("POST", "/feature-flags/search", partial(_search, build=_flags, fields=FLAG_FIELDS)),
        ("PATCH", "/feature-flags/rules/{id}", _patch_rule),
        ("POST", "/feature-flags/{id}/results", _ask_results),
        ("GET", "/feature-flags/{code}/{key}", _give_flag),
        ("PATCH", "/feature-flags/{code}/{key}", _patch_flag),
        ("DELETE", "/feature-flags/{code}/{key}", _remove_flag),
        ("PATCH", "/feature-flags/{code}/{key}/{environment}", _patch_environment),
        ("GET", "/experiments", partial(_list, build=_experiments, fields=NAMED_FIELDS)),
        ("GET", "/experiments/{id}", partial(_give, build=_experiments)),
        ("POST", "/experiments/{id}/results", _ask_results),
        ("GET", "/variations", partial(_list, build=_variations, fields=NAMED_FIELDS)),
        ("GET", "/variations/{id}", partial(_give, build=_variations)),
    ]
    for name, build, put, remove in (
        ("goals", _goals, put_goal, remove_goal),
        ("segments", _segments, put_segment, remove_segment),
        ("custom-datas", _custom_data, put_custom_datum, remove_custom_datum),
    ):
        changed = partial(_put, build=build, put=put, remove=remove)
        paths += [
            ("GET", f"/{name}", partial(_list, build=build, fields=NAMED_FIELDS)),
            ("POST", f"/{name}", partial(_add, build=build, put=put)),
            ("POST", f"/{name}/search", partial(_search, build=build, fields=NAMED_FIELDS)),
            ("GET", f"/{name}/{{id}}", partial(_give, build=build)),
            ("PUT", f"/{name}/{{id}}", changed),
            ("PATCH", f"/{name}/{{id}}", changed),
            ("DELETE", f"/{name}/{{id}}", partial(_remove, build=build, remove=remove)),
        ]
    return paths


def _checked(handler: Handler) -> Handler:
    """Ask for a token, and turn what is wrong into the API's errors."""

    async def checked(request: web.Request) -> web.StreamResponse:
        request.app[GUARD].check_host(request)
        service = request.app[SERVICE]
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return _error(401, "the access token is missing; see POST /oauth/token")
        is_servers = request.app[GUARD].is_token(token.strip())
        if not is_servers and not service.tokens.may_change(token.strip(), service.now_s()):
            return _error(403, "the access token is invalid, expired or may not use this API")
        try:
            return await handler(request)
        except _NotFound:
            return _error(404, "there is no such entity")
        except FieldError as error:
            return _error(400, "validation failed", [{"field": error.field, "message": error.message}])
        except QueryError as error:
            return _error(400, "validation failed", [{"field": error.field, "message": str(error)}])
        except EditError as error:
            return _error(400, str(error))
        except ValueError as error:
            return _error(400, f"contradicts itself: {error}")

    return checked


async def give_results_of_both(request: web.Request) -> web.StreamResponse:
    """``GET /results``: with ``dataCode`` the results that were asked for through the API, else all of the project's."""
    if "dataCode" not in request.query:
        return await guarded(give_results)(request)
    return await _checked(_give_asked_results)(request)


def _flags(project: Project) -> list[Entity]:
    return [flag_json(project, flag) for flag in project.flags]


def _goals(project: Project) -> list[Entity]:
    return [goal_json(project, goal) for goal in project.goals]


def _segments(project: Project) -> list[Entity]:
    return [segment_json(project, segment) for segment in project.segments]


def _custom_data(project: Project) -> list[Entity]:
    return [custom_datum_json(project, datum) for datum in project.custom_data]


def _experiments(project: Project) -> list[Entity]:
    return list(experiments_json(project))


def _variations(project: Project) -> list[Entity]:
    return list(variations_json(project))


async def _list(request: web.Request, *, build: Any, fields: Sequence[str]) -> web.Response:
    entities = build(request.app[SERVICE].published.project)
    page, total = from_query(entities, request.query, fields)
    return json_answer(page, headers={"X-Total-Count": str(total)})


async def _search(request: web.Request, *, build: Any, fields: Sequence[str]) -> web.Response:
    body = await _body(request)
    page, total = from_body(build(request.app[SERVICE].published.project), body, fields)
    return json_answer(page, headers={"X-Total-Count": str(total)})


async def _give(request: web.Request, *, build: Any) -> web.Response:
    return json_answer(_found(request.app[SERVICE].published.project, build, _id(request)))


async def _add(request: web.Request, *, build: Any, put: Any) -> web.Response:
    body = await _body(request)
    service = request.app[SERVICE]
    if body.get("siteId") not in {None, site_id(service.published.project)}:
        raise FieldError("siteId", "this server has one site alone")
    before = {entity["id"] for entity in build(service.published.project)}
    await _change(request, lambda project: put(project, body, None))
    added = [entity for entity in build(service.published.project) if entity["id"] not in before]
    return json_answer(added[-1], 201)


async def _put(request: web.Request, *, build: Any, put: Any, remove: Any) -> web.Response:
    body, number = await _body(request), _id(request)
    _found(request.app[SERVICE].published.project, build, number)
    if body.get("isDeleted") is True:
        await _change(request, lambda project: remove(project, number))
        return web.Response(status=204)
    await _change(request, lambda project: put(project, body, number))
    return json_answer(_found(request.app[SERVICE].published.project, build, number))


async def _remove(request: web.Request, *, build: Any, remove: Any) -> web.Response:
    number = _id(request)
    _found(request.app[SERVICE].published.project, build, number)
    await _change(request, lambda project: remove(project, number))
    return web.Response(status=204)


async def _give_site(request: web.Request) -> web.Response:
    project = request.app[SERVICE].published.project
    asked = request.match_info.get("code") or request.match_info["id"]
    if asked not in {project.site_code, str(site_id(project))}:
        raise _NotFound
    return json_answer(site_json(project))


async def _patch_site(request: web.Request) -> web.Response:
    body = await _body(request)
    await _give_site(request)
    await _change(request, lambda project: patch_site(project, body))
    return await _give_site(request)


async def _give_environments(request: web.Request) -> web.Response:
    project = request.app[SERVICE].published.project
    return json_answer([{"key": name, "siteCode": project.site_code} for name in project.environments])


async def _add_flag(request: web.Request) -> web.Response:
    body = await _body(request)
    await _change(request, lambda project: add_flag(project, body))
    project = request.app[SERVICE].published.project
    return json_answer(flag_json(project, find_flag(project, body["featureKey"])), 201)


async def _give_flag(request: web.Request) -> web.Response:
    project = request.app[SERVICE].published.project
    if request.match_info["code"] != project.site_code:
        raise _NotFound
    for flag in project.flags:
        if flag.key == request.match_info["key"]:
            return json_answer(flag_json(project, flag))
    raise _NotFound


async def _patch_flag(request: web.Request) -> web.Response:
    body, key = await _body(request), request.match_info["key"]
    await _give_flag(request)
    _same_key(body, key)
    if body.get("isArchived") is True:
        return await _remove_flag(request)
    await _change(request, lambda project: patch_flag(project, key, body))
    return await _give_flag(request)


async def _patch_environment(request: web.Request) -> web.Response:
    body, key, environment = await _body(request), request.match_info["key"], request.match_info["environment"]
    await _give_flag(request)
    _same_key(body, key)

    def edit(project: Project) -> Project:
        flag_body: Entity = {
            name: body[name] for name in ("name", "variables", "variations", "bucketingKey") if name in body
        }
        return patch_environment(patch_flag(project, key, flag_body), key, environment, body)

    await _change(request, edit)
    return await _give_flag(request)


async def _patch_rule(request: web.Request) -> web.Response:
    body, number = await _body(request), _id(request)
    project = request.app[SERVICE].published.project
    keys = [flag.key for flag in project.flags for _, rule in flag.all_rules() if rule.id == number]
    if not keys:
        raise _NotFound
    await _change(request, lambda project: patch_rule(project, number, body))
    project = request.app[SERVICE].published.project
    return json_answer(flag_json(project, find_flag(project, keys[0])))


async def _remove_flag(request: web.Request) -> web.Response:
    key = request.match_info["key"]
    await _give_flag(request)
    await _change(request, lambda project: remove_flag(project, key))
    return web.Response(status=204)


async def _ask_results(request: web.Request) -> web.Response:
    body, number = await _body(request), _id(request)
    project = request.app[SERVICE].published.project
    rules = [(flag.id, rule.experiment_id) for flag in project.flags for _, rule in flag.all_rules()]
    experiments = {experiment for pair in rules for experiment in [pair[1]] if number in pair}
    if not experiments:
        raise _NotFound
    if body.get("conversionType", "ALL_CONVERSION") not in {"ALL_CONVERSION", "CONVERTED_VISITS"}:
        raise FieldError("conversionType", "expected ALL_CONVERSION or CONVERTED_VISITS")
    asked = request.app[ASKED]
    code = secrets.token_urlsafe(16)
    asked[code] = (frozenset(experiments), body)
    while len(asked) > _MAX_RESULTS:
        asked.popitem(last=False)
    return json_answer({"dataCode": code})


async def _give_asked_results(request: web.Request) -> web.Response:
    service = request.app[SERVICE]
    found = request.app[ASKED].get(request.query["dataCode"])
    if found is None:
        raise _NotFound
    experiments, wanted = found
    results = await service.with_storage(service.results)
    rules = [rule for flag in results.flags for rule in flag.rules if rule.experiment_id in experiments]
    return json_answer(results_json(rules, wanted))


async def _change(request: web.Request, edit: Callable[[Project], Project]) -> None:
    service = request.app[SERVICE]
    await service.with_storage(partial(service.change, edit, author="API"))


async def _body(request: web.Request) -> Entity:
    if (request.content_length or 0) > _MAX_BODY_BYTES:
        raise EditError(f"the body is larger than {_MAX_BODY_BYTES} bytes")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise EditError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise EditError("the body is no JSON object")
    return body


def _found(project: Project, build: Any, number: int) -> Entity:
    for entity in build(project):
        if entity["id"] == number:
            found: Entity = entity
            return found
    raise _NotFound


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _NotFound
    return int(text)


def _same_key(body: Entity, key: str) -> None:
    if body.get("featureKey") != key:
        raise FieldError("featureKey", "required, and the same as in the path")


def _error(status: int, message: str, errors: list[dict[str, str]] | None = None) -> web.Response:
    return json_answer({"code": status, "message": message, "errors": errors or []}, status)


ASKED = web.AppKey("asked", OrderedDict)
"""Results that were asked for: `{data code: (experiment ids, the request's body)}`."""

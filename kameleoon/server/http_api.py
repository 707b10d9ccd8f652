"""
What all requests of the Automation API have in common: the token, the body, the errors.

Source:
    automation-api.md, sections 2 and 3.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from kameleoon.server.answers import api_error
from kameleoon.server.automation_fields import FieldError
from kameleoon.server.collections_of import QueryError
from kameleoon.server.edits import EditError
from kameleoon.server.guard import GUARD
from kameleoon.server.service import SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from typing import TypeVar

    from aiohttp import web

    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.project import Project
    from kameleoon.server.site import Site

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    _T = TypeVar("_T")

_MAX_BODY_BYTES = 1024 * 1024


class NotFound(Exception):
    """There is no such entity."""


def checked(handler: Handler) -> Handler:
    """Ask for a token, and turn what is wrong into the API's errors."""

    async def with_errors(request: web.Request) -> web.StreamResponse:
        request.app[GUARD].check_host(request)
        if refused := _refused_token(request):
            return refused
        try:
            return await handler(request)
        except NotFound:
            return api_error(404, "there is no such entity")
        except FieldError as error:
            return api_error(400, "validation failed", [{"field": error.field, "message": error.message}])
        except QueryError as error:
            return api_error(400, "validation failed", [{"field": error.field, "message": str(error)}])
        except EditError as error:
            return api_error(400, str(error))
        except ValueError as error:
            return api_error(400, f"contradicts itself: {error}")

    return with_errors


def _refused_token(request: web.Request) -> web.Response | None:
    """What to answer to a request without a token that may use the API; None when it brings one."""
    service, guard = request.app[SERVICE], request.app[GUARD]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return api_error(401, "the access token is missing; see POST /oauth/token")
    if guard.is_token(token) or service.tokens.may_change(token, service.now_s()):
        return None
    if not service.tokens.is_formed(token):
        return api_error(401, "the access token is malformed; see POST /oauth/token")
    return api_error(403, "the access token is invalid, expired or may not use this API")


async def change(request: web.Request, site: Site, edit: Callable[[Project], Project]) -> None:
    """Change the project of *site*, as the API."""
    service = request.app[SERVICE]
    await service.with_storage(partial(service.change, site, edit, author="API"))


async def body_of(request: web.Request) -> Entity:
    """
    The body.

    Raises:
        EditError: It is too large, or no JSON object.
    """
    if (request.content_length or 0) > _MAX_BODY_BYTES:
        raise EditError(f"the body is larger than {_MAX_BODY_BYTES} bytes")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise EditError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise EditError("the body is no JSON object")
    return body


def id_of(request: web.Request) -> int:
    """
    The path's id.

    Raises:
        NotFound: It is no number.
    """
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise NotFound
    return int(text)


def asked_sites(request: web.Request) -> Sequence[Site]:
    """The sites among which an entity is looked for: all, or that of the query's ``siteCode``."""
    service = request.app[SERVICE]
    code = request.query.get("siteCode")
    return [site for site in service.sites if code in {None, site.code}]


def one_of(found: Iterable[tuple[Site, _T]]) -> tuple[Site, _T]:
    """
    What was found, if it was found in one site.

    Raises:
        NotFound: Nothing was.
        FieldError: Several sites have it: their project files have the same keys, from which ids follow.
    """
    by_site = dict(found)
    if not by_site:
        raise NotFound
    if len(by_site) > 1:
        codes = ", ".join(site.code for site in by_site)
        raise FieldError("id", f"the sites {codes} have it; add ?siteCode= and the one that is meant")
    return by_site.popitem()

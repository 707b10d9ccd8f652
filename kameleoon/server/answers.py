"""Answers that several services of the local server give alike. Source: data-api.md, section 5, for the form of errors."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from kameleoon.server.lines import is_bot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kameleoon.server.lines import Body
    from kameleoon.server.service import Service
    from kameleoon.server.site import Site


def json_answer(
    data: Any, status: int = 200, *, pretty: bool = False, headers: dict[str, str] | None = None
) -> web.Response:
    """JSON, indented when *pretty*; NaN and infinity are refused because JSON has none."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2 if pretty else None)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def error_answer(status: int, slug: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """An error a program can tell by *slug* and a person by *message*."""
    return json_answer({"error": slug, "message": message}, status, headers=headers)


def api_error(
    status: int,
    message: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """An error of the Automation API. Source: automation-api.md, section 3."""
    return json_answer({"code": status, "message": message, "errors": errors or []}, status, headers=headers)


_OF_API = frozenset(
    {"sites", "environments", "feature-flags", "experiments", "variations", "goals", "segments", "custom-datas"}
)


def is_of_api(request: web.Request) -> bool:
    """Whether a request is one of the Automation API, whatever else is right or wrong with it."""
    parts = request.path.split("/")[1:]
    if parts[0] == "v1":
        parts = parts[1:]
    return bool(parts) and (parts[0] in _OF_API or (parts == ["results"] and "dataCode" in request.query))


def refusal(status: int, slug: str, message: str) -> web.HTTPException:
    """The same to be raised; `errors_as_json` turns it into the answer."""
    error = _BY_STATUS[status]()
    error.text = json.dumps({"error": slug, "message": message}, ensure_ascii=False)
    error.content_type = "application/json"
    return error


def _too_large() -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(0, 0)


_log = logging.getLogger("kameleoon.server")
_BY_STATUS: dict[int, Callable[[], web.HTTPException]] = {
    400: web.HTTPBadRequest,
    401: web.HTTPUnauthorized,
    403: web.HTTPForbidden,
    413: _too_large,
    404: web.HTTPNotFound,
}


@web.middleware
async def errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give every error a JSON body, also those that come from routing."""
    try:
        return await handler(request)
    except web.RequestPayloadError as error:
        said = f"the body cannot be read: {' '.join(str(error).split())}"
        answer = api_error(400, said) if is_of_api(request) else error_answer(400, "broken_body", said)
        answer.force_close()
        return answer
    except web.HTTPException as error:
        if error.content_type == "application/json":
            return web.Response(text=error.text, status=error.status, content_type="application/json")
        allow = error.headers.get("Allow")
        headers = {"Allow": allow} if allow else None
        if is_of_api(request):
            return api_error(error.status, f"{request.method} {request.path}: {error.reason}", headers=headers)
        slug = error.reason.lower().replace(" ", "_")
        return error_answer(error.status, slug, f"{request.method} {request.path}: {error.reason}", headers)
    except Exception:
        _log.exception("%s %s failed", request.method, request.path)
        return error_answer(500, "internal_error", "the server failed; its log says how")


def asked_site(request: web.Request, service: Service, name: str = "siteCode") -> Site:
    """
    The site that the query names, or the main one.

    Raises:
        web.HTTPNotFound: The query names another.
    """
    code = request.query.get(name)
    return service.main if code is None else known_site(service, code)


def known_site(service: Service, code: str) -> Site:
    """
    The site with a site code.

    Raises:
        web.HTTPNotFound: There is none.
    """
    site = service.site(code)
    if site is None:
        known = ", ".join(repr(site.code) for site in service.sites)
        raise refusal(404, "unknown_site_code", f"this server has no project {code!r}; it has {known}")
    return site


def site_code_of(request: web.Request) -> str:
    """
    The query's ``siteCode``.

    Raises:
        web.HTTPBadRequest: There is none, or it is longer than 64 characters.
    """
    site_code = request.query.get("siteCode", "")
    if not site_code or len(site_code) > 64:
        raise refusal(400, "site_code_missing", "the query needs siteCode=…, at most 64 characters")
    return site_code


def is_true(request: web.Request, name: str) -> bool:
    """Whether a query parameter, its name in any case, is ``true``."""
    return any(key.lower() == name.lower() and value.lower() == "true" for key, value in request.query.items())


async def read_text(request: web.Request, most: int) -> str:
    """
    The body.

    Raises:
        web.HTTPBadRequest: It is not UTF-8.
        web.HTTPRequestEntityTooLarge: It has more than *most* bytes, after decompression.
    """
    try:
        content = await request.read()
    except web.HTTPRequestEntityTooLarge:
        content = b""
        is_too_large = True
    else:
        is_too_large = len(content) > most
    if is_too_large:
        raise refusal(413, "body_too_large", f"the body is larger than {most} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise refusal(400, "not_utf8", f"the body is not UTF-8 at byte {error.start}") from error


def listed(request: web.Request, name: str, most: int) -> list[str]:
    """
    A query parameter that is a JSON array of texts.

    Raises:
        web.HTTPBadRequest: It is missing, something else, or has more than *most* members.
    """
    try:
        found = json.loads(request.query.get(name, ""))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) > most or not all(isinstance(member, str) for member in found):
        raise refusal(400, f"bad_{name}", f"the query needs {name}=[…], a JSON array of at most {most} texts")
    return found


def has_good_token(request: web.Request, service: Service) -> bool:
    """Whether the request brings a token of this server that has not expired."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return scheme.lower() == "bearer" and service.tokens.is_good(token.strip(), service.now_s())


def check_strictly(request: web.Request, service: Service, site_code: str, body: Body | None = None) -> None:
    """
    Where the server is strict, refuse sites that it does not have, and bots.

    Args:
        request: Its user agent is judged, unless it is said that the body has those of the visitors.
        service: Says whether it is strict.
        site_code: Of the request.
        body: What a tracking request carried, once it is read.

    Raises:
        web.HTTPForbidden: So it is.

    Source:
        data-api.md, sections 1 and 12.
    """
    if not service.is_strict:
        return
    if service.site(site_code) is None:
        raise refusal(403, "unknown_site_code", f"this server has no project {site_code!r} and was told to be strict")
    is_of_bot = is_bot(request.headers.get("User-Agent")) and not is_true(request, "bodyUa")
    if is_of_bot or (body is not None and any(event.is_bot for event in body.events)):
        raise refusal(403, "bot", "the user agent is one of a bot, and the server was told to be strict")


def check_token(request: web.Request, service: Service) -> None:
    """
    A token is not needed, but a bad one is refused.

    Raises:
        web.HTTPUnauthorized: The token is malformed, expired or of another server.

    Source:
        data-api.md, section 3.
    """
    if "Authorization" in request.headers and not has_good_token(request, service):
        raise refusal(401, "invalid_token", "the access token is malformed, expired or of another server")

"""
Access tokens for client credentials, codes and refresh tokens; locally any pair of id and secret is accepted.

Source:
    network.md, section 4.5; automation-api.md, section 2.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from aiohttp import web

from kameleoon.server.answers import json_answer, refusal
from kameleoon.server.guard import GUARD
from kameleoon.server.service import SERVICE
from kameleoon.server.tokens import CODE_LIFETIME_S, LIFETIME_S, REFRESH_LIFETIME_S, Grant

if TYPE_CHECKING:
    from kameleoon.server.service import Service

_MAX_FIELDS = 20


async def give_token(request: web.Request) -> web.Response:
    """
    ``POST /oauth/token``, credentials in the form or as Basic authorization: for client credentials, a code or a refresh token.

    Errors have the bodies of RFC 6749: 400 for another grant, a code that is not good, or a form that is none, 401 without both id and
    secret.
    """
    service, guard = request.app[SERVICE], request.app[GUARD]
    now_s = service.now_s()
    content = (await request.read()).decode(errors="replace")
    try:
        form = {name: values[0] for name, values in parse_qs(content, max_num_fields=_MAX_FIELDS).items()}
    except ValueError:
        return json_answer({"error": "invalid_request"}, 400)
    grant_type = form.get("grant_type")
    if grant_type not in {"client_credentials", "authorization_code", "refresh_token"}:
        return json_answer({"error": "unsupported_grant_type"}, 400)
    client_id, secret = _basic(request.headers.get("Authorization", ""))
    client_id = client_id or form.get("client_id", "")
    secret = secret or form.get("client_secret", "")
    if not client_id or not secret:
        return json_answer({"error": "invalid_client"}, 401, headers={"WWW-Authenticate": "Basic"})
    # SDKs have secrets of their own and may read and track with any; changing things takes the server's token where it has one.
    may_change = not guard.needs_token or guard.is_token(secret)
    if grant_type == "client_credentials":
        return _token_answer(service, client_id, now_s, may_change=may_change)
    if grant_type == "authorization_code":
        grant = service.codes.take(form.get("code", ""), now_s)
        is_good = grant is not None and grant.redirect_uri == form.get("redirect_uri")
    else:
        grant = service.refresh_tokens.take(form.get("refresh_token", ""), now_s)
        is_good = grant is not None
    if grant is None or not is_good or grant.client_id != client_id:
        return json_answer({"error": "invalid_grant"}, 400)
    renewed = Grant(client_id, grant.may_change, now_s + REFRESH_LIFETIME_S)
    return _token_answer(
        service, client_id, now_s, may_change=grant.may_change, refresh_token=service.refresh_tokens.give(renewed)
    )


def _token_answer(
    service: Service, client_id: str, now_s: float, *, may_change: bool, refresh_token: str | None = None
) -> web.Response:
    answer: dict[str, Any] = {
        "access_token": service.tokens.issue(client_id, now_s, may_change=may_change),
        "token_type": "bearer",
        "expires_in": LIFETIME_S,
    }
    if refresh_token is not None:
        answer["refresh_token"] = refresh_token
    return json_answer(answer, headers={"Cache-Control": "no-store"})


async def authorize(request: web.Request) -> web.Response:
    """
    ``GET /oauth/authorize``: whoever may use the page agrees at once and is sent on with a code.

    Raises:
        web.HTTPBadRequest: The query is not that of RFC 6749.
    """
    service = request.app[SERVICE]
    query = request.query
    client_id, target = query.get("client_id", ""), query.get("redirect_uri", "")
    try:
        parts = urlsplit(target)
    except ValueError:
        parts = urlsplit("")
    is_url = parts.scheme in {"http", "https"} and bool(parts.netloc) and target.isascii() and target.isprintable()
    if not client_id or query.get("response_type") != "code" or not is_url:
        raise refusal(
            400, "invalid_request", "the query needs client_id=…, response_type=code and a redirect_uri=http…"
        )
    now_s = service.now_s()
    code = service.codes.give(Grant(client_id, True, now_s + CODE_LIFETIME_S, target))
    given = {"code": code} | ({"state": query["state"]} if "state" in query else {})
    with_code = urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, urlencode(given)]))))
    return web.Response(status=302, headers={"Location": with_code, "Cache-Control": "no-store"})


def _basic(header: str) -> tuple[str, str]:
    """Id and secret; both empty when the header has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        client_id, _, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return client_id, secret

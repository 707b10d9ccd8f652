"""
Access tokens for client credentials; locally any pair of id and secret is accepted.

Source:
    network.md, section 4.5; automation-api.md, section 2.1.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from kameleoon.server.answers import json_answer
from kameleoon.server.service import SERVICE
from kameleoon.server.tokens import LIFETIME_S

if TYPE_CHECKING:
    from aiohttp import web


_MAX_FIELDS = 20


async def give_token(request: web.Request) -> web.Response:
    """
    ``POST /oauth/token``, credentials in the form or as Basic authorization.

    Errors have the bodies of RFC 6749: 400 for another grant or a form that is none, 401 without both id and secret.
    """
    service = request.app[SERVICE]
    content = (await request.read()).decode(errors="replace")
    try:
        form = parse_qs(content, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return json_answer({"error": "invalid_request"}, 400)
    if form.get("grant_type") != ["client_credentials"]:
        return json_answer({"error": "unsupported_grant_type"}, 400)
    client_id, secret = _basic(request.headers.get("Authorization", ""))
    client_id = client_id or form.get("client_id", [""])[0]
    secret = secret or form.get("client_secret", [""])[0]
    if not client_id or not secret:
        return json_answer({"error": "invalid_client"}, 401, headers={"WWW-Authenticate": "Basic"})
    answer = {
        "access_token": service.tokens.issue(client_id, service.now_s()),
        "token_type": "bearer",
        "expires_in": LIFETIME_S,
    }
    return json_answer(answer, headers={"Cache-Control": "no-store"})


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

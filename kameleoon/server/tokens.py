"""
Access tokens of the local server: signed, so that a token can be checked without being remembered.

Source:
    automation-api.md, section 2.3 (form); data-api.md, section 3 (a bad token is worse than none).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from typing import Any

LIFETIME_S = 7200
_ISSUER = "kameleoon-local-server"


class Tokens:
    """
    Issues and checks tokens with a key of its own.

    Args:
        key: Signing key; by default a new random one, so that tokens end with the process.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def issue(self, client_id: str, now_s: float) -> str:
        """A token for *client_id*, good for `LIFETIME_S` seconds from *now_s*."""
        claims = {
            "iss": _ISSUER,
            "sub": client_id,
            "aud": _ISSUER,
            "typ": "ACCESS_TOKEN",
            "iat": int(now_s),
            "exp": int(now_s) + LIFETIME_S,
            "jti": secrets.token_hex(8),
        }
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def is_good(self, token: str, now_s: float) -> bool:
        """Whether *token* was issued here and has not expired; never raises."""
        signed, _, signature = token.rpartition(".")
        # What comes with a request may hold any bytes; those that are no text are no token either.
        if not token.isascii() or not hmac.compare_digest(signature, self._signature(signed)):
            return False
        claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        return bool(claims["exp"] > now_s)

    def _signature(self, signed: str) -> str:
        return _text(hmac.digest(self._key, signed.encode(), hashlib.sha256))


def _encode(claims: dict[str, Any]) -> str:
    return _text(json.dumps(claims, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

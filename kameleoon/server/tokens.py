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
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

LIFETIME_S = 7200
REFRESH_LIFETIME_S = 4 * 3600
CODE_LIFETIME_S = 600
_MAX_GRANTS = 10_000
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_ISSUER = "kameleoon-local-server"


class Tokens:
    """
    Issues and checks tokens with a key of its own.

    Args:
        key: Signing key; by default a new random one, so that tokens end with the process.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def issue(self, client_id: str, now_s: float, *, may_change: bool = True) -> str:
        """
        A token for *client_id*, good for `LIFETIME_S` seconds from *now_s*.

        Args:
            client_id: Who it is for.
            now_s: Now, in seconds since 1970.
            may_change: Whether the Automation API takes it; the Data API takes every token.
        """
        claims = {
            "iss": _ISSUER,
            "sub": client_id,
            "aud": _ISSUER,
            "typ": "ACCESS_TOKEN",
            "iat": int(now_s),
            "exp": int(now_s) + LIFETIME_S,
            "may_change": may_change,
            "jti": secrets.token_hex(8),
        }
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def is_good(self, token: str, now_s: float) -> bool:
        """Whether *token* was issued here and has not expired; never raises."""
        return self.claims(token, now_s) is not None

    def may_change(self, token: str, now_s: float) -> bool:
        """Whether *token* is good and the Automation API takes it; never raises."""
        claims = self.claims(token, now_s)
        return claims is not None and bool(claims["may_change"])

    @staticmethod
    def is_formed(token: str) -> bool:
        """Whether *token* looks like one, whoever issued it; never raises."""
        parts = token.split(".")
        return len(parts) == 3 and all(part and _BASE64URL.fullmatch(part) for part in parts)

    def claims(self, token: str, now_s: float) -> dict[str, Any] | None:
        """What *token* says, None for one that is not good; never raises."""
        signed, _, signature = token.rpartition(".")
        # What comes with a request may hold any bytes; those that are no text are no token either.
        if not token.isascii() or not hmac.compare_digest(signature, self._signature(signed)):
            return None
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        return claims if claims["exp"] > now_s else None

    def _signature(self, signed: str) -> str:
        return _text(hmac.digest(self._key, signed.encode(), hashlib.sha256))


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What a code or a refresh token stands for.

    Attributes:
        redirect_uri: Of a code, where it was sent; a refresh token has none.
    """

    client_id: str
    may_change: bool
    expires_s: float
    redirect_uri: str | None = None


class Grants:
    """Codes and refresh tokens that were given out; each is good once."""

    def __init__(self) -> None:
        self._given: OrderedDict[str, Grant] = OrderedDict()

    def give(self, grant: Grant) -> str:
        """A secret that stands for *grant*. Of very many the oldest are forgotten."""
        secret = secrets.token_urlsafe(24)
        self._given[secret] = grant
        while len(self._given) > _MAX_GRANTS:
            self._given.popitem(last=False)
        return secret

    def take(self, secret: str, now_s: float) -> Grant | None:
        """What *secret* stands for, once; None when it stands for nothing or is too old."""
        grant = self._given.pop(secret, None)
        return grant if grant is not None and now_s < grant.expires_s else None


def _encode(claims: dict[str, Any]) -> str:
    return _text(json.dumps(claims, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

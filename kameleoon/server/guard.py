"""
Who may use the page and the API.

On the loopback interface everybody on this machine may, but not the pages of other sites in a browser: forms carry a secret of their own,
and names of other hosts are refused, so that no site can point its name at this server. On other interfaces a token is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from kameleoon.server.answers import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

COOKIE = "kameleoon_local_server"
FORM_FIELD = "secret"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every page: nothing but the server's own style and script, and no frame of another site around it."""


class Guard:
    """
    Decides for one server.

    Args:
        token: Needed for page and API; None lets everybody in who reaches the server.
        is_loopback: Only names of this machine are then taken for the server's name.
    """

    def __init__(self, token: str | None = None, *, is_loopback: bool = True) -> None:
        self._token = token
        self._is_loopback = is_loopback
        self._key = secrets.token_bytes(32)

    @property
    def needs_token(self) -> bool:
        """Whether page and API ask for a token."""
        return self._token is not None

    def is_token(self, given: str) -> bool:
        """Whether *given* is the server's token."""
        return self._token is not None and hmac.compare_digest(given.encode(errors="replace"), self._token.encode())

    def check_host(self, request: web.Request) -> None:
        """
        Refuse names of other hosts on the loopback interface.

        Raises:
            web.HTTPForbidden: The request was sent to another name.
        """
        if self._is_loopback and not is_loopback_host(urlsplit(f"//{request.host}").hostname or ""):
            raise refusal(403, "other_host", "this server answers to localhost and 127.0.0.1 here")

    def may_read(self, request: web.Request) -> bool:
        """Whether a request brings the token, or the cookie of one who gave it, or needs neither."""
        if not self.needs_token or self.session(request) is not None:
            return True
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.is_token(token.strip())

    def session(self, request: web.Request) -> str | None:
        """The request's session, if it brings one of this server."""
        session = request.cookies.get(COOKIE, "")
        name, _, signature = session.partition(".")
        is_ours = session.isascii() and hmac.compare_digest(signature, self._sign(f"session {name}"))
        return session if is_ours else None

    def new_session(self) -> str:
        """The value of the cookie for a new session."""
        name = secrets.token_urlsafe(16)
        return f"{name}.{self._sign(f'session {name}')}"

    def form_secret(self, session: str) -> str:
        """What the forms of a session carry."""
        return self._sign(f"form {session}")

    def check_form(self, request: web.Request, form: Mapping[str, object]) -> None:
        """
        Refuse a form that this server's page did not make for this browser.

        Raises:
            web.HTTPForbidden: So it is.
        """
        origin = request.headers.get("Origin")
        is_from_elsewhere = request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"} or (
            origin is not None and urlsplit(origin).netloc != request.host
        )
        session = self.session(request)
        given = form.get(FORM_FIELD)
        if (
            is_from_elsewhere
            or session is None
            or not isinstance(given, str)
            or not hmac.compare_digest(given.encode(errors="replace"), self.form_secret(session).encode())
        ):
            raise refusal(403, "foreign_form", "the form is not of this page or is too old; open the page again")

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def is_loopback_host(name: str) -> bool:
    """Whether a host name or address stands for this machine alone."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


GUARD = web.AppKey("guard", Guard)

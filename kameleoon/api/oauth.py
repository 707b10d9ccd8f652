"""
Access in the name of a user: the OAuth authorization code with refresh.

::

    application = OAuthApplication(Credentials("my-application", "secret"), "https://app.example/callback")
    started = application.start()
    # Send the browser to started.url and keep started.state in its session. Back at the redirect URL:
    access = application.finish("https://app.example/callback?code=…&state=…", started.state, granted=keep)
    with AutomationApi(access) as api: ...

``granted`` is told of every grant; its ``refresh_token`` is for one use, so keep the newest. Later, `OAuthApplication.resume` goes on
with it.

Source:
    docs/automation-api.md, "Access". That ``state`` comes back is assumed from RFC 6749.
"""

from __future__ import annotations

import base64
import hmac
import random
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from kameleoon._transport.aiohttp_sender import AiohttpSender
from kameleoon._transport.encoding import query
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon.api.access import Access, Credentials, Grant, fetch_grant, form_request
from kameleoon.api.caller import Caller
from kameleoon.api.errors import CredentialsRefused, Sent
from kameleoon.api.limiter import Limiter, Rate
from kameleoon.api.twins import AsyncClient, BlockingClient, Side, call
from kameleoon.exceptions import KameleoonError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.flow import Flow
    from kameleoon._transport.message import Request

OAUTH_URL = "https://api.kameleoon.com"


class RedirectRefused(KameleoonError):
    """The URL to which the browser came back cannot be used: another state, an error, or no code."""


@dataclass(frozen=True, slots=True)
class Started:
    """
    A login that was begun.

    Attributes:
        url: Where the browser goes.
        state: Random; keep it with the browser's session until it comes back.
    """

    url: str
    state: str = field(repr=False)


class OAuthCalls(Side):
    """What both forms of an application can do."""

    _credentials: Credentials
    _redirect_uri: str
    _timeout_s: float

    def start(self) -> Started:
        """Begin a login."""
        state = secrets.token_urlsafe(24)
        pairs = [
            ("client_id", self._credentials.client_id),
            ("response_type", "code"),
            ("redirect_uri", self._redirect_uri),
            ("state", state),
        ]
        return Started(f"{self._caller.base_url}/oauth/authorize?{query(pairs)}", state)

    def read_redirect(self, url: str, state: str) -> str:
        """
        The code in the URL to which the browser came back.

        Args:
            url: The whole URL, or its path and query.
            state: As `start` gave it for this browser.

        Raises:
            RedirectRefused: The state is another one, so that the login was begun elsewhere; the user refused; there is no code.
        """
        pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        given = dict(pairs)
        if len(given) != len(pairs):
            raise RedirectRefused("the redirect has a parameter twice")
        if not state or not hmac.compare_digest(given.get("state", "").encode(), state.encode()):
            raise RedirectRefused("the redirect has another state: this login was not begun here")
        if "error" in given:
            raise RedirectRefused(f"the login was refused: {given['error'][:100]!r}")
        if not given.get("code"):
            raise RedirectRefused("the redirect has no code")
        return given["code"]

    @call
    def finish(self, url: str, state: str, *, granted: Callable[[Grant], None] | None = None) -> Flow[Access]:
        """
        Turn the redirect into access.

        Args:
            url: As for `read_redirect`.
            state: As for `read_redirect`.
            granted: Told of every grant, this one included; where the refresh token is kept.

        Raises:
            RedirectRefused: As `read_redirect`.
            CredentialsRefused: The service refuses the code or the application.
            ApiError: The call failed otherwise.
        """
        code = self.read_redirect(url, state)

        def build(timeout_s: float) -> Request:
            return self._form(
                {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri}, timeout_s
            )

        grant = yield from fetch_grant(build, self._timeout_s, random_source=random.SystemRandom())
        access = self._access(granted)
        access.keep(grant)
        return access

    def resume(self, refresh_token: str, *, granted: Callable[[Grant], None] | None = None) -> Access:
        """
        Access by a refresh token that was kept. Share the result: two of them would use up each other's refresh token.

        Args:
            refresh_token: The newest.
            granted: As for `finish`.
        """
        return self._access(granted, refresh_token)

    def _access(self, granted: Callable[[Grant], None] | None, refresh_token: str | None = None) -> Access:
        kept = [refresh_token]

        def keep(grant: Grant) -> None:
            # A service that does not rotate refresh tokens sends none with a refresh.
            kept[0] = grant.refresh_token or kept[0]
            if granted is not None:
                granted(grant)

        def build(timeout_s: float) -> Request:
            if kept[0] is None:
                raise CredentialsRefused(
                    "no access token: the login gave no refresh token, so the user has to log in again",
                    Sent("POST", f"{self._caller.base_url}/oauth/token"),
                )
            return self._form({"grant_type": "refresh_token", "refresh_token": kept[0]}, timeout_s)

        return Access(f"{self._caller.base_url}/oauth/token", build, granted=keep)

    def _form(self, pairs: dict[str, str], timeout_s: float) -> Request:
        text = f"{self._credentials.client_id}:{self._credentials.client_secret}".encode()
        return form_request(
            f"{self._caller.base_url}/oauth/token",
            pairs,
            timeout_s,
            authorization="Basic " + base64.b64encode(text).decode("ascii"),
        )


def _token_caller(base_url: str, timeout_s: float) -> Caller:
    limiter = Limiter(Rate(50, 10.0))
    return Caller(base_url, None, lambda _method, _has_token: limiter, timeout_s=timeout_s)


class OAuthApplication(OAuthCalls, BlockingClient):
    """
    An application that users let in.

    Args:
        credentials: Name and secret of the application.
        redirect_uri: As registered with the service.
        base_url: Of the service.
        timeout_s: Seconds for each attempt at the token endpoint.
    """

    def __init__(
        self, credentials: Credentials, redirect_uri: str, *, base_url: str = OAUTH_URL, timeout_s: float = 10.0
    ) -> None:
        super().__init__(_token_caller(base_url, timeout_s), RequestsSender())
        self._credentials, self._redirect_uri, self._timeout_s = credentials, redirect_uri, timeout_s


class AsyncOAuthApplication(OAuthCalls, AsyncClient):
    """`OAuthApplication` for asyncio: `finish` is awaited."""

    def __init__(
        self, credentials: Credentials, redirect_uri: str, *, base_url: str = OAUTH_URL, timeout_s: float = 10.0
    ) -> None:
        super().__init__(_token_caller(base_url, timeout_s), AiohttpSender())
        self._credentials, self._redirect_uri, self._timeout_s = credentials, redirect_uri, timeout_s

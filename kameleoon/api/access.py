"""
The access token of an API client: fetched when first needed, kept, renewed a minute before its end, shared within the process.

Unlike the SDK client, which goes on without a token when it can have none, a call here fails and says why.

Source:
    docs/automation-api.md, "Access"; the token's form follows RFC 6749.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeGuard
from weakref import WeakValueDictionary

from kameleoon._transport.encoding import encode
from kameleoon._transport.flow import exchange
from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.message import MIB, Pause, Request, Response, TransportError
from kameleoon._transport.retry import parse_retry_after, retry_wait
from kameleoon._transport.token import Claim, Step, TokenSource
from kameleoon.api.errors import CredentialsRefused, NoAnswer, UnexpectedAnswer, error_of, sent_of
from kameleoon.events import RequestType

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.flow import Flow

_TRIES = 3
_LOOK_AGAIN_S = 0.02
# A 403 to a token from the cache may mean that it was revoked. It is given up for that, but not for every entity that is refused.
_RENEW_ON_403_S = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    Client id and client secret of an account.

    Raises:
        ValueError: One of them is empty.
    """

    client_id: str
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_secret:
            raise ValueError("client_id and client_secret must not be empty")


@dataclass(frozen=True, slots=True)
class Grant:
    """
    What the token endpoint gave.

    Attributes:
        access_token: Opaque.
        expires_in_s: Its life in whole seconds, above 0.
        refresh_token: For the next grant, or ``None``.
    """

    access_token: str = field(repr=False)
    expires_in_s: int
    refresh_token: str | None = field(default=None, repr=False)


class Access:
    """
    One right of access and its token, for all threads and loops that share it.

    Args:
        token_url: The token endpoint.
        request: Builds the request for a token, given its timeout in seconds.
        granted: Told of every grant, before its token is used; where a refresh token is kept.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        token_url: str,
        request: Callable[[float], Request],
        *,
        granted: Callable[[Grant], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = TokenSource(token_url, "", "")
        self._token_url = token_url
        self._request = request
        self._granted = granted
        self._clock = clock
        self._random = random.SystemRandom()
        self._given_up_s = float("-inf")

    def __repr__(self) -> str:
        return f"Access({self._token_url.partition('?')[0]})"

    def obtain(self, timeout_s: float) -> Flow[str]:
        """
        The token, fetched first when none is at hand. One caller fetches for all.

        Raises:
            ApiError: There is none to be had; `CredentialsRefused` when the credentials are why.
        """
        while True:
            # The lease outlasts all tries of whoever holds the claim.
            advice = self._source.ask(self._clock(), _TRIES * (timeout_s + 60.0))
            if advice.claim is not None:
                return (yield from self._fetch(advice.claim, timeout_s))
            if advice.step is Step.USE and advice.token is not None:
                return advice.token
            yield Pause(_LOOK_AGAIN_S)

    def keep(self, grant: Grant) -> None:
        """Take over a grant that was made elsewhere, as by an authorization code."""
        if self._granted is not None:
            self._granted(grant)
        # A claim of nobody: it hands over the token and takes no right away from who may be fetching.
        self._source.fetched(Claim(0.0), grant.access_token, grant.expires_in_s, self._clock())

    def discard(self, token: str) -> None:
        """Forget *token*, which was refused with 401. A newer one stays."""
        self._source.discard(token)

    def discard_after_403(self, token: str) -> bool:
        """Forget *token*, which may be revoked, unless one was forgotten for that within the last minute."""
        now_s = self._clock()
        if now_s - self._given_up_s < _RENEW_ON_403_S:
            return False
        self._given_up_s = now_s
        self._source.discard(token)
        return True

    def _fetch(self, claim: Claim, timeout_s: float) -> Flow[str]:
        try:
            grant = yield from fetch_grant(self._request, timeout_s, random_source=self._random)
            if self._granted is not None:
                self._granted(grant)
            self._source.fetched(claim, grant.access_token, grant.expires_in_s, self._clock())
            return grant.access_token
        finally:
            self._source.abandoned(claim)


def fetch_grant(build: Callable[[float], Request], timeout_s: float, *, random_source: random.Random) -> Flow[Grant]:
    """
    Ask the token endpoint, again after 429, 5xx and lost answers.

    Args:
        build: Builds the request, given its timeout in seconds.
        timeout_s: Seconds for each attempt.
        random_source: For the waits.

    Raises:
        ApiError: No grant.
    """
    failures = 0
    while True:
        request = build(timeout_s)
        sent = sent_of(request, is_secret=True)
        failures += 1
        retry_after_s: float | None = None
        try:
            response = yield from exchange(request)
        except TransportError as error:
            if failures >= _TRIES:
                raise NoAnswer(f"no access token: {error}", sent) from error
        else:
            if response.is_success:
                return _read_grant(request, response)
            if response.status in {400, 401, 403}:
                refused = error_of(sent, response)
                raise CredentialsRefused(
                    f"no access token: the credentials are refused: {refused.args[0]}", sent, response.status
                )
            if failures >= _TRIES or not (response.status == 429 or response.status >= 500):
                raise error_of(sent, response)
            retry_after_s = parse_retry_after(response.headers.get("retry-after"), time.time())
        yield Pause(
            retry_wait(failures, first_s=0.5, ceiling_s=30.0, retry_after_s=retry_after_s, source=random_source)
        )


def _read_grant(request: Request, response: Response) -> Grant:
    sent = sent_of(request, is_secret=True)
    try:
        read = response.json()
    except ValueError:
        read = None
    read = read if isinstance(read, dict) else {}
    token, expires_in_s, refresh = read.get("access_token"), read.get("expires_in"), read.get("refresh_token")
    if not _is_token(token):
        raise UnexpectedAnswer(
            f"{request.method} {request.target}: no usable access_token in the answer", sent, response.status
        )
    if not isinstance(expires_in_s, int) or isinstance(expires_in_s, bool) or expires_in_s <= 0:
        raise UnexpectedAnswer(
            f"{request.method} {request.target}: no positive whole expires_in in the answer", sent, response.status
        )
    return Grant(token, expires_in_s, refresh if _is_token(refresh) else None)


def _is_token(value: object) -> TypeGuard[str]:
    # A token goes into a header, so a line break in it must not pass.
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


def form_request(url: str, pairs: dict[str, str], timeout_s: float, *, authorization: str | None = None) -> Request:
    """A form for the token endpoint. It holds secrets, so it goes nowhere else: a redirect is an answer like any other."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if authorization is not None:
        headers["Authorization"] = authorization
    body = "&".join(f"{name}={encode(value)}" for name, value in pairs.items()).encode()
    return Request(
        RequestType.ACCESS_TOKEN,
        "POST",
        url,
        headers=headers,
        body=body,
        timeout_s=timeout_s,
        max_body_bytes=MIB,
        follows_redirects=False,
    )


_shared: WeakValueDictionary[tuple[str, str, bytes], Access] = WeakValueDictionary()
_shared_lock = ForkSafeLock()


def shared_access(token_url: str, credentials: Credentials) -> Access:
    """
    The access of *credentials* by the client-credentials grant: the same object for all clients of the process, so that they use one token.

    It lives as long as some client uses it.
    """
    # Of the secret only a digest is kept as a key.
    key = (token_url, credentials.client_id, hashlib.sha256(credentials.client_secret.encode()).digest())

    def request(timeout_s: float) -> Request:
        return form_request(
            token_url,
            {
                "grant_type": "client_credentials",
                "client_id": credentials.client_id,
                "client_secret": credentials.client_secret,
            },
            timeout_s,
        )

    with _shared_lock:
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = Access(token_url, request)
        return found

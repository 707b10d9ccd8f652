"""
The access token that data requests carry: when it is fetched, kept, renewed and given up.

`TokenSource` is the state, shared by all threads and loops of a client and without I/O. `authorised` and `refresh_token` are the
conversations over it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from kameleoon._transport.deadline import Deadline
from kameleoon._transport.flow import exchange
from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.message import MIB, Pause, Request, Response, TransportError
from kameleoon.events import RequestType
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.flow import Flow

EXPIRY_GAP_S = 60.0
"""A token is not used in the last minute of its life."""

REFRESH_GAP_S = 1800.0
"""A token is renewed in the background in the last half hour of its life."""

SILENCE_S = 300.0
"""After a failure nobody asks for a token for so long; requests go without one."""

# Of the time a call may take, the token gets at most this part: a token endpoint that hangs must leave time for the request.
_TOKEN_SHARE = 0.5
# Callers that wait for another one's fetch look again after so many seconds, growing to the second number.
_LOOK_AGAIN_S = (0.005, 0.1)


class Step(Enum):
    """What a caller that needs a token does next."""

    USE = "use"
    FETCH = "fetch"
    WAIT = "wait"


class Claim:
    """The right of one caller to fetch a token, for itself and all others."""

    __slots__ = ("until_s",)

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s


@dataclass(frozen=True, slots=True)
class Advice:
    """
    An answer of `TokenSource.ask`.

    Attributes:
        step: ``USE`` *token* (``None``: send the request without one), ``FETCH`` with *claim*, or ``WAIT`` and ask again.
        token: The token to use.
        claim: To be given back with the outcome.
    """

    step: Step
    token: str | None = field(default=None, repr=False)
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    token: str = field(repr=False)
    obsolete_at_s: float
    expires_at_s: float


class TokenSource:
    """
    One client's access token. Thread-safe; a forked child keeps the token and drops its parent's unfinished fetch.

    Args:
        url: The OAuth endpoint.
        client_id: OAuth client id.
        client_secret: OAuth client secret.

    Source:
        docs/service/network.md 4.5.
    """

    __slots__ = ("_authorization", "_claim", "_held", "_lock", "_silent_until_s", "_url")

    def __init__(self, url: str, client_id: str, client_secret: str) -> None:
        credentials = f"{client_id}:{client_secret}".encode()
        self._url = url
        self._authorization = "Basic " + base64.b64encode(credentials).decode("ascii")
        self._lock = ForkSafeLock()
        self._held: _Held | None = None
        self._claim: Claim | None = None
        self._silent_until_s = float("-inf")

    def __repr__(self) -> str:
        return f"TokenSource({self._url.partition('?')[0]})"

    def request(self, timeout_s: float) -> Request:
        """Build the request for a token."""
        return Request(
            RequestType.ACCESS_TOKEN,
            "POST",
            self._url,
            headers={"Authorization": self._authorization, "Content-Type": "application/x-www-form-urlencoded"},
            body=b"grant_type=client_credentials",
            timeout_s=timeout_s,
            max_body_bytes=MIB,
        )

    def ask(self, now_s: float, lease_s: float) -> Advice:
        """
        Say what a caller that is about to send an authorised request does.

        Args:
            now_s: Monotonic seconds.
            lease_s: Seconds after which a claim given now counts as abandoned, as after a crash or a fork.
        """
        with self._lock:
            if self._held is not None and now_s < self._held.expires_at_s:
                return Advice(Step.USE, self._held.token)
            if now_s < self._silent_until_s:
                return Advice(Step.USE)
            if self._is_claimed(now_s):
                return Advice(Step.WAIT)
            self._claim = Claim(now_s + lease_s)
            return Advice(Step.FETCH, claim=self._claim)

    def refresh_due(self, now_s: float) -> bool:
        """Whether the token is in use but near its end, so that it is time for `refresh_token`."""
        with self._lock:
            return self._is_obsolete(now_s)

    def claim_refresh(self, now_s: float, lease_s: float) -> Claim | None:
        """Take the right to renew the token, or ``None`` when that is not due or somebody else is at it."""
        with self._lock:
            if not self._is_obsolete(now_s):
                return None
            self._claim = Claim(now_s + lease_s)
            return self._claim

    def fetched(self, claim: Claim, token: str, expires_in_s: int, now_s: float) -> None:
        """
        Keep a token that has arrived, unless it is too short-lived to be kept; one that is still valid then stays in use.

        Args:
            claim: The right it was fetched with.
            token: The token.
            expires_in_s: Its life in seconds from now, above 0.
            now_s: Monotonic seconds.
        """
        expires_at_s = now_s + expires_in_s - EXPIRY_GAP_S
        has_background_phase = expires_in_s > REFRESH_GAP_S
        with self._lock:
            self._drop(claim)
            self._silent_until_s = float("-inf")
            if expires_at_s > now_s:
                obsolete_at_s = now_s + expires_in_s - REFRESH_GAP_S if has_background_phase else expires_at_s
                self._held = _Held(token, obsolete_at_s, expires_at_s)
            elif self._held is not None and now_s < self._held.expires_at_s:
                # A renewal that brought nothing better would be due again at once.
                self._silent_until_s = now_s + SILENCE_S

    def failed(self, claim: Claim, now_s: float) -> None:
        """Note that a fetch brought no token: nobody asks again for `SILENCE_S`. A token that is still valid stays."""
        with self._lock:
            self._drop(claim)
            self._silent_until_s = now_s + SILENCE_S

    def abandoned(self, claim: Claim) -> None:
        """Note that a fetch was cancelled: the next caller may try. Without effect once *claim* was given back."""
        with self._lock:
            self._drop(claim)

    def discard(self, token: str) -> None:
        """Forget *token*, which the service refused. A newer one stays."""
        with self._lock:
            if self._held is not None and self._held.token == token:
                self._held = None

    def _is_claimed(self, now_s: float) -> bool:
        return self._claim is not None and now_s < self._claim.until_s

    def _is_obsolete(self, now_s: float) -> bool:
        held = self._held
        return (
            held is not None
            and held.obsolete_at_s <= now_s < held.expires_at_s
            and now_s >= self._silent_until_s
            and not self._is_claimed(now_s)
        )

    def _drop(self, claim: Claim) -> None:
        if self._claim is claim:
            self._claim = None


def authorised(
    request: Request, tokens: TokenSource, clock: Callable[[], float], *, last_attempt: bool = True
) -> Flow[Response]:
    """
    Send *request* with the client's token, fetching one first when none is at hand.

    When no token can be had the request goes out without one. A token that is answered with 401 is given up.

    Args:
        request: Its ``timeout_s`` is the time for everything, token included.
        tokens: The client's token.
        clock: Monotonic seconds.
        last_attempt: On a 401 to a token, send the request once more without one. ``False`` hands the 401 to the caller, whose
            next attempt gets a new token.

    Returns:
        The response to *request*, of any status.

    Raises:
        TransportError: *request* itself got no response. A failure of the token endpoint raises nothing.

    Source:
        docs/service/network.md 4.2, "401 on an authorised call", and 4.5; faults B13, D6.
    """
    deadline = Deadline(clock, request.timeout_s)
    token = yield from _obtain(tokens, clock, Deadline(clock, request.timeout_s * _TOKEN_SHARE))
    response = yield from exchange(deadline.limit(_bearing(request, token)))
    if response.status == 401 and token is not None:
        tokens.discard(token)
        if last_attempt and deadline.remaining() > 0:
            response = yield from exchange(deadline.limit(request))
    return response


def refresh_token(tokens: TokenSource, timeout_s: float, clock: Callable[[], float]) -> Flow[bool]:
    """
    Renew a token that nears its end, and do nothing when that is not due.

    Args:
        tokens: The client's token.
        timeout_s: Seconds for the request.
        clock: Monotonic seconds.

    Returns:
        Whether a new token was fetched.
    """
    claim = tokens.claim_refresh(clock(), timeout_s)
    if claim is None:
        return False
    return (yield from _fetch(tokens, claim, clock, timeout_s)) is not None


def _obtain(tokens: TokenSource, clock: Callable[[], float], deadline: Deadline) -> Flow[str | None]:
    look_again_s, ceiling_s = _LOOK_AGAIN_S
    while (left_s := deadline.remaining()) > 0:
        advice = tokens.ask(clock(), left_s)
        if advice.claim is not None:
            return (yield from _fetch(tokens, advice.claim, clock, left_s))
        if advice.step is Step.USE:
            return advice.token
        yield Pause(min(look_again_s, left_s))
        look_again_s = min(2 * look_again_s, ceiling_s)
    return None


def _fetch(tokens: TokenSource, claim: Claim, clock: Callable[[], float], timeout_s: float) -> Flow[str | None]:
    try:
        try:
            response = yield from exchange(tokens.request(timeout_s))
            token, expires_in_s = _read_grant(response)
        except (TransportError, ValueError) as error:
            tokens.failed(claim, clock())
            KameleoonLogger.warning(
                f"No access token ({error}). Requests go without one; the next try is in {SILENCE_S:.0f} s"
            )
            return None
        tokens.fetched(claim, token, expires_in_s, clock())
        if expires_in_s <= EXPIRY_GAP_S:
            KameleoonLogger.error(
                f"The access token lives {expires_in_s} s, too short to keep it: every request needs another one"
            )
        return token
    finally:
        tokens.abandoned(claim)


def _read_grant(response: Response) -> tuple[str, int]:
    if not response.is_success:
        raise ValueError(f"the token endpoint answered {response.status}")
    try:
        grant = response.json() if response.is_json else None
    except ValueError:
        grant = None
    token, expires_in_s = (
        (grant.get("access_token"), grant.get("expires_in")) if isinstance(grant, dict) else (None, None)
    )
    # A token goes into a header, so a line break in it must not pass.
    if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
        raise ValueError("the token endpoint's answer has no usable access_token")
    if not isinstance(expires_in_s, int) or isinstance(expires_in_s, bool) or expires_in_s <= 0:
        raise ValueError("the token endpoint's answer has no positive whole number expires_in")
    return token, expires_in_s


def _bearing(request: Request, token: str | None) -> Request:
    if token is None:
        return request
    return replace(request, headers={**request.headers, "Authorization": f"Bearer {token}"})

"""One call to a REST API as a flow: limiter, token, request, and what each answer means. No I/O."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kameleoon._transport.encoding import query
from kameleoon._transport.flow import exchange
from kameleoon._transport.message import Pause, Request, Response, TransportError
from kameleoon._transport.retry import parse_retry_after, retry_wait
from kameleoon.api.errors import NoAnswer, RateLimited, Sent, UnexpectedAnswer, error_of, sent_of
from kameleoon.events import RequestType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kameleoon._transport.flow import Flow
    from kameleoon.api.access import Access
    from kameleoon.api.limiter import Limiter

TRIES = 5
"""How often a call is sent in all when it meets 429, 5xx or lost answers. Source: docs/data-api.md, "Failures"."""

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0


class Caller:
    """
    Sends the calls of one client.

    Args:
        base_url: ``http(s)://host``, with port and path if wanted.
        access: The token; ``None`` sends requests without one.
        limiter: The limiter for a method (upper case) and whether a token goes along.
        timeout_s: Seconds for one attempt, above 0.
        patience_s: Longest time one call waits for rates and between tries, in seconds; ``None`` is for ever.
        anonymous_after_401: After a 401 to a new token too, try once without a token.
        renew_after_403: A 403 may mean a revoked token: try once with a new one.
        clock: Monotonic seconds.

    Raises:
        ValueError: An argument is not as described.
    """

    def __init__(
        self,
        base_url: str,
        access: Access | None,
        limiter: Callable[[str, bool], Limiter],
        *,
        timeout_s: float = 10.0,
        patience_s: float | None = None,
        anonymous_after_401: bool = False,
        renew_after_403: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(base_url)
        if "@" in parts.netloc:
            raise ValueError("base_url must not hold a user or password")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"base_url must look like https://host:port/path, not {base_url!r}")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, not {timeout_s!r}")
        self._base_url = base_url.rstrip("/")
        self._access = access
        self._limiter = limiter
        self._timeout_s = timeout_s
        self._patience_s = float("inf") if patience_s is None else patience_s
        self._anonymous_after_401 = anonymous_after_401
        self._renew_after_403 = renew_after_403
        self._clock = clock
        self._random = random.SystemRandom()

    def __repr__(self) -> str:
        return f"Caller({self._base_url})"

    @property
    def base_url(self) -> str:
        """Where the calls go, without a trailing slash."""
        return self._base_url

    def call(
        self,
        method: str,
        path: str,
        pairs: Iterable[tuple[str, str | None]] = (),
        body: bytes | None = None,
        *,
        content_type: str = "application/json",
        repeatable: bool = True,
    ) -> Flow[Response]:
        """
        Send one request, when the rates allow it, and again when that is safe and may help.

        Args:
            method: Upper case.
            path: From the base URL, with a leading slash and percent-encoded.
            pairs: The query; empty values are left out.
            body: Bytes.
            content_type: Of *body*.
            repeatable: The service does the same when it gets the request twice. Otherwise a lost answer or a 5xx ends the call.

        Returns:
            A response with a status of 200 to 299; or 404, when a DELETE was repeated after a lost answer.

        Raises:
            ApiError: Everything else.
        """
        query_string = query(pairs)
        headers = {} if body is None else {"Content-Type": content_type}
        request = Request(
            # Nobody observes these requests; the SDK's kinds are its own.
            RequestType.REMOTE_DATA,
            method,
            f"{self._base_url}{path}{'?' if query_string else ''}{query_string}",
            headers=headers,
            body=body,
            timeout_s=self._timeout_s,
        )
        return self._sent(request, repeatable)

    def json(
        self,
        kind: type[dict[str, Any] | list[Any]],
        method: str,
        path: str,
        pairs: Iterable[tuple[str, str | None]] = (),
        body: bytes | None = None,
        *,
        repeatable: bool = True,
    ) -> Flow[Any]:
        """
        Send a request like `call` and decode its answer, which must be a JSON object (``dict``) or array (``list``).

        Raises:
            ApiError: As `call`; `UnexpectedAnswer` when the body is something else.
        """
        response = yield from self.call(method, path, pairs, body, repeatable=repeatable)
        sent = Sent(method, f"{self._base_url}{path}")
        try:
            value = response.json()
        except ValueError as error:
            raise UnexpectedAnswer(f"{method} {sent.target}: the answer is not JSON", sent, response.status) from error
        if not isinstance(value, kind):
            wanted = "object" if kind is dict else "array"
            raise UnexpectedAnswer(f"{method} {sent.target}: the answer is not a JSON {wanted}", sent, response.status)
        return value

    def _sent(self, request: Request, repeatable: bool) -> Flow[Response]:
        sent = sent_of(request)
        patience_until_s = self._clock() + self._patience_s
        failures = 0
        renewed = anonymous = answer_lost = False
        while True:
            token = None
            if self._access is not None and not anonymous:
                token = yield from self._access.obtain(self._timeout_s)
            limiter = self._limiter(request.method, token is not None)
            yield from self._place(limiter, sent, patience_until_s)
            failure: Exception
            retry_after_s: float | None = None
            try:
                try:
                    response = yield from exchange(_bearing(request, token))
                finally:
                    limiter.ended(self._clock())
            except TransportError as error:
                answer_lost = True
                failure = NoAnswer(str(error), sent)
                failure.__cause__ = error
                again = repeatable
            else:
                if response.is_success:
                    return response
                if response.status == 404 and answer_lost and request.method == "DELETE":
                    return response  # The first attempt has deleted it.
                if response.status == 401 and token is not None and self._access is not None:
                    self._access.discard(token)
                    if not renewed:
                        renewed = True
                        continue
                    if self._anonymous_after_401:
                        anonymous = True
                        continue
                if (
                    response.status == 403
                    and self._renew_after_403
                    and token is not None
                    and not renewed
                    and self._access is not None
                    and self._access.discard_after_403(token)
                ):
                    renewed = True
                    continue
                retry_after_s = parse_retry_after(response.headers.get("retry-after"), time.time())
                failure = error_of(sent, response, retry_after_s)
                answer_lost = answer_lost or response.status >= 500
                # A request that was refused for its rate has not been carried out.
                again = response.status == 429 or (response.status >= 500 and response.status != 501 and repeatable)
            failures += 1
            if not again or failures >= TRIES:
                raise failure
            pause_s = retry_wait(
                failures,
                first_s=_FIRST_WAIT_S,
                ceiling_s=_LONGEST_WAIT_S,
                retry_after_s=retry_after_s,
                source=self._random,
            )
            if self._clock() + pause_s > patience_until_s:
                raise failure
            if isinstance(failure, RateLimited):
                limiter.close_until(self._clock() + pause_s)
            yield Pause(pause_s)

    def _place(self, limiter: Limiter, sent: Sent, patience_until_s: float) -> Flow[None]:
        """Wait for a place among the rates."""
        while wait_s := limiter.take(self._clock()):
            if self._clock() + wait_s > patience_until_s:
                raise RateLimited(
                    f"{sent.method} {sent.target}: not sent, the rates have no place for it within {wait_s:.1f} s",
                    sent,
                    retry_after_s=wait_s,
                )
            yield Pause(wait_s)


def _bearing(request: Request, token: str | None) -> Request:
    if token is None:
        return request
    return Request(
        request.kind,
        request.method,
        request.url,
        headers={**request.headers, "Authorization": f"Bearer {token}"},
        body=request.body,
        timeout_s=request.timeout_s,
    )

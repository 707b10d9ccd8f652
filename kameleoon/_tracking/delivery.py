"""
Deliver what the outbox holds: one request at a time, and what the answer means for the lines.

    accepted                      done with
    try later (5xx, 429, no answer)   back into the outbox, nothing more until the wait is over; then one line as a probe
    refused (400, 404, 413 …)     split, until the lines that are refused stand alone; those are given up and counted
    403 on several visitors       split: one of them is a bot, the others are not
    415 on a compressed body      the same lines again, uncompressed from now on

Bodies are compressed only once the service has said, in an ``Accept-Encoding`` field of an answer (RFC 9110, 12.5.3), that it
takes gzip.
"""

from __future__ import annotations

import gzip
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kameleoon._transport.message import Response, TransportError
from kameleoon._transport.retry import Verdict, judge, parse_retry_after, retry_wait
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._tracking.outbox import Batch, Outbox
    from kameleoon._transport.flow import Flow

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

MOST_REFUSALS = 40
"""
So many refusals in a row mean that the service refuses everything: more than it takes to find one line among the most that a
request holds. Then the rest waits as after a failure, rather than be given up with as many requests as there are lines.
"""

SMALLEST_COMPRESSED_BYTES = 1_024
"""A shorter body is not worth the work."""

_random = random.SystemRandom()


@dataclass(slots=True)
class Counters:
    """
    What became of lines so far. Any thread may call `add`.

    Attributes:
        produced: Lines put into the outbox.
        sent: Lines the service took.
        dropped: Lines given up: refused by the service, or the oldest of too many.
        retried: Requests that failed and are tried again.
    """

    produced: int = 0
    sent: int = 0
    dropped: int = 0
    retried: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, produced: int = 0, sent: int = 0, dropped: int = 0, retried: int = 0) -> None:
        """Count on. Lines are produced by whoever flushes and by the worker at the same time; a bare ``+=`` would lose some."""
        with self._lock:
            self.produced += produced
            self.sent += sent
            self.dropped += dropped
            self.retried += retried


@dataclass(frozen=True, slots=True)
class Body:
    """
    A request's body.

    Attributes:
        content: The bytes to send.
        is_gzip: Whether they are compressed.
        deadline_s: When an answer is of no use any more, in seconds of the client's clock; ``None`` for the usual timeout.
    """

    content: bytes
    is_gzip: bool = False
    deadline_s: float | None = None


class Delivery:
    """
    Sends the outbox's lines, one request at a time: whoever calls `deliver` while another is at it comes back at once.

    Args:
        outbox: Where the lines are.
        send: Makes a flow that posts a body and gives the response, authorised as far as possible.
        counters: Kept up to date.
        clock: Monotonic seconds.
        wall_clock: Seconds since 1970, for ``Retry-After`` dates.
    """

    def __init__(
        self,
        outbox: Outbox,
        send: Callable[[Body], Flow[Response]],
        counters: Counters,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._outbox = outbox
        self._send = send
        self._counters = counters
        self._clock = clock
        self._wall_clock = wall_clock
        self._failures = 0
        self._refusals = 0
        self._not_before = 0.0
        self._asked_not_before = 0.0
        self._takes_gzip = False
        self._refuses_gzip = False
        self._idle = threading.Condition()
        self._is_busy = False
        self._has_told_refusal = False

    @property
    def waits_s(self) -> float:
        """Seconds until the next attempt is due after a failure, 0 when none failed."""
        return max(0.0, self._not_before - self._clock()) if self._failures else 0.0

    def deliver(self, *, at_once: bool = False, deadline_s: float | None = None) -> Flow[bool]:
        """
        Send until the outbox is empty or the service is not to be reached. Never raises.

        Args:
            at_once: Do not wait for the end of our own pause after a failure; a pause that the service asked for is kept.
            deadline_s: No request lasts longer than this, in seconds of the clock.

        Returns:
            ``False`` when another caller was at it.
        """
        if (self._asked_not_before > self._clock()) if at_once else self.waits_s:
            return True
        with self._idle:
            if self._is_busy:
                return False
            self._is_busy = True
        try:
            while deadline_s is None or self._clock() < deadline_s:
                batch = self._outbox.take(max_lines=1 if self._failures else None)
                if batch is None or not (yield from self._deliver_batch(batch, deadline_s)):
                    break
            return True
        finally:
            with self._idle:
                self._is_busy = False
                self._idle.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait for the end of a delivery under way, for at most *timeout_s* seconds, and say whether it ended."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._is_busy, timeout_s)

    def _deliver_batch(self, batch: Batch, deadline_s: float | None) -> Flow[bool]:
        """Send one batch, in pieces if need be. ``False`` when the rest had better wait."""
        pieces = [batch]
        while pieces:
            piece = pieces.pop()
            try:
                if piece is not batch:
                    self._outbox.hold(piece)
                body = self._body(piece, deadline_s)
                response = yield from self._send(body)
            except TransportError:
                self._fail([*pieces, piece], None)
                return False
            except BaseException:
                # The flow was closed, or is broken: nothing taken may be lost.
                for rest in (piece, *pieces):
                    self._outbox.give_back(rest)
                raise
            self._learn_encodings(response)
            verdict = judge(response.status)
            if response.status == 403 and not piece.is_of_one_visitor:
                pieces.extend(reversed(piece.halves()))
            elif response.status == 415 and body.is_gzip:
                self._refuses_gzip = True
                pieces.append(piece)
            elif verdict is Verdict.ACCEPTED:
                self._succeed()
                self._counters.add(sent=len(piece.lines))
                self._outbox.settle(piece)
            elif verdict in (Verdict.RETRY, Verdict.UNAUTHORISED):
                self._fail([*pieces, piece], response)
                return False
            else:
                self._refusals += 1
                if len(piece.lines) > 1:
                    pieces.extend(reversed(piece.halves()))
                else:
                    self._refuse(piece, response.status)
                if self._refusals >= MOST_REFUSALS:
                    self._fail(pieces, response)
                    return False
        return True

    def _body(self, piece: Batch, deadline_s: float | None) -> Body:
        content = piece.body()
        if self._takes_gzip and not self._refuses_gzip and len(content) >= SMALLEST_COMPRESSED_BYTES:
            return Body(gzip.compress(content, compresslevel=1, mtime=0), is_gzip=True, deadline_s=deadline_s)
        return Body(content, deadline_s=deadline_s)

    def _learn_encodings(self, response: Response) -> None:
        said = response.headers.get("accept-encoding")
        if said is not None:
            self._takes_gzip = any(_accepts_gzip(coding) for coding in said.lower().split(","))

    def _refuse(self, piece: Batch, status: int) -> None:
        if not self._has_told_refusal:
            self._has_told_refusal = True
            KameleoonLogger.warning(
                "The service refused an event for good, with status %d; stats() counts them", status
            )
        self._counters.add(dropped=1)
        self._outbox.refuse(piece, status)

    def _succeed(self) -> None:
        if self._failures:
            KameleoonLogger.info("Events are sent again")
        self._failures = self._refusals = 0

    def _fail(self, rest: list[Batch], response: Response | None) -> None:
        for piece in rest:
            self._outbox.give_back(piece)
        self._failures += 1
        self._counters.add(retried=1)
        if self._failures == 1:
            reason = "no answer" if response is None else f"status {response.status}"
            KameleoonLogger.warning("Events could not be sent (%s), and wait", reason)
        asked = None if response is None else response.headers.get("retry-after")
        asked_s = parse_retry_after(asked, self._wall_clock())
        wait_s = retry_wait(
            self._failures,
            first_s=FIRST_WAIT_S,
            ceiling_s=LONGEST_WAIT_S,
            retry_after_s=asked_s,
            source=_random,
        )
        self._not_before = self._clock() + wait_s
        if asked_s is not None:
            self._asked_not_before = self._not_before


def _accepts_gzip(coding: str) -> bool:
    name, _, weight = coding.replace(" ", "").partition(";q=")
    is_refused = bool(weight) and not weight.strip("0.")
    return name in {"gzip", "x-gzip"} and not is_refused

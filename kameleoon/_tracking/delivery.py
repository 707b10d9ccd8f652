"""
Deliver what the outbox holds: one request at a time, and what the answer means for the lines.

    accepted                      done with
    try later (5xx, 429, no answer)   back into the outbox, nothing more until the wait is over; then one line as a probe
    refused (400, 404, 413 …)     split, until the lines that are refused stand alone; those are given up and counted
    403 on several visitors       split: one of them is a bot, the others are not
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kameleoon._transport.message import Response, TransportError
from kameleoon._transport.retry import Verdict, judge, parse_retry_after, retry_wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._tracking.outbox import Batch, Outbox
    from kameleoon._transport.flow import Flow

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

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


class Delivery:
    """
    Sends the outbox's lines.

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
        send: Callable[[bytes], Flow[Response]],
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
        self._not_before = 0.0

    @property
    def waits_s(self) -> float:
        """Seconds until the next attempt is due after a failure, 0 when none failed."""
        return max(0.0, self._not_before - self._clock()) if self._failures else 0.0

    def deliver(self, *, at_once: bool = False) -> Flow[None]:
        """
        Send until the outbox is empty or the service is not to be reached. Never raises.

        Args:
            at_once: Do not wait for the end of the pause after a failure.
        """
        if self.waits_s and not at_once:
            return
        while True:
            batch = self._outbox.take(max_lines=1 if self._failures else None)
            if batch is None:
                return
            reached = yield from self._deliver_batch(batch)
            if not reached:
                return

    def _deliver_batch(self, batch: Batch) -> Flow[bool]:
        """Send one batch, in pieces if need be. ``False`` when the rest had better wait."""
        pieces = [batch]
        while pieces:
            piece = pieces.pop()
            try:
                response = yield from self._send(piece.body())
            except TransportError:
                self._fail(pieces, piece, None)
                return False
            except BaseException:
                # The flow was closed, or is broken: nothing taken may be lost.
                for rest in (piece, *pieces):
                    self._outbox.give_back(rest)
                raise
            verdict = judge(response.status)
            if response.status == 403 and not piece.is_of_one_visitor:
                pieces.extend(reversed(piece.halves()))
            elif verdict is Verdict.ACCEPTED:
                self._failures = 0
                self._counters.add(sent=len(piece.lines))
                self._outbox.settle(piece)
            elif verdict in (Verdict.RETRY, Verdict.UNAUTHORISED):
                self._fail(pieces, piece, response)
                return False
            elif len(piece.lines) > 1:
                pieces.extend(reversed(piece.halves()))
            else:
                self._counters.add(dropped=1)
                self._outbox.settle(piece)
        return True

    def _fail(self, pieces: list[Batch], piece: Batch, response: Response | None) -> None:
        for rest in (*pieces, piece):
            self._outbox.give_back(rest)
        self._failures += 1
        self._counters.add(retried=1)
        asked = None if response is None else response.headers.get("retry-after")
        wait_s = retry_wait(
            self._failures,
            first_s=FIRST_WAIT_S,
            ceiling_s=LONGEST_WAIT_S,
            retry_after_s=parse_retry_after(asked, self._wall_clock()),
            source=_random,
        )
        self._not_before = self._clock() + wait_s

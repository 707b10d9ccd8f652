"""
One destination's queue: what goes in, in which batches it comes out, and what an answer means for it.

Each destination has one of its own, so that a slow or broken one delays nobody: not the application, which only puts events in; not the
service's tracking, which has its own outbox; and no other destination.
"""

from __future__ import annotations

import random
import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.message import Pause
from kameleoon.destinations.events import Exposure
from kameleoon.destinations.protocol import EventRefused, Result, Verdict
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event
    from kameleoon.destinations.protocol import Destination

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0

_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """
    An event that was given up after it had been taken in.

    Attributes:
        destination: Name of the destination.
        reason: Why, without secrets.
        content: What would have been sent.
    """

    destination: str
    reason: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Item:
    content: bytes
    since_s: float


class Forwarder:
    """
    Feeds one destination. Any thread may call any method; one delivery runs at a time.

    Args:
        destination: Where events go.
        consent: Whether a visitor's events may go there; ``None`` for all. Anything but ``True``, also an exception, drops the event.
        on_dead_letter: Told of each event that is given up; what it raises is logged.
        most_events: Most events kept; beyond, new ones are dropped.
        most_bytes: Most bytes of events kept.
        remembered: Of so many visitors and experiments the last variation is remembered, so that an exposure is told once.
        clock: Monotonic seconds.

    Attributes:
        counters: ``{"queued" | "sent" | "requests" | "bytes" | "retried" | "dropped <why>": count}``.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        consent: Callable[[str], bool | None] | None = None,
        on_dead_letter: Callable[[DeadLetter], None] | None = None,
        most_events: int = 10_000,
        most_bytes: int = 16 * 1024 * 1024,
        remembered: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._destination = destination
        self._consent = consent
        self._on_dead_letter = on_dead_letter
        self._most_events = most_events
        self._most_bytes = most_bytes
        self._remembered = remembered
        self._clock = clock
        self._lock = ForkSafeLock()
        self._queue: deque[_Item] = deque()
        self._pieces: list[list[_Item]] = []  # of a batch that is being sent, the next one last
        self._events = 0
        self._bytes = 0
        self._exposed: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._is_busy = False
        self._attempts = 0
        self._failures = 0
        self._not_before_s = 0.0
        self._asked_not_before_s = 0.0
        self._next_request_s = 0.0
        self._told: set[str] = set()

    def after_fork_in_child(self) -> None:
        """In a forked child: what was taken in before is the parent's to send."""
        self._queue = deque()
        self._pieces = []
        self._events = self._bytes = 0
        self._is_busy = False

    @property
    def pending(self) -> int:
        """Events taken in and neither sent nor given up."""
        return self._events

    def offer(self, event: Event) -> bool:
        """
        Take *event* in, unless the destination does not want it, the visitor does not, or there is no room. Never raises.

        Returns:
            Whether it will be sent.
        """
        try:
            if self._consent is not None and self._consent(event.visitor_code) is not True:
                return self._drop("consent")
            if self._was_exposed(event):
                return False
            mapped = self._destination.map(event)
            if mapped is None:
                return False
            return self._put(event, self._destination.check(mapped))
        except EventRefused as error:
            self._tell(error.code, f"an event is refused ({error})")
            return self._drop(error.code)
        except Exception as error:  # consent, mappers and destinations are the application's code
            self._tell("fault", f"an event could not be made ({type(error).__name__})")
            return self._drop("fault")

    def _put(self, event: Event, content: bytes) -> bool:
        limits = self._destination.limits
        if limits.size([len(content)]) > limits.batch_bytes:
            self._tell("size", "an event is larger than all that may be sent at once")
            return self._drop("size")
        with self._lock:
            if self._was_exposed(event):
                return False  # by another thread meanwhile
            is_full = self._events >= self._most_events or self._bytes + len(content) > self._most_bytes
            if not is_full:
                self._queue.append(_Item(content, self._clock()))
                self._events += 1
                self._bytes += len(content)
                self.counters["queued"] += 1
                self._remember(event)
                return True
        self._tell("full", "more events than are kept; new ones are dropped")
        return self._drop("full")

    def _was_exposed(self, event: Event) -> bool:
        if not isinstance(event, Exposure):
            return False
        return self._exposed.get((event.visitor_code, event.experiment_id)) == event.variation_id

    def _remember(self, event: Event) -> None:
        if not isinstance(event, Exposure):
            return
        key = (event.visitor_code, event.experiment_id)
        self._exposed[key] = event.variation_id
        self._exposed.move_to_end(key)
        if len(self._exposed) > self._remembered:
            self._exposed.popitem(last=False)

    @property
    def due_in_s(self) -> float | None:
        """Seconds until `deliver` has something to do, 0 for now; ``None`` when there is nothing."""
        with self._lock:
            now_s = self._clock()
            if self._pieces:
                due_s = now_s
            elif not self._queue:
                return None
            else:
                limits = self._destination.limits
                is_full = len(self._queue) >= min(limits.flush_events, limits.batch_events)
                is_full = is_full or self._bytes >= limits.batch_bytes
                due_s = now_s if is_full else self._queue[0].since_s + limits.flush_after_s
            return max(0.0, max(due_s, self._not_before_s) - now_s)

    def deliver(self, *, at_once: bool = False, deadline_s: float | None = None) -> Flow[bool]:
        """
        Send what is due. Never raises.

        Args:
            at_once: Send all, also what still waits for others; our own pause after a failure is not kept, one that was asked for is.
            deadline_s: Begin no request after this, in seconds of the clock.

        Returns:
            ``False`` when another caller was at it.
        """
        with self._lock:
            if self._is_busy:
                return False
            self._is_busy = True
        try:
            if not at_once and self.due_in_s != 0.0:
                return True
            if at_once:
                self._not_before_s = self._asked_not_before_s
            while self._not_before_s <= self._clock() and (deadline_s is None or self._clock() < deadline_s):
                piece = self._take()
                if not piece:
                    break
                yield from self._send(piece)
            return True
        finally:
            self._is_busy = False

    def _take(self) -> list[_Item]:
        with self._lock:
            if not self._pieces:
                limits = self._destination.limits
                batch: list[_Item] = []
                lengths: list[int] = []
                while self._queue and len(batch) < limits.batch_events:
                    lengths.append(len(self._queue[0].content))
                    if batch and limits.size(lengths) > limits.batch_bytes:
                        break
                    batch.append(self._queue.popleft())
                if batch:
                    self._pieces.append(batch)
            return self._pieces.pop() if self._pieces else []

    def _send(self, piece: list[_Item]) -> Flow[None]:
        is_settled = False
        try:
            rate = self._destination.limits.requests_per_s
            if rate is not None:
                wait_s = self._next_request_s - self._clock()
                if wait_s > 0:
                    yield Pause(wait_s)
                self._next_request_s = max(self._clock(), self._next_request_s) + 1.0 / rate
            self._count(requests=1)
            try:
                result = yield from self._destination.send([item.content for item in piece])
            except Exception as error:  # a destination of the application's own may raise anything
                result = Result(Verdict.RETRY, type(error).__name__)
            self._settle(piece, result)
            is_settled = True
        finally:
            # A flow that is closed half way, by a client that closes, has not sent it.
            if not is_settled:
                self._pieces.append(piece)

    def _settle(self, piece: list[_Item], result: Result) -> None:
        verdict = result.verdict
        if verdict is Verdict.RETRY:
            self._attempts += 1
            self._failures += 1
            self._wait(result.wait_s)
            if self._attempts < self._destination.limits.attempts:
                self._count(retried=1)
                self._pieces.append(piece)
                return
            self._give_up(piece, "exhausted", result.reason)
        elif verdict is Verdict.SPLIT and len(piece) > 1:
            middle = len(piece) // 2
            self._pieces += [piece[middle:], piece[:middle]]
        elif verdict is Verdict.REPACK:
            with self._lock:
                for waiting in [*self._pieces, piece]:
                    self._queue.extendleft(reversed(waiting))
                self._pieces.clear()
        elif verdict is Verdict.SENT:
            self._failures = 0
            self._asked_not_before_s = 0.0
            self._count(sent=len(piece), bytes=sum(len(item.content) for item in piece))
            self._release(piece)
        else:
            if verdict is Verdict.CLOSED:
                self._asked_not_before_s = self._not_before_s = self._clock() + (result.wait_s or LONGEST_WAIT_S)
            self._give_up(piece, "refused" if verdict is Verdict.SPLIT else "closed", result.reason)
        self._attempts = 0

    def _wait(self, asked_s: float | None) -> None:
        now_s = self._clock()
        longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures - 1, 30))
        # Drawn from all of it, so that many processes do not come back in step.
        self._not_before_s = now_s + max(asked_s or 0.0, longest_s * _random.random())
        self._asked_not_before_s = now_s + (asked_s or 0.0)

    def _give_up(self, piece: list[_Item], why: str, reason: str) -> None:
        self._tell(why, f"{len(piece)} events are given up ({reason})")
        self._drop(why, len(piece))
        self._release(piece)
        if self._on_dead_letter is None:
            return
        for item in piece:
            try:
                self._on_dead_letter(DeadLetter(self._destination.name, reason, item.content))
            except Exception as error:
                self._tell("dead letter", f"a dead letter could not be kept ({type(error).__name__})")

    def _release(self, piece: list[_Item]) -> None:
        with self._lock:
            self._events -= len(piece)
            self._bytes -= sum(len(item.content) for item in piece)

    def _drop(self, why: str, count: int = 1) -> bool:
        self._count(**{f"dropped {why}": count})
        return False

    def _count(self, **counts: int) -> None:
        with self._lock:
            self.counters.update(counts)

    def _tell(self, why: str, text: str) -> None:
        """Log *text*, the first time of its kind."""
        if why not in self._told:
            self._told.add(why)
            KameleoonLogger.warning(f"Destination {self._destination.name}: {text}; this is said once")

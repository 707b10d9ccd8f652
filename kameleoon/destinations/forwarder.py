"""
One destination's deliveries: which events it is told, in which batches, and what an answer means for them.

Each destination has a forwarder and a queue of its own, so that a slow or broken one delays nobody: not the application, which only adds to
queues; not the service's tracking; and no other destination. The destination's code is called in `Forwarder.deliver` alone.
"""

from __future__ import annotations

import random
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kameleoon._tracking.queues import Bounds, Entry, MemoryQueue
from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.message import Pause
from kameleoon.destinations.events import Exposure, from_text, to_text
from kameleoon.destinations.feed import DeadLetter, Feed
from kameleoon.destinations.protocol import EventRefused, Limits, Result, Verdict
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kameleoon._tracking.queues import Queue
    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event
    from kameleoon.destinations.protocol import Destination

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0

FAULTS = 5
"""So often in a row the destination's own code may fail on a batch; then smaller ones are tried, and what fails alone is given up."""

_IS_DOWN = 2
"""So many failures in a row are told in the log, each time; a single one is nothing unusual."""

LOOK_S = 5.0
"""So often somebody looks for events on disk that another process left."""

_LOOK_AGAIN_S = 0.02

_AT_ONCE = 100
"""Events taken from the queue in one go, at least."""

_random = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class _Item:
    entry: Entry
    content: bytes


class Forwarder:
    """
    Feeds one destination. Any thread may call any method; one delivery runs at a time.

    Args:
        feed: The destination, and how it is fed.
        queue: Where its events wait; in memory without it.
        remembered: Of so many visitors it is remembered what they were exposed to, so that an exposure is told once.
        clock: Monotonic seconds.

    Attributes:
        counters: ``{"queued" | "sent" | "requests" | "bytes" | "retried" | "left out" | "dropped <why>": count}``.
    """

    def __init__(
        self,
        feed: Feed | Destination,
        queue: Queue | None = None,
        *,
        remembered: int = 100_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.feed = feed if isinstance(feed, Feed) else Feed(feed)
        bounds = Bounds(self.feed.most_events, self.feed.most_bytes)
        self.queue: Queue = queue if queue is not None else MemoryQueue(self.feed.name, bounds)
        self._destination = self.feed.destination
        self._remembered = remembered
        self._clock = clock
        self._lock = ForkSafeLock()
        self._exposed: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._waiting = 0
        self._waits_since_s: float | None = None
        self._is_busy = False
        self._failures = 0
        self._tries = 0
        self._faults = 0
        self._most: int | None = None
        self._not_before_s = 0.0
        self._asked_not_before_s = 0.0
        self._next_request_s = 0.0
        self._told: set[str] = set()
        self._known_limits = Limits()

    @property
    def pending(self) -> int:
        """Events in the queue, those on their way too."""
        return len(self.queue)

    # --- what is taken in ---------------------------------------------------------------------------------------------

    def admit(self, event: Event) -> str | None:
        """
        What to put into the queue for *event*, ``None`` for nothing: an exposure is told once. Never raises.

        To be followed by `noticed`, once it is there.
        """
        if self._is_known(event):
            return None
        try:
            text = to_text(event)
        except Exception as error:  # details come from whoever made the event
            self.drop("fault", f"an event could not be kept ({type(error).__name__})")
            return None
        self._count(queued=1)
        return text

    def noticed(self, count: int) -> bool:
        """
        Take note of *count* more events in the queue.

        Returns:
            Whether `due_in_s` has become shorter.
        """
        turned_away = self.queue.turned_away
        if turned_away:
            self._tell("full", "more events than are kept; new ones are dropped")
        with self._lock:
            if turned_away:
                self.counters["dropped full"] = turned_away
            is_first, was_full = self._waits_since_s is None, self._is_full
            if is_first:
                self._waits_since_s = self._clock()
            self._waiting += count
            return is_first or (self._is_full and not was_full)

    def offer(self, event: Event) -> bool:
        """Put *event* into the queue, without regard to legal consent. Gives whether it is there now; never raises."""
        text = self.admit(event)
        if text is None:
            return False
        turned_away = self.queue.turned_away
        self.queue.put([text])
        self.noticed(1)
        return self.queue.turned_away == turned_away

    def drop(self, why: str, text: str = "", count: int = 1) -> None:
        """Count events that are not told, and say so the first time if there is a *text*."""
        self._count(**{f"dropped {why}": count})
        if text:
            self._tell(why, text)

    def forget(self, code: str) -> None:
        """A visitor's session is over: what he is exposed to in the next one is told again."""
        with self._lock:
            self._exposed.pop(code, None)

    def _is_known(self, event: Event) -> bool:
        if not isinstance(event, Exposure):
            return False
        with self._lock:
            known = self._exposed.setdefault(event.visitor_code, {})
            if known.get(event.experiment_id) == event.variation_id:
                return True
            known[event.experiment_id] = event.variation_id
            self._exposed.move_to_end(event.visitor_code)
            if len(self._exposed) > self._remembered:
                self._exposed.popitem(last=False)
            return False

    # --- what goes out ------------------------------------------------------------------------------------------------

    @property
    def due_in_s(self) -> float | None:
        """Seconds until `deliver` has something to do, 0 for now; ``None`` when there is nothing."""
        with self._lock:
            now_s = self._clock()
            if self._waits_since_s is None:
                return max(LOOK_S, self._not_before_s - now_s) if self.queue.is_durable else None
            due_s = now_s if self._is_full else self._waits_since_s + self._limits.flush_after_s
            return max(0.0, max(due_s, self._not_before_s) - now_s)

    @property
    def _is_full(self) -> bool:
        limits = self._limits
        return self._waiting >= min(limits.flush_events, limits.batch_events)

    def deliver(self, *, at_once: bool = False, deadline_s: float | None = None) -> Flow[bool]:
        """
        Send what is due. Never raises.

        Args:
            at_once: Send all, also what still waits for others; our own pause after a failure is not kept, one that was asked for is.
            deadline_s: Begin no request after this, in seconds of the clock.

        Returns:
            ``False`` when another caller was at it. With a deadline the other's end is waited for.
        """
        while not self._begin():
            if deadline_s is None or self._clock() >= deadline_s:
                return False
            yield Pause(_LOOK_AGAIN_S)
        try:
            if at_once:
                self._not_before_s = self._asked_not_before_s
            # Without anything known of, this is a look for what another process left.
            elif self._waits_since_s is not None and self.due_in_s:
                return True
            while self._may_begin(deadline_s):
                with self._lock:
                    self._waiting, self._waits_since_s = 0, None
                entries = self.queue.take(self._most or max(_AT_ONCE, self._limits.batch_events))
                if not entries:
                    return True
                yield from self._deliver(entries, deadline_s)
            with self._lock:
                # What is left is due as soon as it may be sent.
                self._waiting, self._waits_since_s = self._limits.flush_events, self._clock()
            return True
        finally:
            self._is_busy = False

    @property
    def _limits(self) -> Limits:
        # Looked at in the middle of everything, so that what goes wrong in the application's code must end here.
        try:
            limits: Any = self._destination.limits
            if isinstance(limits, Limits):
                self._known_limits = limits
        except Exception as error:
            self._tell("limits", f"its limits could not be had ({type(error).__name__})")
        return self._known_limits

    def _begin(self) -> bool:
        with self._lock:
            is_first, self._is_busy = not self._is_busy, True
            return is_first

    def _may_begin(self, deadline_s: float | None) -> bool:
        now_s = self._clock()
        return self._not_before_s <= now_s and (deadline_s is None or now_s < deadline_s)

    def _deliver(self, entries: list[Entry], deadline_s: float | None) -> Flow[None]:
        pieces: list[list[_Item]] = []
        rest = entries
        try:
            pieces = self._packed(self._prepare(entries))
            rest = []
            while pieces and self._may_begin(deadline_s):
                rate = self._limits.requests_per_s
                if rate is not None:
                    wait_s = self._next_request_s - self._clock()
                    if wait_s > 0:
                        yield Pause(wait_s)
                    self._next_request_s = max(self._clock(), self._next_request_s) + 1.0 / rate
                piece = pieces[-1]
                self.queue.renew()
                self._count(requests=1)
                result = yield from self._attempt([item.content for item in piece])
                pieces.pop()
                if not self._settle(piece, result, pieces):
                    break
        finally:
            # Nothing taken may be lost, also when the flow is closed half way by a client that closes.
            self.queue.give_back(rest or [item.entry for piece in reversed(pieces) for item in piece])

    def _prepare(self, entries: Iterable[Entry]) -> list[_Item]:
        """What is to be sent of *entries*; the others are settled here."""
        items: list[_Item] = []
        left_out: list[Entry] = []
        letters: list[tuple[Entry, str]] = []
        for entry in entries:
            try:
                content = self._content(entry)
                if content is None:
                    left_out.append(entry)
                else:
                    items.append(_Item(entry, content))
            except EventRefused as error:
                self.drop(error.code, f"an event is refused ({error})")
                letters.append((entry, str(error)))
            except Exception as error:  # consent, mappers and destinations are the application's code
                self.drop("fault", f"an event could not be made ({type(error).__name__})")
                letters.append((entry, type(error).__name__))
        if left_out:
            self.queue.settle(left_out)
        if letters:
            self._bury([(entry, reason, entry.text.encode()) for entry, reason in letters])
        return items

    def _content(self, entry: Entry) -> bytes | None:
        event = from_text(entry.text)
        if self.feed.asks is not None and self.feed.asks(event.visitor_code) is not True:
            self.drop("consent")
            return None
        mapped = self._destination.map(event)
        if mapped is None:
            self._count(**{"left out": 1})
            return None
        content: Any = self._destination.check(mapped)
        if not isinstance(content, bytes):
            raise TypeError("check gave no bytes")
        limits = self._limits
        if limits.size([len(content)]) > limits.batch_bytes:
            raise EventRefused("size", "it is larger than all that may be sent at once")
        return content

    def _packed(self, items: Iterable[_Item]) -> list[list[_Item]]:
        """Batches within the limits, the first one last."""
        limits = self._limits
        batches: list[list[_Item]] = []
        lengths: list[int] = []
        for item in items:
            lengths.append(len(item.content))
            if not batches or len(lengths) > limits.batch_events or limits.size(lengths) > limits.batch_bytes:
                batches.append([])
                lengths = [len(item.content)]
            batches[-1].append(item)
        return batches[::-1]

    def _attempt(self, batch: list[bytes]) -> Flow[Result | str]:
        """The destination's answer, or how its own code failed."""
        try:
            result: Any = yield from self._destination.send(batch)
        except Exception as error:  # a destination of the application's own may raise anything
            return type(error).__name__
        return result if isinstance(result, Result) else f"send gave {type(result).__name__}"

    def _settle(self, piece: list[_Item], result: Result | str, pieces: list[list[_Item]]) -> bool:
        """Do with *piece* what *result* says. ``False`` when the rest has to be taken anew."""
        if isinstance(result, str):
            return self._settle_fault(piece, result, pieces)
        verdict = result.verdict
        limits = self._limits
        self._tries += 1
        self._faults = 0
        if verdict is Verdict.RETRY:
            self._wait(result.wait_s)
            if limits.attempts is None or self._tries < limits.attempts:
                self._count(retried=1)
                if self._failures == _IS_DOWN:
                    KameleoonLogger.warning(
                        f"Destination {self.feed.name} takes nothing ({result.reason}): events are kept and tried again"
                    )
                pieces.append(piece)
                return False
            self._give_up(piece, "exhausted", result.reason)
        elif verdict is Verdict.SPLIT and len(piece) > 1:
            middle = len(piece) // 2
            pieces += [piece[middle:], piece[:middle]]
        elif verdict is Verdict.REPACK:
            pieces.append(piece)
            return False
        elif verdict is Verdict.SENT:
            self.queue.settle([item.entry for item in piece])
            self._failures = 0
            self._asked_not_before_s = 0.0
            self._most = None if self._most is None or self._most >= _AT_ONCE else 2 * self._most
            self._count(sent=len(piece), bytes=sum(len(item.content) for item in piece))
        else:
            if verdict is Verdict.CLOSED:
                self._asked_not_before_s = self._not_before_s = self._clock() + (result.wait_s or LONGEST_WAIT_S)
            self._give_up(piece, "refused" if verdict is Verdict.SPLIT else "closed", result.reason)
        self._tries = 0
        return True

    def _settle_fault(self, piece: list[_Item], fault: str, pieces: list[list[_Item]]) -> bool:
        """
        Code that fails now may work later, so the batch waits; code that fails on one event must not hold up the others for ever.

        So after some attempts smaller batches are tried, and an event that fails alone, again and again, is given up.
        """
        self._tell("failing", f"it failed ({fault}) and will be tried again")
        self._wait(None)
        self._faults += 1
        if self._faults >= FAULTS:
            if len(piece) == 1:
                self._faults = 0
                self._give_up(piece, "fault", fault)
                return True
            self._most = len(piece) // 2
            if self._most == 1:
                self._faults = 0
        self._count(retried=1)
        pieces.append(piece)
        return False

    def _wait(self, asked_s: float | None) -> None:
        self._failures += 1
        now_s = self._clock()
        longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures - 1, 30))
        # Drawn from all of it, so that many processes do not come back in step.
        self._not_before_s = now_s + max(asked_s or 0.0, longest_s * _random.random())
        self._asked_not_before_s = now_s + (asked_s or 0.0)

    def _give_up(self, piece: list[_Item], why: str, reason: str) -> None:
        self.drop(why, f"{len(piece)} events are given up ({reason})", len(piece))
        self._bury([(item.entry, reason, item.content) for item in piece])

    def _bury(self, letters: list[tuple[Entry, str, bytes]]) -> None:
        self.queue.refuse([(entry, reason) for entry, reason, _ in letters])
        if self.feed.on_dead_letter is None:
            return
        for _, reason, content in letters:
            try:
                self.feed.on_dead_letter(DeadLetter(self.feed.name, reason, content))
            except Exception as error:
                self._tell("dead letter", f"a dead letter could not be kept ({type(error).__name__})")

    def _count(self, **counts: int) -> None:
        with self._lock:
            self.counters.update(counts)

    def _tell(self, why: str, text: str) -> None:
        """Log *text*, the first time of its kind."""
        if why not in self._told:
            self._told.add(why)
            KameleoonLogger.warning(f"Destination {self.feed.name}: {text}; this is said once")

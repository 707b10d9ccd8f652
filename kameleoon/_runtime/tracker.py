"""Who has something to send, and the way of it: registered, claimed from the store, made into lines and events, delivered."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from kameleoon._runtime.intake import map_to_itself
from kameleoon._runtime.waiting import Waiting
from kameleoon._tracking.lines import make_lines
from kameleoon._transport.message import Pause
from kameleoon._visitor.unsent import is_pending, take_unsent
from kameleoon.logging.kameleoon_logger import KameleoonLogger

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import Any, TypeAlias

    from kameleoon._runtime.configuration import Configuration
    from kameleoon._runtime.forwarding import Events, Forwarding
    from kameleoon._tracking.delivery import Counters, Delivery
    from kameleoon._tracking.lines import Line
    from kameleoon._tracking.outbox import Outbox
    from kameleoon._transport.flow import Call, Flow
    from kameleoon._visitor.nonces import Nonces
    from kameleoon._visitor.record import Visitor
    from kameleoon._visitor.unsent import Unsent
    from kameleoon.stores import Claim, VisitorStore

    # ``None`` where others should have their turn.
    Steps: TypeAlias = Generator[Call[Any] | None, None, T]

_STEP = 40
"""Visitors claimed between two pauses of background work: about a millisecond, so that no event loop waits long for its turn."""

_PAUSE = Pause(0.0005)
"""Long enough that other threads, or the other tasks of an event loop, get their turn."""

_HANDED_OVER = 2_000
"""Lines and events put into the outbox at once, at least: an outbox on disk waits for the disk each time."""

_LOOKED_AT = 100
"""Visitors with events that wait for their consent who are looked at in one round."""

_MANY = 2_000
"""From so many visitors on, a flush of all looks through them in the background rather than in the caller's thread."""


@dataclass(slots=True, eq=False)
class Ready:
    """
    What goes into the outbox together: all of it, or nothing.

    Attributes:
        lines: For the service.
        events: For destinations.
        lock: Held while something is taken from visitors and added, and while all is put into the outbox. Between two steps whoever must
            have everything in the outbox may put it there.
    """

    lines: list[Line] = field(default_factory=list)
    events: Events = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __len__(self) -> int:
        return len(self.lines) + sum(map(len, self.events.values()))


class Tracker:
    """
    One client's tracking.

    Args:
        configuration: For consent and the mapping index.
        store: Where visitors are.
        outbox: Where lines wait.
        delivery: Sends them.
        counters: Kept up to date.
        forwarding: The destinations, told of the same as the service.
        is_offline: Whether nothing is ever sent to the service.
        needs_project: Whether everything stays with the visitors until there is a configuration.

    Attributes:
        register: Call it with a visitor code that has something to send; costs no more than adding to a set.
    """

    def __init__(
        self,
        configuration: Configuration,
        store: VisitorStore,
        outbox: Outbox,
        delivery: Delivery,
        counters: Counters,
        forwarding: Forwarding,
        *,
        is_offline: bool = False,
        needs_project: bool = False,
    ) -> None:
        self._configuration = configuration
        self._store = store
        self._waiting = Waiting(store)
        self._outbox = outbox
        self._delivery = delivery
        self._counters = counters
        self._forwarding = forwarding
        self._registered: set[str] = set()
        self._announced: set[str] = set()
        self._asked: list[Callable[[], Steps[None]]] = []
        self._under_way: set[Ready] = set()
        self._at_once = False
        self._deadline_s: float | None = None
        self._has_told_broken = False
        self._is_dropping = False
        self._is_offline = is_offline
        self._needs_project = needs_project
        self._is_idle = is_offline and not forwarding
        self.register = _ignore if self._is_idle else self._registered.add

    @property
    def pending(self) -> int:
        """Lines waiting to be sent."""
        return len(self._outbox)

    @property
    def _is_waiting(self) -> bool:
        return self._needs_project and not self._configuration.is_ready

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def track(self) -> Flow[None]:
        """One round: what is registered and what of ended sessions is unsent goes out."""
        self._forwarding.renew()
        yield from _at_leisure(self._collect())
        if not self._is_offline:
            yield from self._delivery.deliver()

    def deliver_now(self) -> Flow[None]:
        """Send what the outbox holds, and what `flush_all` left to be looked through."""
        at_once, self._at_once = self._at_once, False
        deadline_s, self._deadline_s = self._deadline_s, None
        yield from _at_leisure(self._collect_asked())
        if not self._is_offline:
            yield from self._delivery.deliver(at_once=at_once, deadline_s=deadline_s)

    def press(self, deadline_s: float | None = None) -> None:
        """
        Have the next `deliver_now` try at once, without waiting for the end of our own pause after a failure.

        Args:
            deadline_s: No request of it lasts longer than this, in seconds of the delivery's clock.
        """
        self._at_once = True
        self._deadline_s = deadline_s

    # --- what is to be sent -------------------------------------------------------------------------------------------

    def flush_all(self, *, at_once: bool, by_caller: bool) -> bool:
        """
        Register every visitor that holds anything that is, or was, to be sent. Touches no session.

        A visitor with nothing new is told as active once in his session, however often all are flushed.

        Args:
            at_once: Move what they have into the outbox instead, as the service's SDK does for an instant flush of all: a round
                for each visitor, of which the first takes all that were registered. So a registered visitor who holds data is
                told once more, as active, unless he was the first.
            by_caller: Look through them here and now. Otherwise, if they are many, `track` or `deliver_now` does.

        Returns:
            Whether they are looked through.

        Source:
            ``tests/vectors/tracking.json``, cases ``tracking-010-03`` and ``tracking-011-06``.
        """
        steps = self._collect_all if at_once else self._register_all
        if by_caller or (not self._waiting.is_shared and len(self._store) < _MANY):
            _exhaust(steps())
            return True
        if steps not in self._asked:
            self._asked.append(steps)
        return False

    def collect(self) -> None:
        """Move what is registered, and what ended sessions had unsent, into the outbox."""
        _exhaust(self._collect())

    def collect_everything(self) -> None:
        """Move all that is unsent of anybody into the outbox, registered or not; announces nobody, and waits for nobody's consent."""
        if not self._is_idle:
            _exhaust(self._register_pending())
        self.collect()
        _exhaust(self._collect_decided(self._forwarding.waiting_codes(), is_last=True))
        if self._is_waiting and self._registered:
            KameleoonLogger.warning(
                "Nothing is told of %d visitors: there was never a configuration", len(self._registered)
            )

    def claim(self, code: str, *, is_done: bool, by_caller: bool) -> bool:
        """
        Move what a visitor has unsent into the outbox.

        Args:
            code: The visitor.
            is_done: Whether he leaves the register with that. If not, the next round tells of him once more, as active.
            by_caller: Do it here and now. Otherwise, when that means waiting, `track` or `deliver_now` does it.

        Returns:
            Whether it is done.
        """
        if self._is_waiting:
            self.register(code)
            return True
        if is_done:
            self._registered.discard(code)
        if by_caller or not self._waiting.is_shared:
            _exhaust(self._claim_all([code], lambda _: True))
            return True
        self._asked.append(lambda: self._claim_all([code], lambda _: True))
        return False

    def consented(self, code: str) -> None:
        """The visitor gave or refused consent: destinations need not wait for his word any more."""
        visitor = self._store.peek(code) if self._forwarding else None
        if visitor is not None:
            self._forwarding.hasten(code)
            if is_pending(visitor.record):
                self.register(code)

    def _register_pending(self) -> Steps[None]:
        for code in (yield from self._waiting.pending()):
            self.register(code)

    def _collect(self) -> Steps[None]:
        yield from self._collect_asked()
        yield from self._collect_decided(self._forwarding.waiting_codes(_LOOKED_AT))
        yield from self._collect_ended()
        yield from self._claim_registered()

    def _collect_asked(self) -> Steps[None]:
        while self._asked:
            yield from self._asked.pop(0)()

    def _register_all(self) -> Steps[None]:
        yield from self._find_news(self.register)

    def _find_news(self, tell: Callable[[str], None]) -> Steps[str | None]:
        """Tell of every code of which a flush of all tells something; gives the first code there is, whatever there is of it."""
        first = None
        for entries in _in_steps((yield from self._waiting.codes())):
            first = entries[0][0] if first is None else first
            codes = [code for code, is_sendable in entries if is_sendable]
            yield from self._waiting.look([code for code in codes if code in self._announced])
            for code in codes:
                if self._is_news(code):
                    tell(code)
            yield None
        return first

    def _collect_all(self) -> Steps[None]:
        if self._is_waiting:
            yield from self._register_all()
            return
        news: list[str] = []
        first = yield from self._find_news(news.append)
        if news and news[0] == first:
            self.register(news.pop(0))
        yield from self._collect_ended()
        yield from self._claim_registered()
        self._registered.update(news)
        yield from self._claim_all(news, self._is_taken)

    def _is_news(self, code: str) -> bool:
        """Whether a flush of all tells of *code*: he has something new, or was not announced in this session."""
        if code not in self._announced:
            self._announced.add(code)
            return True
        visitor = self._store.peek(code)
        if visitor is None:
            return False
        return is_pending(visitor.record)

    def _claim_registered(self) -> Steps[None]:
        if self._is_waiting:
            return
        yield from self._claim_all(list(self._registered), self._is_taken)

    def _is_taken(self, code: str) -> bool:
        """Take *code* out of the register; of several threads at it only one has it, so that nobody is announced twice."""
        # Whoever registers a code has written its data before. So a code that is registered again from here on is
        # either claimed by this round already, or claimed in the next one.
        try:
            self._registered.remove(code)
        except KeyError:
            return False
        return True

    def _claim_all(self, codes: Sequence[str], is_wanted: Callable[[str], bool]) -> Steps[None]:
        with self._handing_over() as ready:
            for start in range(0, len(codes), _STEP):
                wanted = [code for code in codes[start : start + _STEP] if is_wanted(code)]
                try:
                    yield from self._write_all(wanted, ready)
                except GeneratorExit:
                    # Whoever waited for the store was cancelled, and nobody else knows of them.
                    self._registered.update(wanted)
                    raise
                if len(ready) >= _HANDED_OVER:
                    self._put(ready)
                yield None

    def _write_all(self, codes: Sequence[str], ready: Ready) -> Steps[None]:
        ruleset = self._configuration.ruleset
        mapping_index = ruleset.catalogue.mapping_index
        if mapping_index is not None or self._forwarding:
            yield from self._waiting.look(codes)
        if mapping_index is not None:
            for code in codes:
                visitor = self._store.peek(code)
                if visitor is not None and visitor.is_unique and not visitor.record.mapping_identifier:
                    map_to_itself(self._store, mapping_index, code, _now_ms())
        yield from self._waiting.claim(
            codes,
            lambda claims: self._write_claims(claims, ready),
            ready.lock,
            consent_required=ruleset.consent_required,
        )

    def _write_claims(self, claims: Iterable[Claim], ready: Ready) -> None:
        for code, unsent, nonces in claims:
            if unsent is not None:
                visitor = self._store.peek(code) if self._forwarding else None
                self._forwarding.tell(code, None if visitor is None else visitor.record, unsent, ready.events)
            if unsent is not None or not self._configuration.ruleset.consent_required:
                ready.lines += self._write(code, unsent, nonces)

    def _collect_decided(self, codes: Sequence[str], *, is_last: bool = False) -> Steps[None]:
        """Move what waited for the consent of *codes* into the outbox, as far as it is decided."""
        yield from self._waiting.look(codes)
        with self._handing_over() as ready, ready.lock:
            for code in codes:
                visitor = self._store.peek(code)
                consent = None if visitor is None else visitor.record.consent
                if visitor is None or is_last:
                    self._forwarding.end(code, consent, ready.events)
                else:
                    self._forwarding.decide(code, consent, ready.events)

    def _collect_ended(self) -> Steps[None]:
        if self._is_waiting:
            return
        with self._handing_over() as ready:
            steps = iter((yield from self._waiting.expire()))
            while True:
                # The store holds them no more: whoever ends this round early, between two steps, must not lose them.
                with ready.lock:
                    ended = next(steps, None)
                    for code, visitor, nonces in ended or ():
                        self._write_last(code, visitor, nonces, ready)
                if ended is None:
                    return
                try:
                    yield from self._waiting.look(
                        [code for code, *_ in ended if self._forwarding or code in self._registered]
                    )
                finally:
                    with ready.lock:
                        for code, visitor, _ in ended:
                            self._see_off(code, visitor, ready)
                if len(ready) >= _HANDED_OVER:
                    self._put(ready)
                yield None

    def _write_last(self, code: str, visitor: Visitor, nonces: Nonces, ready: Ready) -> None:
        if is_pending(visitor.record):
            unsent = take_unsent(visitor, consent_required=self._configuration.ruleset.consent_required)
            self._forwarding.tell(code, visitor.record, unsent, ready.events)
            ready.lines += [
                line for line in self._write(code, unsent, nonces) if "&eventType=activity&" not in line.text
            ]

    def _see_off(self, code: str, visitor: Visitor, ready: Ready) -> None:
        self._forget(code)
        if self._forwarding and self._store.peek(code) is None:
            self._forwarding.end(code, visitor.record.consent, ready.events)

    def _forget(self, code: str) -> None:
        """A session ended: nothing is told of the visitor any more, unless he is back."""
        self._announced.discard(code)
        if code in self._registered:
            self._registered.discard(code)
            if self._store.peek(code) is not None:
                self._registered.add(code)

    def _write(self, code: str, unsent: Unsent | None, nonces: Nonces) -> list[Line]:
        return [] if self._is_offline else make_lines(code, unsent, on_broken=self._leave_out, nonces=nonces)

    def _leave_out(self, item: object, error: Exception) -> None:
        self._counters.add(produced=1, dropped=1)
        if not self._has_told_broken:
            self._has_told_broken = True
            kind = type(item).__name__
            KameleoonLogger.error(
                "%s could not be written as an event and was left out: %s", kind, type(error).__name__
            )

    @contextmanager
    def _handing_over(self) -> Iterator[Ready]:
        """
        What is taken from visitors in the block is in the outbox after it.

        And so is what other threads, or flows that pause, took before: nobody may think a visitor has nothing, and end or be killed, while
        it is on its way.
        """
        ready = Ready()
        self._under_way.add(ready)
        try:
            yield ready
        finally:
            for other in self._under_way - {ready}:
                self._put(other)
            self._put(ready)
            self._under_way.discard(ready)

    def _put(self, ready: Ready) -> None:
        with ready.lock:
            lines, events = ready.lines, ready.events
            ready.lines, ready.events = [], {}
            self._put_taken(lines, events)

    def _put_taken(self, lines: Sequence[Line], events: Events) -> None:
        if lines or events:
            self._counters.add(produced=len(lines))
            dropped = self._outbox.put(lines, events)
            self._counters.add(dropped=dropped)
            self._forwarding.noticed(events)
            if dropped and not self._is_dropping:
                KameleoonLogger.warning("Too many events wait to be sent: the oldest are given up; stats() counts them")
            self._is_dropping = bool(dropped)


def _in_steps(entries: Iterable[T]) -> Iterator[list[T]]:
    entries = iter(entries)
    while step := list(islice(entries, _STEP)):
        yield step


def _exhaust(steps: Steps[None]) -> None:
    """Do all *steps* here and now."""

    def work() -> None:
        try:
            for step in steps:
                if step is not None:
                    step.perform()
        finally:
            steps.close()

    # What is brought ahead on the way is not for the evaluations of the caller.
    copy_context().run(work)


def _at_leisure(steps: Steps[None]) -> Flow[None]:
    """Do *steps* as whoever works does them, with pauses between."""
    try:
        for step in steps:
            yield _PAUSE if step is None else step
    finally:
        steps.close()


def _ignore(_code: str) -> None:
    """Stand in for `Tracker.register` where nothing is sent."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

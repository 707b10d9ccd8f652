"""What destinations are told: made of what is sent to the service, decided by consent for each, and delivered by a worker of its own."""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from kameleoon._tracking.queues import Bounds
from kameleoon._transport.deadline import Deadline
from kameleoon._transport.message import Request, TransportError
from kameleoon._workers.background import Background
from kameleoon._workers.schedule import Job, Schedule
from kameleoon.destinations import Forwarder
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.types.flush_result import FlushResult
from kameleoon.types.stats import DestinationStats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kameleoon._runtime.backend import MakeEvents
    from kameleoon._runtime.configuration import Configuration
    from kameleoon._tracking.outbox import Outbox
    from kameleoon._tracking.queues import Queue
    from kameleoon._transport.flow import Flow, Sender
    from kameleoon._visitor.record import VisitorRecord
    from kameleoon._visitor.unsent import Unsent
    from kameleoon.destinations import Feed
    from kameleoon.destinations.events import Event

Events: TypeAlias = "dict[Queue, list[str]]"
"""What is to be put into queues."""

MOST_HELD = 10_000
"""Events that wait for their visitors' consent at most; beyond, those that wait longest are dropped."""

_DELIVERY = "delivery"
_PATIENCE_S = 0.2
"""How long a thread that was told to end is waited for at least."""


class Branch:
    """
    One destination of a client, and who works for it: a thread, or whoever calls when no thread may be started.

    Args:
        feed: The destination.
        queue: Where its events wait.
        sender: What its requests go through.
        thread_name: The thread's name.
        clock: Monotonic seconds.
        threaded: Whether there may be a thread.
    """

    def __init__(
        self, feed: Feed, queue: Queue, sender: Sender, thread_name: str, clock: Callable[[], float], *, threaded: bool
    ) -> None:
        self.feed = feed
        self.forwarder = Forwarder(feed, queue, clock=clock)
        self.held = 0
        self._clock = clock
        self._sender = sender
        self._at_once = False
        self._deadline_s: float | None = None
        job = Job(
            _DELIVERY, self._deliver, lambda: self.forwarder.due_in_s, due_s=clock() if queue.is_durable else None
        )
        self.schedule = Schedule([job], clock)
        self.background = Background(thread_name, self.schedule, sender, threaded=threaded)

    def press(self, deadline_s: float | None = None) -> int:
        """
        Have all delivered now, without waiting for the end of our own pause after a failure; the caller does it where there is no thread.

        Returns:
            As `Schedule.hasten`.
        """
        self._at_once = True
        self._deadline_s = deadline_s
        return self.background.hasten(_DELIVERY)

    def wait_for(self, runs: int, timeout_s: float) -> bool:
        """Wait for what `press` began, as `Background.wait_for`."""
        return self.background.wait_for(_DELIVERY, runs, timeout_s)

    def noticed(self, count: int) -> None:
        """There are *count* more events in the queue."""
        if self.forwarder.noticed(count):
            self.schedule.hasten(_DELIVERY)

    def _deliver(self) -> Flow[bool]:
        at_once, self._at_once = self._at_once, False
        deadline_s, self._deadline_s = self._deadline_s, None
        flow = self.forwarder.deliver(at_once=at_once, deadline_s=deadline_s)
        return flow if deadline_s is None else _bounded(flow, Deadline(self._clock, deadline_s - self._clock()))

    def stats(self) -> DestinationStats:
        """What became of its events."""
        counters = dict(self.forwarder.counters)
        reasons = {
            name.removeprefix("dropped "): count for name, count in counters.items() if name.startswith("dropped ")
        }
        return DestinationStats(
            queued=counters.get("queued", 0),
            sent=counters.get("sent", 0),
            left_out=counters.get("left out", 0),
            dropped=sum(reasons.values()),
            dropped_by_reason=reasons,
            pending=self.forwarder.pending,
            held=self.held,
            requests=counters.get("requests", 0),
            retried=counters.get("retried", 0),
            bytes_sent=counters.get("bytes", 0),
        )


class Forwarding:
    """
    The destinations of one client, in one process.

    Args:
        feeds: The destinations.
        outbox: Makes their queues.
        configuration: For consent, and for whoever makes events.
        make_events: Makes them of what was taken from a visitor.
        sender: What their requests go through.
        thread_name: Begins the names of their threads.
        clock: Monotonic seconds.
        threaded: Whether there may be threads.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        outbox: Outbox,
        configuration: Configuration,
        make_events: MakeEvents,
        sender: Sender,
        thread_name: str,
        clock: Callable[[], float],
        *,
        threaded: bool,
    ) -> None:
        self._configuration = configuration
        self._make_events = make_events
        self._clock = clock
        self._is_threaded = threaded
        self._branches: dict[Queue, Branch] = {}
        for feed in feeds:
            queue = outbox.queue(feed.name, Bounds(feed.most_events, feed.most_bytes))
            self._branches[queue] = Branch(feed, queue, sender, f"{thread_name}-{feed.name}", clock, threaded=threaded)
        self._held: OrderedDict[str, list[tuple[Branch, Event]]] = OrderedDict()
        self._held_events = 0
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        return bool(self._branches)

    # --- what is told -------------------------------------------------------------------------------------------------

    def tell(self, code: str, record: VisitorRecord | None, unsent: Unsent, into: Events) -> None:
        """
        Add to *into* what destinations are to be told of what was taken from a visitor. Never raises.

        Args:
            code: The visitor.
            record: All that is known of him, ``None`` when the store has forgotten him meanwhile.
            unsent: What was taken.
            into: Events for each queue.
        """
        if not self._branches:
            return
        self.decide(code, unsent.consent, into)
        try:
            for event in self._make_events(self._configuration.ruleset, code, record, unsent):
                for branch in self._branches.values():
                    self._route(branch, event, unsent.consent, into)
        except Exception as error:  # whatever goes wrong here, the service's tracking goes on
            KameleoonLogger.error("Events for destinations could not be made: %s", type(error).__name__)

    def decide(self, code: str, consent: bool | None, into: Events) -> None:
        """Add to *into* what waited for the word of a visitor, if it may go now; what he refused is dropped."""
        with self._lock:
            for branch, event in self._take_held(code):
                self._route(branch, event, consent, into)

    def end(self, code: str, consent: bool | None, into: Events) -> None:
        """`decide` for the last time: the visitor's session is over."""
        with self._lock:
            self.decide(code, consent, into)
            for branch, _ in self._take_held(code):
                branch.forwarder.drop("consent")
        for branch in self._branches.values():
            branch.forwarder.forget(code)

    def waiting_codes(self, most: int | None = None) -> list[str]:
        """Visitors whose word is waited for, up to *most*, and others each time."""
        with self._lock:
            codes = list(islice(self._held, most))
            for code in codes:
                self._held.move_to_end(code)
            return codes

    def hasten(self, code: str) -> None:
        """Have *code* be the first of the next `waiting_codes`, if it is one of them."""
        with self._lock:
            if code in self._held:
                self._held.move_to_end(code, last=False)

    def noticed(self, events: Events) -> None:
        """*events* are in their queues now."""
        for queue, texts in events.items():
            self._branches[queue].noticed(len(texts))

    def _route(self, branch: Branch, event: Event, consent: bool | None, into: Events) -> None:
        verdict = branch.feed.decide(consent, is_required=self._configuration.ruleset.consent_required)
        if verdict is None:
            self._hold(branch, event)
        elif not verdict:
            branch.forwarder.drop("consent")
        elif (text := branch.forwarder.admit(event)) is not None:
            into.setdefault(branch.forwarder.queue, []).append(text)

    def _hold(self, branch: Branch, event: Event) -> None:
        # In memory alone: what a visitor did not consent to is not written to disk.
        with self._lock:
            self._held.setdefault(event.visitor_code, []).append((branch, event))
            branch.held += 1
            self._held_events += 1
            while self._held_events > MOST_HELD:
                for other, _ in self._take_held(next(iter(self._held))):
                    other.forwarder.drop("consent")

    def _take_held(self, code: str) -> list[tuple[Branch, Event]]:
        held = self._held.pop(code, [])
        self._held_events -= len(held)
        for branch, _ in held:
            branch.held -= 1
        return held

    # --- work ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads, if there may be any."""
        for branch in self._branches.values():
            branch.background.start()

    def serve(self) -> None:
        """Without threads: deliver what is due."""
        for branch in self._branches.values():
            branch.background.serve()

    def renew(self) -> None:
        """Keep what is on its way out of reach of other processes, also while a destination takes long over it."""
        for queue in self._branches:
            queue.renew()

    def press(self, deadline_s: float | None) -> Callable[[float], None]:
        """
        Have all destinations told now.

        Args:
            deadline_s: Without threads the caller does it, and is back by then, in seconds of the clock.

        Returns:
            Waits until that is done, at most until a moment in seconds of the clock.
        """
        pressed = []
        for others, branch in zip(reversed(range(len(self._branches))), self._branches.values(), strict=True):
            until_s = deadline_s if deadline_s is None or self._is_threaded else self._share(deadline_s, others)
            pressed.append((branch, branch.press(until_s)))

        def wait(until_s: float) -> None:
            for branch, runs in pressed:
                branch.wait_for(runs, max(0.0, until_s - self._clock()))

        return wait

    def share(self, deadline_s: float) -> float:
        """When the service's tracking has to be done without threads, so that destinations have their share of the time, too."""
        return self._share(deadline_s, len(self._branches))

    def _share(self, deadline_s: float, others: int) -> float:
        now_s = self._clock()
        return now_s + max(0.0, deadline_s - now_s) / (others + 1)

    def schedules(self) -> list[Schedule]:
        """What is to be done for each destination; for an event loop that does the work."""
        return [branch.schedule for branch in self._branches.values()]

    def close(self, deadline_s: float) -> None:
        """End the work, waiting for threads until a moment in seconds of the clock."""
        for branch in self._branches.values():
            branch.background.stop(0.0)
        for branch in self._branches.values():
            branch.background.stop(max(_PATIENCE_S, deadline_s - self._clock()))
            if left := branch.forwarder.pending:
                kept = "are kept on disk" if branch.forwarder.queue.is_durable else "could not be sent"
                KameleoonLogger.warning("%d events for destination %s %s", left, branch.feed.name, kept)

    # --- what became of it --------------------------------------------------------------------------------------------

    def stats(self) -> dict[str, DestinationStats]:
        """``{name: what became of its events}``."""
        return {branch.feed.name: branch.stats() for branch in self._branches.values()}

    def result_since(self, before: dict[str, DestinationStats]) -> dict[str, FlushResult]:
        """``{name: what became of its events since}`` *before*, which is what `stats` gave then."""
        return {
            name: FlushResult(now.sent - before[name].sent, now.pending, now.dropped - before[name].dropped)
            for name, now in self.stats().items()
        }


def _bounded(flow: Flow[bool], deadline: Deadline) -> Flow[bool]:
    """*flow*, of which no request lasts beyond *deadline*."""
    try:
        step = next(flow)
        while True:
            try:
                answer = yield deadline.limit(step) if isinstance(step, Request) else step
            except TransportError as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        return bool(stop.value)
    finally:
        flow.close()

"""
What stands behind one client: its parts, wired; how they wait, fork and end.

Nothing here is about flags. What a call of the application means for them is in the other modules of this room.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from kameleoon._runtime.announcements import Announcements
from kameleoon._runtime.backend import make_backend
from kameleoon._runtime.configuration import Configuration
from kameleoon._runtime.evaluation import Evaluation, now_ms
from kameleoon._runtime.forwarding import Forwarding
from kameleoon._runtime.intake import check_code
from kameleoon._runtime.remote import RemoteData
from kameleoon._runtime.streaming import Streaming
from kameleoon._runtime.tracker import Tracker
from kameleoon._runtime.visitor_codes import VisitorCodes
from kameleoon._runtime.waiting import Waiting
from kameleoon._tracking.delivery import Body, Counters, Delivery
from kameleoon._tracking.outbox import MemoryOutbox
from kameleoon._transport.aiohttp_sender import AiohttpSender
from kameleoon._transport.endpoints import Endpoints
from kameleoon._transport.flow import arun, run
from kameleoon._transport.remote import tracking_request
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon._transport.token import TokenSource, authorised, refresh_token
from kameleoon._visitor.facts import Identified
from kameleoon._workers import lifetime
from kameleoon._workers.background import Background
from kameleoon._workers.loop import run_schedule
from kameleoon._workers.schedule import Job, Schedule
from kameleoon.destinations.make import make_feeds
from kameleoon.exceptions import Initialization, KameleoonError
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.stores import MemoryStore, RedisStore, VisitorStore
from kameleoon.types.flush_result import FlushResult
from kameleoon.types.stats import Stats

if TYPE_CHECKING:
    from kameleoon._tracking.outbox import Outbox
    from kameleoon._transport.flow import Flow
    from kameleoon._transport.message import Response
    from kameleoon.config import Settings

_CONFIGURATION = "configuration"
_ANNOUNCED = "announced configuration"
_TRACKING = "tracking"
_DELIVERY = "delivery"
_VISITORS = "visitors"
_TOKEN = "access token"  # noqa: S105 - a job's name
_TOKEN_INTERVAL_S = 60.0
_LEASE_MARGIN_S = 5.0
_PATIENCE_S = 0.2
"""How long a thread that was told to end is waited for at least."""

T = TypeVar("T")


class Core:
    """
    The parts of one client.

    Args:
        site_code: The site.
        settings: What the client is made with.

    Raises:
        KameleoonError: ``visitor_store`` is no store.
        ConfigException: Source or destinations cannot be used.

    Attributes:
        is_forked: Whether the process was forked since the last call, so that `revive_after_fork` has something to do.
        is_closed: Whether `close` was called.
    """

    def __init__(self, site_code: str, settings: Settings) -> None:
        threaded = settings.multi_threading is not False
        self.site_code = site_code
        self.settings = settings
        self.is_forked = False
        self.is_closed = False
        self.clock = time.monotonic
        self.announcements = Announcements(f"kameleoon-events-{site_code}", threaded=threaded)
        endpoints = Endpoints(site_code, settings.environment, settings.network_domain, settings.base_url)
        self.tokens = TokenSource(endpoints.token(), settings.client_id, settings.client_secret)
        self.backend = make_backend(settings, endpoints)
        self._feeds = make_feeds([*self.backend.feeds, *settings.destinations])
        self.is_offline = not self.backend.is_served
        self.configuration = Configuration(self.backend, endpoints, self._on_configuration)
        self.store = self._make_store()
        self.waiting = Waiting(self.store)
        self.evaluation = Evaluation(self.configuration, self.store, settings.environment)
        self.visitor_codes = VisitorCodes(settings, self.store, self.evaluation)
        self.remote = RemoteData(
            self.configuration,
            self.store,
            self.tokens,
            settings.timeout_s,
            self.clock,
            is_offline=self.is_offline,
        )
        self.sender = RequestsSender(self.announcements.request_made)
        self.async_sender = AiohttpSender(self.announcements.request_made)
        # What destinations are sent is nothing that handlers of the service's requests expect.
        self._forwarding_sender = RequestsSender()
        self._pid = os.getpid()
        self._make_workings(threaded=threaded)
        lifetime.watch(self)
        if threaded and (self._feeds or self.backend.makes_requests):
            # Were the worker to import it while the application forks, the child would wait for that import for ever.
            import kameleoon._transport.requests_wire  # noqa: F401, PLC0415 - costs time and memory
        self.background.start()
        self.forwarding.start()

    def _make_workings(self, *, threaded: bool) -> None:
        """Make what belongs to one process: what it has to send, its threads and their work."""
        self.closing = threading.Lock()
        self.counters = Counters()
        self.outbox = self._make_outbox()
        self.delivery = Delivery(self.outbox, self._post_lines, self.counters, self.clock, time.time)
        self.forwarding = Forwarding(
            self._feeds,
            self.outbox,
            self.configuration,
            self.backend.make_events,
            self._forwarding_sender,
            f"kameleoon-destination-{self.site_code}",
            self.clock,
            threaded=threaded,
        )
        self.tracker = Tracker(
            self.configuration,
            self.store,
            self.outbox,
            self.delivery,
            self.counters,
            self.forwarding,
            is_offline=self.is_offline,
            needs_project=self.backend.needs_project,
        )
        self.streaming = Streaming(
            f"kameleoon-stream-{self.site_code}",
            self.configuration,
            self.configuration.endpoints.stream,
            lambda: self.schedule.hasten(_ANNOUNCED),
        )
        self.schedule = Schedule(self._jobs(), self.clock)
        self.background = Background(f"kameleoon-{self.site_code}", self.schedule, self.sender, threaded=threaded)

    def _make_store(self) -> VisitorStore:
        given, session_s = self.settings.visitor_store, self.settings.session_duration_s
        if given is None:
            return MemoryStore(session_s, self.settings.max_visitors)
        if not isinstance(given, VisitorStore):
            raise KameleoonError(f"visitor_store: {type(given).__name__} does not have the methods of a VisitorStore")
        if isinstance(given, RedisStore):
            given.bind(self.site_code, session_s, on_waiting=lambda: self.schedule.hasten(_VISITORS))
        return given

    def _make_outbox(self) -> Outbox:
        data_dir = self.settings.data_dir
        if data_dir is None or (self.is_offline and not self._feeds):
            return MemoryOutbox()
        from kameleoon._tracking.disk import DiskOutbox, outbox_path  # noqa: PLC0415 - sqlite3 is for those who keep events

        # No request lasts longer than its timeout, so nobody else may have the lines meanwhile.
        return DiskOutbox(outbox_path(data_dir, self.site_code), self.settings.timeout_s + _LEASE_MARGIN_S)

    # --- calls of the application -------------------------------------------------------------------------------------

    def enter(self, code: str) -> None:
        """
        What every call does first that is about one visitor.

        Raises:
            VisitorCodeInvalid: *code* is empty or longer than 255 characters.
        """
        if self.is_forked:
            self.revive_after_fork()
        check_code(code)

    def identify(self, code: str, is_unique_identifier: bool) -> None:
        """Say whether *code* is the visitor's own, known on other devices too."""
        self.store.write(code, [Identified(bool(is_unique_identifier))], now_ms())

    def wait_init(self, timeout_milliseconds: int | None) -> bool:
        """Wait for the first configuration, as `KameleoonClient.wait_init` says, whatever runs in this thread."""
        self.revive_after_fork()
        given = timeout_milliseconds is not None and timeout_milliseconds >= 0
        timeout_s = (timeout_milliseconds or 0) / 1000 if given else self.settings.timeout_s
        if timeout_s > 0:
            self.background.serve()
        if not self.configuration.wait(timeout_s):
            reason = self.configuration.failure or f"no configuration within {timeout_s:g} s"
            error = Initialization(self.site_code, self.settings.environment, Exception(reason))
            KameleoonLogger.error(str(error))
        return self.configuration.is_ready

    def flush(self, visitor_code: str | None, instant: bool, timeout: float | None) -> FlushResult | None:
        """Send what is known of a visitor, or of all, as `KameleoonClient.flush` says."""
        self.revive_after_fork()
        # What a flush was given outlives the process if anything does, so it is on disk when the call is back.
        is_durable = self.outbox.is_durable
        if not instant and timeout is None:
            if visitor_code is None:
                self.tracker.flush_all(at_once=False, by_caller=is_durable)
            else:
                self.tracker.register(visitor_code)
            if is_durable:
                self.tracker.collect()
            self.serve()
            return None
        sent, dropped = self.counters.sent, self.counters.dropped
        destinations = self.forwarding.stats() if timeout is not None else {}
        if visitor_code is None:
            is_collected = self.tracker.flush_all(at_once=True, by_caller=is_durable)
        else:
            # A flush that is only instant leaves the visitor registered, as the service's own SDK does.
            is_collected = self.tracker.claim(visitor_code, is_done=timeout is not None, by_caller=is_durable)
        # Nobody works for a closed client any more, so that waiting would be for nothing.
        until_s = self.clock() + (0.0 if self.is_closed else timeout or 0.0)
        # Without a thread the requests are made by the caller, who must be back in time.
        deadline_s = None if timeout is None or self.background.is_threaded else until_s
        if timeout is not None:
            self.tracker.press(deadline_s and self.forwarding.share(deadline_s))
        runs = self.background.hasten(_DELIVERY)
        wait = self.forwarding.press(deadline_s) if is_collected else None
        if timeout is None:
            return None
        self.background.wait_for(_DELIVERY, runs, until_s - self.clock())
        if wait is None:
            wait = self.forwarding.press(deadline_s)
        wait(until_s)
        return FlushResult(
            self.counters.sent - sent,
            self.tracker.pending,
            self.counters.dropped - dropped,
            self.forwarding.result_since(destinations),
        )

    def serve(self) -> None:
        """Without threads: do all that is due, unless another caller is at it, or an event loop runs here and would be held up."""
        self.background.serve()
        self.forwarding.serve()

    def run(self, flow: Flow[T]) -> T:
        """Do *flow* in this thread."""
        self.revive_after_fork()
        return run(flow, self.sender)

    async def arun(self, flow: Flow[T]) -> T:
        """Do *flow* on the running event loop."""
        self.revive_after_fork()
        return await arun(flow, self.async_sender)

    def stats(self) -> Stats:
        """What was sent so far, what waits, and what was given up."""
        counters = self.counters
        return Stats(
            events_produced=counters.produced,
            events_sent=counters.sent,
            events_dropped=counters.dropped,
            events_pending=self.tracker.pending,
            requests_retried=counters.retried,
            visitors=len(self.store),
            pattern_timeouts=self.configuration.pattern_timeouts,
            destinations=self.forwarding.stats(),
        )

    # --- background work ----------------------------------------------------------------------------------------------

    async def run_background(self) -> None:
        """Do the work on the running event loop, until `close`."""
        self.revive_after_fork()
        # Each destination is worked for by a task of its own, so that a slow one delays nobody.
        sender = AiohttpSender()
        tasks = [
            asyncio.create_task(run_schedule(schedule, sender, lambda: self.is_closed))
            for schedule in self.forwarding.schedules()
        ]
        try:
            await run_schedule(self.schedule, self.async_sender, lambda: self.is_closed)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await sender.aclose()

    def _jobs(self) -> list[Job]:
        now_s, tracking_interval_s = self.clock(), self.settings.tracking_interval_s
        return [
            Job(_CONFIGURATION, self._poll, self.configuration.until_next_s, due_s=now_s),
            Job(_ANNOUNCED, self.streaming.refresh, self.streaming.wait_s),
            Job(_TRACKING, self.tracker.track, lambda: tracking_interval_s, due_s=now_s + tracking_interval_s),
            Job(_DELIVERY, self.tracker.deliver_now, lambda: None),
            Job(_VISITORS, self.waiting.push, lambda: None),
            Job(_TOKEN, self.renew_token, lambda: _TOKEN_INTERVAL_S, due_s=now_s + _TOKEN_INTERVAL_S),
        ]

    def _poll(self) -> Flow[bool]:
        if self.streaming.is_open:
            return True
        return (yield from self.configuration.refresh())

    def renew_token(self) -> Flow[bool]:
        """Have a new access token before the old one ends."""
        return refresh_token(self.tokens, self.settings.timeout_s, self.clock)

    def _post_lines(self, body: Body) -> Flow[Response]:
        timeout_s = self.settings.timeout_s
        if body.deadline_s is not None:
            timeout_s = min(timeout_s, max(body.deadline_s - self.clock(), 0.001))
        request = tracking_request(self.configuration.endpoints, body.content, timeout_s)
        if body.is_gzip:
            request = replace(request, headers={**request.headers, "Content-Encoding": "gzip"})
        return authorised(request, self.tokens, self.clock)

    def _on_configuration(self, announced: bool) -> None:
        self._follow_stream()
        self.announcements.configuration_changed(self.evaluation.ruleset.date_modified, announced=announced)

    def _follow_stream(self) -> None:
        is_wanted = self.evaluation.ruleset.settings.real_time
        self.streaming.follow(is_wanted and self.settings.source is None and self.background.is_threaded)

    # --- forks and the end --------------------------------------------------------------------------------------------

    def after_fork_in_child(self) -> None:
        """Called by the process in the child of a fork."""
        self.is_forked = True

    def revive_after_fork(self) -> None:
        """In a forked child: leave what was unsent to the parent, and start a worker of its own."""
        if not self.is_forked:
            return
        self.is_forked = False
        if os.getpid() == self._pid:
            # The child was made with vfork, as libuv does: it wrote the mark into the memory of its parent.
            return
        self._pid = os.getpid()
        self.store.after_fork_in_child()
        self.configuration.after_fork_in_child()
        self.announcements.after_fork_in_child()
        self._make_workings(threaded=self.background.is_threaded)
        self._follow_stream()
        self.background.start()
        self.forwarding.start()
        lifetime.watch_worker_end()
        KameleoonLogger.info("Forked: this process works on its own, the parent sends what it had")

    def at_exit(self) -> None:
        """Called by the process when it ends."""
        self.close(None)

    def close(self, timeout: float | None) -> None:
        """Send what is left, then free everything, as `KameleoonClient.close` says."""
        if self.is_forked and os.getpid() != self._pid:
            # The parent sends what it had; its locks may be held here for ever by threads that this process does not have.
            self.is_closed = True
            return
        with self.closing:
            if self.is_closed:
                return
            self.is_closed = True
        lifetime.unwatch(self)
        for schedule in [self.schedule, *self.forwarding.schedules()]:
            schedule.wake()
        deadline_s = self.clock() + (self.settings.exit_timeout_s if timeout is None else timeout)
        self.tracker.collect_everything()
        self.background.stop(0.0)
        wait_for_destinations = self.forwarding.press(deadline_s) if self.background.is_threaded else None
        if not self.is_offline:
            self._deliver_rest(self.forwarding.share(deadline_s) if wait_for_destinations is None else deadline_s)
        if wait_for_destinations is None:
            wait_for_destinations = self.forwarding.press(deadline_s)
        wait_for_destinations(deadline_s)
        self._forwarding_sender.close()
        # Ends a fetch that still waits for its answer, so that the worker need not be waited for that long.
        self.sender.close()
        self.streaming.close(_PATIENCE_S)
        self.background.stop(max(_PATIENCE_S, deadline_s - self.clock()))
        self.forwarding.close(deadline_s)
        if len(self.outbox) and self.outbox.is_durable:
            KameleoonLogger.warning("%d events are not sent yet, and are kept on disk", len(self.outbox))
        elif len(self.outbox):
            KameleoonLogger.warning("%d events could not be sent before the client was closed", len(self.outbox))
        self.outbox.close()
        self.announcements.stop()
        self.sender.close()
        self.async_sender.close()
        self.store.close()

    def _deliver_rest(self, deadline_s: float) -> None:
        """Send what waits, in the caller's thread: the worker may be held up by a request that has nothing to do with it."""
        while (left_s := deadline_s - self.clock()) > 0 and self.delivery.wait_idle(left_s):
            if run(self.delivery.deliver(at_once=True, deadline_s=deadline_s), self.sender):
                return

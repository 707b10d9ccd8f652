"""The configuration in force: fetched, compiled, published by assigning one attribute, and waited for."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from kameleoon._sources.kept import KeptSource
from kameleoon._transport.flow import at_leisure
from kameleoon._transport.message import FetchFailed
from kameleoon._transport.retry import parse_retry_after, retry_wait
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._engine.seam import AnyRuleset
    from kameleoon._runtime.backend import Backend
    from kameleoon._transport.configuration import Fetched
    from kameleoon._transport.endpoints import Endpoints
    from kameleoon._transport.flow import Flow

FETCH_AGAIN_S = 5.0
"""First wait after a fetch that failed; later ones grow up to the interval."""

_random = random.SystemRandom()


class Configuration:
    """
    One client's configuration.

    Args:
        backend: Where it comes from, and how it is compiled.
        endpoints: The service's addresses before any configuration named another data host.
        on_update: Called after a new one is in force, with whether a stream announced it.

    Attributes:
        ruleset: What is in force; empty before the first one. Readers take it once and need no lock.
        endpoints: The service's addresses, the data host as the configuration has it.
        failure: Why the last fetch brought nothing, ``None`` when it did not fail.
        retry_after_s: How long the service asked to wait when it refused the last fetch, ``None`` when it did not.
    """

    def __init__(self, backend: Backend, endpoints: Endpoints, on_update: Callable[[bool], None]) -> None:
        self.ruleset: AnyRuleset = backend.nothing
        self.endpoints = endpoints
        self.failure: str | None = None
        self.retry_after_s: float | None = None
        self._source = backend.source
        self._compile = backend.compile
        self._on_update = on_update
        self._known: Fetched | None = None
        self._changed = threading.Condition()
        self._attempted = False
        self._failures = 0
        self._publishing = threading.Lock()
        self._asked = 0
        self._published = 0
        self._earlier_timeouts = 0
        self._has_last_good = True

    @property
    def is_ready(self) -> bool:
        """Whether any fetch brought a configuration; never ``False`` again after that."""
        return self._known is not None

    @property
    def is_attempted(self) -> bool:
        """Whether the first fetch is over, however it ended."""
        return self._attempted

    @property
    def pattern_timeouts(self) -> int:
        """How often a pattern of this or an earlier configuration ran out of time in this process."""
        return self._earlier_timeouts + self.ruleset.pattern_timeouts

    def wait(self, timeout_s: float) -> bool:
        """Wait until the first fetch is over, and say whether a configuration is in force."""
        with self._changed:
            self._changed.wait_for(lambda: self._attempted, timeout_s)
        if not self.is_ready and timeout_s > 0:
            for _ in self._start_from_last_good():
                pass  # the caller waits for it
        return self.is_ready

    def after_fork_in_child(self) -> None:
        """In a forked child: waiters of the parent are not waited for here, nor is what its threads had begun."""
        self._changed = threading.Condition()
        self._publishing = threading.Lock()
        self._earlier_timeouts = -self.ruleset.pattern_timeouts

    def refresh(self, ts: int | None = None, *, announced: bool = False) -> Flow[bool]:
        """
        Fetch once, and put what is new in force. Never raises.

        Args:
            ts: The version a stream announced, in milliseconds since 1970, if one did.
            announced: Whether a stream is why. What it brings is then told as streamed, unless it is what is known.

        Returns:
            Whether the fetch succeeded, with something new or without.
        """
        with self._publishing:
            self._asked += 1
            order, known = self._asked, self._known
        try:
            if isinstance(self._source, KeptSource):
                fetched = yield from self._source.fetch(known, ts, is_urgent=announced)
            else:
                fetched = yield from self._source.fetch(known, ts)
            # A look after the stream was opened mostly finds what is known, which is no news for the application.
            is_same = (
                announced and ts is None and known is not None and fetched is not None and fetched.body == known.body
            )
            if fetched is not None and not is_same:
                yield from self._publish(fetched, order, announced=announced)
        except FetchFailed as error:
            if known is None:
                yield from self._start_from_last_good()
            self._settle(error.reason, parse_retry_after(error.retry_after, time.time()))
            return False
        except Exception as error:  # a source of the application's own may raise anything
            self._settle(repr(error))
            return False
        self._settle(None)
        return True

    def until_next_s(self) -> float | None:
        """
        Seconds until the source is to be asked again: its interval, less when it could not be had, or what the service asked for.

        Many workers started at the same moment do not ask at the same moment for ever (faults D3).
        """
        interval_s = self._source.interval_s
        if interval_s is None and self.is_ready:
            return None
        if not self._failures:
            return None if interval_s is None else interval_s * _random.uniform(0.95, 1.05)
        ceiling_s = FETCH_AGAIN_S if interval_s is None else interval_s
        return retry_wait(
            self._failures,
            first_s=min(FETCH_AGAIN_S, ceiling_s),
            ceiling_s=ceiling_s,
            retry_after_s=self.retry_after_s,
            source=_random,
        )

    def _publish(self, fetched: Fetched, order: int, *, announced: bool) -> Flow[None]:
        ruleset = yield from at_leisure(self._compile(fetched))
        with self._publishing:
            if order == 0 and self._known is not None:
                return
            if order < self._published and not _is_newer(ruleset, self.ruleset):
                # It was asked for earlier and took longer than what is in force by now (faults B18).
                return
            self._published = max(order, self._published)
            self._earlier_timeouts = self.pattern_timeouts
            self.ruleset = ruleset
            self._known = fetched
            self.endpoints = self.endpoints.with_data_domain(ruleset.settings.data_api_domain)
        self._on_update(announced)

    def _start_from_last_good(self) -> Flow[None]:
        """Put in force what an earlier process left, for want of anything newer. It counts as old: see `failure`."""
        if not isinstance(self._source, KeptSource) or not self._has_last_good:
            return
        last_good = self._source.last_good()
        if last_good is None:
            return
        if self.failure is None:
            self.failure = "the service has not answered yet"
        try:
            # Order 0: whatever arrives from the service is put in force instead.
            yield from self._publish(last_good, 0, announced=False)
        except FetchFailed as error:
            self._has_last_good = False
            KameleoonLogger.error("The last good configuration cannot be used: %s", error.reason)
            return
        KameleoonLogger.warning("The service cannot be reached: the last good configuration is in force")

    def _settle(self, failure: str | None, retry_after_s: float | None = None) -> None:
        if failure != self.failure:
            if failure is None:
                KameleoonLogger.info("The configuration is fetched again")
            else:
                KameleoonLogger.error("The configuration could not be fetched: %s", failure)
        with self._changed:
            self.failure = failure
            self.retry_after_s = retry_after_s
            self._failures = 0 if failure is None else self._failures + 1
            self._attempted = True
            self._changed.notify_all()


def _is_newer(ruleset: AnyRuleset, other: AnyRuleset) -> bool:
    return ruleset.date_modified > other.date_modified

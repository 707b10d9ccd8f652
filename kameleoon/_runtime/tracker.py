"""Who has something to send, and the way of it: registered, claimed from the store, made into lines, delivered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kameleoon._runtime.intake import map_to_itself
from kameleoon._tracking.lines import make_lines
from kameleoon._visitor.unsent import is_pending, take_unsent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon._runtime.configuration import Configuration
    from kameleoon._tracking.delivery import Counters, Delivery
    from kameleoon._tracking.lines import Line
    from kameleoon._tracking.outbox import Outbox
    from kameleoon._transport.flow import Flow
    from kameleoon.stores import VisitorStore

_AT_ONCE = 1_000
"""Visitors claimed between two looks at the outbox, so that memory does not hold all lines twice."""


class Tracker:
    """
    One client's tracking.

    Args:
        configuration: For consent and the mapping index.
        store: Where visitors are.
        outbox: Where lines wait.
        delivery: Sends them.
        counters: Kept up to date.
        is_offline: Whether nothing is ever sent.

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
        *,
        is_offline: bool = False,
    ) -> None:
        self._configuration = configuration
        self._store = store
        self._outbox = outbox
        self._delivery = delivery
        self._counters = counters
        self._registered: set[str] = set()
        self._is_offline = is_offline
        self.register = _ignore if is_offline else self._registered.add

    @property
    def pending(self) -> int:
        """Lines waiting to be sent."""
        return len(self._outbox)

    def track(self) -> Flow[None]:
        """One round: what is registered and what of ended sessions is unsent goes out."""
        self.collect()
        yield from self._delivery.deliver()

    def deliver_at_once(self) -> Flow[None]:
        """Send what the outbox holds, without waiting for the end of a pause after a failure."""
        return self._delivery.deliver(at_once=True)

    def collect(self) -> None:
        """Move what is registered, and what ended sessions had unsent, into the outbox."""
        self._collect_ended()
        codes = list(self._registered)
        for start in range(0, len(codes), _AT_ONCE):
            self.claim(codes[start : start + _AT_ONCE])

    def register_all(self) -> None:
        """Register every visitor that holds anything that is, or was, to be sent."""
        for code, is_sendable in self._store.codes():
            if is_sendable:
                self.register(code)

    def collect_all(self) -> None:
        """
        Move what all visitors have unsent into the outbox, as the service's SDK does for an instant flush of all.

        That is a round for each visitor, of which the first takes all that were registered: so a registered visitor who
        holds data is told once more, as active, unless he was the first.

        Source:
            ``tests/vectors/tracking.json``, cases ``tracking-010-03`` and ``tracking-011-06``.
        """
        codes = self._store.codes()
        for code, is_sendable in codes[:1]:
            if is_sendable:
                self.register(code)
        self.collect()
        rest = [code for code, is_sendable in codes[1:] if is_sendable]
        for start in range(0, len(rest), _AT_ONCE):
            self.claim(rest[start : start + _AT_ONCE])

    def claim(self, codes: Sequence[str]) -> None:
        """Move what *codes* have unsent into the outbox."""
        # Whoever registers a code has written its data before. So a code that is registered again from here on is
        # either claimed below already, or claimed next time.
        self._registered.difference_update(codes)
        ruleset = self._configuration.ruleset
        mapping_index = ruleset.catalogue.mapping_index
        if mapping_index is not None:
            for code in codes:
                visitor = self._store.peek(code)
                if visitor is not None and visitor.is_unique and not visitor.record.mapping_identifier:
                    map_to_itself(self._store, mapping_index, code, _now_ms())
        lines: list[Line] = []
        for code, unsent in self._store.claim(codes, consent_required=ruleset.consent_required):
            if unsent is not None or not ruleset.consent_required:
                lines += make_lines(code, unsent)
        self._put(lines)

    def _collect_ended(self) -> None:
        required = self._configuration.ruleset.consent_required
        lines: list[Line] = []
        for code, visitor in self._store.expire():
            if is_pending(visitor.record):
                unsent = take_unsent(visitor, consent_required=required)
                lines += [line for line in make_lines(code, unsent) if "&eventType=activity&" not in line.text]
        self._put(lines)

    def _put(self, lines: list[Line]) -> None:
        if lines and not self._is_offline:
            self._counters.add(produced=len(lines))
            self._counters.add(dropped=self._outbox.put(lines))


def _ignore(_code: str) -> None:
    """Stand in for `Tracker.register` where nothing is sent."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

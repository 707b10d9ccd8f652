"""
Visitors in this process.

Sessions end exactly after their duration without activity: a lookup later than that finds nobody, whether or not the ended
session was handed out yet. Codes are filed in buckets by the second at which they could end first; a code that was active since is
filed again when its bucket comes up, so that activity itself costs no bookkeeping. New codes wait in a queue until somebody looks at the
buckets.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from kameleoon._visitor.record import Assignment, Visitor, VisitorRecord, visitor_given
from kameleoon._visitor.unsent import has_sendable, take_unsent
from kameleoon.stores.protocol import Claim, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kameleoon._visitor.facts import Fact

_SWEEP = 200
"""Codes looked at in one go, so that no evaluation waits long for the lock."""


class MemoryStore:
    """
    A `VisitorStore` in this process.

    Args:
        session_s: A session's duration in seconds, above 0.
        max_visitors: Codes kept at most; beyond it the longest idle leave first.
        clock: Monotonic seconds.
    """

    def __init__(
        self, session_s: float, max_visitors: int = 1_000_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session_s = session_s
        self._max_visitors = max_visitors
        self._clock = clock
        self._lock = threading.Lock()
        self._visitors: dict[str, Visitor] = {}
        self._buckets: dict[int, list[str]] = {}
        self._unfiled: deque[str] = deque()
        self._ended: list[Ended] = []

    def __len__(self) -> int:
        return len(self._visitors)

    def read(self, code: str) -> Visitor | None:
        """See `VisitorStore.read`."""
        visitor = self._visitors.get(code)
        if visitor is None:
            return None
        now = self._clock()
        if now - visitor.last_s >= self._session_s:
            return None
        visitor.last_s = now
        return visitor

    def peek(self, code: str) -> Visitor | None:
        """See `VisitorStore.peek`."""
        visitor = self._visitors.get(code)
        return None if visitor is None or self._is_over(visitor) else visitor

    def write(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """See `VisitorStore.write`."""
        with self._lock:
            visitor = self._get_or_make(code, now_ms)
            for fact in facts:
                fact.apply(visitor)
            return visitor

    def assign(
        self,
        code: str,
        visitor: Visitor | None,
        experiment_id: int,
        variation_id: int,
        is_delivery: bool,
        unsent: bool,
        now_ms: int,
    ) -> Visitor:
        """
        See `VisitorStore.assign`.

        No lock is taken: each step is one that the interpreter does not divide, nobody replaces a visitor that is not over, and
        whoever takes what is unsent first takes the mark off and then tells.
        """
        if visitor is None:
            fresh = visitor_given(experiment_id, variation_id, is_delivery, unsent, now_ms, self._clock())
            visitor = self._visitors.setdefault(code, fresh)
            if visitor is fresh:
                self._unfiled.append(code)
                if len(self._visitors) > self._max_visitors:
                    with self._lock:
                        self._make_room()
                return fresh
            with self._lock:  # of a session that is over, or made by another thread just now
                visitor = self._get_or_make(code, now_ms)
        held = visitor.record.assignments
        known = held if type(held) is Assignment else held.get(experiment_id)
        if (
            known is not None
            and known.variation_id == variation_id
            and known.experiment_id == experiment_id
            and known.is_delivery == is_delivery
        ):
            known.time_ms = now_ms
            known.unsent = unsent
        else:
            with self._lock:
                visitor.record.give(Assignment(experiment_id, variation_id, is_delivery, now_ms, unsent))
        return visitor

    def link(self, code: str, other: str, now_ms: int) -> None:
        """See `VisitorStore.link`."""
        with self._lock:
            visitor = self._get_or_make(code, now_ms)
            linked = Visitor(visitor.record, self._clock(), is_unique=visitor.is_unique)
            known = self._add(other, linked)
            if known is not linked and known.record is not visitor.record:
                self._ended.append(Ended(other, known))
                self._visitors[other] = linked

    def claim(self, codes: Sequence[str], *, consent_required: bool) -> list[Claim]:
        """See `VisitorStore.claim`."""
        claims = []
        for code in codes:
            with self._lock:
                # Of a session that is over and was not handed out yet, too: what is sent now is told of in its time.
                visitor = self._visitors.get(code)
                unsent = None if visitor is None else take_unsent(visitor, consent_required=consent_required)
            claims.append(Claim(code, unsent))
        return claims

    def codes(self) -> list[tuple[str, bool]]:
        """See `VisitorStore.codes`."""
        return [(code, has_sendable(visitor.record)) for code, visitor in list(self._visitors.items())]

    def expire(self) -> list[Ended]:
        """See `VisitorStore.expire`."""
        now = self._clock()
        while self._unfiled:
            with self._lock:
                self._file_new(_SWEEP)
        for second in sorted(second for second in list(self._buckets) if second <= now):
            codes = self._buckets.get(second, [])
            while codes:
                with self._lock:
                    for _ in range(min(_SWEEP, len(codes))):
                        self._refile_or_end(codes.pop(), now)
                # Whoever waits for the lock gets it now; else this thread would mostly take it again itself.
                time.sleep(0)
            with self._lock:
                if not self._buckets.get(second, True):
                    del self._buckets[second]
        with self._lock:
            ended, self._ended = self._ended, []
        return ended

    def after_fork_in_child(self) -> None:
        """See `VisitorStore.after_fork_in_child`."""
        self._lock = threading.Lock()  # a thread of the parent may have held it
        self._ended = []
        for visitor in self._visitors.values():
            take_unsent(visitor, consent_required=False)

    def close(self) -> None:
        """See `VisitorStore.close`."""
        with self._lock:
            self._visitors, self._buckets, self._ended = {}, {}, []
            self._unfiled.clear()

    def _is_over(self, visitor: Visitor) -> bool:
        return self._clock() - visitor.last_s >= self._session_s

    def _get_or_make(self, code: str, now_ms: int) -> Visitor:
        now = self._clock()
        visitor = self._visitors.get(code)
        if visitor is None:
            return self._add(code, Visitor(VisitorRecord(now_ms), now))
        if now - visitor.last_s < self._session_s:
            visitor.last_s = now
            return visitor
        self._ended.append(Ended(code, visitor))
        visitor = self._visitors[code] = Visitor(VisitorRecord(now_ms), now)
        return visitor

    def _add(self, code: str, fresh: Visitor) -> Visitor:
        """File *fresh* under *code*, and give who is there now: an evaluation may have made him just before, without the lock."""
        visitor = self._visitors.setdefault(code, fresh)
        if visitor is fresh:
            self._unfiled.append(code)
            if len(self._visitors) > self._max_visitors:
                self._make_room()
        return visitor

    def _file_new(self, most: int) -> None:
        """Put up to *most* of the codes made since the last time into their buckets."""
        for _ in range(min(most, len(self._unfiled))):
            code = self._unfiled.popleft()
            visitor = self._visitors.get(code)
            if visitor is not None:
                self._file(code, visitor)

    def _file(self, code: str, visitor: Visitor) -> None:
        second = int(visitor.last_s + self._session_s) + 1
        bucket = self._buckets.get(second)
        if bucket is None:
            self._buckets[second] = [code]
        else:
            bucket.append(code)

    def _refile_or_end(self, code: str, now: float) -> None:
        visitor = self._visitors.get(code)
        if visitor is None:
            return
        if now - visitor.last_s >= self._session_s:
            del self._visitors[code]
            self._ended.append(Ended(code, visitor))
        else:
            self._file(code, visitor)

    def _make_room(self) -> None:
        """Let the longest idle visitor go, filing those again that were active since they were filed."""
        self._file_new(len(self._unfiled))
        while len(self._visitors) > self._max_visitors:
            second = min(self._buckets)
            codes = self._buckets[second]
            while codes:
                code = codes.pop(0) if len(codes) < 64 else codes.pop()
                visitor = self._visitors.get(code)
                if visitor is None:
                    continue
                if int(visitor.last_s + self._session_s) + 1 > second:
                    self._file(code, visitor)
                    continue
                del self._visitors[code]
                self._ended.append(Ended(code, visitor))
                break
            if not codes:
                del self._buckets[second]

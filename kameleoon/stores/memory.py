"""
Visitors in this process.

Sessions end exactly after their duration without activity: a lookup later than that finds nobody, whether or not the ended
session was handed out yet.

Who was looked at lately is *awake*: an object that evaluations read and renew without a lock. Who was not for a while is put to
sleep: packed into few bytes, in one of many small dictionaries. So a million visitors take little room, none of it is anything for the
garbage collector to go through, and no dictionary grows so large that the moment in which it moves would be felt. The next look wakes
a sleeper up.

An evaluation may hold an awake visitor while another thread puts him to sleep or ends his session. Whoever does that marks the
object as stale first, and only then reads it; an evaluation writes first, and only then looks for the mark. So either its word is
taken along, or it finds the mark and says it again under the lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from kameleoon._visitor.merge import merge
from kameleoon._visitor.packed import has_packed_sendable, is_packed_pending, last_seen, pack, unpack
from kameleoon._visitor.record import Assignment, Visitor, assignment_of, visitor_given
from kameleoon._visitor.unsent import has_sendable, is_pending, take_unsent
from kameleoon.stores.agenda import Agenda
from kameleoon.stores.protocol import Claim, Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kameleoon._visitor.facts import Fact
    from kameleoon._visitor.record import Given
    from kameleoon._visitor.unsent import Unsent

SLEEP_AFTER_S = 30.0
"""Who was not looked at for so many seconds is put to sleep."""

MOST_AWAKE = 8_192
"""Of more than so many, the longest idle are put to sleep earlier."""

_SWEEP = 20
"""Codes looked at in one go: a few tenths of a millisecond, so that no evaluation waits long for the lock or the interpreter."""

_FILED = 100
"""New codes put on the agendas in one go, which takes a microsecond each."""

_SHARDS = 256
_MASK = _SHARDS - 1


class MemoryStore:
    """
    A `VisitorStore` in this process.

    Args:
        session_s: A session's duration in seconds, above 0.
        max_visitors: Codes kept at most; beyond it the longest idle leave first.
        clock: Monotonic seconds.
        merges_linked: Whether what was known of a code before it was linked to another is known of that too.
    """

    def __init__(
        self,
        session_s: float,
        max_visitors: int = 1_000_000,
        clock: Callable[[], float] = time.monotonic,
        *,
        merges_linked: bool = False,
    ) -> None:
        self._session_s = session_s
        self._max_visitors = max_visitors
        self._clock = clock
        self._merges_linked = merges_linked
        self._lock = threading.Lock()
        self._forget_all()

    def _forget_all(self) -> None:
        self._awake: dict[str, Visitor] = {}
        self._asleep: list[dict[str, bytes]] = [{} for _ in range(_SHARDS)]
        self._number_asleep = 0
        self._unfiled: deque[str] = deque()  # new codes, not on the agendas yet
        self._ends = Agenda()  # every code, by the end of its session
        self._drowsy = Agenda()  # who is awake, by when he may sleep
        self._ended: deque[Ended] = deque()

    def __len__(self) -> int:
        return len(self._awake) + self._number_asleep

    def read(self, code: str) -> Visitor | None:
        """See `VisitorStore.read`."""
        visitor = self._awake.get(code)
        if visitor is None:
            # The second look is for one who was woken up just between the two.
            if code in self._asleep[hash(code) & _MASK] or code in self._awake:
                return self._look(code)
            return None
        now = self._clock()
        if now - visitor.last_s >= self._session_s:
            return None
        visitor.last_s = now
        return self._look(code) if visitor.is_stale else visitor

    def peek(self, code: str) -> Visitor | None:
        """See `VisitorStore.peek`. Of a sleeping visitor a copy."""
        visitor = self._awake.get(code)
        if visitor is None:
            packed = self._asleep[hash(code) & _MASK].get(code)
            if packed is None:
                visitor = self._awake.get(code)
            else:
                visitor = unpack(packed)
                visitor.is_stale = True
        return None if visitor is None or self._is_over(visitor, self._clock()) else visitor

    def write(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """See `VisitorStore.write`."""
        with self._lock:
            visitor = self._get_or_make(code, now_ms)
            for fact in facts:
                fact.apply(visitor)
            return visitor

    def assign(self, code: str, visitor: Visitor | None, given: Given, unsent: bool, now_ms: int) -> Visitor:
        """
        See `VisitorStore.assign`. What was given is kept in the assignment.

        No lock is taken for a new visitor or the same variation again: each step is one that the interpreter does not divide, and
        whoever takes what is unsent first takes the mark off and then tells.
        """
        if visitor is None:
            fresh = visitor_given(given, unsent, now_ms, self._clock())
            if self._awake.setdefault(code, fresh) is fresh:
                self._unfiled.append(code)
                if len(self._awake) + self._number_asleep > self._max_visitors:
                    with self._lock:
                        self._make_room()
                return fresh
            # Else there is one of a session that is over, or made by another thread just now.
        else:
            held = visitor.record.assignments
            known = held if type(held) is Assignment else held.get(given.experiment_id)  # type: ignore[arg-type]  # see `Given`
            if known is not None and known.renew(given, unsent, now_ms) and not visitor.is_stale:
                return visitor
        with self._lock:
            visitor = self._get_or_make(code, now_ms)
            visitor.record.give(assignment_of(given, unsent, now_ms, is_kept=True))
            return visitor

    def link(self, code: str, other: str, now_ms: int) -> None:
        """See `VisitorStore.link`."""
        with self._lock:
            visitor = self._get_or_make(code, now_ms)
            visitor.record.is_shared = True
            visitor.record.is_plain = False  # what was given for one code says nothing of another
            now = self._clock()
            linked = Visitor(visitor.record, now, is_unique=visitor.is_unique)
            self._wake(other, now)
            known = self._add(other, linked)
            if known is not linked and known.record is not visitor.record:
                self._awake[other] = linked
                self._hand_out(other, known)
                if self._merges_linked:
                    merge(visitor.record, known.record)

    def claim(self, codes: Sequence[str], *, consent_required: bool) -> list[Claim]:
        """See `VisitorStore.claim`."""
        claims = []
        for code in codes:
            with self._lock:
                claims.append(Claim(code, self._take_unsent(code, consent_required=consent_required)))
        return claims

    def codes(self) -> Iterator[tuple[str, bool]]:
        """See `VisitorStore.codes`."""
        for code, kept in self._all():
            yield code, has_packed_sendable(kept) if isinstance(kept, bytes) else has_sendable(kept.record)

    def pending(self) -> Iterator[str]:
        """See `VisitorStore.pending`."""
        for code, kept in self._all():
            if is_packed_pending(kept) if isinstance(kept, bytes) else is_pending(kept.record):
                yield code

    def _all(self) -> Iterator[tuple[str, Visitor | bytes]]:
        """All codes, a few thousand looked up at a time; nobody who is there all the while is left out."""
        awake = dict(self._awake)
        yield from awake.items()
        for shard in self._asleep:
            for code, packed in list(shard.items()):
                if code not in awake:
                    yield code, packed
        for code, visitor in list(self._awake.items()):  # who came, or woke up, in the meantime
            if code not in awake:
                yield code, visitor

    def expire(self) -> Iterator[list[Ended]]:
        """See `VisitorStore.expire`. Puts to sleep who was idle for long, too."""
        now = self._clock()
        is_more = True
        while is_more:
            with self._lock:
                is_more = self._tend(now) or len(self._ended) > _SWEEP
                ended = [self._ended.popleft() for _ in range(min(_SWEEP, len(self._ended)))]
            yield ended
            # Whoever waits for the lock gets it now; else this thread would mostly take it again itself.
            time.sleep(0)

    def after_fork_in_child(self) -> None:
        """See `VisitorStore.after_fork_in_child`."""
        self._lock = threading.Lock()  # a thread of the parent may have held it
        self._ended.clear()
        for code in list(self.pending()):
            self._take_unsent(code, consent_required=False)

    def close(self) -> None:
        """See `VisitorStore.close`."""
        with self._lock:
            self._forget_all()

    # --- all below is called with the lock held -----------------------------------------------------------------------

    def _look(self, code: str) -> Visitor | None:
        """`read`, of one who is not awake or was not a moment ago; takes the lock itself."""
        with self._lock:
            now = self._clock()
            visitor = self._wake(code, now)
            if visitor is None or self._is_over(visitor, now):
                return None
            visitor.last_s = now
            return visitor

    def _is_over(self, visitor: Visitor, now: float) -> bool:
        return now - visitor.last_s >= self._session_s

    def _get_or_make(self, code: str, now_ms: int) -> Visitor:
        now = self._clock()
        visitor = self._wake(code, now)
        if visitor is None:
            return self._add(code, Visitor.alone(now_ms, now))
        if not self._is_over(visitor, now):
            visitor.last_s = now
            return visitor
        fresh = self._awake[code] = Visitor.alone(now_ms, now)
        self._hand_out(code, visitor)
        return fresh

    def _add(self, code: str, fresh: Visitor) -> Visitor:
        """File *fresh* under *code*, and give who is there now: an evaluation may have made him just before, without the lock."""
        visitor = self._awake.setdefault(code, fresh)
        if visitor is fresh:
            self._unfiled.append(code)
            if len(self) > self._max_visitors:
                self._make_room()
        return visitor

    def _wake(self, code: str, now: float) -> Visitor | None:
        """The visitor, awake, be his session over or not; ``None`` when there is none."""
        visitor = self._awake.get(code)
        if visitor is not None:
            return visitor
        shard = self._asleep[hash(code) & _MASK]
        packed = shard.get(code)
        if packed is None:
            return None
        visitor = unpack(packed)
        known = self._awake.setdefault(code, visitor)
        del shard[code]  # after he is awake, so that whoever looks for him without the lock finds him
        self._number_asleep -= 1
        self._drowsy.add(int(now + SLEEP_AFTER_S) + 1, code)
        if known is not visitor:
            # A thread that was held up since it found nobody has made him anew. Nothing of the other is lost.
            self._hand_out(code, visitor)
        return known

    def _hand_out(self, code: str, visitor: Visitor) -> None:
        """*visitor*, whom the store holds no more, is to be handed out by `expire`."""
        visitor.is_stale = True
        self._ended.append(Ended(code, visitor))

    def _take_unsent(self, code: str, *, consent_required: bool) -> Unsent | None:
        # Of a session that is over and was not handed out yet, too: what is sent now is told of in its time.
        visitor = self._awake.get(code)
        if visitor is not None:
            return take_unsent(visitor, consent_required=consent_required)
        shard = self._asleep[hash(code) & _MASK]
        packed = shard.get(code)
        if packed is None:
            return None
        visitor = unpack(packed)
        unsent = take_unsent(visitor, consent_required=consent_required)
        if is_packed_pending(packed):
            shard[code] = pack(visitor) or packed
        return unsent

    # --- what time brings ---------------------------------------------------------------------------------------------

    def _tend(self, now: float) -> bool:
        """Look at the next codes that are due, a few; whether there may be more."""
        for _ in range(min(_FILED, len(self._unfiled))):
            self._file(self._unfiled.popleft())
        for _ in range(_SWEEP):
            if self._ends and self._ends.first() <= now:
                self._end_first()
            elif self._drowsy and (self._drowsy.first() <= now or len(self._drowsy) > MOST_AWAKE):
                self._put_first_to_sleep()
            else:
                return bool(self._unfiled)
        return True

    def _file(self, code: str) -> None:
        """Put a new code on the agendas."""
        visitor = self._awake.get(code)
        if visitor is not None:
            self._ends.add(int(visitor.last_s + self._session_s) + 1, code)
            if self._session_s > SLEEP_AFTER_S:
                self._drowsy.add(int(visitor.last_s + SLEEP_AFTER_S) + 1, code)

    def _end_first(self) -> None:
        """End the session that is to end first, or file the code again if it was active since."""
        second = self._ends.first()
        code = self._ends.pop()
        shard = self._asleep[hash(code) & _MASK]
        visitor = self._awake.get(code)
        packed = None if visitor is not None else shard.get(code)
        if visitor is not None:
            due = int(visitor.last_s + self._session_s) + 1
        elif packed is not None:
            due = int(last_seen(packed) + self._session_s) + 1
        else:
            return
        if due > second:
            self._ends.add(due, code)
        elif visitor is not None:
            del self._awake[code]
            self._hand_out(code, visitor)
        elif packed is not None:
            del shard[code]
            self._number_asleep -= 1
            self._hand_out(code, unpack(packed))

    def _put_first_to_sleep(self) -> None:
        """Put to sleep who was idle for longest, unless he was active since he was filed."""
        second = self._drowsy.first()
        code = self._drowsy.pop()
        visitor = self._awake.get(code)
        if visitor is None:
            return
        due = int(visitor.last_s + SLEEP_AFTER_S) + 1
        if due > second:
            self._drowsy.add(due, code)
            return
        visitor.is_stale = True
        packed = pack(visitor)
        if packed is None:
            visitor.is_stale = False  # he stays awake until his session is over
            return
        shard = self._asleep[hash(code) & _MASK]
        older = shard.get(code)
        if older is None:
            self._number_asleep += 1
        else:
            self._hand_out(code, unpack(older))  # see `_wake`
        shard[code] = packed
        del self._awake[code]

    def _make_room(self) -> None:
        """Let the longest idle go, as many as there are too many."""
        for _ in range(min(_FILED, len(self._unfiled))):
            self._file(self._unfiled.popleft())
        while len(self) > self._max_visitors and self._ends:
            self._end_first()

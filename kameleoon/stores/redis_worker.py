"""The visitors of one worker: what is asked and written, as conversations with Redis (`kameleoon.stores.redis_trips`)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from kameleoon._visitor.record import Visitor, VisitorRecord, assignment_of
from kameleoon._visitor.unsent import has_sendable, is_pending, take_unsent
from kameleoon.stores.protocol import Claim, Ended
from kameleoon.stores.redis_known import Known, SharedRecord, only_unsent
from kameleoon.stores.redis_record import decode_record, encode_record, fields_of_assignment, nonces_of
from kameleoon.stores.redis_trips import Telling

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from kameleoon._visitor.facts import Fact
    from kameleoon._visitor.record import Given
    from kameleoon.stores.redis_trips import Command, Trips

_AT_ONCE = 500
_STEP = 50
"""Ended sessions handed out in one step."""

_LEASE_MS = 60_000
"""An ended session that a worker took and never spoke of again is another's after so long."""


class SharedVisitors(Telling):
    """
    The visitors of one worker, made like `Telling`.

    Callers see to it that one of its methods runs at a time; a conversation may wait meanwhile.
    """

    # --- without a trip -----------------------------------------------------------------------------------------------

    def apply(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """Write here; it goes to Redis with the next trip."""
        known = self.local(code) or self._make(code, now_ms)
        was_unique = known.visitor.is_unique
        for fact in facts:
            fact.apply(known.visitor)
        if known.visitor.is_unique != was_unique:
            known.is_unique = known.visitor.is_unique
        known.last_s = self._wall_clock()
        known.shared.note()
        self._dirty[code] = known
        return known.visitor

    def assign(self, code: str, given: Given, unsent: bool, now_ms: int) -> Visitor:
        """Remember one variation here; it goes to Redis with the next trip."""
        known = self.local(code) or self._make(code, now_ms)
        assignment = assignment_of(given, unsent, now_ms)
        known.shared.record.give(assignment)
        known.shared.change(fields_of_assignment(assignment.experiment_id, assignment))
        known.last_s = self._wall_clock()
        self._dirty[code] = known
        return known.visitor

    def link_here(self, code: str, other: str, now_ms: int) -> None:
        """Link here; it goes to Redis with the next trip."""
        known = self.local(code) or self._make(code, now_ms)
        before = self.local(other)
        if before is not None and before.shared is not known.shared:
            if self._merges_linked:
                known.shared.add(before.shared)
                known.visitor.record = known.shared.record
            self._hand_out_unpushed(other)
        # To Redis it must be known first, whether or not there is anything to tell of it.
        self._dirty[code] = known
        linked = Known(known.shared, self._wall_clock(), is_unique=known.visitor.is_unique)
        self._links[other] = (code, self._remember(other, linked))

    # --- conversations ------------------------------------------------------------------------------------------------

    def look(self, code: str, how: str) -> Trips[Visitor | None]:
        """The visitor behind *code*; *how* is ``touch`` when that is activity of his, else ``look``."""
        if not _is_sayable(code):
            return None
        answers = yield from self._ask(lambda: [self._read(code, how)])
        known = self.local(code) if answers is None else self._take_over(code, answers[0])
        if known is not None and how == "touch":
            known.last_s = self._wall_clock()
        return None if known is None else known.visitor

    def write(self, code: str, facts: Iterable[Fact], now_ms: int) -> Trips[Visitor]:
        """Apply facts to what Redis has, and tell it."""
        yield from self.look(code, "touch")
        visitor = self.apply(code, facts, now_ms)
        yield from self.push([code])
        return visitor

    def link(self, code: str, other: str, now_ms: int) -> Trips[None]:
        """Let *other* share the record of *code*."""
        self.link_here(code, other, now_ms)
        yield from self.push([code])

    def push(self, codes: Collection[str] = ()) -> Trips[None]:
        """Tell Redis what it does not know; of *codes* also what another trip is about to tell."""
        yield from self._ask(list, codes)

    def bring(self, codes: Sequence[str], how: str) -> Trips[None]:
        """Have what Redis knows of *codes* here, as far as there is room."""
        codes = [code for code in codes if _is_sayable(code)]
        for start in range(0, len(codes), _AT_ONCE):
            some = codes[start : start + _AT_ONCE]
            answers = yield from self._ask(lambda some=some: [self._read(code, how) for code in some])  # type: ignore[misc]
            for code, answer in zip(some, answers or (), strict=False):
                known = self._take_over(code, answer)
                if known is not None and how == "touch":
                    known.last_s = self._wall_clock()

    def claim(self, codes: Sequence[str], *, consent_required: bool) -> Trips[list[Claim]]:
        """Take what is unsent of each of *codes*."""
        claims: list[Claim] = []
        for start in range(0, len(codes), _AT_ONCE):
            claims += yield from self._claim(codes[start : start + _AT_ONCE], consent_required)
        return claims

    def codes(self) -> Trips[list[tuple[str, bool]]]:
        """All codes, oldest first, and whether they hold anything that is or was to be sent."""
        return (yield from self._each(has_sendable))

    def pending(self) -> Trips[list[str]]:
        """Codes with anything unsent."""
        return [code for code, is_one in (yield from self._each(is_pending)) if is_one]

    def _each(self, question: Callable[[VisitorRecord], bool]) -> Trips[list[tuple[str, bool]]]:
        """All codes, oldest first, and the answer to *question* about each."""
        earliest = f"({self._now_ms() - self._session_ms}"
        found = yield from self._ask(lambda: [("ZRANGEBYSCORE", f"{self._prefix}idle", earliest, "+inf")])
        if found is None:
            return [(code, question(known.shared.record)) for code, known in self._known.items()]
        codes: list[str] = found[0]
        entries = []
        for start in range(0, len(codes), _AT_ONCE):
            some = codes[start : start + _AT_ONCE]
            yield from self.bring(some, "look")
            entries += [(code, question(self._known[code].shared.record)) for code in some if code in self._known]
        return entries

    def expire(self) -> Trips[None]:
        """
        Take sessions that ended, each taken by one worker, for `hand_out`. What was handed out since the last call it is done with now;
        should it die before, they are another's after a minute.
        """
        while True:
            done = list(self._handed_out)
            answers = yield from self._ask(
                lambda done=done: [self._script("expire", str(_AT_ONCE), str(_LEASE_MS), *done)]  # type: ignore[misc]
            )
            if answers is None:
                self._end_here()
                return
            self.count, batch = answers[0]
            self._handed_out.difference_update(done)
            # What was not handed out for a minute is given again.
            held = {identifier for identifier, _ in self._ended}
            self._ended += [
                (identifier, self._read_ended(text)) for identifier, text in batch if identifier not in held
            ]
            if len(batch) < _AT_ONCE:
                return

    def hand_out(self) -> list[Ended]:
        """The next of the sessions that `expire` took, none when all are handed out."""
        taken = [self._ended.popleft() for _ in range(min(_STEP, len(self._ended)))]
        self._handed_out.update(identifier for identifier, _ in taken if identifier is not None)
        return [ended for _, ended in taken]

    def number_of_codes(self) -> Trips[int]:
        """How many codes there are."""
        answers = yield from self._ask(lambda: [("ZCARD", f"{self._prefix}idle")])
        if answers is None:
            return len(self._known)
        self.count = int(answers[0])
        return self.count

    def finish(self) -> Trips[None]:
        """Tell what is left, and be done with the sessions that were handed out."""
        done, self._handed_out = self._handed_out, set()
        yield from self._ask(lambda: [self._script("expire", "0", "0", *done)] if done else [])

    # --- what this worker knows ---------------------------------------------------------------------------------------

    def _read(self, code: str, how: str) -> Command:
        known = self._known.get(code)
        rid, version = "", ""
        if known is not None and known.shared.is_current:
            rid = known.shared.rid
            # What is told on the same trip makes it newer; if only that does, nothing has to come back.
            version = str(known.shared.version + (known.shared in self._told))
        return self._script("read", code, how, rid, version)

    def _take_over(self, code: str, answer: list[Any] | None) -> Known | None:
        """Bring what this worker knows of *code* up to what Redis answered."""
        known = self._known.get(code)
        if code in self._links or (known is not None and self._trip <= known.shared.loaded_by and not answer):
            # Redis hears of the link with the next trip; and he was not yet there when it answered.
            return self.local(code)
        if not answer:
            if known is not None and code not in self._dirty:
                del self._known[code]
                return None
            return self.local(code)
        rid, is_unique, version, *rest = answer
        if known is None:
            known = self._remember(code, Known(self._record(rid), self._wall_clock(), is_unique=is_unique == "1"))
        elif known.shared.rid != rid:
            known = self._change_record(code, known, rid)
        # Of two answers that were under way at the same time the newer version counts.
        if rest and (int(version) >= known.shared.version or self._trip > known.shared.loaded_by):
            known.shared.load(_pairs(rest[0]), int(version))
            known.shared.loaded_by = self._number
        known.visitor.record = known.shared.record
        if known.is_unique is None:
            known.visitor.is_unique = is_unique == "1"
        self._known.move_to_end(code)
        return known

    def _make(self, code: str, now_ms: int) -> Known:
        self._hand_out_unpushed(code)  # of a session that is over
        shared = SharedRecord(os.urandom(12).hex())
        self._shared[shared.rid] = shared
        shared.record = VisitorRecord(now_ms)
        shared.note()
        known = self._dirty[code] = Known(shared, self._wall_clock(), is_unique=False)
        return self._remember(code, known)

    def _end_here(self) -> None:
        """Redis is away: what this worker alone knows of sessions that are over goes out."""
        for code in [code for code, known in self._dirty.items() if self._is_over(known)]:
            self._hand_out_unpushed(code)
            self._known.pop(code, None)

    def _read_ended(self, text: str) -> Ended:
        code, is_unique, flat = json.loads(text)
        fields = {name: value for name, value in _pairs(flat).items() if name[0] != "@"}
        record, tokens = decode_record(fields)
        known = self._known.get(code)
        if known is not None and self._is_over(known):
            del self._known[code]
        return Ended(code, Visitor(record, 0.0, is_unique=is_unique == "1"), nonces_of(fields, tokens))

    # --- claims -------------------------------------------------------------------------------------------------------

    def _claim(self, codes: Sequence[str], consent_required: bool) -> Trips[list[Claim]]:
        sayable = [code for code in codes if _is_sayable(code)]
        answers = yield from self._ask(lambda: [self._read(code, "look") for code in sayable], sayable)
        for code, answer in zip(sayable, answers or (), strict=False):
            self._take_over(code, answer)
        found = {code: known for code in codes if (known := self._known.get(code)) is not None}
        wanted = {code: self._marks_to_take(known, consent_required) for code, known in found.items()}
        asked = {code: marks for code, marks in wanted.items() if marks}
        # What is won is what was asked for, whatever comes meanwhile.
        fields = {code: dict(found[code].shared.fields) for code in asked}
        won = yield from self._win(found, asked)
        claims = []
        taken: set[tuple[str, str]] = set()
        for code in codes:
            known = found.get(code)
            if known is None:
                claims.append(Claim(code, None))
                continue
            # Two codes may lead to one record.
            mine = {mark: wanted[code][mark] for mark in won.get(code, ()) if (known.shared.rid, mark) not in taken}
            taken.update((known.shared.rid, mark) for mark in mine)
            claims.append(self._take(code, known, fields.get(code, known.shared.fields), mine, consent_required))
        return claims

    def _win(
        self, found: Mapping[str, Known], asked: Mapping[str, Mapping[str, str]]
    ) -> Trips[Mapping[str, Collection[str]]]:
        """Which of the marks that are *asked* for, ``{code: {mark: value}}``, are this worker's: ``{code: marks}``."""
        if not asked:
            return {}
        if self._is_resting():
            # Only what Redis has not confirmed is certainly nobody else's. If it heard of it all the same, it is told later.
            mine = {
                code: {mark: value for mark, value in marks.items() if mark in found[code].shared.changes}
                for code, marks in asked.items()
            }
            self._takes += [self._take_command(found[code], marks) for code, marks in mine.items() if marks]
            return mine
        takes = [self._take_command(found[code], marks) for code, marks in asked.items()]
        try:
            told = yield from self._ask(lambda: takes)
        except GeneratorExit:
            # Whoever asked was cancelled; what Redis gave him must not be lost.
            for code, marks in asked.items():
                self._hand_out(code, found[code], marks)
                found[code].shared.forget(marks)
            raise
        if told is None:
            # Nobody knows whether Redis did it. They are sent, with the nonces that they would have from any worker.
            self._takes += takes
            return asked
        return dict(zip(asked, told, strict=True))

    def _take_command(self, known: Known, marks: Mapping[str, str]) -> Command:
        return self._script("take", known.shared.rid, *(part for pair in marks.items() for part in pair))

    def _marks_to_take(self, known: Known, consent_required: bool) -> dict[str, str]:
        """``{mark: value}`` of what may be sent now."""
        marks = known.shared.marks()
        if not marks:
            return {}
        record, tokens = decode_record(known.shared.fields)
        take_unsent(Visitor(record, 0.0, is_unique=known.visitor.is_unique), consent_required=consent_required)
        left = encode_record(record, tokens, known.shared.fields).keys()
        return {mark: known.shared.fields[mark] for mark in sorted(marks - left)}

    def _take(
        self, code: str, known: Known, fields: dict[str, str], mine: Mapping[str, str], consent_required: bool
    ) -> Claim:
        shared = known.shared
        record, nonces = only_unsent(fields, mine)
        unsent = take_unsent(Visitor(record, 0.0, is_unique=known.visitor.is_unique), consent_required=consent_required)
        # What was marked again meanwhile is to be sent again.
        shared.forget([mark for mark, value in mine.items() if shared.fields.get(mark) == value])
        known.visitor.record = shared.record
        return Claim(code, unsent, nonces)


def _is_sayable(code: str) -> bool:
    """Whether *code* has a UTF-8 form. One that has none is nobody's."""
    try:
        code.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))

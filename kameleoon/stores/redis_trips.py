"""
What one worker tells Redis, and what it makes of the answers: conversations, without any network.

A conversation is a generator that yields the commands of one round trip and is sent their answers, an exception in place of each
command that failed; a trip that failed is thrown in. `kameleoon.stores.redis` drives them, blocking and for asyncio.

Trips may be under way at the same time and be answered in any order. So each write has a number, tells everything that no answer has
confirmed yet, and says of each change which write brought it first: one that comes twice, or after a later one, changes nothing.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary

from kameleoon._visitor.record import Visitor
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.stores.protocol import Ended
from kameleoon.stores.redis_known import Known, SharedRecord, only_unsent
from kameleoon.stores.redis_record import MARK
from kameleoon.stores.redis_scripts import SCRIPTS, SHAS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

T = TypeVar("T")

Command: TypeAlias = tuple[str, ...]
Trips: TypeAlias = Generator[list[Command], list[Any], T]

KEPT_LOCALLY = 10_000
"""Visitors that a worker remembers between requests, to go on with when Redis is away."""

_TRY_AGAIN_S = 1.0


class Telling:
    """
    What one worker knows and Redis does not, and the way to tell it.

    Args:
        prefix: What all keys begin with.
        session_s: A session's duration in seconds.
        max_visitors: Codes kept at most, 0 for as many as Redis holds.
        merges_linked: Whether what was known of a code that is linked is added to what it is linked to.
        wall_clock: Seconds since 1970, as all workers see them.
        errors: What a failed trip raises.

    Attributes:
        count: Codes in Redis when it was last asked.
    """

    def __init__(
        self,
        prefix: str,
        session_s: float,
        *,
        max_visitors: int,
        merges_linked: bool,
        wall_clock: Callable[[], float],
        errors: tuple[type[Exception], ...],
    ) -> None:
        self._prefix = prefix
        self._session_ms = int(session_s * 1000)
        self._max_visitors = max_visitors
        self._merges_linked = merges_linked
        self._wall_clock = wall_clock
        self._errors = errors
        self._worker = os.urandom(6).hex()
        self._number = 0
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._shared: WeakValueDictionary[str, SharedRecord] = WeakValueDictionary()
        self._dirty: dict[str, Known] = {}
        self._links: dict[str, tuple[str, Known]] = {}
        self._takes: list[Command] = []
        # Sessions that are over, to be handed out; ``None`` for one that was never another worker's to take.
        self._ended: deque[tuple[str | None, Ended]] = deque()
        self._handed_out: set[str] = set()
        self._told: set[SharedRecord] = set()
        self._trip = 0
        self._away_until_s = 0.0
        self.is_away = False
        self.count = 0

    def local(self, code: str) -> Known | None:
        """What this worker knows of a code whose session is not over."""
        known = self._known.get(code)
        if known is None or self._is_over(known):
            return None
        known.visitor.record = known.shared.record
        return known

    # --- trips --------------------------------------------------------------------------------------------------------

    def _ask(self, make: Callable[[], list[Command]], codes: Collection[str] = ()) -> Trips[list[Any] | None]:
        """
        One round trip: what Redis does not know yet, and then what *make* gives. ``None`` while Redis is away.

        Args:
            make: Makes the commands, when it is known what is told before them.
            codes: What of these is not known there is told even if another trip is about to.
        """
        if self._is_resting():
            return None
        if self.is_away:
            self._rest()  # this one tries; the others go on with what they know, rather than wait for the same
        pushed = [(code, known) for code, known in self._dirty.items() if not known.shared.pushes or code in codes]
        self._number = number = self._number + 1
        for _, known in pushed:
            known.shared.pushes += 1
        takes, self._takes = self._takes, []
        is_answered = False
        try:
            links = list(self._links.items())
            self._told = set()
            commands = [self._write(code, known, number) for code, known in pushed]
            commands += [self._link(code, other, known) for other, (code, known) in links]
            own = make()
            commands += [*takes, *own]
            if not commands:
                return []
            uniques = [known.is_unique for _, known in pushed]
            try:
                answers = yield from _exchanged(commands)
            except self._errors as error:
                self._go_away(error)
                return None
            is_answered = True
        finally:
            for _, known in pushed:
                known.shared.pushes -= 1
            if not is_answered:
                self._takes += takes
        self._come_back()
        for (code, known), unique, answer in zip(pushed, uniques, answers, strict=False):
            if known.is_unique is unique:
                known.is_unique = None
            self._note_pushed(code, known, answer, number)
        for (other, (code, known)), rid in zip(links, answers[len(pushed) :], strict=False):
            self._note_linked(other, code, known, rid)
        self._trip = number
        return answers[len(answers) - len(own) :]

    def _script(self, name: str, *arguments: str) -> Command:
        return ("EVALSHA", SHAS[name], "0", self._prefix, str(self._now_ms()), str(self._session_ms), *arguments)

    def _write(self, code: str, known: Known, number: int) -> Command:
        shared = known.shared
        unique = "" if known.is_unique is None else str(int(known.is_unique))
        head = (
            code,
            shared.rid,
            shared.fields.get("t", "0"),
            unique,
            str(self._max_visitors),
            self._worker,
            str(number),
        )
        # Of several codes of one record the first tells of it.
        told = ("0",) if shared in self._told else shared.tell(number)
        self._told.add(shared)
        return self._script("write", *head, *told)

    def _link(self, code: str, other: str, known: Known) -> Command:
        shared = known.shared
        merges = str(int(self._merges_linked))
        return self._script("link", code, other, shared.rid, shared.fields.get("t", "0"), merges)

    def _note_pushed(self, code: str, known: Known, answer: Sequence[Any], number: int) -> None:
        rid, version, is_new = answer[0], int(answer[1]), answer[2]
        shared = known.shared
        shared.confirm(number)
        shared.loaded_by = self._number
        if not shared.changes and known.is_unique is None and self._dirty.get(code) is known:
            del self._dirty[code]
        if rid != shared.rid:
            # Another worker made the visitor first, and the changes went into his record.
            self._change_record(code, known, rid)
        elif is_new and not shared.version:
            shared.version, shared.is_current = version, True
        elif is_new:
            # Redis lost him: it gets back what this worker knows, save marks that another may have claimed.
            shared.change({name: text for name, text in shared.fields.items() if not name.startswith(MARK)})
            known.is_unique = known.visitor.is_unique
            shared.version, shared.is_current = 0, False
            self._dirty[code] = known
        elif version != shared.version:
            # When another worker wrote as well, the next look brings everything.
            shared.is_current = shared.is_current and version == shared.version + 1
            # What was told is in no older one, so that none may take its place here.
            shared.version = max(shared.version, version)

    def _change_record(self, code: str, known: Known, rid: str) -> Known:
        """*code*, which was known by *known*, leads to another record: what is not confirmed goes on there."""
        current = self._known.get(code)
        if current is None or current is known:
            current = Known(self._record(rid), known.last_s, is_unique=known.visitor.is_unique)
            current.is_unique = known.is_unique
            self._remember(code, current)
        shared = current.shared
        if shared is not known.shared:
            shared.follow(known.shared)
            shared.is_current = False
            current.visitor.record = shared.record
        if self._dirty.get(code) is known:
            del self._dirty[code]
        if shared.changes:
            self._dirty[code] = current
        return current

    def _note_linked(self, other: str, code: str, known: Known, rid: str) -> None:
        if self._links.get(other) == (code, known):
            del self._links[other]
        # What Redis knew of the two comes with the next look.
        known.shared.is_current = False
        if known.shared.rid != rid:
            self._change_record(other, known, rid)

    def _is_resting(self) -> bool:
        return self.is_away and time.monotonic() < self._away_until_s

    def _rest(self) -> None:
        self._away_until_s = time.monotonic() + _TRY_AGAIN_S

    def _go_away(self, error: Exception) -> None:
        self._rest()
        if not self.is_away:
            self.is_away = True
            KameleoonLogger.error(
                "Redis cannot be reached; visitors are known to this process only: %s", type(error).__name__
            )

    def _come_back(self) -> None:
        if self.is_away:
            self.is_away = False
            KameleoonLogger.warning("Redis is reached again; visitors are shared")

    def _now_ms(self) -> int:
        return int(self._wall_clock() * 1000)

    # --- what this worker knows ---------------------------------------------------------------------------------------

    def _record(self, rid: str) -> SharedRecord:
        shared = self._shared.get(rid)
        if shared is None:
            shared = self._shared[rid] = SharedRecord(rid)
        return shared

    def _remember(self, code: str, known: Known) -> Known:
        self._known[code] = known
        self._known.move_to_end(code)
        if len(self._known) > KEPT_LOCALLY:
            oldest, _ = self._known.popitem(last=False)
            # What Redis does not know of him yet is still told, unless there is nobody to tell it to.
            if self.is_away:
                self._hand_out_unpushed(oldest)
        return known

    def _is_over(self, known: Known) -> bool:
        return self._wall_clock() - known.last_s >= self._session_ms / 1000

    def _hand_out_unpushed(self, code: str) -> None:
        """Give up telling Redis of *code*; what of it is unsent and certainly known here alone leaves with `expire`."""
        known = self._dirty.pop(code, None)
        if known is None:
            return
        shared = known.shared
        mine = {name: text for name, (text, _) in shared.changes.items() if text is not None and name.startswith(MARK)}
        self._hand_out(code, known, mine)
        shared.forget(mine)
        known.visitor.record = shared.record

    def _hand_out(self, code: str, known: Known, marks: Mapping[str, str]) -> None:
        record, nonces = only_unsent(known.shared.fields, marks)
        self._ended.append((None, Ended(code, Visitor(record, 0.0, is_unique=known.visitor.is_unique), nonces)))


def _exchanged(commands: list[Command]) -> Trips[list[Any]]:
    """The answers to *commands*, each done once, the scripts loaded if Redis does not know them (any more)."""
    answers = yield commands
    unknown = [place for place, answer in enumerate(answers) if "NOSCRIPT" in _failure(answer)]
    if unknown:
        yield [("SCRIPT", "LOAD", text) for text in SCRIPTS.values()]
        # What only looks came too early, and looks again.
        unknown = [place for place, command in enumerate(commands) if place in unknown or command[0] != "EVALSHA"]
        again = yield [commands[place] for place in unknown]
        for place, answer in zip(unknown, again, strict=True):
            answers[place] = answer
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _failure(answer: object) -> str:
    """What a command that failed says, ``""`` for one that did not."""
    return f"{type(answer).__name__} {answer}".upper() if isinstance(answer, Exception) else ""

"""One record of Redis, and one code, as a worker knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon._visitor.record import Visitor, VisitorRecord
from kameleoon.stores.redis_record import MARK, NOT_HANDED_ON, decode_record, encode_record, nonces_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from kameleoon._visitor.nonces import Nonces


class SharedRecord:
    """
    A record as this worker knows it.

    Attributes:
        rid: Its key.
        fields: Its fields, with what is not in Redis yet.
        version: The newest version of which Redis told; 0 for none.
        is_current: Whether *fields* hold that version, rather than older things.
        loaded_by: The latest trip there was when *version* came.
        changes: ``{field: (text, number of the first write that told it)}``: what no answer has confirmed. The text is ``None`` for
            a field that is to be removed, the number 0 when no write has told it.
        pushes: Writes of it under way.
        record: The record itself.
        tokens: Names of its conversions.
    """

    __slots__ = (
        "__weakref__",
        "changes",
        "fields",
        "is_current",
        "loaded_by",
        "pushes",
        "record",
        "rid",
        "tokens",
        "version",
    )

    def __init__(self, rid: str) -> None:
        self.rid = rid
        self.fields: dict[str, str] = {}
        self.version = 0
        self.is_current = False
        self.loaded_by = 0
        self.changes: dict[str, tuple[str | None, int]] = {}
        self.pushes = 0
        self.record = VisitorRecord(0)
        self.tokens: list[str] = []

    def load(self, fields: dict[str, str], version: int) -> None:
        """Take over what Redis has, under what it does not have yet."""
        self.fields = {name: text for name, text in fields.items() if not name.startswith("@")}
        for name, (text, _) in self.changes.items():
            _put(self.fields, name, text)
        self.version = version
        self.is_current = True
        self.record, self.tokens = decode_record(self.fields)

    def change(self, changes: dict[str, str | None]) -> None:
        """Note what is known to have changed in the record."""
        for name, text in changes.items():
            self.changes[name] = (text, 0)
            _put(self.fields, name, text)

    def note(self) -> None:
        """The record has changed: find out in which fields."""
        marks = {name: text for name, text in self.fields.items() if name.startswith(MARK)}
        fields = encode_record(self.record, self.tokens, marks)
        changes: dict[str, str | None] = {name: text for name, text in fields.items() if self.fields.get(name) != text}
        self.change(changes | dict.fromkeys(self.fields.keys() - fields.keys()))
        self.fields = fields

    def add(self, other: SharedRecord) -> None:
        """Add what *other* knows and this does not, as the script ``link`` does."""
        self.change(
            {
                name: text
                for name, text in other.fields.items()
                if name not in self.fields and name not in NOT_HANDED_ON and not name.startswith(MARK)
            }
        )
        self.record, self.tokens = decode_record(self.fields)

    def tell(self, number: int) -> Iterator[str]:
        """What write *number* says: how many values, each with its name and number, then the names to remove and theirs."""
        self.changes = {name: (text, first or number) for name, (text, first) in self.changes.items()}
        values = [(name, text, str(first)) for name, (text, first) in self.changes.items() if text is not None]
        yield str(len(values))
        for value in values:
            yield from value
        for name, (text, first) in self.changes.items():
            if text is None:
                yield name
                yield str(first)

    def follow(self, before: SharedRecord) -> None:
        """Go on from what was known while this record was taken for another one."""
        if not self.version:
            self.fields = before.fields | self.fields
        for name, change in before.changes.items():
            if name not in self.changes:
                self.changes[name] = change
                _put(self.fields, name, change[0])
        self.record, self.tokens = decode_record(self.fields)

    def confirm(self, number: int) -> None:
        """Write *number* was answered."""
        self.changes = {name: change for name, change in self.changes.items() if not 0 < change[1] <= number}

    def marks(self) -> set[str]:
        """Names of all marks."""
        return {name for name in self.fields if name.startswith(MARK)}

    def forget(self, marks: Collection[str]) -> None:
        """These marks are claimed."""
        if marks:
            for mark in marks:
                self.changes.pop(mark, None)
                self.fields.pop(mark, None)
            self.is_current = False
            self.record, self.tokens = decode_record(self.fields)


class Known:
    """One code as this worker knows it; *is_unique* is what is not in Redis yet, ``None`` for nothing."""

    __slots__ = ("is_unique", "last_s", "shared", "visitor")

    def __init__(self, shared: SharedRecord, last_s: float, *, is_unique: bool) -> None:
        self.shared = shared
        self.last_s = last_s
        self.visitor = Visitor(shared.record, last_s, is_unique=is_unique)
        self.is_unique: bool | None = None


def only_unsent(fields: Mapping[str, str], marks: Mapping[str, str]) -> tuple[VisitorRecord, Nonces]:
    """The record of *fields* with nothing unsent but what *marks*, ``{mark: value}``, say; and the nonces of that."""
    fields = {name: text for name, text in fields.items() if not name.startswith(MARK)} | dict(marks)
    record, tokens = decode_record(fields)
    return record, nonces_of(fields, tokens)


def _put(fields: dict[str, str], name: str, text: str | None) -> None:
    if text is None:
        fields.pop(name, None)
    else:
        fields[name] = text

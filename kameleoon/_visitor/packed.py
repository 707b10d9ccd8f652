"""
A visitor in few bytes, for as long as nobody looks at him.

A packed visitor is one value that the garbage collector has nothing to do with, in a fifth of the room. The form is read only by
the process that wrote it.
"""

from __future__ import annotations

import marshal
from typing import Any

from kameleoon._visitor.plain import (
    SINGLE,
    of_conversion,
    of_custom_data,
    of_page_visit,
    to_conversion,
    to_custom_data,
    to_page_visit,
)
from kameleoon._visitor.record import Assignment, Personalized, Visitor, VisitorRecord
from kameleoon._visitor.unsent import has_sendable, is_pending

_PENDING, _SENDABLE = 1, 2
"""Bits of the first byte; the rest is written by ``marshal``."""


def pack(visitor: Visitor) -> bytes | None:
    """
    All that is known of *visitor*, what of it is unsent included.

    Returns:
        ``None`` when that is not possible: other codes share his record, or a value is of a type that an application made.
    """
    record = visitor.record
    if record.is_shared:
        return None
    parts: Any = (
        visitor.last_s,
        visitor.is_unique,
        record.started_ms,
        record.is_plain,
        tuple([of_custom_data(datum) for datum in record.custom_data.values()]),
        tuple(
            [
                (given.experiment_id, given.variation_id, given.is_delivery, given.time_ms, given.unsent)
                for given in list(record.assignments.values())
            ]
        ),
        tuple(record.unsent),
        _of_rare(record) if record.has_rare else None,
    )
    try:
        packed = marshal.dumps(parts)
    except ValueError:
        return None
    return bytes((_PENDING * is_pending(record) | _SENDABLE * has_sendable(record),)) + packed


def unpack(packed: bytes) -> Visitor:
    """The visitor that `pack` was given."""
    last_s, is_unique, started_ms, is_plain, custom_data, assignments, unsent, rare = _read(packed)
    visitor = record = Visitor.alone(started_ms, last_s, is_unique=is_unique)
    record.is_plain = is_plain
    for parts in custom_data:
        record.keep_custom_data(to_custom_data(parts))
    for parts in assignments:
        record.give(Assignment(*parts))
    if unsent:
        record.unsent = set(unsent)
    if rare is not None:
        _to_rare(record, *rare)
    return visitor


def last_seen(packed: bytes) -> float:
    """`Visitor.last_s` of a packed visitor."""
    last_s: float = _read(packed)[0]
    return last_s


def is_packed_pending(packed: bytes) -> bool:
    """`kameleoon._visitor.unsent.is_pending` of a packed visitor."""
    return bool(packed[0] & _PENDING)


def has_packed_sendable(packed: bytes) -> bool:
    """`kameleoon._visitor.unsent.has_sendable` of a packed visitor."""
    return bool(packed[0] & _SENDABLE)


def _read(packed: bytes) -> Any:
    return marshal.loads(memoryview(packed)[1:])  # noqa: S302 - written by this process


def _of_rare(record: VisitorRecord) -> tuple[Any, ...]:
    single = [
        (attribute, write(value))
        for attribute, (write, _) in SINGLE.items()
        if (value := getattr(record, attribute)) is not None
    ]
    return (
        single,
        [(url, of_page_visit(visit)) for url, visit in record.page_views.items()],
        [of_conversion(converted) for converted in record.conversions],
        [tuple(shown) for shown in record.personalizations.values()],
        list(record.segments),
    )


def _to_rare(
    record: VisitorRecord,
    single: list[Any],
    page_views: list[Any],
    conversions: list[Any],
    personalizations: list[Any],
    segments: list[int],
) -> None:
    for attribute, value in single:
        setattr(record, attribute, SINGLE[attribute][1](value))
    if page_views:
        record.page_views = {url: to_page_visit(url, parts) for url, parts in page_views}
    for parts in conversions:
        record.add_conversion(to_conversion(parts))
    if personalizations:
        record.personalizations = {parts[0]: Personalized(*parts) for parts in personalizations}
    if segments:
        record.segments = dict.fromkeys(segments)

"""
The operators that conditions share: text, number and version comparison, visits and scope.

Source:
    Operators and their edges as recorded in ``tests/vectors/targeting_conditions.json``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kameleoon._engine.patterns import Unreadable
from kameleoon._engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kameleoon._visitor.record import VisitorRecord

TextMatch = Callable[[str], bool]
NumberMatch = Callable[[float], bool]
Version = tuple[int, int, int]

_NUMBER_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "EQUAL": operator.eq,
    "GREATER": operator.gt,
    "LOWER": operator.lt,
}
_DEFAULT_VISITS = 25


def text(fields: Mapping[str, Any], name: str) -> str:
    """The text field *name*; anything else than a text raises `Unreadable`."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise Unreadable(f"{name}: expected a text, found {shown(value)}")
    return value


def match_text(kind: object, wanted: str, pattern: Callable[[str], TextMatch]) -> TextMatch:
    """
    A test of a text: ``EXACT``, ``CONTAINS`` or ``REGULAR_EXPRESSION`` (the whole text must match).

    Args:
        kind: The operator.
        wanted: The text to compare with, or the pattern's source.
        pattern: Compiles a pattern, see `kameleoon._engine.patterns`.
    """
    if kind == "EXACT":
        return wanted.__eq__
    if kind == "CONTAINS":
        return lambda value: wanted in value
    if kind == "REGULAR_EXPRESSION":
        return pattern(wanted)
    raise Unreadable(f"expected EXACT, CONTAINS or REGULAR_EXPRESSION as operator, found {shown(kind)}")


def match_number(kind: object, wanted: object) -> NumberMatch:
    """A test of a number: ``EQUAL``, ``GREATER`` or ``LOWER`` than *wanted*."""
    compare = _NUMBER_OPERATORS.get(kind) if isinstance(kind, str) else None
    if compare is None:
        raise Unreadable(f"expected EQUAL, GREATER or LOWER as operator, found {shown(kind)}")
    if not isinstance(wanted, (int, float)):
        raise Unreadable(f"expected a number to compare with, found {shown(wanted)}")
    return lambda value: compare(value, wanted)


def version_operator(kind: object) -> Callable[[Any, Any], bool]:
    """The comparison of versions, its name in any case."""
    compare = _NUMBER_OPERATORS.get(kind.upper()) if isinstance(kind, str) else None
    if compare is None:
        raise Unreadable(f"versionMatchType: expected EQUAL, GREATER or LOWER, found {shown(kind)}")
    return compare


def read_version(value: object) -> Version | None:
    """``"3.4.1.9"`` as ``(3, 4, 1)``; missing parts are 0, further ones ignored; ``None`` when a part is not a number."""
    if not isinstance(value, (str, int, float)) or not value:
        return None
    try:
        parts = str(value).split(".", 3)[:3]
        major, minor, patch = (int(part) for part in (*parts, "0", "0")[:3])
    except ValueError:
        return None
    return major, minor, patch


def read_browser_version(value: object) -> float | None:
    """``"85.1.7"`` as 85.1: a browser's version is compared as one number, so ``"1.10"`` is 1.1."""
    version = read_version(value)
    return None if version is None else float(f"{version[0]}.{version[1]}") if version[1] >= 0 else None


def midnight_ms(now_ms: int) -> int:
    """The last local midnight at or before *now_ms*, in milliseconds since 1970."""
    today = datetime.fromtimestamp(now_ms / 1000).replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: DTZ006 - local time is meant
    return int(today.timestamp() * 1000)


def threshold_ms(fields: Mapping[str, Any], default: str) -> Callable[[VisitorRecord], int]:
    """
    From when on a visitor's past counts, by ``visitScope`` and ``visitCount``.

    Args:
        fields: The condition's fields.
        default: The scope when none is given, ``CURRENT_VISIT`` or ``VISITOR``.

    Returns:
        A function from a record to milliseconds since 1970.
    """
    named = fields.get("visitScope")
    scope = named.upper() if isinstance(named, str) else default
    if scope not in {"CURRENT_VISIT", "VISITOR"}:
        scope = default
    given = fields.get("visitCount")
    count = given if isinstance(given, int) and given > 0 else _DEFAULT_VISITS
    current_only = scope == "CURRENT_VISIT" or count < 2

    def since(record: VisitorRecord) -> int:
        visits = record.visits
        if visits is None:
            return 0
        if current_only or not visits.previous:
            return record.started_ms
        return visits.previous[min(count - 2, len(visits.previous) - 1)].started_ms

    return since

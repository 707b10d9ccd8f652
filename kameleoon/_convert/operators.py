"""
Convert's comparisons, each made ready for one rule's value so that an evaluation only compares.

A test is given the visitor's value, `ABSENT` when there is none, and says whether the plain comparison holds; ``None`` means that
it cannot be made, which counts as not matching even when negated.

Source:
    docs/convert.md, "Comparisons".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from kameleoon._convert.patterns import compile_search
from kameleoon._convert.values import as_compared, as_double, as_text, code_units, is_same

Comparison: TypeAlias = Callable[[Any], bool | None]


class _Absent:
    """The type of `ABSENT`."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Stands for a value that the visitor does not have."""

EXISTENCE = frozenset({"exists", "doesNotExist"})
"""The comparisons that need no value in the rule, and are made for a key that the visitor does not have."""


def _equals(target: Any) -> Comparison:
    text = as_text(target)
    lowered = text.lower()

    def equals(value: Any) -> bool:
        if isinstance(value, (list, tuple)):
            return any(is_same(item, target) for item in value)
        if isinstance(value, dict) and value:
            return text in value
        return as_text(value).lower() == lowered

    return equals


def _contains(target: Any) -> Comparison:
    text = as_text(target).lower()
    if not text.strip():
        return lambda _value: True
    return lambda value: text in as_text(value).lower()


def _starts_with(target: Any) -> Comparison:
    text = as_text(target).lower()
    return lambda value: as_text(value).lower().startswith(text)


def _ends_with(target: Any) -> Comparison:
    text = as_text(target).lower()
    return lambda value: as_text(value).lower().endswith(text)


def _regex_matches(target: Any) -> Comparison:
    found = compile_search(as_text(target))
    return lambda value: found(as_text(value).lower())


def _less(target: Any) -> Comparison:
    return _ordered(target, or_equal=False)


def _less_equal(target: Any) -> Comparison:
    return _ordered(target, or_equal=True)


def _ordered(target: Any, *, or_equal: bool) -> Comparison:
    kind, limit = _sortable(target)

    def compare(value: Any) -> bool | None:
        own_kind, own = _sortable(value)
        if own_kind != kind or not kind:
            return None
        return bool(own <= limit if or_equal else own < limit)

    return compare


def _sortable(value: Any) -> tuple[str, Any]:
    """``(kind, what sorts)``; no kind for lists and objects."""
    value = as_compared(value)
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, (int, float)):
        return "number", as_double(value)
    if isinstance(value, str):
        return "string", code_units(value)
    return ("null", 0) if value is None else ("", None)


def _is_in(target: Any) -> Comparison:
    items = target.split("|") if isinstance(target, str) else target if isinstance(target, list) else []
    tokens = frozenset(as_text(item).lower() for item in items)
    # Only the rule's side is in lower case; the visitor's is not.
    return lambda value: not tokens.isdisjoint(as_text(value).split("|"))


def _exists(_target: Any) -> Comparison:
    return lambda value: not _is_missing(value)


def _does_not_exist(_target: Any) -> Comparison:
    return _is_missing


def _is_missing(value: Any) -> bool:
    return value is ABSENT or value is None or (isinstance(value, str) and not value)


OPERATORS: dict[str, Callable[[Any], Comparison]] = {
    "equals": _equals,
    "equalsNumber": _equals,
    "matches": _equals,
    "contains": _contains,
    "startsWith": _starts_with,
    "endsWith": _ends_with,
    "regexMatches": _regex_matches,
    "less": _less,
    "lessEqual": _less_equal,
    "isIn": _is_in,
    "exists": _exists,
    "doesNotExist": _does_not_exist,
    "not_exists": _does_not_exist,
}
"""``{match_type: makes the comparison with a rule's value}``; names are exact, also in case."""

"""
When two results of a recorded case are equal, and how they differ when they are not.

Source:
    The format of tests/vectors, "When two results are equal".
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNORDERED_RESULTS = frozenset(
    {"active_keys", "get_feature_list", "get_active_feature_list_for_visitor", "get_remote_visitor_data", "requests"},
)
_UNORDERED_MEMBERS = {"sent": frozenset({"lines", "user_agents"})}
_SHOWN_CHARACTERS = 600


def differences(op: str, expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """
    Compare the results of one action.

    Args:
        op: The action, which decides where order matters.
        expected: ``{"returns": value}`` or ``{"raises": class name}``, as recorded.
        actual: The same, as played.

    Returns:
        One line a difference, each beginning with its place; empty when the results are equal.
    """
    return list(_walk(op, "", expected, actual))


def _walk(op: str, place: str, expected: Any, actual: Any) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in expected.keys() | actual.keys():
            inner = f"{place}.{name}" if place else str(name)
            if name not in actual:
                yield f"{inner}: missing, expected {_shown(expected[name])}"
            elif name not in expected:
                yield f"{inner}: unexpected {_shown(actual[name])}"
            else:
                yield from _walk(op, inner, expected[name], actual[name])
    elif isinstance(expected, list) and isinstance(actual, list):
        yield from (_unordered if _order_is_free(op, place) else _ordered)(op, place, expected, actual)
    elif _canonical(expected) != _canonical(actual):
        yield f"{place}: expected {_shown(expected)}, got {_shown(actual)}"


def _ordered(op: str, place: str, expected: list[Any], actual: list[Any]) -> Iterator[str]:
    if len(expected) != len(actual):
        yield f"{place}: expected {len(expected)} items {_shown(expected)}, got {len(actual)} items {_shown(actual)}"
        return
    for index, (wanted, got) in enumerate(zip(expected, actual, strict=True)):
        yield from _walk(op, f"{place}[{index}]", wanted, got)


def _unordered(_op: str, place: str, expected: list[Any], actual: list[Any]) -> Iterator[str]:
    wanted = Counter(map(_canonical, expected))
    got = Counter(map(_canonical, actual))
    by_form = {_canonical(item): item for item in (*expected, *actual)}
    for form, times in (wanted - got).items():
        yield f"{place}: missing{_times(times)} {_shown(by_form[form])}"
    for form, times in (got - wanted).items():
        yield f"{place}: unexpected{_times(times)} {_shown(by_form[form])}"


def _order_is_free(op: str, place: str) -> bool:
    if op in _UNORDERED_RESULTS:
        return place == "returns"
    outer, _, member = place.rpartition(".")
    return outer == "returns" and member in _UNORDERED_MEMBERS.get(op, ())


def _canonical(value: Any) -> Any:
    """Give a hashable form that is equal exactly when the values are: 5 and 5.0 are, 1 and ``True`` are not."""
    match value:
        case bool():
            return ("boolean", value)
        case int() | float():
            return ("number", value)
        case str() | None:
            return value
        case list():
            return ("list", tuple(map(_canonical, value)))
        case dict():
            return ("object", frozenset((name, _canonical(item)) for name, item in value.items()))
        case _:
            return ("not JSON", type(value).__name__, repr(value))


def _times(count: int) -> str:
    return f" {count} times" if count > 1 else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=lambda other: f"<{type(other).__name__} {other!r}>")
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"

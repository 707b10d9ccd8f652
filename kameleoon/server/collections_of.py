"""
Lists of the Automation API: pages, filters, order.

Source:
    automation-api.md, section 5.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Entity = dict[str, Any]

_PER_PAGE, _MOST_PER_PAGE = 20, 200
_MAX_DEPTH = 10


class QueryError(ValueError):
    """
    The query cannot be understood.

    Attributes:
        field: The parameter.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


def from_query(entities: Sequence[Entity], query: Mapping[str, str], fields: Sequence[str]) -> tuple[list[Entity], int]:
    """
    What ``page``, ``perPage``, ``filter`` and ``sort`` of a URL leave.

    Args:
        entities: All there are.
        query: The URL's parameters.
        fields: That may be named.

    Returns:
        The page and how many there are on all pages.

    Raises:
        QueryError: A parameter makes no sense.
    """
    given: dict[str, Any] = {}
    for name in ("page", "perPage", "filter", "sort"):
        if name in query:
            try:
                given[name] = json.loads(query[name])
            except (ValueError, RecursionError) as error:
                raise QueryError(name, "not understood") from error
    if "filter" in given:
        if not isinstance(given["filter"], list):
            raise QueryError("filter", "expected an array of filters")
        given["filter"] = {"conditionalOperator": "AND", "expressions": given["filter"]}
    return from_body(entities, given, fields)


def from_body(entities: Sequence[Entity], body: Mapping[str, Any], fields: Sequence[str]) -> tuple[list[Entity], int]:
    """The same from the body of a search, whose filter is one expression."""
    found = list(entities)
    if body.get("filter") is not None:
        is_met = _expression(body["filter"], fields, 0)
        found = [entity for entity in found if is_met(entity)]
    sorts = body.get("sort") or [{"field": "id", "direction": "ASC"}]
    if not isinstance(sorts, list):
        raise QueryError("sort", "expected an array")
    for sort in reversed(sorts):
        name = sort.get("field") if isinstance(sort, dict) else None
        if name not in fields or sort.get("direction", "ASC") not in {"ASC", "DESC"}:
            raise QueryError("sort", "expected {field, direction: ASC or DESC} of a field that there is")
        found.sort(key=lambda entity, name=name: _order(entity.get(name)), reverse=sort.get("direction") == "DESC")  # type: ignore[misc]
    page, per_page = body.get("page", 1), body.get("perPage", _PER_PAGE)
    if per_page == -1:
        per_page = _MOST_PER_PAGE
    if not isinstance(page, int) or isinstance(page, bool) or page < 1:
        raise QueryError("page", "expected a whole number from 1")
    if not isinstance(per_page, int) or isinstance(per_page, bool) or not 1 <= per_page <= _MOST_PER_PAGE:
        raise QueryError("perPage", f"expected 1 to {_MOST_PER_PAGE}, or -1")
    return found[(page - 1) * per_page : page * per_page], len(found)


def _order(value: Any) -> tuple[int, Any]:
    """Values of different types in an order of their own."""
    if value is None:
        return 0, 0
    if isinstance(value, bool | int | float):
        return 1, value
    return 2, str(value)


def _expression(given: Any, fields: Sequence[str], depth: int) -> Callable[[Entity], bool]:
    if not isinstance(given, dict) or depth > _MAX_DEPTH:
        raise QueryError("filter", "expected {field, operator, parameters}")
    if "expressions" in given:
        if not isinstance(given["expressions"], list) or given.get("conditionalOperator") not in {"AND", "OR"}:
            raise QueryError("filter", "expected conditionalOperator AND or OR with expressions")
        parts = [_expression(part, fields, depth + 1) for part in given["expressions"]]
        if given["conditionalOperator"] == "AND":
            return lambda entity: all(part(entity) for part in parts)
        return lambda entity: any(part(entity) for part in parts)
    name, operator, parameters = given.get("field"), given.get("operator"), given.get("parameters", [])
    if not isinstance(name, str) or name not in fields:
        raise QueryError("filter", f"there is no field {name!r}; expected one of {', '.join(fields)}")
    if (
        not isinstance(operator, str)
        or operator not in _OPERATORS
        or not isinstance(parameters, list)
        or len(parameters) < _OPERATORS[operator][0]
    ):
        raise QueryError("filter", f"{operator!r} is no operator, or has too few parameters")
    test = _OPERATORS[operator][1]
    return lambda entity: test(entity.get(name), parameters)


def _compared(value: Any, other: Any, *wanted: int) -> bool:
    left, right = _order(value), _order(other)
    if left[0] != right[0] or value is None:
        return False
    return ((left > right) - (left < right)) in wanted


def _like(value: Any, parameters: list[Any]) -> bool:
    text, rest = str(value or "").lower(), [part for part in str(parameters[0]).lower().split("%") if part]
    place = 0
    for part in rest:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _contains(value: Any, parameters: list[Any]) -> bool:
    return parameters[0] in value if isinstance(value, list) else str(parameters[0]) in str(value or "")


_OPERATORS: dict[str, tuple[int, Callable[[Any, list[Any]], bool]]] = {
    "EQUAL": (1, lambda value, wanted: value in wanted),
    "IN": (1, lambda value, wanted: value in wanted),
    "NOT_EQUAL": (1, lambda value, wanted: value != wanted[0]),
    "NOT_IN": (1, lambda value, wanted: value not in wanted),
    "LESS": (1, lambda value, wanted: _compared(value, wanted[0], -1)),
    "GREATER": (1, lambda value, wanted: _compared(value, wanted[0], 1)),
    "LESS_OR_EQUAL": (1, lambda value, wanted: _compared(value, wanted[0], -1, 0)),
    "GREATER_OR_EQUAL": (1, lambda value, wanted: _compared(value, wanted[0], 0, 1)),
    "BETWEEN": (2, lambda value, wanted: _compared(value, wanted[0], 0, 1) and _compared(value, wanted[1], -1, 0)),
    "LIKE": (1, _like),
    "NOT_LIKE": (1, lambda value, wanted: not _like(value, wanted)),
    "CONTAINS": (1, _contains),
    "IS_NULL": (0, lambda value, _: value is None),
    "IS_NOT_NULL": (0, lambda value, _: value is not None),
    "IS_TRUE": (0, lambda value, _: value is True),
    "IS_FALSE": (0, lambda value, _: value is False),
    "IS_EMPTY": (0, lambda value, _: not value),
    "IS_NOT_EMPTY": (0, lambda value, _: bool(value)),
}
"""`{operator: (parameters at least, test of value and parameters)}`."""

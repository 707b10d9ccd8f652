"""
Filters and sort orders of collections.

::

    from kameleoon.api.filters import all_of, any_of, asc, desc, where

    api.goals.list(where("siteId") == 41, where("name").like("%order%"), sort=[desc("dateCreated")])
    api.feature_flags.search(any_of(where("archived").is_true(), where("name").is_empty()))

Fields are named as the service names them. All operators that its documentation lists are here; of the second group below it documents the names for
searches only, so what they mean is assumed from them.

Source:
    docs/automation-api.md, "Collections".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One comparison.

    Attributes:
        field: The service's name of the field.
        operator: The service's name of the operator.
        parameters: Values as JSON has them.
    """

    field: str
    operator: str
    parameters: tuple[Any, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The filter object."""
        return {"field": self.field, "operator": self.operator, "parameters": list(self.parameters)}


@dataclass(frozen=True, slots=True)
class Joined:
    """Several expressions under AND or OR; for searches only."""

    operator: str
    expressions: tuple[Expression, ...]

    def to_json(self) -> dict[str, Any]:
        """The expression."""
        return {
            "conditionalOperator": self.operator,
            "expressions": [expression.to_json() for expression in self.expressions],
        }


Expression: TypeAlias = "Condition | Joined"


@dataclass(frozen=True, slots=True)
class Order:
    """One key of a sort order."""

    field: str
    direction: str

    def to_json(self) -> dict[str, Any]:
        """The sort object."""
        return {"field": self.field, "direction": self.direction}


class Field:
    """A field to compare; made by `where`. Values: text, numbers, booleans; times as ISO 8601 text."""

    __slots__ = ("_name",)

    __hash__ = None  # type: ignore[assignment]  # comparing makes conditions, so a field cannot be a key

    def __init__(self, name: str) -> None:
        if not name:
            raise ValueError("a field needs a name")
        self._name = name

    def equal(self, *values: Any) -> Condition:
        """Equal to one of *values*; the same as ``where(…) == value`` for a single one."""
        return self._of("EQUAL", *values)

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]  # conditions instead of a truth
        return self._of("EQUAL", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]  # as above
        return self._of("NOT_EQUAL", value)

    def __lt__(self, value: Any) -> Condition:
        return self._of("LESS", value)

    def __gt__(self, value: Any) -> Condition:
        return self._of("GREATER", value)

    def __le__(self, value: Any) -> Condition:
        return self._of("LESS_OR_EQUAL", value)

    def __ge__(self, value: Any) -> Condition:
        return self._of("GREATER_OR_EQUAL", value)

    def like(self, text: str) -> Condition:
        """*text* occurs in it; case does not count and ``%`` stands for anything (assumed)."""
        return self._of("LIKE", text)

    def between(self, least: Any, most: Any) -> Condition:
        """From *least* to *most*, both included (assumed)."""
        return self._of("BETWEEN", least, most)

    # --- documented for searches ---------------------------------------------------------------------------------------

    def not_like(self, text: str) -> Condition:
        """*text* does not occur in it."""
        return self._of("NOT_LIKE", text)

    def is_in(self, *values: Any) -> Condition:
        """One of *values*."""
        return self._of("IN", *values)

    def not_in(self, *values: Any) -> Condition:
        """None of *values*."""
        return self._of("NOT_IN", *values)

    def negated(self, *values: Any) -> Condition:
        """The operator ``NOT``."""
        return self._of("NOT", *values)

    def contains(self, *values: Any) -> Condition:
        """A list that has *values*."""
        return self._of("CONTAINS", *values)

    def is_null(self) -> Condition:
        """Without a value."""
        return Condition(self._name, "IS_NULL")

    def is_not_null(self) -> Condition:
        """With a value."""
        return Condition(self._name, "IS_NOT_NULL")

    def is_true(self) -> Condition:
        """True."""
        return Condition(self._name, "IS_TRUE")

    def is_false(self) -> Condition:
        """False."""
        return Condition(self._name, "IS_FALSE")

    def is_empty(self) -> Condition:
        """An empty text or list."""
        return Condition(self._name, "IS_EMPTY")

    def is_not_empty(self) -> Condition:
        """A text or list with something in it."""
        return Condition(self._name, "IS_NOT_EMPTY")

    def _of(self, operator: str, *values: Any) -> Condition:
        if not values:
            raise ValueError(f"{operator} of {self._name!r} needs a value")
        for value in values:
            if not isinstance(value, str | int | float | None) or (isinstance(value, float) and value - value != 0):
                raise TypeError(f"{value!r} cannot be compared; use text, a finite number, a boolean or None")
        return Condition(self._name, operator, values)


def where(field: str) -> Field:
    """
    A field to compare.

    Raises:
        ValueError: *field* is empty.
    """
    return Field(field)


def all_of(*expressions: Expression) -> Joined:
    """All of *expressions* hold."""
    return _joined("AND", expressions)


def any_of(*expressions: Expression) -> Joined:
    """One of *expressions* holds."""
    return _joined("OR", expressions)


def _joined(operator: str, expressions: tuple[Expression, ...]) -> Joined:
    if not expressions:
        raise ValueError("at least one expression is needed")
    return Joined(operator, expressions)


def asc(field: str) -> Order:
    """Smallest first."""
    return Order(field, "ASC")


def desc(field: str) -> Order:
    """Largest first."""
    return Order(field, "DESC")


def compact(objects: Iterable[Condition | Order | Mapping[str, Any]]) -> str | None:
    """*objects* as the JSON array of a query parameter; ``None`` when there is none. The caller percent-encodes it."""
    written = [item if isinstance(item, Mapping) else item.to_json() for item in objects]
    return json.dumps(written, ensure_ascii=False, separators=(",", ":"), allow_nan=False) if written else None

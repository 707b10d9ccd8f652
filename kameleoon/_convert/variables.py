"""A feature's variables, made of their declared types once, when the project is compiled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kameleoon._convert.model import Problem
from kameleoon._convert.values import as_text, is_truthy, leading_integer, leading_number
from kameleoon._engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def cast_variables(
    place: str, given: Mapping[str, Any], types: Mapping[str, str], tell: Callable[[Problem], None]
) -> dict[str, Any]:
    """
    Give each variable its declared type.

    Args:
        place: Where they stand, for problems.
        given: ``{variable key: value}``.
        types: ``{variable key: declared type}``; a value of a key that is not declared stays as it is.
        tell: Told of each variable that has no value of its type, and is left out.

    Source:
        docs/convert.md, "Features and variables".
    """
    out: dict[str, Any] = {}
    for key, value in given.items():
        cast = _CASTS.get(types.get(key, ""))
        made = value if cast is None else cast(value)
        if cast in _NUMERIC and made is None:
            tell(
                Problem(
                    f"{place}.variables_data[{key}]", f"{shown(value)} is no {types[key]}; the variable is left out"
                )
            )
        else:
            out[key] = made
    return out


def _boolean(value: Any) -> bool:
    if value in ("true", "false"):
        return bool(value == "true")
    return is_truthy(value)


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return value


def _refuse(name: str) -> Any:
    raise ValueError(name)


_CASTS: dict[str, Callable[[Any], Any]] = {
    "boolean": _boolean,
    "integer": leading_integer,
    "float": leading_number,
    "string": as_text,
    "json": _json,
}
_NUMERIC = (leading_integer, leading_number)

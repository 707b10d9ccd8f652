"""
Refusals shared by the data types: what could not be encoded later is refused where it is made.

Messages name class, field, the value's type and what was expected. They never hold the value, which may be a visitor's.
"""

import math
import re
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import NoReturn

_SURROGATE = re.compile("[\ud800-\udfff]")


def refuse(where: str, value: object, expected: str) -> NoReturn:
    """
    Refuse a value of a wrong type.

    Raises:
        TypeError: Always.
    """
    raise TypeError(f"{where} must be {expected}, not {type(value).__name__}")


def text(where: str, value: object) -> str:
    """
    Check a string, which must be encodable as UTF-8.

    Raises:
        TypeError: *value* is not a ``str``.
        ValueError: *value* holds a lone surrogate.
    """
    if not isinstance(value, str):
        refuse(where, value, "a str")
    if not value.isascii() and _SURROGATE.search(value):
        raise ValueError(
            f"{where} must be a str that UTF-8 can encode, this {type(value).__name__} has a lone surrogate"
        )
    return value


def optional_text(where: str, value: object) -> str | None:
    """Check a string or ``None``; raises like `text`."""
    return None if value is None else text(where, value)


def integer(where: str, value: object) -> int:
    """
    Check an integer of any type and give it as ``int``.

    Raises:
        TypeError: *value* is not an integer, or is a ``bool``.
    """
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, Integral):
        refuse(where, value, "an int")
    return int(value)


def number(where: str, value: object) -> float:
    """
    Check a finite real number: an ``int`` or ``float`` stays as given, all others become ``float``.

    Raises:
        TypeError: *value* is not a real number, or is a ``bool``.
        ValueError: *value* is NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Real, Decimal)):
        refuse(where, value, "a number")
    try:
        as_float = float(value)
    except (OverflowError, ValueError):  # an int or Fraction beyond a float's range; a signalling NaN
        as_float = math.nan
    if not math.isfinite(as_float):
        raise ValueError(f"{where} must be a finite number, this {type(value).__name__} is NaN, infinite or too large")
    return value if isinstance(value, (int, float)) else as_float


def optional_number(where: str, value: object) -> float | None:
    """Check a finite real number or ``None``; raises like `number`."""
    return None if value is None else number(where, value)


def flag(where: str, value: object) -> bool:
    """
    Check a boolean; the integers 0 and 1 count.

    Raises:
        TypeError: *value* is anything else, as the string ``"false"`` would otherwise be true.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral) and value in (0, 1):
        return bool(value)
    refuse(where, value, "a bool")


def member(where: str, value: object, kind: type[Enum]) -> None:
    """
    Check a member of an enumeration.

    Raises:
        TypeError: *value* is not a member of *kind*, were it equal to one's name or number.
    """
    if not isinstance(value, kind):
        refuse(where, value, f"a member of {kind.__name__}")


def items(where: str, value: object, expected: str) -> tuple[object, ...]:
    """
    Read an iterable once; a string does not count as one.

    Raises:
        TypeError: *value* is a string or no iterable.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        refuse(where, value, expected)
    return tuple(value)

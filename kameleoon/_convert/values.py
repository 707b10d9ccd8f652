"""
Values as JavaScript converts them: Convert's rules are defined by what its JavaScript SDK makes of them.

Source:
    docs/convert.md, "Comparisons".
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

_LARGEST_EXACT = 1 << 53
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LEADING_INTEGER = re.compile(r"\s*([+-]?[0-9]+)")
_LEADING_NUMBER = re.compile(rf"\s*({_NUMBER.pattern})")
_GROUPED = re.compile(r"-?(?:(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)(?:\.[0-9]+)?|\.[0-9]+)")

_MAX_DEPTH = 20
"""Lists within lists are shown as text so deep; what is beyond counts as empty."""

MAX_DIGITS = 400
"""A longer text is no number: no double needs as many, and converting them takes time."""


def as_text(value: Any, depth: int = 0) -> str:
    """The text that JavaScript's ``String(value)`` gives for a value that came from JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _number_text(value)
    if isinstance(value, (list, tuple)):
        if depth >= _MAX_DEPTH:
            return ""
        return ",".join("" if item is None else as_text(item, depth + 1) for item in value)
    return "[object Object]"


def _number_text(value: float) -> str:
    if isinstance(value, int) and abs(value) <= _LARGEST_EXACT:
        return str(int(value))
    number = as_double(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(text)
    point = len(text) + exponent  # where the decimal point stands, counted from the first digit
    if 0 < point <= 21:
        shown = text.ljust(point, "0") if point >= len(text) else f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        shown = f"0.{'0' * -point}{text}"
    else:
        mantissa = text if len(text) == 1 else f"{text[0]}.{text[1:]}"
        shown = f"{mantissa}e{point - 1:+d}"
    return f"-{shown}" if sign else shown


def as_double(value: float) -> float:
    """*value* as a double; an integer beyond any double is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_number(value: Any) -> float | None:
    """A finite number, or a text that is one, as a double; ``None`` for anything else, also for booleans and blank texts."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        number = as_double(value)
    elif isinstance(value, str) and len(value) <= MAX_DIGITS and _NUMBER.fullmatch(value.strip()):
        number = float(value)
    else:
        return None
    return number if math.isfinite(number) else None


def as_compared(value: Any) -> Any:
    """A text with a number in it, commas between thousands allowed, as that number; anything else as it is."""
    if not isinstance(value, str) or len(value) > MAX_DIGITS or not _GROUPED.fullmatch(value):
        return value
    if value.startswith("0,"):
        return leading_number(value.replace(",", "."))
    return float(value.replace(",", ""))


def leading_integer(value: Any) -> int | None:
    """What ``parseInt(value, 10)`` gives, ``None`` for NaN. Booleans are 1 and 0."""
    if isinstance(value, bool):
        return int(value)
    found = _LEADING_INTEGER.match(as_text(value)[:MAX_DIGITS])
    return int(found[1]) if found else None


def leading_number(value: Any) -> float | None:
    """What ``parseFloat(value)`` gives, ``None`` for what is not finite. Booleans are 1 and 0."""
    if isinstance(value, bool):
        return float(value)
    found = _LEADING_NUMBER.match(as_text(value)[:MAX_DIGITS])
    if not found:
        return None
    number = float(found[1])
    return number if math.isfinite(number) else None


def is_truthy(value: Any) -> bool:
    """Whether JavaScript takes *value* for true: lists and objects are, also empty ones."""
    return bool(value) or isinstance(value, (list, dict))


def is_same(one: Any, other: Any) -> bool:
    """Whether ``one === other``. Two lists or objects are never the same."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return as_double(one) == as_double(other)
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    return one is None and other is None


def code_units(text: str) -> bytes:
    """Bytes that sort as JavaScript sorts texts: by UTF-16 code unit."""
    return text.encode("utf-16-be", "surrogatepass")


def well_formed(text: str) -> str:
    """*text* with half surrogate pairs replaced by U+FFFD and whole ones joined, as when JavaScript writes UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

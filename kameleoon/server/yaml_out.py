"""
Plain data written as YAML that `document.load` reads back as the same, in one form only, so that versions can be compared line by line.

A mapping or list stands on one line when it fits there, and else has a line for each member. `Block` always has lines.
"""

from __future__ import annotations

import re
from typing import Any

_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_ .%/+-]*[A-Za-z0-9_.%/+-])?", re.ASCII)
# What the plain words of YAML 1.2 stand for; text of that form is put into quotes.
_NOT_TEXT = re.compile(
    r"true|false|null|[-+]?[0-9]+|[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:e[-+]?[0-9]+)?", re.IGNORECASE | re.ASCII
)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


class Block(dict[str, Any]):
    """A mapping that has a line for each entry, however short it is."""


class Rows(list[Any]):
    """A list that has a line for each member, however short it is."""


def dump(value: Any) -> str:
    """
    *value* as a YAML document that ends with a newline.

    Args:
        value: Mappings with text as keys, lists, text, numbers, truth values and None.
    """
    return "\n".join(_lines(value, 0)) + "\n"


def _lines(value: Any, indent: int) -> list[str]:
    if not _is_long(value, indent):
        return [_flow(value)]
    pad = " " * indent
    lines: list[str] = []
    if isinstance(value, dict):
        for key, member in value.items():
            name = _scalar(key)
            if _is_long(member, indent + len(name) + 2):
                deeper = indent + 2
                lines += [f"{pad}{name}:", *_padded(member, deeper)]
            else:
                lines.append(f"{pad}{name}: {_flow(member)}")
        return lines
    for member in value:
        first, *others = _padded(member, indent + 2)
        lines += [f"{pad}- {first.lstrip(' ')}", *others]
    return lines


def _padded(value: Any, indent: int) -> list[str]:
    lines = _lines(value, indent)
    return lines if _is_long(value, indent) else [f"{' ' * indent}{lines[0]}"]


def _is_long(value: Any, indent: int) -> bool:
    if not isinstance(value, dict | list) or not value:
        return False
    return _has_block(value) or indent + len(_flow(value)) > _WIDTH


def _has_block(value: Any) -> bool:
    if isinstance(value, Block | Rows):
        return bool(value)
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_has_block(member) for member in members)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and not _NOT_TEXT.fullmatch(text):
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable() and letter != "\N{ZERO WIDTH NO-BREAK SPACE}":
        return letter
    number = ord(letter)
    return f"\\x{number:02X}" if number < 0x100 else f"\\u{number:04X}" if number < 0x10000 else f"\\U{number:08X}"

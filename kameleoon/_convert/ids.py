"""
Convert's ids, which are texts, as the numbers that a visitor's record and the public values have.

Nearly all ids are decimal numbers and keep their value. Any other text stands for a negative number made from its hash, the same in every
process, and is found again through the project that has it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 15
"""Digits of the longest number that is exact as a double, wherever records are kept."""


def id_number(text: str) -> int:
    """The number that stands for the id *text*."""
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST and (text == "0" or text[0] != "0"):
        return int(text)
    return -1 - int.from_bytes(sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big")


class Ids:
    """
    The way back from numbers to ids.

    Args:
        texts: All ids of a project.
    """

    __slots__ = ("_by_number",)

    def __init__(self, texts: Iterable[str]) -> None:
        numbered = ((id_number(text), text) for text in texts)
        self._by_number = {number: text for number, text in numbered if number < 0}

    def text(self, number: object) -> str | None:
        """The id that *number* stands for; ``None`` when no id of the project does."""
        if not isinstance(number, int) or isinstance(number, bool):
            return None
        return str(number) if number >= 0 else self._by_number.get(number)

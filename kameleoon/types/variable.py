"""A variable of a flag's variation."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Variable:
    """
    A variable of a flag's variation.

    Attributes:
        key: Its key within the flag.
        type: Its type as the service writes it: ``BOOLEAN``, ``NUMBER``, ``STRING``, ``JSON``, ``JS``, ``CSS``.
        value: Its value; for ``JSON`` what the text stands for.
    """

    key: str
    type: str
    value: Any

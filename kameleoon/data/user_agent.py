"""The ``User-Agent`` header of the visitor's browser."""

from dataclasses import dataclass
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


@dataclass(frozen=True, slots=True)
class UserAgent(Data):
    """
    The visitor's ``User-Agent`` header; a later one replaces it. The service uses it to leave out bots.

    Args:
        value: The header's text. ``None``, as frameworks give for a missing header, becomes the empty string.

    Raises:
        TypeError: *value* is neither a string nor ``None``.
        ValueError: *value* holds a lone surrogate.
    """

    data_type: ClassVar[DataType] = DataType.USER_AGENT

    value: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _checks.optional_text("UserAgent.value", self.value) or "")

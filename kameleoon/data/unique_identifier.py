"""Whether a visitor code names a person rather than a browser."""

from dataclasses import dataclass

from kameleoon.data import _checks


@dataclass(frozen=True, slots=True)
class UniqueIdentifier:
    """
    Says that the visitor code is a person's identifier, the same on every device. Taken by ``add_data``, never sent.

    Not a `Data`: it is about the code and not about the visitor.

    Args:
        value: ``True`` when it is one.

    Raises:
        TypeError: *value* is not a ``bool``.
    """

    value: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", _checks.flag("UniqueIdentifier.value", self.value))

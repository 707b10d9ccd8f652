"""What an application calls custom data: values under an index or a name set up in the service."""

import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, TypeAlias

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType

CustomDataValue: TypeAlias = str | float | None
"""A value of custom data. Strings are meant; numbers, booleans and ``None`` are kept as given."""

NO_INDEX = -1
"""Index of custom data while only its name is known."""


@dataclass(frozen=True, slots=True, init=False)
class CustomData(Data):
    """
    Values of one custom data; later ones of the same index replace them.

    Attributes:
        index: Its index in the service, -1 while only a name is known.
        name: Its name, ``None`` when it was made from an index.
        values: The values, in the order given; may be empty.
        overwrite: Whether the service replaces the values it has (default) or adds to them.
    """

    data_type: ClassVar[DataType] = DataType.CUSTOM_DATA

    index: int
    name: str | None
    values: tuple[CustomDataValue, ...]
    overwrite: bool

    def __init__(self, index_or_name: int | str, *values: CustomDataValue, overwrite: bool = True) -> None:
        """
        Check and keep the values. An integer (a ``bool`` too) is an index, a string a name.

        Raises:
            TypeError: *index_or_name* is neither, or a value is no string, number, boolean or ``None`` (a list, say).
            ValueError: The name or a value holds a lone surrogate.
        """
        index, name = NO_INDEX, None
        if isinstance(index_or_name, Integral):
            index = int(index_or_name)
        elif isinstance(index_or_name, str):
            name = _checks.text("CustomData.name", index_or_name)
        else:
            _checks.refuse("CustomData.index_or_name", index_or_name, "an int or a str")
        for value in values:
            if isinstance(value, str):
                _checks.text("each of CustomData.values", value)
            elif value is not None and not isinstance(value, (int, float)):
                _checks.refuse("each of CustomData.values", value, "a str")
        object.__setattr__(self, "index", index)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "overwrite", _checks.flag("CustomData.overwrite", overwrite))

    @property
    def id(self) -> int:
        """Deprecated name of `index`."""
        warnings.warn("CustomData.id is deprecated, use CustomData.index", DeprecationWarning, stacklevel=2)
        return self.index

    def at(self, index: int) -> "CustomData":
        """Give the same custom data with its *index* known; the name stays."""
        resolved = object.__new__(CustomData)
        object.__setattr__(resolved, "index", index)
        object.__setattr__(resolved, "name", self.name)
        object.__setattr__(resolved, "values", self.values)
        object.__setattr__(resolved, "overwrite", self.overwrite)
        return resolved

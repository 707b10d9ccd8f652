"""The version of the application the visitor uses."""

from dataclasses import dataclass
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


@dataclass(frozen=True, slots=True)
class ApplicationVersion(Data):
    """
    The version of the application the visitor uses; a later one replaces it. Looked at by targeting, never sent.

    Args:
        version: Up to three numbers with dots, such as ``1.2.3``. Other text is kept and matches no version condition.

    Raises:
        TypeError: *version* is not a string.
        ValueError: *version* holds a lone surrogate.
    """

    data_type: ClassVar[DataType] = DataType.APPLICATION_VERSION

    version: str

    def __post_init__(self) -> None:
        _checks.text("ApplicationVersion.version", self.version)

"""The visitor's operating system."""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


class OperatingSystemType(IntEnum):
    """
    Operating systems the service tells apart; name and number are sent as ``os`` and ``osIndex``.

    Source:
        docs/service/evaluation.md 6.2.
    """

    WINDOWS = 0
    MAC = 1
    IOS = 2
    LINUX = 3
    ANDROID = 4
    WINDOWS_PHONE = 5


@dataclass(frozen=True, slots=True)
class OperatingSystem(Data):
    """
    The visitor's operating system; a later one replaces it.

    Args:
        os_type: Which system.

    Raises:
        TypeError: *os_type* is not an `OperatingSystemType`.
    """

    data_type: ClassVar[DataType] = DataType.OPERATING_SYSTEM

    os_type: OperatingSystemType

    def __post_init__(self) -> None:
        _checks.member("OperatingSystem.os_type", self.os_type, OperatingSystemType)

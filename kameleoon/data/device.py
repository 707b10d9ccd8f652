"""The kind of device the visitor uses."""

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


class DeviceType(Enum):
    """Kinds of devices; the name is sent as ``deviceType``."""

    PHONE = "PHONE"
    TABLET = "TABLET"
    DESKTOP = "DESKTOP"


@dataclass(frozen=True, slots=True)
class Device(Data):
    """
    The visitor's device; a later one replaces it.

    Args:
        device_type: Which kind.

    Raises:
        TypeError: *device_type* is not a `DeviceType`.
    """

    data_type: ClassVar[DataType] = DataType.DEVICE

    device_type: DeviceType

    def __post_init__(self) -> None:
        _checks.member("Device.device_type", self.device_type, DeviceType)

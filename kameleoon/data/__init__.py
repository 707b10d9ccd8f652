"""
What applications tell about a visitor: immutable values, checked when they are made.

They know nothing of the rest of the library, so that any other part may read them.
"""

from kameleoon.data.application_version import ApplicationVersion
from kameleoon.data.browser import Browser, BrowserType
from kameleoon.data.conversion import Conversion
from kameleoon.data.cookie import Cookie
from kameleoon.data.custom_data import CustomData
from kameleoon.data.data import Data, DataType
from kameleoon.data.device import Device, DeviceType
from kameleoon.data.geolocation import Geolocation
from kameleoon.data.operating_system import OperatingSystem, OperatingSystemType
from kameleoon.data.page_view import PageView
from kameleoon.data.unique_identifier import UniqueIdentifier
from kameleoon.data.user_agent import UserAgent

__all__ = [
    "ApplicationVersion",
    "Browser",
    "BrowserType",
    "Conversion",
    "Cookie",
    "CustomData",
    "Data",
    "DataType",
    "Device",
    "DeviceType",
    "Geolocation",
    "OperatingSystem",
    "OperatingSystemType",
    "PageView",
    "UniqueIdentifier",
    "UserAgent",
]

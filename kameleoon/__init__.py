"""
Feature flags and experiments for Python back ends.

    from kameleoon import KameleoonClientConfig, KameleoonClientFactory

    client = KameleoonClientFactory.create("my-site-code", KameleoonClientConfig("client id", "client secret"))

Names are imported when they are first used, so that ``import kameleoon`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kameleoon._version import __version__

if TYPE_CHECKING:
    from kameleoon.client import KameleoonClient
    from kameleoon.config import KameleoonClientConfig
    from kameleoon.data import (
        ApplicationVersion,
        Browser,
        BrowserType,
        Conversion,
        Cookie,
        CustomData,
        Data,
        DataType,
        Device,
        DeviceType,
        Geolocation,
        OperatingSystem,
        OperatingSystemType,
        PageView,
        UniqueIdentifier,
        UserAgent,
    )
    from kameleoon.factory import KameleoonClientFactory
    from kameleoon.integrations.wsgi import KameleoonWSGIMiddleware

_HOMES = {
    "KameleoonClient": "kameleoon.client",
    "KameleoonClientConfig": "kameleoon.config",
    "KameleoonClientFactory": "kameleoon.factory",
    "KameleoonWSGIMiddleware": "kameleoon.integrations.wsgi",
}

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
    "KameleoonClient",
    "KameleoonClientConfig",
    "KameleoonClientFactory",
    "KameleoonWSGIMiddleware",
    "OperatingSystem",
    "OperatingSystemType",
    "PageView",
    "UniqueIdentifier",
    "UserAgent",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "kameleoon.data")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

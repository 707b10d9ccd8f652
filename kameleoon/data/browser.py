"""The visitor's browser."""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


class BrowserType(IntEnum):
    """
    Browsers the service tells apart; the number is sent as ``browserIndex``.

    Source:
        docs/service/evaluation.md 6.2.
    """

    CHROME = 0
    INTERNET_EXPLORER = 1
    FIREFOX = 2
    SAFARI = 3
    OPERA = 4
    OTHER = 5


@dataclass(frozen=True, slots=True)
class Browser(Data):
    """
    The visitor's browser; a later one replaces it.

    Args:
        browser_type: Which browser.
        version: Major and minor version as one number, such as ``90.1``; ``None`` (default) when unknown.

    Raises:
        TypeError: *browser_type* is not a `BrowserType`, or *version* not a number.
        ValueError: *version* is NaN or infinite.
    """

    data_type: ClassVar[DataType] = DataType.BROWSER

    browser_type: BrowserType
    version: float | None = None

    def __post_init__(self) -> None:
        _checks.member("Browser.browser_type", self.browser_type, BrowserType)
        object.__setattr__(self, "version", _checks.optional_number("Browser.version", self.version))

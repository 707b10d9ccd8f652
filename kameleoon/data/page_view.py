"""A page the visitor looked at."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


@dataclass(frozen=True, slots=True, init=False)
class PageView(Data):
    """
    A page the visitor looked at. One with an empty URL is neither kept nor sent.

    Attributes:
        url: Address of the page.
        title: Its title, ``None`` when unknown.
        referrers: Indices of acquisition channels, as a tuple, or ``None``.
    """

    data_type: ClassVar[DataType] = DataType.PAGE_VIEW

    url: str
    title: str | None
    referrers: tuple[int, ...] | None

    def __init__(self, url: str, title: str | None, referrers: Iterable[int] | None = None) -> None:
        """
        Check and keep the values; *referrers* is read once.

        Raises:
            TypeError: *url* or *title* is not a string, or *referrers* does not hold integers.
            ValueError: *url* or *title* holds a lone surrogate.
        """
        object.__setattr__(self, "url", _checks.text("PageView.url", url))
        object.__setattr__(self, "title", _checks.optional_text("PageView.title", title))
        if referrers is not None:
            given = _checks.items("PageView.referrers", referrers, "a list of int")
            referrers = tuple(_checks.integer("each of PageView.referrers", index) for index in given)
        object.__setattr__(self, "referrers", referrers)

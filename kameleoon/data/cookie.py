"""The cookies of the visitor's request."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from kameleoon.data import _checks
from kameleoon.data.data import Data, DataType


@dataclass(frozen=True, slots=True)
class Cookie(Data):
    """
    The visitor's cookies; later ones replace all of them. Looked at by targeting, never sent.

    Args:
        cookies: ``{cookie name: value}``. Copied; the attribute is a read-only view.

    Raises:
        TypeError: *cookies* is not a mapping, or holds something other than strings.
        ValueError: A name or a value holds a lone surrogate.
    """

    data_type: ClassVar[DataType] = DataType.COOKIE

    cookies: Mapping[str, str]

    def __post_init__(self) -> None:
        if not isinstance(self.cookies, Mapping):
            _checks.refuse("Cookie.cookies", self.cookies, "a dict of str to str")
        kept = {
            _checks.text("each name in Cookie.cookies", name): _checks.text("each value in Cookie.cookies", value)
            for name, value in self.cookies.items()
        }
        object.__setattr__(self, "cookies", MappingProxyType(kept))

    def __hash__(self) -> int:
        return hash(frozenset(self.cookies.items()))

    def __reduce__(self) -> tuple[type["Cookie"], tuple[dict[str, str]]]:
        # A read-only view can be neither copied nor pickled.
        return type(self), (dict(self.cookies),)

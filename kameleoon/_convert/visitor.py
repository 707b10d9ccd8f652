"""
What an application told of a visitor, as Convert's rules see it.

Source:
    docs/convert.md, "What is known of a visitor".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kameleoon._convert.ruleset import VisitorState
from kameleoon._datafile.model import Catalogue
from kameleoon.data import BrowserType, DeviceType

if TYPE_CHECKING:
    from kameleoon._convert.ids import Ids
    from kameleoon._visitor.record import VisitorRecord
    from kameleoon.data import CustomData

NOBODY = VisitorState()

_BROWSERS = {
    BrowserType.CHROME: "CH",
    BrowserType.INTERNET_EXPLORER: "IE",
    BrowserType.FIREFOX: "FF",
    BrowserType.SAFARI: "SF",
    BrowserType.OPERA: "OP",
}
_DEVICES = {
    DeviceType.PHONE: ("ALLPH", "OTHPH"),
    DeviceType.TABLET: ("ALLTAB", "OTHTAB"),
    DeviceType.DESKTOP: ("DESK",),
}
_REPORTED = ("source", "campaign", "visitorType")
"""Custom data of these names are segments in reports too: there is nothing else an application could tell them with."""

_FIRST_NAMED = 1 << 32
"""Indices from here on stand for names."""


class _Names(Mapping[str, int]):
    """``{name: index}`` of every name: Convert has no catalogue, so that each process must find the same index by itself."""

    def __getitem__(self, name: str) -> int:
        return _FIRST_NAMED + int.from_bytes(sha256(name.encode("utf-8", "surrogatepass")).digest()[:6], "big")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


CATALOGUE = Catalogue(by_index={}, index_by_name=_Names(), index_by_id={}, mapping_index=None)
"""Takes custom data of any name."""


def visitor_state(record: VisitorRecord | None, ids: Ids) -> VisitorState:
    """
    The state of the visitor behind *record*.

    Custom data are properties, by name or else by index. They answer location rules too, since nothing else an application tells
    could; the page seen last has the keys ``url`` and ``title`` there.

    Args:
        record: What is known, ``None`` for an unknown visitor. It is read only.
        ids: Of the project.
    """
    if record is None:
        return NOBODY
    properties = {
        property_name(datum): property_value(datum) for datum in list(record.custom_data.values()) if datum.values
    }
    bucketing: dict[str, str] = {}
    for given in list(record.assignments.values()):
        experience_id, variation_id = ids.text(given.experiment_id), ids.text(given.variation_id)
        if experience_id is not None and variation_id is not None:
            bucketing[experience_id] = variation_id
    location: Mapping[str, Any] = properties
    if record.page_views:
        page = max(reversed(list(record.page_views.values())), key=lambda visit: visit.last_ms).view
        location = {**properties, "url": page.url, **({"title": page.title} if page.title else {})}
    custom_segments = frozenset(filter(None, map(ids.text, list(record.segments))))
    return VisitorState(properties, location, bucketing, _segments(record, properties), custom_segments)


def property_name(datum: CustomData) -> str:
    """The key under which rules know *datum*."""
    return str(datum.index) if datum.name is None else datum.name


def property_value(datum: CustomData) -> Any:
    """The value that rules compare: the only one as it is, several as a list."""
    return datum.values[0] if len(datum.values) == 1 else list(datum.values)


def _segments(record: VisitorRecord, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The segments by which Convert reports."""
    segments: dict[str, Any] = {
        name: properties[name] for name in _REPORTED if isinstance(properties.get(name), str) and properties[name]
    }
    if record.browser is not None:
        segments["browser"] = _BROWSERS.get(record.browser.browser_type, "OTH")
    if record.device is not None:
        segments["devices"] = list(_DEVICES[record.device.device_type])
    country = None if record.geolocation is None else record.geolocation.country
    if country and len(country) == 2 and country.isascii() and country.isalpha():
        segments["country"] = country.upper()
    return segments

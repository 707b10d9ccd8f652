"""
Tracking lines: one event each, as the service reads them.

Source:
    Names, order and encoding of fields as recorded in ``tests/vectors/tracking.json``, ``consent.json`` and
    ``remote_data.json``.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from kameleoon._transport.encoding import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kameleoon._visitor.unsent import Unsent
    from kameleoon.data import Browser, Conversion, CustomData, Geolocation, OperatingSystem, PageView


class Line(NamedTuple):
    """
    One event on its way to the service.

    Attributes:
        visitor: The visitor's field, such as ``visitorCode=abc``; lines of one visitor share it.
        text: The line without its user agent. It never changes, so that a repeated one can be told by its nonce.
        user_agent: The visitor's, encoded; goes with his first line in each request.
    """

    visitor: str
    text: str
    user_agent: str | None


def make_nonce() -> str:
    """16 upper-case hexadecimal digits from the system's source, which no seed of the application touches."""
    return os.urandom(8).hex().upper()


def make_lines(code: str, unsent: Unsent | None, nonce: Callable[[], str] = make_nonce) -> list[Line]:
    """
    The lines of one visitor.

    Args:
        code: The visitor code.
        unsent: What is to be sent, ``None`` for a visitor nobody knows.
        nonce: Makes a nonce for each line.

    Returns:
        A line an event, in the service's order; a line of type ``activity`` for a visitor with nothing to tell, and none when
        consent forbids even that.
    """
    name = "visitorCode"
    if unsent is not None and unsent.is_unique and unsent.mapping_identifier != code:
        name = "mappingValue"
    visitor = f"{name}={encode(code)}"
    user_agent = encode(unsent.user_agent) if unsent is not None and unsent.user_agent else None
    events = [] if unsent is None else list(_events(unsent))
    if not events and (unsent is None or unsent.may_announce):
        events.append("activity")
    return [Line(visitor, f"nonce={nonce()}&eventType={event}&{visitor}", user_agent) for event in events]


def _events(unsent: Unsent) -> Iterator[str]:
    if unsent.device is not None:
        yield f"staticData&deviceType={unsent.device.device_type.value}"
    if unsent.browser is not None:
        yield _browser(unsent.browser)
    if unsent.operating_system is not None:
        yield _operating_system(unsent.operating_system)
    if unsent.geolocation is not None:
        yield _geolocation(unsent.geolocation)
    if unsent.visits is not None:
        number, since_ms = unsent.visits.number, unsent.visits.since_previous_ms
        yield f"staticData&visitNumber={number}&timeSincePreviousVisit={since_ms}"
    for datum in unsent.custom_data:
        yield _custom_data(datum, maps=datum.index in unsent.mapped)
    for view in unsent.page_views:
        yield _page(view)
    for assignment in unsent.assignments:
        yield f"experiment&id={_text(assignment.experiment_id)}&variationId={_text(assignment.variation_id)}"
    for segment_id in unsent.segments:
        yield f"targetingSegment&id={_text(segment_id)}"
    for converted in unsent.conversions:
        yield _conversion(converted.conversion)


def _text(value: object) -> str:
    """A value's text, encoded; booleans as JSON writes them."""
    return encode(str(value).lower() if isinstance(value, bool) else str(value))


def _json(value: object) -> str:
    return encode(json.dumps(value, separators=(",", ":")))


def _fields(event_type: str, pairs: Iterable[tuple[str, str | None]]) -> str:
    """The event with those fields that have a value, encoded."""
    return "&".join([event_type, *(f"{name}={encode(value)}" for name, value in pairs if value)])


def _browser(browser: Browser) -> str:
    version = f"&browserVersion={_text(browser.version)}" if browser.version else ""
    return f"staticData&browserIndex={browser.browser_type.value}{version}"


def _operating_system(system: OperatingSystem) -> str:
    return f"staticData&os={system.os_type.name}&osIndex={system.os_type.value}"


def _geolocation(place: Geolocation) -> str:
    return _fields(
        "geolocation",
        [
            ("country", place.country),
            ("region", place.region),
            ("city", place.city),
            ("postalCode", place.postal_code),
            ("latitude", None if place.latitude is None else str(place.latitude)),
            ("longitude", None if place.longitude is None else str(place.longitude)),
        ],
    )


def _custom_data(datum: CustomData, *, maps: bool) -> str:
    counts = _json(dict.fromkeys(datum.values, 1))
    mapping = "&mappingIdentifier=true" if maps else ""
    return f"customData&index={datum.index}&valuesCountMap={counts}&overwrite={_text(datum.overwrite)}{mapping}"


def _page(view: PageView) -> str:
    referrers = json.dumps(list(view.referrers), separators=(",", ":")) if view.referrers else None
    return _fields("page", [("href", view.url), ("title", view.title), ("referrersIndices", referrers)])


def _conversion(conversion: Conversion) -> str:
    event = (
        f"conversion&goalId={_text(conversion.goal_id)}&revenue={_text(conversion.revenue)}"
        f"&negative={_text(conversion.negative)}"
    )
    if not conversion.metadata:
        return event
    metadata: dict[str, list[object]] = {}
    for datum in conversion.metadata:
        metadata.setdefault(str(datum.index), list(datum.values))
    return f"{event}&metadata={_json(metadata)}"

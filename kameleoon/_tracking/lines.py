"""
Tracking lines: one event each, as the service reads them.

Source:
    Names, order and encoding of fields as recorded in ``tests/vectors/tracking.json``, ``consent.json`` and
    ``remote_data.json``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from kameleoon._transport.encoding import encode
from kameleoon._visitor.nonces import NO_NONCES, make_nonce
from kameleoon._visitor.record import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kameleoon._visitor.nonces import ItemKey, Nonces
    from kameleoon._visitor.record import Assignment, Converted, Visits
    from kameleoon._visitor.unsent import Unsent
    from kameleoon.data import Browser, CustomData, Device, Geolocation, OperatingSystem, PageView


class Line(NamedTuple):
    """
    One event on its way to the service.

    Attributes:
        visitor: The visitor's field, such as ``visitorCode=abc``; lines of one visitor share it.
        text: The line without its user agent. It never changes, so that a repeated one can be told by its nonce.
        user_agent: The visitor's, encoded; goes with his first line in each request.
        key: The line's place in the outbox that handed it out, above 0; 0 for none.
    """

    visitor: str
    text: str
    user_agent: str | None
    key: int = 0


def _say_nothing(_item: object, _error: Exception) -> None:
    """Stand in for whoever counts items that have no line."""


def make_lines(
    code: str,
    unsent: Unsent | None,
    nonce: Callable[[], str] = make_nonce,
    on_broken: Callable[[object, Exception], None] = _say_nothing,
    nonces: Nonces = NO_NONCES,
) -> list[Line]:
    """
    The lines of one visitor. Never raises: an item that cannot be written is left out, and takes no other along.

    Args:
        code: The visitor code.
        unsent: What is to be sent, ``None`` for a visitor nobody knows.
        nonce: Makes a nonce for each line that has none in *nonces*.
        on_broken: Told of each item that is left out, and why. When the code itself cannot be written, of every item.
        nonces: What the store wants lines to be told by.

    Returns:
        A line an event, in the service's order; a line of type ``activity`` for a visitor with nothing to tell, and none when
        consent forbids even that.
    """
    items: list[tuple[ItemKey, Callable[..., str], object]] = [] if unsent is None else list(_items(unsent))
    try:
        name = "visitorCode"
        if unsent is not None and unsent.is_unique and unsent.mapping_identifier != code:
            name = "mappingValue"
        visitor = f"{name}={encode(code)}"
    except Exception as error:
        for _, _, item in items:
            on_broken(item, error)
        return []
    user_agent = None if unsent is None else _user_agent(unsent.user_agent, on_broken)
    events = []
    for key, write, item in items:
        try:
            events.append((write(item), nonces.get(key) or nonce()))
        except Exception as error:
            on_broken(item, error)
    if not items and (unsent is None or unsent.may_announce):
        events.append(("activity", nonce()))
    return [Line(visitor, f"nonce={named}&eventType={event}&{visitor}", user_agent) for event, named in events]


def _user_agent(value: str | None, on_broken: Callable[[object, Exception], None]) -> str | None:
    try:
        return encode(value) if value else None
    except Exception as error:
        on_broken(value, error)
        return None


def _items(unsent: Unsent) -> Iterator[tuple[ItemKey, Callable[[Any], str], object]]:
    """``(key, what writes it, item)`` in the service's order."""
    if unsent.device is not None:
        yield (Kind.DEVICE, None), _device, unsent.device
    if unsent.browser is not None:
        yield (Kind.BROWSER, None), _browser, unsent.browser
    if unsent.operating_system is not None:
        yield (Kind.OPERATING_SYSTEM, None), _operating_system, unsent.operating_system
    if unsent.geolocation is not None:
        yield (Kind.GEOLOCATION, None), _geolocation, unsent.geolocation
    if unsent.visits is not None:
        yield (Kind.VISITS, None), _visits, unsent.visits
    for datum in unsent.custom_data:
        write = _mapping_data if datum.index in unsent.mapped else _custom_data
        yield (Kind.CUSTOM_DATA, datum.index), write, datum
    for view in unsent.page_views:
        yield (Kind.PAGE_VIEW, view.url), _page, view
    for assignment in unsent.assignments:
        yield (None, assignment.experiment_id), _assignment, assignment
    for segment_id in unsent.segments:
        yield (Kind.SEGMENT, segment_id), _segment, segment_id
    for place, converted in enumerate(unsent.conversions):
        yield (Kind.CONVERSION, place), _conversion, converted


def _device(device: Device) -> str:
    return f"staticData&deviceType={device.device_type.value}"


def _visits(visits: Visits) -> str:
    return f"staticData&visitNumber={visits.number}&timeSincePreviousVisit={visits.since_previous_ms}"


def _assignment(assignment: Assignment) -> str:
    return f"experiment&id={_text(assignment.experiment_id)}&variationId={_text(assignment.variation_id)}"


def _segment(segment_id: int) -> str:
    return f"targetingSegment&id={_text(segment_id)}"


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


def _custom_data(datum: CustomData) -> str:
    counts = _json(dict.fromkeys(datum.values, 1))
    return f"customData&index={datum.index}&valuesCountMap={counts}&overwrite={_text(datum.overwrite)}"


def _mapping_data(datum: CustomData) -> str:
    return f"{_custom_data(datum)}&mappingIdentifier=true"


def _page(view: PageView) -> str:
    referrers = json.dumps(list(view.referrers), separators=(",", ":")) if view.referrers else None
    return _fields("page", [("href", view.url), ("title", view.title), ("referrersIndices", referrers)])


def _conversion(converted: Converted) -> str:
    conversion = converted.conversion
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

"""
What a record holds as plain values, and back, for stores that keep records in another form than as objects.

Plain are numbers, texts, booleans, ``None``, and tuples, lists, sets and dictionaries of them. A tuple may come back as a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon._visitor.record import Converted, Forcing, PageVisit, PreviousVisit, Simulation, Visits
from kameleoon.data import (
    ApplicationVersion,
    Browser,
    BrowserType,
    Conversion,
    Cookie,
    CustomData,
    Device,
    DeviceType,
    Geolocation,
    OperatingSystem,
    OperatingSystemType,
    PageView,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _same(value: Any) -> Any:
    return value


SINGLE: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "mapping_identifier": (_same, str),
    "consent": (_same, bool),
    "user_agent": (_same, str),
    "device": (lambda value: value.device_type.name, lambda name: Device(DeviceType[name])),
    "browser": (
        lambda value: (value.browser_type.name, value.version),
        lambda parts: Browser(BrowserType[parts[0]], parts[1]),
    ),
    "operating_system": (
        lambda value: value.os_type.name,
        lambda name: OperatingSystem(OperatingSystemType[name]),
    ),
    "geolocation": (
        lambda value: (value.country, value.region, value.city, value.postal_code, value.latitude, value.longitude),
        lambda parts: Geolocation(*parts),
    ),
    "application_version": (lambda value: value.version, ApplicationVersion),
    "cookie": (lambda value: dict(value.cookies), Cookie),
    "forced": (
        lambda value: [(key, tuple(forcing)) for key, forcing in value.items()],
        lambda pairs: {key: Forcing(*parts) for key, parts in pairs},
    ),
    "simulated": (
        lambda value: [(key, tuple(simulation)) for key, simulation in value.items()],
        lambda pairs: {key: Simulation(*parts) for key, parts in pairs},
    ),
    "heat": (
        lambda value: [(key, list(goals.items())) for key, goals in value.items()],
        lambda pairs: {key: dict(goals) for key, goals in pairs},
    ),
    "scores": (
        lambda value: [(key, [sorted(group) for group in groups]) for key, groups in value.items()],
        lambda pairs: {key: tuple(frozenset(group) for group in groups) for key, groups in pairs},
    ),
    "visits": (
        lambda value: ([tuple(visit) for visit in value.previous], value.number, value.since_previous_ms),
        lambda parts: Visits(tuple(PreviousVisit(*visit) for visit in parts[0]), parts[1], parts[2]),
    ),
    "mapped": (sorted, set),
}
"""``{attribute: (what makes its value plain, what reads that)}`` of everything a record has one of, or ``None``."""


def of_custom_data(datum: CustomData) -> tuple[Any, ...]:
    """A custom datum as plain values."""
    return datum.index, datum.name, datum.overwrite, datum.values


def to_custom_data(parts: Sequence[Any]) -> CustomData:
    """Read what `of_custom_data` wrote."""
    index, name, overwrite, values = parts
    datum = CustomData(index if name is None else name, *values, overwrite=overwrite)
    return datum if name is None else datum.at(index)


def of_conversion(converted: Converted) -> tuple[Any, ...]:
    """A conversion and its time as plain values."""
    conversion = converted.conversion
    metadata = None if conversion.metadata is None else [of_custom_data(datum) for datum in conversion.metadata]
    return conversion.goal_id, conversion.revenue, conversion.negative, metadata, converted.time_ms


def to_conversion(parts: Sequence[Any]) -> Converted:
    """Read what `of_conversion` wrote."""
    goal_id, revenue, negative, metadata, time_ms = parts
    kept = None if metadata is None else [to_custom_data(datum) for datum in metadata]
    return Converted(Conversion(goal_id, revenue, negative, kept), time_ms)


def of_page_visit(visit: PageVisit) -> tuple[Any, ...]:
    """What is known of the views of a URL as plain values, without the URL."""
    view = visit.view
    return view.title, view.referrers, visit.views, visit.last_ms, visit.remote_views


def to_page_visit(url: str, parts: Sequence[Any]) -> PageVisit:
    """Read what `of_page_visit` wrote."""
    title, referrers, views, last_ms, remote_views = parts
    return PageVisit(PageView(url, title, referrers), views, last_ms, remote_views)

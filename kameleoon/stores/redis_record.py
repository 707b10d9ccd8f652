"""
A visitor's record as fields of a Redis hash, and back.

One field an item, so that two workers that add different things to one visitor do not undo each other's work. What is unsent is told by
marks beside the items: whoever removes a mark has claimed the item.

    t  mi co ua de br os ge av ck fo si he sc vi ma     what there is one of
    c:<index>  p:<URL>  a:<experiment>  z:<personalization>  s:<segment>  x:<token>     what there are several of
    !<kind>:<key>   !a:<experiment>                     unsent, the value tells one marking from another
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, cast

from kameleoon._visitor.record import (
    Assignment,
    Converted,
    Forcing,
    Kind,
    PageVisit,
    Personalized,
    PreviousVisit,
    Simulation,
    VisitorRecord,
    Visits,
)
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
    from collections.abc import Callable, Hashable, Mapping

MARK = "!"
"""What the names of marks begin with."""

_MARK_OF_ASSIGNMENT = "!a:"

_SINGLE: dict[str, tuple[str, Callable[[Any], object], Callable[[Any], Any]]] = {
    "mi": ("mapping_identifier", lambda value: value, str),
    "co": ("consent", lambda value: value, bool),
    "ua": ("user_agent", lambda value: value, str),
    "de": ("device", lambda value: value.device_type.name, lambda name: Device(DeviceType[name])),
    "br": (
        "browser",
        lambda value: [value.browser_type.name, value.version],
        lambda parts: Browser(BrowserType[parts[0]], parts[1]),
    ),
    "os": (
        "operating_system",
        lambda value: value.os_type.name,
        lambda name: OperatingSystem(OperatingSystemType[name]),
    ),
    "ge": (
        "geolocation",
        lambda value: [value.country, value.region, value.city, value.postal_code, value.latitude, value.longitude],
        lambda parts: Geolocation(*parts),
    ),
    "av": ("application_version", lambda value: value.version, ApplicationVersion),
    "ck": ("cookie", lambda value: dict(value.cookies), Cookie),
    "fo": ("forced", lambda value: list(value.items()), lambda pairs: {key: Forcing(*parts) for key, parts in pairs}),
    "si": (
        "simulated",
        lambda value: list(value.items()),
        lambda pairs: {key: Simulation(*parts) for key, parts in pairs},
    ),
    "he": (
        "heat",
        lambda value: [[key, list(goals.items())] for key, goals in value.items()],
        lambda pairs: {key: dict(goals) for key, goals in pairs},
    ),
    "sc": (
        "scores",
        lambda value: [[key, [sorted(group) for group in groups]] for key, groups in value.items()],
        lambda pairs: {key: tuple(frozenset(group) for group in groups) for key, groups in pairs},
    ),
    "vi": (
        "visits",
        lambda value: [value.previous, value.number, value.since_previous_ms],
        lambda parts: Visits(tuple(PreviousVisit(*visit) for visit in parts[0]), parts[1], parts[2]),
    ),
    "ma": ("mapped", sorted, set),
}

_BENDING = ("mapping_identifier", "consent", "forced", "simulated", "scores")


def fields_of_assignment(experiment_id: int, given: Assignment) -> dict[str, str | None]:
    """The fields of one assignment, ``None`` for a mark that is not there. A mark is always a new one."""
    return {
        f"a:{experiment_id}": _dump([given.variation_id, given.is_delivery, given.time_ms]),
        f"{_MARK_OF_ASSIGNMENT}{experiment_id}": new_token() if given.unsent else None,
    }


def new_token() -> str:
    """A name for a conversion, or for a marking: no other process makes the same, and later ones sort later."""
    return f"{time.time_ns():020d}{os.urandom(4).hex()}"


def encode_record(record: VisitorRecord, tokens: list[str], marks: Mapping[str, str]) -> dict[str, str]:
    """
    The fields of *record*.

    Args:
        record: What to write down.
        tokens: Names of its conversions, in their order; those of new ones are added.
        marks: The marks there were, which keep their values.
    """
    fields = {"t": _dump(record.started_ms)}
    for name, (attribute, write, _) in _SINGLE.items():
        value = getattr(record, attribute)
        if value is not None:
            fields[name] = _dump(write(value))
    for index, datum in record.custom_data.items():
        fields[f"c:{index}"] = _dump(_of_custom_data(datum))
    for url, visit in record.page_views.items():
        view = visit.view
        fields[f"p:{url}"] = _dump([view.title, view.referrers, visit.views, visit.last_ms, visit.remote_views])
    while len(tokens) < len(record.conversions):
        tokens.append(new_token())
    for token, converted in zip(tokens, record.conversions, strict=True):
        fields[f"x:{token}"] = _dump(_of_conversion(converted))
    unsent = {_mark(key, tokens) for key in record.unsent}
    for experiment_id, given in record.assignments.items():
        fields[f"a:{experiment_id}"] = _dump([given.variation_id, given.is_delivery, given.time_ms])
        if given.unsent:
            unsent.add(f"{_MARK_OF_ASSIGNMENT}{experiment_id}")
    for key, shown in record.personalizations.items():
        fields[f"z:{key}"] = _dump([shown.variation_id, shown.time_ms])
    for segment_id in record.segments:
        fields[f"s:{segment_id}"] = ""
    fields |= {mark: marks.get(mark) or new_token() for mark in unsent}
    return fields


def decode_record(fields: Mapping[str, str]) -> tuple[VisitorRecord, list[str]]:
    """The record that `encode_record` wrote, and its conversions' names. A field that cannot be read is left out."""
    record = VisitorRecord(0)
    conversions: list[tuple[str, Converted]] = []
    places: dict[str, int] = {}
    for name in sorted(fields, key=_order):
        try:
            _read_field(record, name, fields[name], conversions)
        except (ValueError, TypeError, KeyError, IndexError):
            continue
    for token, converted in conversions:
        places[token] = len(places)
        record.add_conversion(converted)
    for name in fields:
        if name.startswith(_MARK_OF_ASSIGNMENT):
            given = record.assignments.get(int(name.removeprefix(_MARK_OF_ASSIGNMENT)))
            if given is not None:
                given.unsent = True
        elif name.startswith(MARK):
            key = _key_of(name, places)
            if key is not None:
                record.mark_unsent(key)
    record.is_plain = all(getattr(record, attribute) is None for attribute in _BENDING)
    return record, list(places)


def _order(name: str) -> tuple[str, int, str]:
    kind, _, key = name.partition(":")
    return kind, int(key) if key.isdigit() and kind != "x" and len(key) < 20 else 0, key


def _read_field(record: VisitorRecord, name: str, text: str, conversions: list[tuple[str, Converted]]) -> None:
    if name in _SINGLE:
        attribute, _, read = _SINGLE[name]
        setattr(record, attribute, read(json.loads(text)))
        return
    kind, _, key = name.partition(":")
    if name == "t":
        record.started_ms = int(text)
    elif kind == "c":
        record.keep_custom_data(_to_custom_data(json.loads(text)))
    elif kind == "p":
        title, referrers, views, last_ms, remote_views = json.loads(text)
        record.own("page_views")[key] = PageVisit(PageView(key, title, referrers), views, last_ms, remote_views)
    elif kind == "x":
        conversions.append((key, _to_conversion(json.loads(text))))
    elif kind == "a":
        variation_id, is_delivery, time_ms = json.loads(text)
        record.give(Assignment(int(key), variation_id, is_delivery, time_ms, unsent=False))
    elif kind == "z":
        record.own("personalizations")[int(key)] = Personalized(int(key), *json.loads(text))
    elif kind == "s":
        record.own("segments")[int(key)] = None


def _mark(key: tuple[int, Hashable], tokens: list[str]) -> str:
    kind, item = key
    if kind == Kind.CONVERSION:
        item = tokens[cast("int", item)]
    return f"{MARK}{kind}:{'' if item is None else item}"


def _key_of(mark: str, places: Mapping[str, int]) -> tuple[int, Hashable] | None:
    number, _, text = mark.removeprefix(MARK).partition(":")
    kind = int(number)
    if kind == Kind.CONVERSION:
        return (kind, places[text]) if text in places else None
    if kind in {Kind.CUSTOM_DATA, Kind.SEGMENT}:
        return kind, int(text)
    return kind, text if kind == Kind.PAGE_VIEW else None


def _of_custom_data(datum: CustomData) -> list[object]:
    return [datum.index, datum.name, datum.overwrite, list(datum.values)]


def _to_custom_data(parts: list[Any]) -> CustomData:
    index, name, overwrite, values = parts
    return CustomData(index if name is None else name, *values, overwrite=overwrite).at(index)


def _of_conversion(converted: Converted) -> list[object]:
    conversion = converted.conversion
    metadata = None if conversion.metadata is None else [_of_custom_data(datum) for datum in conversion.metadata]
    return [conversion.goal_id, conversion.revenue, conversion.negative, metadata, converted.time_ms]


def _to_conversion(parts: list[Any]) -> Converted:
    goal_id, revenue, negative, metadata, time_ms = parts
    kept = None if metadata is None else [_to_custom_data(datum) for datum in metadata]
    return Converted(Conversion(goal_id, revenue, negative, kept), time_ms)


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))

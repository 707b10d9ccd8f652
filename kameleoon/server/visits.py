"""
A visitor's stored events as the visits that SDKs ask for.

Source:
    data-api.md, section 7; network.md, section 6.3.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kameleoon.server.stored import StoredEvent

VISIT_GAP_MS = 30 * 60 * 1000
"""A visit ends after this long without an event. Source: data-api.md, section 7.4."""

KINDS = (
    "staticData",
    "page",
    "conversion",
    "experiment",
    "customData",
    "geolocation",
    "personalization",
    "targetingSegment",
    "activity",
)
"""Event types that can be asked for, named as the query parameters are."""

_BROWSERS = ("CHROME", "INTERNET_EXPLORER", "FIREFOX", "SAFARI", "OPERA", "OTHER")
_INTEGERS = {"id", "variationId", "goalId", "index", "visitNumber", "timeSincePreviousVisit"}
_DECIMALS = {"revenue", "latitude", "longitude", "browserVersion"}
_TRUTHS = {"negative", "overwrite", "mappingIdentifier"}
_STRUCTURES = {"valuesCountMap", "metadata", "referrersIndices"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What a request asks for.

    Attributes:
        kinds: Some of `KINDS`.
        current: Include the visit in progress.
        previous: How many earlier visits at most.
    """

    kinds: frozenset[str]
    current: bool
    previous: int


def build_visits(
    events: Iterable[StoredEvent], wanted: Wanted, *, now_ms: int, current_of: str | None = None
) -> dict[str, Any]:
    """
    The answer to a request for a visitor.

    Args:
        events: All events of the visitor, in any order; or those of several codes that one person has.
        wanted: Which of them are asked for.
        now_ms: Decides which visits are in progress.
        current_of: The code whose visit in progress is told of; the other codes' are not yet history. By default there is one code only.

    Returns:
        ``currentVisit``, null when none is in progress or it is not wanted, and ``previousVisits``, newest first.
    """
    by_code: dict[str, list[list[StoredEvent]]] = {}
    for event in sorted(events, key=lambda event: (event.time_ms, event.id)):
        visits = by_code.setdefault(event.visitor, [])
        if not visits or event.time_ms - visits[-1][-1].time_ms >= VISIT_GAP_MS:
            visits.append([])
        visits[-1].append(event)
    current = None
    ended: list[list[StoredEvent]] = []
    for code, visits in by_code.items():
        if now_ms - visits[-1][-1].time_ms < VISIT_GAP_MS:
            in_progress = visits.pop()
            current = in_progress if current_of in {None, code} else current
        ended += visits
    ended.sort(key=lambda visit: (visit[0].time_ms, visit[0].id))
    earlier = list(enumerate(ended))[::-1][: max(0, wanted.previous)]
    return {
        "currentVisit": _visit(len(ended), current, wanted.kinds) if current and wanted.current else None,
        "previousVisits": [_visit(number, visit, wanted.kinds) for number, visit in earlier],
    }


def _visit(number: int, events: Sequence[StoredEvent], kinds: frozenset[str]) -> dict[str, Any]:
    built: dict[str, Any] = {
        "visitorCode": events[-1].visitor,
        "timeStarted": events[0].time_ms,
        "timeLastEvent": events[-1].time_ms,
    }
    for kind in KINDS:
        if kind not in kinds:
            continue
        found = [(event.time_ms, _typed(event.parameters)) for event in events if event.type == kind]
        if kind == "staticData":
            merged: dict[str, Any] = {}
            for _, data in found:
                merged |= _static(data)
            # What an SDK says of earlier visits came from here; this visit's own number is what is known best.
            built["staticDataEvent"] = {
                "time": found[0][0] if found else events[0].time_ms,
                "data": merged | {"visitNumber": number},
            }
        elif found:
            if kind == "customData":
                _add_up(data for _, data in found)
            built[f"{kind}Events"] = [{"time": time_ms, "data": data} for time_ms, data in found]
    return built


def _add_up(told: Iterable[dict[str, Any]]) -> None:
    """Let custom data that do not overwrite have the values before them in the visit too: readers take the newest of an index."""
    held: dict[Any, dict[str, Any]] = {}
    for data in told:
        index, values = data.get("index"), data.get("valuesCountMap")
        if not isinstance(values, dict):
            continue
        if data.get("overwrite") is False:
            data["valuesCountMap"] = values = held.get(index, {}) | values
        held[index] = values


def _static(data: Mapping[str, Any]) -> dict[str, Any]:
    """Static data with the browser's name in place of its index."""
    kept = {name: value for name, value in data.items() if name not in {"browserIndex", "osIndex"}}
    index = str(data.get("browserIndex", ""))
    if index.isascii() and index.isdigit() and int(index) < len(_BROWSERS):
        kept["browser"] = _BROWSERS[int(index)]
    return kept


def _typed(parameters: Mapping[str, str]) -> dict[str, Any]:
    return {name: _value(name, text) for name, text in parameters.items()}


def _value(name: str, text: str) -> Any:
    """A parameter with its type; what does not read as such stays text."""
    try:
        if name in _INTEGERS:
            return int(text)
        if name in _DECIMALS:
            return float(text)
        if name in _STRUCTURES:
            return json.loads(text)
    except ValueError:
        return text
    return text == "true" if name in _TRUTHS else text

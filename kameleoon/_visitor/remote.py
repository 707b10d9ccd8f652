"""
The service's answer about a visitor, read into one fact.

Source:
    The response's members and which of several events counts: recorded cases in ``tests/vectors/remote_data.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from kameleoon._visitor.facts import Remote
from kameleoon._visitor.record import Assignment, Converted, PageVisit, Personalized, PreviousVisit
from kameleoon.data import (
    Browser,
    BrowserType,
    Conversion,
    CustomData,
    Data,
    Device,
    DeviceType,
    Geolocation,
    OperatingSystem,
    OperatingSystemType,
    PageView,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

T = TypeVar("T")


class RemoteVisitor(NamedTuple):
    """
    What the service answered.

    Attributes:
        fact: Everything that goes into the record.
        visitor_code: The code the service knows the visitor by, if it told one.
        data: What the application gets, in the documented order.
    """

    fact: Remote
    visitor_code: str | None
    data: list[Data]


def read_remote_visitor(
    root: object, wanted: RemoteVisitorDataFilter, resend_indices: frozenset[int], now_ms: int
) -> RemoteVisitor:
    """
    Read the service's answer. A field that is missing or unknown is skipped; nothing raises.

    Args:
        root: The decoded JSON.
        wanted: Which static data is taken over.
        resend_indices: Indices of custom data that the service wants to hear again.
        now_ms: Stands for missing times, in milliseconds since 1970.
    """
    answer = root if isinstance(root, dict) else {}
    current = _object(answer.get("currentVisit"))
    previous = [_object(visit) for visit in _list(answer.get("previousVisits"))]
    everything = [current, *previous]
    custom_data = _newest(everything, "customDataEvents", _custom_data)
    pages = _pages(everything, now_ms)
    static = [_object(_object(visit.get("staticDataEvent")).get("data")) for visit in everything]
    device = _first(static, _device) if wanted.device else None
    browser = _first(static, _browser) if wanted.browser else None
    system = _first(static, _operating_system) if wanted.operating_system else None
    # A visit whose last geolocation cannot be used has none.
    places = (
        _object(_object(event).get("data"))
        for visit in everything
        for event in _list(visit.get("geolocationEvents"))[-1:]
    )
    geolocation = next((found for place in places if (found := _geolocation(place)) is not None), None)
    conversions = tuple(
        converted
        for visit in everything
        for event, time_ms in _events(visit, "conversionEvents")
        # Without a time of its own it happened when the visit began; `now_ms` would be another moment in each answer.
        if (converted := _conversion(event, _time(time_ms, _time(visit.get("timeStarted"), 0)))) is not None
    )
    fact = Remote(
        custom_data=custom_data,
        resend=frozenset(datum.index for datum in custom_data) & resend_indices,
        pages=pages,
        device=device,
        browser=browser,
        operating_system=system,
        geolocation=geolocation,
        conversions=conversions,
        assignments=tuple(
            Assignment(key, variation, None, time_ms, False)
            for key, variation, time_ms in _campaigns(everything, "experimentEvents", now_ms)
        ),
        personalizations=tuple(
            Personalized(*campaign) for campaign in _campaigns(everything, "personalizationEvents", now_ms)
        ),
        previous_visits=tuple(_previous(visit) for visit in previous),
        visit_number=_visit_number(static),
        heat=_heat(answer.get("kcs")),
        scores=_scores(answer.get("cbs")),
    )
    data: list[Data | None] = [
        *custom_data,
        *(page.view for page in pages),
        device,
        browser,
        system,
        geolocation,
        *(converted.conversion for converted in conversions),
    ]
    code = next((visit["visitorCode"] for visit in everything if _is_code(visit.get("visitorCode"))), None)
    return RemoteVisitor(fact, code or None, [item for item in data if item is not None])


def _is_code(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # it would be hashed in every evaluation
        return False
    return True


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _time(value: object, default_ms: int) -> int:
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 1e18 else default_ms  # noqa: PLR0124 - false for NaN only


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _events(visit: Mapping[str, Any], member: str) -> Iterator[tuple[Mapping[str, Any], object]]:
    """``(data, time)`` of each event that has data, oldest first."""
    for event in _list(visit.get(member)):
        data = _object(event).get("data")
        if isinstance(data, dict):
            yield data, event.get("time")


def _first(static: Sequence[Mapping[str, Any]], read: Callable[[Mapping[str, Any]], T | None]) -> T | None:
    return next((found for data in static if (found := read(data)) is not None), None)


def _newest(
    visits: Sequence[Mapping[str, Any]], member: str, read: Callable[[Mapping[str, Any]], CustomData | None]
) -> tuple[CustomData, ...]:
    newest: dict[int, CustomData] = {}
    for visit in visits:
        for data, _ in reversed(list(_events(visit, member))):
            found = read(data)
            if found is not None:
                newest.setdefault(found.index, found)
    return tuple(newest.values())


def _custom_data(data: Mapping[str, Any]) -> CustomData | None:
    index = _whole(data.get("index", -1))
    values = data.get("valuesCountMap")
    if index is None or not isinstance(values, dict):
        return None
    return _built(lambda: CustomData(index, *values))


def _built(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except (TypeError, ValueError):
        return None


def _pages(visits: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[PageVisit, ...]:
    pages: dict[str, PageVisit] = {}
    for visit in visits:
        for data, time_ms in reversed(list(_events(visit, "pageEvents"))):
            url = data.get("href")
            if not isinstance(url, str) or not url:
                continue
            known = pages.get(url)
            if known is not None:
                pages[url] = known._replace(views=known.views + 1, remote_views=known.remote_views + 1)
                continue
            title = data.get("title")
            view = _built(lambda url=url, title=title: PageView(url, title if isinstance(title, str) else None))  # type: ignore[misc]
            if view is not None:
                pages[url] = PageVisit(view, 1, _time(time_ms, now_ms), 1)
    return tuple(pages.values())


def _campaigns(visits: Sequence[Mapping[str, Any]], member: str, now_ms: int) -> Iterator[tuple[int, int, int]]:
    """``(id, variation id, time in ms)`` of the newest event of each id."""
    seen: set[int] = set()
    for visit in visits:
        for data, time_ms in reversed(list(_events(visit, member))):
            campaign, variation = _whole(data.get("id")), _whole(data.get("variationId"))
            if campaign is not None and variation is not None and campaign not in seen:
                seen.add(campaign)
                yield campaign, variation, _time(time_ms, now_ms)


def _conversion(data: Mapping[str, Any], time_ms: int) -> Converted | None:
    goal_id = _whole(data.get("goalId"))
    if goal_id is None:
        return None
    conversion = _built(
        lambda: Conversion(goal_id, data.get("revenue") or 0.0, negative=bool(data.get("negative", False)))
    )
    return None if conversion is None else Converted(conversion, time_ms)


def _device(data: Mapping[str, Any]) -> Device | None:
    kind = DeviceType.__members__.get(str(data.get("deviceType")))
    return None if kind is None else Device(kind)


def _browser(data: Mapping[str, Any]) -> Browser | None:
    kind = BrowserType.__members__.get(str(data.get("browser")))
    if kind is None:
        return None
    return _built(lambda: Browser(kind, data.get("browserVersion"))) or Browser(kind)


def _operating_system(data: Mapping[str, Any]) -> OperatingSystem | None:
    kind = OperatingSystemType.__members__.get(str(data.get("os")))
    return None if kind is None else OperatingSystem(kind)


def _geolocation(data: Mapping[str, Any]) -> Geolocation | None:
    country = data.get("country")
    if not isinstance(country, str):
        return None
    return _built(lambda: Geolocation(country, data.get("region"), data.get("city")))


def _previous(visit: Mapping[str, Any]) -> PreviousVisit:
    started_ms = _time(visit.get("timeStarted"), 0)
    return PreviousVisit(started_ms, _time(visit.get("timeLastEvent"), started_ms))


def _visit_number(static: Sequence[Mapping[str, Any]]) -> int:
    """The first visit number told, counted on to the current visit."""
    for place, data in enumerate(static):
        number = _whole(data.get("visitNumber"))
        if number:
            return number + place
    return 0


def _digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _score_maps(raw: object) -> Iterator[tuple[int, dict[int, float]]]:
    for outer, scores in _object(raw).items():
        outer_id = _digits(outer)
        if outer_id is None or not isinstance(scores, dict):
            continue
        yield (
            outer_id,
            {
                inner_id: float(score)
                for inner, score in scores.items()
                if (inner_id := _digits(inner)) is not None
                and isinstance(score, (int, float))
                and not isinstance(score, bool)
            },
        )


def _heat(raw: object) -> dict[int, Mapping[int, float]] | None:
    return dict(_score_maps(raw)) if isinstance(raw, dict) else None


def _scores(raw: object) -> dict[int, tuple[frozenset[int], ...]] | None:
    if not isinstance(raw, dict):
        return None
    grouped: dict[int, tuple[frozenset[int], ...]] = {}
    for experiment_id, scores in _score_maps(raw):
        by_score: dict[float, set[int]] = {}
        for variation_id, score in scores.items():
            by_score.setdefault(score, set()).add(variation_id)
        grouped[experiment_id] = tuple(frozenset(by_score[score]) for score in sorted(by_score, reverse=True))
    return grouped

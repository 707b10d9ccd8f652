"""
What the Data API answers, as frozen values.

The shape of visits is as the service's own SDKs read it; fields beyond those are kept in ``extra``. Times are milliseconds since 1970.

Source:
    docs/data-api.md, "Visits".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from kameleoon.api.model import NO_EXTRA, Entity, Json, nothing

V = TypeVar("V", bound="VisitEvent")


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitEvent(Entity):
    """Something that happened during a visit. Attributes: `time` is in ms."""

    time: int | None = None

    @classmethod
    def of(cls, item: Any) -> Self:
        """Read ``{"time": …, "data": {…}}``."""
        if not isinstance(item, dict):
            return cls()
        data = item.get("data")
        return cls.from_json({**(data if isinstance(data, dict) else {}), "time": item.get("time")})


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticData(VisitEvent):
    """The visitor's device. `visit_number` counts the visits before this one."""

    visit_number: int | None = None
    device_type: str | None = None
    browser: str | None = None
    browser_version: float | None = None
    os: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView(VisitEvent):
    """A page."""

    href: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDatum(VisitEvent):
    """Values of one custom data. `values_count_map` is ``{value: count}``."""

    index: int | None = None
    values_count_map: Json = field(default_factory=nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geolocation(VisitEvent):
    """Where the visitor was."""

    country: str | None = None
    region: str | None = None
    city: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure(VisitEvent):
    """A variation of an experiment or a personalization; `id` is the experiment's or the personalization's."""

    id: int | None = None
    variation_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionSeen(VisitEvent):
    """A conversion that the service holds."""

    goal_id: int | None = None
    revenue: float = 0.0
    negative: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit(Entity):
    """
    One visit. Events are oldest first.

    Attributes:
        visitor_code: Whose, when the service says.
        time_started: In ms.
        time_last_event: In ms; `time_started` when the service leaves it out.
        extra: What else came, other kinds of events included, as it came.
    """

    visitor_code: str | None = None
    time_started: int | None = None
    time_last_event: int | None = None
    static_data: StaticData | None = None
    pages: tuple[PageView, ...] = ()
    custom_data: tuple[CustomDatum, ...] = ()
    geolocations: tuple[Geolocation, ...] = ()
    experiments: tuple[Exposure, ...] = ()
    personalizations: tuple[Exposure, ...] = ()
    conversions: tuple[ConversionSeen, ...] = ()

    @classmethod
    def read(cls, value: Json) -> Visit:
        """Read a visit as the service writes it."""
        rest = dict(value)

        def events(name: str, kind: type[V]) -> tuple[V, ...]:
            items = rest.pop(name, None)
            return tuple(kind.of(item) for item in items) if isinstance(items, list) else ()

        started = rest.pop("timeStarted", None)
        last = rest.pop("timeLastEvent", None)
        static = rest.pop("staticDataEvent", None)
        return cls(
            visitor_code=rest.pop("visitorCode", None),
            time_started=started,
            time_last_event=started if last is None else last,
            static_data=None if static is None else StaticData.of(static),
            pages=events("pageEvents", PageView),
            custom_data=events("customDataEvents", CustomDatum),
            geolocations=events("geolocationEvents", Geolocation),
            experiments=events("experimentEvents", Exposure),
            personalizations=events("personalizationEvents", Exposure),
            conversions=events("conversionEvents", ConversionSeen),
            extra=rest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitorData(Entity):
    """
    All that was asked for about one visitor.

    Attributes:
        current_visit: The visit in progress, if it was asked for and there is one.
        previous_visits: Newest first.
        kcs: ``{key moment id: {goal id: score}}``, ids as text; only when asked for.
        cbs: ``{experiment id: {variation id: score}}``, likewise.
    """

    current_visit: Visit | None = None
    previous_visits: tuple[Visit, ...] = ()
    kcs: Json = field(default_factory=nothing)
    cbs: Json = field(default_factory=nothing)

    @classmethod
    def read(cls, value: Json) -> VisitorData:
        """Read the answer of ``GET /visit/visitor``."""
        rest = dict(value)
        current, previous = rest.pop("currentVisit", None), rest.pop("previousVisits", None)
        scores = [rest.pop(name, None) for name in ("kcs", "cbs")]
        kcs, cbs = (score if isinstance(score, dict) else NO_EXTRA for score in scores)
        return cls(
            current_visit=Visit.read(current) if isinstance(current, dict) else None,
            previous_visits=tuple(
                Visit.read(visit)
                for visit in (previous if isinstance(previous, list) else ())
                if isinstance(visit, dict)
            ),
            kcs=kcs,
            cbs=cbs,
            extra=rest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductCounters(Entity):
    """
    How often a product was seen, put into a cart, bought. The names are assumed: the service's documentation does not give them, so look
    into ``extra`` when all three are 0.
    """

    views: int = 0
    add_to_cart: int = 0
    transactions: int = 0

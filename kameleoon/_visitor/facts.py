"""
Facts: the only way a visitor changes.

A fact is a small value; applying it needs no clock, no configuration and no lock. Stores apply facts in the order they are given.

Source:
    What replaces what, what is merged and what counts as unsent: recorded cases in ``tests/vectors/visitor_data.json``,
    ``tracking.json`` and ``remote_data.json``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from kameleoon._visitor.record import (
    Assignment,
    Converted,
    Forcing,
    Kind,
    PageVisit,
    Personalized,
    PreviousVisit,
    Simulation,
    Visitor,
    VisitorRecord,
    Visits,
)
from kameleoon.data import (
    ApplicationVersion,
    Browser,
    Conversion,
    Cookie,
    CustomData,
    Device,
    Geolocation,
    OperatingSystem,
    PageView,
    UserAgent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence


class Fact(Protocol):
    """Something that became known of a visitor."""

    def apply(self, visitor: Visitor) -> None:
        """Change *visitor* and his record. Never raises."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """A variation was given to the visitor."""

    assignment: Assignment

    def apply(self, visitor: Visitor) -> None:
        """Replace what was known of the experiment."""
        visitor.record.give(replace(self.assignment))  # a record's are its own


@dataclass(frozen=True, slots=True)
class Told:
    """
    The application told something of the visitor.

    Attributes:
        value: A data object of an exact public type.
        time_ms: When, in milliseconds since 1970.
        sent: Whether it counts as sent already; what maps the visitor never does before it was.
        maps: Whether it is custom data that maps the visitor to another code.
    """

    value: object
    time_ms: int
    sent: bool = False
    maps: bool = False

    def apply(self, visitor: Visitor) -> None:
        """Keep it in its place in the record."""
        record = visitor.record
        key = _KEEP[type(self.value)](record, self.value, self.time_ms)
        if key is None:
            return
        if self.sent and not self.maps:
            record.mark_sent(key)
        else:
            record.mark_unsent(key)
        kind, index = key
        if kind == Kind.CUSTOM_DATA and isinstance(index, int):
            if self.maps:
                record.mapped = {*(record.mapped or ()), index}
            elif record.mapped:
                record.mapped.discard(index)


def can_be_told(value: object) -> bool:
    """Whether *value* is of exactly one of the public data types."""
    return type(value) in _KEEP


def _keep_single(kind: int, attribute: str) -> Callable[[VisitorRecord, object, int], tuple[int, Hashable]]:
    key = (kind, None)

    def keep(record: VisitorRecord, value: object, _: int) -> tuple[int, Hashable]:
        setattr(record, attribute, value)
        return key

    return keep


def _keep_custom_data(record: VisitorRecord, value: CustomData, _: int) -> tuple[int, Hashable]:
    record.keep_custom_data(value)
    return (Kind.CUSTOM_DATA, value.index)


def _keep_page_view(record: VisitorRecord, value: PageView, now_ms: int) -> tuple[int, Hashable]:
    known = record.page_views.get(value.url)
    record.own("page_views")[value.url] = (
        PageVisit(value, known.views + 1, now_ms, known.remote_views) if known else PageVisit(value, 1, now_ms)
    )
    return (Kind.PAGE_VIEW, value.url)


def _keep_conversion(record: VisitorRecord, value: Conversion, now_ms: int) -> tuple[int, Hashable]:
    record.add_conversion(Converted(value, now_ms))
    return (Kind.CONVERSION, len(record.conversions) - 1)


def _keep_user_agent(record: VisitorRecord, value: UserAgent, _: int) -> None:
    record.user_agent = value.value


def _keep_cookie(record: VisitorRecord, value: Cookie, _: int) -> None:
    record.cookie = value


def _keep_application_version(record: VisitorRecord, value: ApplicationVersion, _: int) -> None:
    record.application_version = value


_KEEP: dict[type, Callable[..., tuple[int, Hashable] | None]] = {
    Device: _keep_single(Kind.DEVICE, "device"),
    Browser: _keep_single(Kind.BROWSER, "browser"),
    OperatingSystem: _keep_single(Kind.OPERATING_SYSTEM, "operating_system"),
    Geolocation: _keep_single(Kind.GEOLOCATION, "geolocation"),
    CustomData: _keep_custom_data,
    PageView: _keep_page_view,
    Conversion: _keep_conversion,
    UserAgent: _keep_user_agent,
    Cookie: _keep_cookie,
    ApplicationVersion: _keep_application_version,
}


@dataclass(frozen=True, slots=True)
class Identified:
    """The code is, or is not, a cross-device identifier."""

    is_unique: bool

    def apply(self, visitor: Visitor) -> None:
        """Remember it for this code alone."""
        visitor.is_unique = self.is_unique


@dataclass(frozen=True, slots=True)
class MappedFrom:
    """The visitor's first code, used for hashing from now on; the first one known stays."""

    code: str

    def apply(self, visitor: Visitor) -> None:
        """Keep *code* unless one is known."""
        if not visitor.record.mapping_identifier:
            visitor.record.mapping_identifier = self.code
            visitor.record.is_plain = False


@dataclass(frozen=True, slots=True)
class Consented:
    """The visitor gave or refused consent."""

    consent: bool

    def apply(self, visitor: Visitor) -> None:
        """Replace the earlier word."""
        visitor.record.consent = self.consent
        visitor.record.is_plain = False


@dataclass(frozen=True, slots=True)
class Forced:
    """A variation is forced for an experiment, or no longer."""

    experiment_id: int
    forcing: Forcing | None

    def apply(self, visitor: Visitor) -> None:
        """Set or take away the experiment's forcing."""
        forced = dict(visitor.record.forced or {})
        if self.forcing is None:
            forced.pop(self.experiment_id, None)
        else:
            forced[self.experiment_id] = self.forcing
        visitor.record.forced = forced or None
        visitor.record.is_plain = False


@dataclass(frozen=True, slots=True)
class Simulated:
    """The whole set of simulated answers, ``{flag key: simulation}``, replacing the one before."""

    simulations: Mapping[str, Simulation]

    def apply(self, visitor: Visitor) -> None:
        """Replace the set."""
        visitor.record.simulated = dict(self.simulations) or None
        visitor.record.is_plain = False


@dataclass(frozen=True, slots=True)
class InSegments:
    """Audience segments matched by the visitor; each is to be sent, again if it was sent before."""

    segment_ids: tuple[int, ...]

    def apply(self, visitor: Visitor) -> None:
        """Add the segments as unsent."""
        for segment_id in self.segment_ids:
            visitor.record.own("segments")[segment_id] = None
            visitor.record.mark_unsent((Kind.SEGMENT, segment_id))


@dataclass(frozen=True, slots=True)
class Remote:
    """
    What the service knew of the visitor from elsewhere; what is known here stays, and what was told before is not added again.

    Attributes:
        custom_data: One per index.
        resend: Indices of custom data that the service wants to hear again.
        pages: One per URL, with counts and times.
        conversions: In the order told.
        assignments: One per experiment.
        personalizations: One per id.
        previous_visits: Newest first.
        visit_number: Number of earlier visits, as far as known.
        heat: Replaces the earlier scores when given.
        scores: Kept unless known already.
    """

    custom_data: tuple[CustomData, ...] = ()
    resend: frozenset[int] = frozenset()
    pages: tuple[PageVisit, ...] = ()
    device: Device | None = None
    browser: Browser | None = None
    operating_system: OperatingSystem | None = None
    geolocation: Geolocation | None = None
    conversions: tuple[Converted, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    personalizations: tuple[Personalized, ...] = ()
    previous_visits: tuple[PreviousVisit, ...] = ()
    visit_number: int = 0
    heat: Mapping[int, Mapping[int, float]] | None = None
    scores: Mapping[int, tuple[frozenset[int], ...]] | None = None

    def apply(self, visitor: Visitor) -> None:
        """Add what is not known yet; everything counts as sent but what the service wants to hear again."""
        record = visitor.record
        for attribute in ("device", "browser", "operating_system", "geolocation"):
            if getattr(record, attribute) is None:
                setattr(record, attribute, getattr(self, attribute))
        for custom_data in self.custom_data:
            if custom_data.index not in record.custom_data:
                record.keep_custom_data(custom_data)
                if custom_data.index in self.resend:
                    record.mark_unsent((Kind.CUSTOM_DATA, custom_data.index))
        for page in self.pages:
            known = record.page_views.get(page.view.url)
            record.own("page_views")[page.view.url] = page if known is None else _merged(known, page)
        for converted in list(new_conversions(record, self.conversions)):
            record.add_conversion(converted)
        for assignment in self.assignments:
            if assignment.experiment_id not in record.assignments:
                record.give(replace(assignment))
        for personalization in self.personalizations:
            record.own("personalizations").setdefault(personalization.id, personalization)
        if record.visits is None and self.previous_visits:
            record.visits = _localise(self.previous_visits, self.visit_number, record.started_ms)
            record.mark_unsent((Kind.VISITS, None))
        if self.heat is not None:
            record.heat = self.heat
        if record.scores is None and self.scores is not None:
            record.scores = self.scores
            record.is_plain = False


def new_conversions(record: VisitorRecord, told: Sequence[Converted]) -> Iterator[Converted]:
    """Those of *told* that *record* does not hold: what is told again must not multiply (faults B6)."""
    known = Counter(_identity(converted) for converted in record.conversions)
    for converted in told:
        identity = _identity(converted)
        if known[identity] > 0:
            known[identity] -= 1
        else:
            yield converted


def _identity(converted: Converted) -> tuple[object, ...]:
    conversion = converted.conversion
    return converted.time_ms, conversion.goal_id, conversion.revenue, conversion.negative


def _merged(known: PageVisit, told: PageVisit) -> PageVisit:
    """Add only the views that the service has not told of before (faults B6); a narrower filter takes none back."""
    new_views = max(0, told.remote_views - known.remote_views)
    return PageVisit(
        known.view, known.views + new_views, max(known.last_ms, told.last_ms), known.remote_views + new_views
    )


def _localise(previous: Sequence[PreviousVisit], number: int, started_ms: int) -> Visits:
    since = next((started_ms - visit.last_ms for visit in previous if started_ms >= visit.last_ms), 0)
    return Visits(tuple(previous), max(number, len(previous)), since)


__all__ = [
    "Assigned",
    "Consented",
    "Fact",
    "Forced",
    "Identified",
    "InSegments",
    "MappedFrom",
    "Remote",
    "Simulated",
    "Told",
    "can_be_told",
    "new_conversions",
]

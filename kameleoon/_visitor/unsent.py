"""What of a record is still to be sent, taken out exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kameleoon._visitor.record import NOTHING_UNSENT, Kind

if TYPE_CHECKING:
    from kameleoon._visitor.record import Assignment, Converted, Visitor, VisitorRecord, Visits
    from kameleoon.data import Browser, CustomData, Device, Geolocation, OperatingSystem, PageView


@dataclass(frozen=True, slots=True)
class Unsent:
    """
    A visitor's items on their way out, in the order they are sent.

    Attributes:
        is_unique: Whether the code is a cross-device identifier.
        mapping_identifier: The code the visitor was mapped from, if any.
        user_agent: Goes with the visitor's first line of each request.
        may_announce: Whether a visitor without items may be told as active: consent does not stand against it.
        mapped: Indices of `custom_data` that map the visitor.
        consent: What the visitor said then.
        forced: Experiments whose variation is forced.
        assigned: With conversions: ``((experiment id, variation id), …)`` of all that the visitor was given, not forced.
    """

    is_unique: bool
    mapping_identifier: str | None
    user_agent: str | None
    may_announce: bool
    device: Device | None = None
    browser: Browser | None = None
    operating_system: OperatingSystem | None = None
    geolocation: Geolocation | None = None
    visits: Visits | None = None
    custom_data: tuple[CustomData, ...] = ()
    mapped: frozenset[int] = frozenset()
    page_views: tuple[PageView, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    segments: tuple[int, ...] = ()
    conversions: tuple[Converted, ...] = ()
    consent: bool | None = None
    forced: frozenset[int] = frozenset()
    assigned: tuple[tuple[int, int], ...] = ()


def take_unsent(visitor: Visitor, *, consent_required: bool) -> Unsent:
    """
    Take what may be sent now; it counts as sent from then on.

    Args:
        visitor: The visitor; his record is changed.
        consent_required: Whether items wait for the visitor's consent. Without it only exposures to targeted deliveries and
            conversions may go; the rest stays unsent.

    Source:
        Order and consent rules as recorded in ``tests/vectors/tracking.json`` and ``consent.json``.
    """
    record = visitor.record
    forced = frozenset(record.forced or ())
    conversions = _take_conversions(record)
    assigned = _assigned(record, forced) if conversions else ()
    if consent_required and record.consent is not True:
        return Unsent(
            visitor.is_unique,
            record.mapping_identifier,
            record.user_agent,
            may_announce=False,
            assignments=_take_assignments(record, deliveries_only=True),
            conversions=conversions,
            consent=record.consent,
            forced=forced,
            assigned=assigned,
        )
    unsent = record.unsent
    mapped = frozenset(record.mapped or ())
    taken = Unsent(
        visitor.is_unique,
        record.mapping_identifier,
        record.user_agent,
        may_announce=True,
        device=record.device if (Kind.DEVICE, None) in unsent else None,
        browser=record.browser if (Kind.BROWSER, None) in unsent else None,
        operating_system=record.operating_system if (Kind.OPERATING_SYSTEM, None) in unsent else None,
        geolocation=record.geolocation if (Kind.GEOLOCATION, None) in unsent else None,
        visits=record.visits if (Kind.VISITS, None) in unsent else None,
        custom_data=tuple(
            datum
            for index, datum in record.custom_data.items()
            if (Kind.CUSTOM_DATA, index) in unsent or index in mapped
        ),
        mapped=mapped,
        page_views=tuple(visit.view for url, visit in record.page_views.items() if (Kind.PAGE_VIEW, url) in unsent),
        assignments=_take_assignments(record, deliveries_only=False),
        segments=tuple(segment_id for segment_id in record.segments if (Kind.SEGMENT, segment_id) in unsent),
        conversions=conversions,
        consent=record.consent,
        forced=forced,
        assigned=assigned,
    )
    record.unsent = NOTHING_UNSENT  # most visitors are idle, and an empty set takes room
    return taken


def _take_assignments(record: VisitorRecord, *, deliveries_only: bool) -> tuple[Assignment, ...]:
    # Evaluations write without a lock: what is marked unsent again from here on is either told now or taken next time.
    taken = []
    for assignment in list(record.assignments.values()):
        if assignment.unsent and (assignment.is_delivery or not deliveries_only):
            assignment.unsent = False
            taken.append(assignment)
    return tuple(taken)


def _assigned(record: VisitorRecord, forced: frozenset[int]) -> tuple[tuple[int, int], ...]:
    given = list(record.assignments.values())
    return tuple((one.experiment_id, one.variation_id) for one in given if one.experiment_id not in forced)


def _take_conversions(record: VisitorRecord) -> tuple[Converted, ...]:
    taken = tuple(
        converted for place, converted in enumerate(record.conversions) if (Kind.CONVERSION, place) in record.unsent
    )
    if taken:
        record.unsent = {key for key in record.unsent if key[0] != Kind.CONVERSION} or NOTHING_UNSENT
    return taken


def is_pending(record: VisitorRecord) -> bool:
    """
    Whether anything of the record is unsent, whatever consent says.

    Data that maps the visitor goes with every request of his, but is no reason for one once it was sent.
    """
    return bool(record.unsent) or any(item.unsent for item in list(record.assignments.values()))


def has_sendable(record: VisitorRecord) -> bool:
    """Whether the record holds anything that is, or was, to be sent."""
    return bool(
        record.unsent
        or record.custom_data
        or record.assignments
        or record.page_views
        or record.conversions
        or record.segments
        or record.device
        or record.browser
        or record.operating_system
        or record.geolocation
        or record.visits
    )

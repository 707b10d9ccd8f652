"""
The record of one visitor.

Several codes may share one record (a visitor who logs in); what belongs to a code alone is in `Visitor`. The data objects in a
record are never changed in place, so one may stand in many records; an `Assignment` belongs to its record alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

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
    )


@dataclass(slots=True)
class Assignment:
    """
    A variation the visitor was given.

    The same variation given again renews `time_ms` and `unsent` in place, each on its own, so that evaluations need no lock;
    any other takes this one's place in the record.

    Attributes:
        experiment_id: Key of the assignment.
        variation_id: The variation.
        is_delivery: Whether a targeted delivery gave it; ``None`` when the service told of it.
        time_ms: When, in milliseconds since 1970.
        unsent: Whether it is still to be sent.
    """

    experiment_id: int
    variation_id: int
    is_delivery: bool | None
    time_ms: int
    unsent: bool


class PageVisit(NamedTuple):
    """
    What is known of the views of one URL.

    Attributes:
        view: The latest.
        views: How often it was seen, here and elsewhere.
        last_ms: When last, in milliseconds since 1970.
        remote_views: How many of *views* the service told of.
    """

    view: PageView
    views: int
    last_ms: int
    remote_views: int = 0


class Converted(NamedTuple):
    """A conversion and its time, in milliseconds since 1970."""

    conversion: Conversion
    time_ms: int


class Personalized(NamedTuple):
    """A personalization campaign's variation, and when it was shown, in milliseconds since 1970."""

    id: int
    variation_id: int
    time_ms: int


class PreviousVisit(NamedTuple):
    """Start and last activity of an earlier visit, in milliseconds since 1970."""

    started_ms: int
    last_ms: int


class Visits(NamedTuple):
    """
    Earlier visits, as the service told of them.

    Attributes:
        previous: Newest first, never empty.
        number: Visits so far, the current one left out.
        since_previous_ms: Time between the previous visit's end and this one's start, in milliseconds; 0 when unknown.
    """

    previous: tuple[PreviousVisit, ...]
    number: int
    since_previous_ms: int


class Forcing(NamedTuple):
    """A variation forced for one experiment, as it was when it was forced."""

    variation_key: str
    variation_id: int | None
    force_targeting: bool


class Simulation(NamedTuple):
    """A simulated answer for one flag; no *experiment_id* means the default variation."""

    variation_key: str | None
    variation_id: int | None
    experiment_id: int | None
    rule_id: int | None


NO_ITEMS = cast("dict[Any, Any]", MappingProxyType({}))
"""What a record has where nothing is known; it cannot be written."""


class Kind:
    """What a sendable item is; the numbers give the order in which a visitor's items are sent."""

    DEVICE = 0
    BROWSER = 1
    OPERATING_SYSTEM = 2
    GEOLOCATION = 3
    VISITS = 4
    CUSTOM_DATA = 5
    PAGE_VIEW = 6
    SEGMENT = 7
    CONVERSION = 8


class VisitorRecord:
    """
    All that is known of a visitor. Only facts write it (`kameleoon._visitor.facts`).

    Attributes:
        started_ms: When the current visit began, in milliseconds since 1970.
        is_plain: Whether none of these is known: mapping identifier, consent, forcing, simulation, scores. They bend every
            evaluation; without them the engine need not look at each.
        mapping_identifier: The code used for hashing instead of the visitor's own, once he was mapped.
        consent: ``True`` given, ``False`` refused, ``None`` never asked.
        custom_data: ``{index: custom data}``
        page_views: ``{URL: latest view, count, last time}``
        assignments: ``{experiment id: assignment}``
        personalizations: ``{personalization id: personalization}``
        segments: Ids of matched audience segments, in order of their first match.
        forced: ``{experiment id: forcing}``
        simulated: ``{flag key: simulation}``
        heat: ``{key moment id: {goal id: score}}``
        scores: Contextual bandit: ``{experiment id: groups of variation ids, best score first}``
        mapped: Indices whose custom data maps this visitor; sent with every request.
        unsent: ``(kind, key)`` of every item still to be sent, save assignments, which carry it themselves.
    """

    # What every evaluation looks at lies in the record itself, the rest beside it.
    __slots__ = ("__dict__", "assignments", "is_plain", "started_ms")

    mapping_identifier: str | None = None
    consent: bool | None = None
    user_agent: str | None = None
    device: Device | None = None
    browser: Browser | None = None
    operating_system: OperatingSystem | None = None
    geolocation: Geolocation | None = None
    application_version: ApplicationVersion | None = None
    cookie: Cookie | None = None
    custom_data: dict[int, CustomData] = NO_ITEMS
    page_views: dict[str, PageVisit] = NO_ITEMS
    conversions: Sequence[Converted] = ()
    personalizations: dict[int, Personalized] = NO_ITEMS
    segments: dict[int, None] = NO_ITEMS
    forced: dict[int, Forcing] | None = None
    simulated: dict[str, Simulation] | None = None
    heat: Mapping[int, Mapping[int, float]] | None = None
    scores: Mapping[int, tuple[frozenset[int], ...]] | None = None
    visits: Visits | None = None
    mapped: set[int] | None = None
    unsent: AbstractSet[tuple[int, Hashable]] = frozenset()

    # Most visitors have little, so that only what is known takes room: the rest stands here, in the class, and is never changed.

    def __init__(self, started_ms: int) -> None:
        self.started_ms = started_ms
        self.is_plain = True
        self.assignments: dict[int, Assignment] = {}

    def own(self, attribute: str) -> dict[Any, Any]:
        """The dictionary *attribute*, the record's own from now on, to be written."""
        found: dict[Any, Any] = getattr(self, attribute)
        if found is NO_ITEMS:
            found = {}
            setattr(self, attribute, found)
        return found

    def add_conversion(self, converted: Converted) -> None:
        """Keep one more conversion."""
        if isinstance(self.conversions, list):
            self.conversions.append(converted)
        else:
            self.conversions = [converted]

    def mark_unsent(self, key: tuple[int, Hashable]) -> None:
        """Have the item *key* sent."""
        if isinstance(self.unsent, set):
            self.unsent.add(key)
        else:
            self.unsent = {key}

    def mark_sent(self, key: tuple[int, Hashable]) -> None:
        """Have the item *key* count as sent."""
        if isinstance(self.unsent, set):
            self.unsent.discard(key)


class Visitor:
    """
    One visitor code and the record it leads to.

    Attributes:
        record: What is known; may be shared with other codes.
        last_s: Last activity of this code, in seconds of the store's own clock.
        is_unique: Whether the code is a cross-device identifier, ``UniqueIdentifier(True)``.
    """

    __slots__ = ("is_unique", "last_s", "record")

    def __init__(self, record: VisitorRecord, last_s: float, *, is_unique: bool = False) -> None:
        self.record = record
        self.last_s = last_s
        self.is_unique = is_unique

"""
The record of one visitor.

Several codes may share one record (a visitor who logs in); what belongs to a code alone is in `Visitor`. The values in a record
are never changed in place, so one data object may stand in many records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

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


class Assignment(NamedTuple):
    """
    A variation the visitor was given.

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

    __slots__ = (
        "application_version",
        "assignments",
        "browser",
        "consent",
        "conversions",
        "cookie",
        "custom_data",
        "device",
        "forced",
        "geolocation",
        "heat",
        "mapped",
        "mapping_identifier",
        "operating_system",
        "page_views",
        "personalizations",
        "scores",
        "segments",
        "simulated",
        "started_ms",
        "unsent",
        "user_agent",
        "visits",
    )

    def __init__(self, started_ms: int) -> None:
        self.started_ms = started_ms
        self.mapping_identifier: str | None = None
        self.consent: bool | None = None
        self.user_agent: str | None = None
        self.device: Device | None = None
        self.browser: Browser | None = None
        self.operating_system: OperatingSystem | None = None
        self.geolocation: Geolocation | None = None
        self.application_version: ApplicationVersion | None = None
        self.cookie: Cookie | None = None
        self.custom_data: dict[int, CustomData] = {}
        self.page_views: dict[str, PageVisit] = {}
        self.conversions: list[Converted] = []
        self.assignments: dict[int, Assignment] = {}
        self.personalizations: dict[int, Personalized] = {}
        self.segments: dict[int, None] = {}
        self.forced: dict[int, Forcing] | None = None
        self.simulated: dict[str, Simulation] | None = None
        self.heat: Mapping[int, Mapping[int, float]] | None = None
        self.scores: Mapping[int, tuple[frozenset[int], ...]] | None = None
        self.visits: Visits | None = None
        self.mapped: set[int] | None = None
        self.unsent: set[tuple[int, Hashable]] = set()


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

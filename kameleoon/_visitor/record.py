"""
The record of one visitor.

Several codes may share one record (a visitor who logs in); what belongs to a code alone is in `Visitor`. The data objects in a
record are never changed in place, so one may stand in many records; an `Assignment` belongs to its record alone.

A process holds very many of them, and every first evaluation makes one. So what most visitors have little of takes little room: a
mapping of one item is no dictionary, and what few visitors have lies apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
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


Key = TypeVar("Key")
Value = TypeVar("Value")
Default = TypeVar("Default")

_new = object.__new__


class One(Mapping[Key, Value], Generic[Key, Value]):
    """``{key: value}`` in a fifth of the room that a dictionary takes. Never changed."""

    __slots__ = ("_key", "_value")

    def __init__(self, key: Key, value: Value) -> None:
        self._key = key
        self._value = value

    def __getitem__(self, key: object) -> Value:
        if key == self._key:
            return self._value
        raise KeyError(key)

    def __iter__(self) -> Iterator[Key]:
        return iter((self._key,))

    def __len__(self) -> int:
        return 1

    def get(self, key: object, default: Any = None) -> Any:
        """See `Mapping.get`; conditions ask often."""
        return self._value if key == self._key else default

    def __contains__(self, key: object) -> bool:
        return key == self._key


class Given(Protocol):
    """What an evaluation gave a visitor to remember."""

    @property
    def experiment_id(self) -> int | None:
        """The experiment; never ``None`` here."""

    @property
    def variation_id(self) -> int | None:
        """The variation; never ``None`` here."""

    @property
    def is_delivery(self) -> bool:
        """Whether a targeted delivery gave it."""


@dataclass(slots=True)
class Assignment(Mapping[int, "Assignment"]):
    """
    A variation the visitor was given.

    The same variation given again renews `time_ms` and `unsent` in place, each on its own, so that evaluations need no lock;
    any other takes this one's place in the record.

    An assignment is also the mapping of itself, ``{experiment id: itself}``: a record with no other holds it in place of a
    dictionary, which would take more room than all else that is known of most visitors.

    Attributes:
        experiment_id: Key of the assignment.
        variation_id: The variation.
        is_delivery: Whether a targeted delivery gave it; ``None`` when the service told of it.
        time_ms: When, in milliseconds since 1970.
        unsent: Whether it is still to be sent.
        given: What the evaluation gave, where that is known: it need not be worked out again.
    """

    experiment_id: int
    variation_id: int
    is_delivery: bool | None
    time_ms: int
    unsent: bool
    given: Given | None = field(default=None, compare=False, repr=False)

    def renew(self, given: Given, unsent: bool, now_ms: int) -> bool:
        """Take over that the same was given again; ``False``, and nothing done, when it is something else."""
        if (
            self.variation_id != given.variation_id
            or self.experiment_id != given.experiment_id
            or self.is_delivery != given.is_delivery
        ):
            return False
        self.time_ms = now_ms
        self.unsent = unsent
        self.given = given
        return True

    def __getitem__(self, experiment_id: object) -> Assignment:
        if experiment_id == self.experiment_id:
            return self
        raise KeyError(experiment_id)

    def __iter__(self) -> Iterator[int]:
        return iter((self.experiment_id,))

    def __len__(self) -> int:
        return 1

    def get(self, experiment_id: object, default: Any = None) -> Any:
        """See `Mapping.get`; conditions ask often."""
        return self if experiment_id == self.experiment_id else default


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


class _Rare:
    """What few visitors have; see `VisitorRecord`, whose attributes these are."""

    __slots__ = (
        "application_version",
        "browser",
        "consent",
        "conversions",
        "cookie",
        "device",
        "forced",
        "geolocation",
        "heat",
        "is_shared",
        "mapped",
        "mapping_identifier",
        "operating_system",
        "page_views",
        "personalizations",
        "scores",
        "segments",
        "simulated",
        "user_agent",
        "visits",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, None)
        self.conversions: Sequence[Converted] = ()
        self.page_views = self.personalizations = self.segments = NO_ITEMS


_NOTHING_RARE = _Rare()
"""What all records share of whose visitors nothing rare is known. Never changed."""

NOTHING_UNSENT: AbstractSet[tuple[int, Hashable]] = frozenset()
"""What records share of which nothing is to be sent."""


class _Apart(property, Generic[Value]):
    """An attribute of `VisitorRecord` that lies in its rare part, which is made when first written to."""

    def __init__(self, name: str) -> None:
        def write(record: VisitorRecord, value: object) -> None:
            if record._rare is _NOTHING_RARE:  # noqa: SLF001 - part of the class
                if value is getattr(_NOTHING_RARE, name):
                    return
                record._rare = _Rare()  # noqa: SLF001
            setattr(record._rare, name, value)  # noqa: SLF001

        super().__init__(attrgetter(f"_rare.{name}"), write)

    if TYPE_CHECKING:

        def __get__(self, record: Any, owner: type | None = None) -> Value: ...  # type: ignore[override]  # never asked of the class

        def __set__(self, record: Any, value: Value) -> None: ...


class VisitorRecord:
    """
    All that is known of a visitor. Only facts write it (`kameleoon._visitor.facts`).

    Attributes:
        started_ms: When the current visit began, in milliseconds since 1970.
        is_plain: Whether none of these is known: mapping identifier, consent, forcing, simulation, scores. They bend every
            evaluation; without them the engine need not look at each.
        assignments: ``{experiment id: assignment}``; written through `give`.
        custom_data: ``{index: custom data}``; written through `keep_custom_data`.
        unsent: ``(kind, key)`` of every item still to be sent, save assignments, which carry it themselves.
        mapping_identifier: The code used for hashing instead of the visitor's own, once he was mapped.
        consent: ``True`` given, ``False`` refused, ``None`` never asked.
        page_views: ``{URL: latest view, count, last time}``
        personalizations: ``{personalization id: personalization}``
        segments: Ids of matched audience segments, in order of their first match.
        forced: ``{experiment id: forcing}``
        simulated: ``{flag key: simulation}``
        heat: ``{key moment id: {goal id: score}}``
        scores: Contextual bandit: ``{experiment id: groups of variation ids, best score first}``
        mapped: Indices whose custom data maps this visitor; sent with every request.
        is_shared: Whether several codes lead to the record of a store in this process.
    """

    __slots__ = ("_rare", "assignments", "custom_data", "is_plain", "started_ms", "unsent")

    started_ms: int
    is_plain: bool
    assignments: Mapping[int, Assignment]
    custom_data: Mapping[int, CustomData]
    unsent: AbstractSet[tuple[int, Hashable]]

    mapping_identifier: _Apart[str | None] = _Apart("mapping_identifier")
    consent: _Apart[bool | None] = _Apart("consent")
    user_agent: _Apart[str | None] = _Apart("user_agent")
    device: _Apart[Device | None] = _Apart("device")
    browser: _Apart[Browser | None] = _Apart("browser")
    operating_system: _Apart[OperatingSystem | None] = _Apart("operating_system")
    geolocation: _Apart[Geolocation | None] = _Apart("geolocation")
    application_version: _Apart[ApplicationVersion | None] = _Apart("application_version")
    cookie: _Apart[Cookie | None] = _Apart("cookie")
    page_views: _Apart[dict[str, PageVisit]] = _Apart("page_views")
    conversions: _Apart[Sequence[Converted]] = _Apart("conversions")
    personalizations: _Apart[dict[int, Personalized]] = _Apart("personalizations")
    segments: _Apart[dict[int, None]] = _Apart("segments")
    forced: _Apart[dict[int, Forcing] | None] = _Apart("forced")
    simulated: _Apart[dict[str, Simulation] | None] = _Apart("simulated")
    heat: _Apart[Mapping[int, Mapping[int, float]] | None] = _Apart("heat")
    scores: _Apart[Mapping[int, tuple[frozenset[int], ...]] | None] = _Apart("scores")
    visits: _Apart[Visits | None] = _Apart("visits")
    mapped: _Apart[set[int] | None] = _Apart("mapped")
    is_shared: _Apart[bool | None] = _Apart("is_shared")

    def __init__(self, started_ms: int) -> None:
        self.started_ms = started_ms
        self.is_plain = True
        self.assignments = NO_ITEMS
        self.custom_data = NO_ITEMS
        self.unsent = NOTHING_UNSENT
        self._rare = _NOTHING_RARE

    @property
    def has_rare(self) -> bool:
        """Whether anything is known beside assignments and custom data."""
        return self._rare is not _NOTHING_RARE

    def own(self, attribute: str) -> dict[Any, Any]:
        """The dictionary *attribute*, the record's own from now on, to be written."""
        found = getattr(self, attribute)
        if type(found) is not dict:
            found = dict(found)
            setattr(self, attribute, found)
        return found

    def give(self, assignment: Assignment) -> None:
        """Keep *assignment*, which must be the record's own, in place of what was known of the experiment."""
        known = self.assignments
        if known is NO_ITEMS or (type(known) is Assignment and known.experiment_id == assignment.experiment_id):
            self.assignments = assignment
        else:
            self.own("assignments")[assignment.experiment_id] = assignment

    def keep_custom_data(self, datum: CustomData) -> None:
        """Keep *datum* in place of what was known under its index."""
        known = self.custom_data
        if known is NO_ITEMS or (type(known) is One and datum.index in known):
            self.custom_data = One(datum.index, datum)
        else:
            self.own("custom_data")[datum.index] = datum

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


class Visitor(VisitorRecord):
    """
    One visitor code and the record it leads to: itself, as nearly always, or one that it shares with other codes.

    Two objects, one for the code and one for the record, would cost half as much again for every new visitor.

    Args:
        record: A record of its own or another code's; see `alone` for a visitor that is his own.
        last_s: Last activity.
        is_unique: Whether the code is a cross-device identifier.

    Attributes:
        joined: The record, when it is another object; else ``None``. What `VisitorRecord` has is not there then.
        last_s: Last activity of this code, in seconds of the store's own clock.
        is_unique: Whether the code is a cross-device identifier, ``UniqueIdentifier(True)``.
        is_stale: Whether the store has another object for the visitor by now: what is written into this one is lost.
    """

    __slots__ = ("is_stale", "is_unique", "joined", "last_s")

    joined: VisitorRecord | None

    def __init__(self, record: VisitorRecord, last_s: float, *, is_unique: bool = False) -> None:
        self.joined = record
        self.last_s = last_s
        self.is_unique = is_unique
        self.is_stale = False

    @classmethod
    def alone(cls, started_ms: int, last_s: float, *, is_unique: bool = False) -> Visitor:
        """A visitor who is his own record, of whom nothing is known yet."""
        visitor = _new(cls)
        VisitorRecord.__init__(visitor, started_ms)
        visitor.joined = None
        visitor.last_s = last_s
        visitor.is_unique = is_unique
        visitor.is_stale = False
        return visitor

    @property
    def record(self) -> VisitorRecord:
        """What is known; may be shared with other codes."""
        return self if self.joined is None else self.joined

    @record.setter
    def record(self, record: VisitorRecord) -> None:
        self.joined = record


def assignment_of(given: Given, unsent: bool, now_ms: int, *, is_kept: bool = False) -> Assignment:
    """What is remembered of *given*; *is_kept* says whether it is itself."""
    assert given.experiment_id is not None
    assert given.variation_id is not None
    kept = given if is_kept else None
    return Assignment(given.experiment_id, given.variation_id, given.is_delivery, now_ms, unsent, kept)


def visitor_given(given: Given, unsent: bool, now_ms: int, now_s: float) -> Visitor:
    """
    A visitor of whom one assignment is known, made by the first evaluation of each.

    Calling the classes would take as long again as all the rest of it, so that their attributes are set here.
    """
    assignment = _new(Assignment)
    assignment.experiment_id = given.experiment_id  # type: ignore[assignment]  # see `Given`
    assignment.variation_id = given.variation_id  # type: ignore[assignment]
    assignment.is_delivery = given.is_delivery
    assignment.time_ms = now_ms
    assignment.unsent = unsent
    assignment.given = given
    visitor = _new(Visitor)
    visitor.started_ms = now_ms
    visitor.is_plain = True
    visitor.assignments = assignment
    visitor.custom_data = NO_ITEMS
    visitor.unsent = NOTHING_UNSENT
    visitor._rare = _NOTHING_RARE  # noqa: SLF001 - of this module
    visitor.joined = None
    visitor.last_s = now_s
    visitor.is_unique = False
    visitor.is_stale = False
    return visitor

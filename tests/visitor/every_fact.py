"""Facts of every kind there is, and all that a record says."""

from kameleoon._visitor.facts import (
    Assigned,
    Consented,
    Forced,
    Identified,
    InSegments,
    MappedFrom,
    Remote,
    Simulated,
    Told,
)
from kameleoon._visitor.record import Assignment, Forcing, Personalized, PreviousVisit, Simulation
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
    UserAgent,
)

DATA = [
    Device(DeviceType.TABLET),
    Browser(BrowserType.SAFARI, 90.5),
    Browser(BrowserType.CHROME),
    OperatingSystem(OperatingSystemType.LINUX),
    Geolocation("France", None, "Paris", latitude=1.5),
    ApplicationVersion("1.2"),
    Cookie({"a": "b"}),
    UserAgent("UA/1 é"),
    CustomData(3, "x", "y"),
    CustomData(3, 4.5, None, True, overwrite=False),
    CustomData("named", "z").at(4),
    CustomData(5),
    PageView("https://a.b/c:d?e", "t", [1, 2]),
    PageView("/é", None),
    Conversion(1, 2.5, True, [CustomData(1, "m")]),
    Conversion(2),
]
FACTS = [
    *(Told(value, 5 + place) for place, value in enumerate(DATA)),
    *(Told(value, 50, sent=True) for value in DATA[7:13]),
    Told(CustomData(7, "user"), 9, maps=True),
    Consented(consent=True),
    Consented(consent=False),
    Identified(is_unique=True),
    MappedFrom("first"),
    Forced(9, Forcing("on", 3, force_targeting=True)),
    Forced(9, None),
    Simulated({"flag": Simulation("on", 1, 2, None)}),
    InSegments((11, 4)),
    Assigned(Assignment(1, 10, False, 7, True)),
    Assigned(Assignment(2, 20, None, 8, False)),
    Remote(
        personalizations=(Personalized(1, 2, 3),),
        previous_visits=(PreviousVisit(1, 2),),
        visit_number=3,
        heat={1: {2: 0.5}},
        scores={4: (frozenset({1, 2}), frozenset({3}))},
    ),
]


HOW_IT_IS_KEPT = {"record", "has_rare", "joined"}
"""Attributes that say nothing about the visitor."""


def all_of_record(record):
    """All that a record says."""
    names = [
        name
        for name in dir(record)
        if name not in HOW_IT_IS_KEPT and not name.startswith("_") and not callable(getattr(record, name))
    ]
    known = {name: getattr(record, name) for name in names} | {"conversions": list(record.conversions)}
    return known | {"assignments": dict(record.assignments), "custom_data": dict(record.custom_data)}


def all_of(visitor):
    """All that is known of a visitor."""
    own = {"last_s": visitor.last_s, "is_unique": visitor.is_unique, "is_stale": visitor.is_stale}
    return all_of_record(visitor.record) | own

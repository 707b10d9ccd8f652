"""
Configurations and visitors by chance, from one number.

Names and ids come from small worlds, so that flags, segments, experiments and visitors meet often. Making them costs little, so
that many may be tried: Hypothesis draws the seed and the sizes, and shrinks the sizes.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

from reference import Known

from kameleoon._visitor.facts import Assigned, Consented, Forced, MappedFrom, Remote, Simulated, Told
from kameleoon._visitor.record import (
    Assignment,
    Converted,
    Forcing,
    PageVisit,
    Personalized,
    PreviousVisit,
    Simulation,
    Visitor,
    VisitorRecord,
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

EXAMPLES = int(os.environ.get("KAMELEOON_TEST_EXAMPLES") or (10_000 if os.environ.get("CI") else 2_000))
"""
How many examples are played: few while working, 10,000 in CI, which says so by this variable, and any number on request:
``KAMELEOON_TEST_EXAMPLES=200000 pytest tests/engine/test_agreement.py``.
"""

NOW = 1_767_268_800_000
"""A day's noon in most time zones, in milliseconds since 1970."""
DAY = 86_400_000

FLAGS = ["a", "b", "c", "d"]
EXPERIMENTS = [1, 2, 3, 4, 5, 6]
VARIATIONS = [10, 11, 12, 13]
KEYS = ["off", "on", "alt"]
SEGMENTS = [70, 71, 72, 73]
TEXTS = ["a", "a", "ab", "ab", "gold", "", "x.y", "12", "1.5", "true", "false", "1", "été"]
PATTERNS = ["a+b?", ".*", "[a-z]+", "^gold$", "(", r"\d+(\.\d+)?", "a|b", "(?i)GOLD", r"x\.y", "(a)\\1?"]
VERSIONS = ["1", "1.2", "1.10.3", "3.22.2", "3.22", "4", "x", "", "1.x", " 2", "85.1.7"]
TIMES = [NOW, NOW - 1000, NOW - 40_000_000, NOW - DAY, NOW - 3 * DAY]
TEXT_OPERATORS = ["EXACT", "CONTAINS", "REGULAR_EXPRESSION"]
NUMBER_OPERATORS = ["EQUAL", "GREATER", "LOWER"]
SHARES: list[Any] = [0, 0.1, 0.25, 0.3, 0.5, 1 / 3, 1, 1.0, -0.1, 1.6]


class Chance:
    """Draws everything from one seed; *broken* is how often, from 0 to 1, a piece is spoilt."""

    def __init__(self, seed: int, size: int, broken: float, *, old_shape: bool) -> None:
        self.random = random.Random(seed)
        self.size = size
        self.broken = broken
        self.old_shape = old_shape
        self.pick = self.random.choice

    def often(self, chance: float) -> bool:
        """True with that chance."""
        return self.random.random() < chance

    def some(self, items: list, most: int) -> list:
        """Up to *most* of *items*, each once."""
        return self.random.sample(items, self.random.randint(0, min(most, len(items))))

    def maybe(self, owner: dict, name: str, value: Any, chance: float = 0.8) -> None:
        """Set a member, or leave it out."""
        if self.often(chance):
            owner[name] = value

    def spoil(self, good: Any, *bad: Any) -> Any:
        """*good*, seldom one of *bad*."""
        return self.pick(bad) if self.often(self.broken) else good

    # --- configuration

    def root(self) -> dict:
        """A configuration."""
        root: dict[str, Any] = {
            "dateModified": 1,
            "configuration": {},
            "customData": [
                {"index": self.spoil(index, str(index), "x", None), "id": 500 + index, "name": f"n{index}"}
                for index in range(4)
            ],
        }
        if self.often(0.4):
            root["configuration"]["consentType"] = "REQUIRED"
            self.maybe(root["configuration"], "consentOptOutBehavior", self.pick(["FULLY_BLOCK", "PARTIALLY_BLOCK"]))
        if self.often(0.3):
            root["holdout"] = {"experimentId": self.spoil(90, None), "variationByExposition": self.shares()}
            for entry in root["holdout"]["variationByExposition"]:
                if isinstance(entry, dict) and self.often(0.4):
                    entry["variationKey"] = "in-holdout"
            root["holdout"] = self.spoil(root["holdout"], None, {})
        if not self.old_shape:
            root["segments"] = [self.segment(segment_id) for segment_id in SEGMENTS if self.often(0.8)]
        root["featureFlags"] = [self.flag(place, key) for place, key in enumerate(FLAGS[: self.size])]
        return root

    def flag(self, place: int, key: str) -> dict:
        """A flag."""
        flag: dict[str, Any] = {
            "id": 30 + place,
            "featureKey": key,
            "environmentEnabled": self.pick([True] * 8 + [False, "false"]),
            "defaultVariationKey": self.pick(["off", "off", "on", "lost"]),
            "variations": [self.variation(name) for name in self.some(KEYS, 3) + self.some(KEYS, 1)],
            "rules": [self.rule() for _ in range(self.pick([0, 1, 2, 2, 3, 4]))],
        }
        self.maybe(flag, "mutuallyExclusiveGroup", self.pick(["g", "g", "", None]), 0.3)
        self.maybe(flag, "bucketingCustomDataId", self.pick([501, 502, 500, 0, 99, None]), 0.3)
        flag["rules"] = self.spoil(flag["rules"], None, [*flag["rules"], None, 3])
        flag["variations"] = self.spoil(flag["variations"], None, [*flag["variations"], "x"])
        return flag

    def variation(self, key: str) -> dict:
        """A variation with variables."""
        kinds = {"BOOLEAN": True, "NUMBER": "12", "STRING": "s", "JSON": '{"a":[1]}', "CSS": "c", "JS": "j", "OTHER": 1}
        variables = []
        for kind in self.some(list(kinds), 2):
            variable = {"key": self.pick(["k", "l"]), "type": kind}
            self.maybe(variable, "value", self.spoil(kinds[kind], "{", 5))
            variables.append(variable)
        return {"key": key, "name": key.upper(), "variables": variables}

    def shares(self) -> list:
        """Shares of variations."""
        entries: list[Any] = []
        for _ in range(self.random.randint(0, 3)):
            entry: dict[str, Any] = {"exposition": self.spoil(self.pick(SHARES), None, "1", True)}
            self.maybe(entry, "variationKey", self.pick(KEYS), 0.95)
            self.maybe(entry, "variationId", self.spoil(self.pick(VARIATIONS), None), 0.95)
            entries.append(self.spoil(entry, None, 1, {}))
        return entries

    def rule(self) -> dict:
        """A rule."""
        rule: dict[str, Any] = {
            "id": self.random.randint(1, 50),
            "type": self.pick(["EXPERIMENTATION", "EXPERIMENTATION", "TARGETED_DELIVERY", "experimentation", None]),
            "exposition": self.spoil(self.pick([1, 1, 1.0, 0.5, 0.7, 0]), None, "1"),
            "variationByExposition": self.spoil(self.shares(), None),
        }
        self.maybe(rule, "experimentId", self.spoil(self.pick(EXPERIMENTS), None), 0.95)
        self.maybe(rule, "respoolTime", self.pick([1700000000000, 0, None, "1700000000000", 1.5, -3]), 0.3)
        if self.old_shape:
            self.maybe(rule, "segment", self.pick([self.segment(self.pick(SEGMENTS)), None, {}]), 0.7)
        else:
            self.maybe(rule, "segmentId", self.pick([*SEGMENTS, 0, 99, None]), 0.7)
        if self.often(self.broken):
            del rule["id"]
        return rule

    # --- segments

    def segment(self, segment_id: int) -> dict:
        """A segment; in the older shape it stands in a rule."""
        segment: dict[str, Any] = {"id": segment_id, "audienceTracking": self.often(0.5)}
        self.maybe(segment, "conditionsData", self.spoil(self.tree(), None, {}, [], 3), 0.95)
        return segment

    def tree(self) -> dict:
        """A tree of conditions."""
        groups: list[Any] = []
        for _ in range(self.random.choice([0, 1, 1, 1, 2, 2, 3, 4])):
            conditions = [self.condition() for _ in range(self.random.choice([0, 1, 1, 1, 2, 2, 3, 4]))]
            operators = [self.often(0.5) for _ in range(max(0, len(conditions) - 1))]
            group: Any = {"conditions": conditions, "orOperators": self.spoil(operators, [], None)}
            groups.append(self.spoil(group, None, {}, {"conditions": None}, {"conditions": [None]}))
        operators = [self.often(0.5) for _ in range(max(0, len(groups) - 1))]
        tree = {"firstLevel": groups, "firstLevelOrOperators": self.spoil(operators, [], operators[:1], None)}
        return self.spoil(tree, {"firstLevel": None}, {"firstLevelOrOperators": []})

    def condition(self, kind: str | None = None) -> dict:
        """A condition of the type *kind*, or of any."""
        kind = kind or self.pick(CONDITION_TYPES)
        item = {"targetingType": kind, **_FIELDS[kind](self)}
        self.maybe(item, "isInclude", self.pick([True, True, False, None, 0]), 0.6)
        if self.often(self.broken):
            name = self.pick(list(item))
            item[name] = self.pick(["NONSENSE", None])
        if self.often(self.broken):
            item.pop(self.pick(list(item)))
        return item

    def scope(self) -> dict:
        """Fields of conditions about the past."""
        fields: dict[str, Any] = {}
        self.maybe(fields, "visitScope", self.pick(["VISITOR", "current_visit", "CURRENT_VISIT", "x", None]), 0.6)
        self.maybe(fields, "visitCount", self.pick([1, 2, 3, 0, -1, 100, "2"]), 0.6)
        return fields

    # --- visitors

    def code(self) -> str:
        """A visitor code."""
        return self.pick(["visitor-1", "v", "", "é", " a "]) + self.pick(["", str(self.random.randint(0, 999))]) or "z"

    def known(self) -> Known | None:
        """What is known of a visitor, ``None`` for an unknown one."""
        if self.often(0.07):
            return None
        known = Known(started=self.pick(TIMES))
        dense = self.pick([0.3, 0.9, 0.95])
        if self.often(dense):
            known.custom = {
                index: [self.pick(TEXTS) for _ in range(self.pick([0, 1, 1, 2, 3]))]
                for index in range(4)
                if self.often(0.8)
            }
        if self.often(dense):
            known.browser = (self.pick(["CHROME", "INTERNET_EXPLORER", "OTHER"]), self.pick([None, 0, 1.1, 1.2, 85.1]))
            known.device = self.pick([None, "PHONE", "DESKTOP"])
            known.os = self.pick([None, "LINUX", "IOS"])
            known.place = self.pick([None, ("France", None, None), ("FRANCE", "Île", "Paris"), ("Spain", "", "")])
        if self.often(dense):
            known.cookies = {name: self.pick(TEXTS) for name in self.some(TEXTS, 3)}
            known.app = self.pick([None, *VERSIONS])
        if self.often(dense):
            known.pages = [
                (url, self.pick([None, *TEXTS]), self.pick([1, 2]), self.pick(TIMES))
                for url in self.some(["a", "ab", "gold", "x.y", "12"], 4)
            ]
            known.conversions = [(self.pick([1, 2, -1]), self.pick(TIMES)) for _ in range(self.pick([0, 1, 2, 3]))]
        if self.often(dense):
            known.visits = sorted({self.pick(TIMES[1:]) for _ in range(self.pick([1, 2, 3]))}, reverse=True)
        if self.often(dense):
            known.assigned = {
                key: (self.pick(VARIATIONS), self.pick(TIMES)) for key in self.some([90, *EXPERIMENTS], 5)
            }
            known.personalized = {key: self.pick(TIMES) for key in self.some([1, 2], 2)}
            known.heat = self.pick([{1: {1: 50.0, 2: 3}}, {1: {1: 50.0, 2: 3}}, None, {}])
        if self.often(dense / 2):
            known.scores = {
                key: [set(self.some(VARIATIONS, 3)) for _ in range(self.pick([0, 1, 2]))]
                for key in self.some(EXPERIMENTS, 3)
            }
        if self.often(dense / 3):
            known.forced = {
                key: (self.pick(KEYS), self.pick([None, *VARIATIONS]), self.often(0.5))
                for key in self.some(EXPERIMENTS, 3)
            }
        if self.often(dense / 4):
            known.simulated = {
                key: self.pick([None, (self.pick(KEYS), self.pick(VARIATIONS), self.pick(EXPERIMENTS))])
                for key in self.some(FLAGS, 2)
            }
        known.consent = self.pick([None, True, False, False])
        known.mapping = self.pick([None, None, "anonymous", "m2"])
        return known


def record_of(known: Known | None) -> VisitorRecord | None:
    """The engine's record of the same visitor, made by facts."""
    if known is None:
        return None
    visitor = Visitor(VisitorRecord(known.started), 0.0)
    told: list[Any] = [CustomData(index, *values) for index, values in known.custom.items()]
    if known.browser is not None:
        told.append(Browser(BrowserType[known.browser[0]], known.browser[1]))
    if known.device is not None:
        told.append(Device(DeviceType[known.device]))
    if known.os is not None:
        told.append(OperatingSystem(OperatingSystemType[known.os]))
    if known.place is not None:
        told.append(Geolocation(*known.place))
    if known.cookies is not None:
        told.append(Cookie(known.cookies))
    if known.app is not None:
        told.append(ApplicationVersion(known.app))
    facts: list[Any] = [Told(value, NOW) for value in told]
    facts.append(
        Remote(
            pages=tuple(PageVisit(PageView(url, title), views, at) for url, title, views, at in known.pages),
            conversions=tuple(Converted(Conversion(goal), at) for goal, at in known.conversions),
            personalizations=tuple(Personalized(key, 1, at) for key, at in known.personalized.items()),
            previous_visits=tuple(PreviousVisit(at, at) for at in known.visits or ()),
            heat=known.heat,
            scores={key: tuple(frozenset(group) for group in groups) for key, groups in known.scores.items()} or None,
        )
    )
    facts += [Assigned(Assignment(key, variation, False, at, False)) for key, (variation, at) in known.assigned.items()]
    facts += [Forced(key, Forcing(*forcing)) for key, forcing in known.forced.items()]
    if known.simulated:
        simulations = {
            key: Simulation(None, None, None, None) if given is None else Simulation(*given, 1)
            for key, given in known.simulated.items()
        }
        facts.append(Simulated(simulations))
    if known.consent is not None:
        facts.append(Consented(known.consent))
    if known.mapping is not None:
        facts.append(MappedFrom(known.mapping))
    for fact in facts:
        fact.apply(visitor)
    return visitor.record


def _texts(chance: Chance, name: str, operator: str = "matchType") -> dict:
    kind = chance.pick(TEXT_OPERATORS)
    return {operator: kind, name: chance.pick(PATTERNS if kind == "REGULAR_EXPRESSION" else TEXTS)}


def _count(name: str, values: list) -> Any:
    return lambda chance: {"matchType": chance.pick(NUMBER_OPERATORS), name: chance.pick(values)}


def _custom_datum(chance: Chance) -> dict:
    operator = chance.pick([*TEXT_OPERATORS, *NUMBER_OPERATORS, "TRUE", "FALSE", "AMONG_VALUES", "UNDEFINED", "ANY"])
    among = ['["gold","a"]', "[1]", '[true,"x.y"]', "[0.0, null]", '"ab"', '{"gold":1}', "[[1]]", "[", "[12, 1.5]"]
    values = {"REGULAR_EXPRESSION": PATTERNS, "AMONG_VALUES": among, "CONTAINS": [*TEXTS, None]}.get(
        operator, [*TEXTS, 12, 1.5]
    )
    return {
        "customDataIndex": chance.pick(["0", "1", "2", "3", "003", "x"]),
        "valueMatchType": operator,
        "value": chance.pick(values),
    }


def _cookie(chance: Chance) -> dict:
    return {**_texts(chance, "name", "nameMatchType"), **_texts(chance, "value", "valueMatchType")}


def _versioned(chance: Chance) -> dict:
    return {
        "version": chance.pick([*VERSIONS, 1, 1.2, 3.22]),
        "versionMatchType": chance.pick([*NUMBER_OPERATORS, "equal", "Greater"]),
    }


def _place(chance: Chance) -> dict:
    fields: dict[str, Any] = {"country": chance.pick(["france", "Spain"])}
    chance.maybe(fields, "region", chance.pick(["île", ""]), 0.3)
    chance.maybe(fields, "city", chance.pick(["PARIS", "", None]), 0.3)
    return fields


def _optional_version(chance: Chance) -> dict:
    return _versioned(chance) if chance.often(0.6) else {}


_FIELDS: dict[Any, Any] = {
    "CUSTOM_DATUM": _custom_datum,
    "BROWSER": lambda c: {
        "browser": c.pick(["CHROME", "IE", "INTERNET_EXPLORER", "OTHER", "chrome"]),
        **_optional_version(c),
    },
    "DEVICE_TYPE": lambda c: {"device": c.pick(["PHONE", "desktop", "WATCH"])},
    "OPERATING_SYSTEM": lambda c: {"os": c.pick(["LINUX", "IOS", "ios"])},
    "GEOLOCATION": _place,
    "COOKIE": _cookie,
    "APPLICATION_VERSION": _versioned,
    "PAGE_URL": lambda c: _texts(c, "url"),
    "PAGE_TITLE": lambda c: _texts(c, "title"),
    "PREVIOUS_PAGE": lambda c: _texts(c, "url"),
    "PAGE_VIEWS": _count("pageCount", [0, 1, 2, 3, 2.0]),
    "VISITOR_CODE": lambda c: _texts(c, "visitorCode"),
    "SDK_LANGUAGE": lambda c: {"sdkLanguage": c.pick(["PYTHON", "PYTHON", "JAVA"]), **_optional_version(c)},
    "CONVERSIONS": lambda c: {
        **c.scope(),
        **c.pick([{}, {"goalId": 1}, {"goalId": -1}, {"goalId": None}, {"goalId": "1"}]),
    },
    "VISITS": _count("visitCount", [1, 2, 3, 2.5]),
    "SAME_DAY_VISITS": _count("visitCount", [0, 1, 2]),
    "NEW_VISITORS": lambda c: {"visitorType": c.pick(["NEW", "returning", "OLD"])},
    "FIRST_VISIT": _count("countInMillis", [0, 1000, DAY]),
    "LAST_VISIT": _count("countInMillis", [0, 1000, DAY]),
    "HEAT_SLICE": lambda c: {
        "keyMomentId": 1,
        "goalId": c.pick([1, 1, 2, 3]),
        "lowerBound": c.pick([0, 3, 50]),
        "upperBound": c.pick([49.5, 50, 51, 3]),
    },
    "SEGMENT": lambda c: {"segmentId": c.pick([*SEGMENTS, 99])},
    "TARGET_FEATURE_FLAG": lambda c: {
        **c.scope(),
        "featureFlagId": c.pick([30, 31, 32, 99]),
        **c.pick([{}, {"variationKey": c.pick(KEYS)}, {"ruleId": c.random.randint(1, 50)}]),
    },
    "TARGET_EXPERIMENT": lambda c: {
        **c.scope(),
        "experimentId": c.pick(EXPERIMENTS),
        "variationMatchType": c.pick(["ANY", "EXACT", "OTHER"]),
        "variationId": c.pick(VARIATIONS),
    },
    "TARGET_PERSONALIZATION": lambda c: {**c.scope(), "personalizationId": c.pick([1, 2, 3])},
    "EXCLUSIVE_EXPERIMENT": lambda c: {
        **c.scope(),
        "campaignType": c.pick(["EXPERIMENT", "PERSONALIZATION", "ANY", "x"]),
    },
    "EXPLICIT_TRIGGER": lambda _: {},
    "EXCLUSIVE_FEATURE_FLAG": lambda _: {},
}

CONDITION_TYPES = list(_FIELDS)


def as_text(*things: Any) -> str:
    """What a failed comparison shows of its case, to be pasted into a test."""
    return "\n".join(
        json.dumps(thing, ensure_ascii=False) if isinstance(thing, dict) else repr(thing) for thing in things
    )

"""
A slow, obvious evaluator, written from the description of the service and not from the engine.

It reads the configuration's JSON anew for each question and knows nothing of thresholds, closures or records; `Known` is what is
known of a visitor in plain values. What the service's SDK cannot read at all is taken as `docs/evaluation.md` says: the piece
alone is out of service.

Source:
    docs/evaluation.md; the recorded cases in ``tests/vectors``.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

SDK_VERSION = "3.22.2"
NO_CURRENT = object()


@dataclass
class Known:
    """What is known of a visitor, in plain values; times in milliseconds since 1970."""

    started: int = 0
    mapping: str | None = None
    consent: bool | None = None
    custom: dict[int, list] = field(default_factory=dict)
    browser: tuple[str, float | None] | None = None
    device: str | None = None
    os: str | None = None
    place: tuple[str, str | None, str | None] | None = None
    cookies: dict[str, str] | None = None
    app: str | None = None
    pages: list[tuple[str, str | None, int, int]] = field(default_factory=list)  # URL, title, views, last
    conversions: list[tuple[int, int]] = field(default_factory=list)  # goal, time
    visits: list[int] | None = None  # starts, newest first
    assigned: dict[Any, tuple[Any, int]] = field(default_factory=dict)  # experiment: variation, time
    personalized: dict[int, int] = field(default_factory=dict)  # id: time
    heat: dict[int, dict[int, float]] | None = None
    scores: dict[int, list[set[int]]] = field(default_factory=dict)
    forced: dict[int, tuple[str, int | None, bool]] = field(default_factory=dict)
    simulated: dict[str, tuple | None] = field(
        default_factory=dict
    )  # flag: (key, variation, experiment), None: default


@dataclass
class Answer:
    """``kind`` is ``given``, ``disabled`` or ``blocked``; *held* and *stored* are ``(experiment, variation)`` to be remembered."""

    kind: str
    key: str | None = None
    variation_id: Any = None
    experiment_id: Any = None
    rule_id: Any = None
    held: tuple | None = None
    stored: tuple | None = None


def share_of(text: str) -> float:
    """The hash: SHA-256 as a number, as a double between 0 and 1."""
    return float(int(hashlib.sha256(text.encode("utf-8")).hexdigest(), 16)) / float(2**256)


def number(value: Any) -> bool:
    """Whether *value* is a JSON number; Python counts booleans among them."""
    return isinstance(value, (int, float))


def scalar(value: Any) -> bool:
    """Whether *value* can be an id or a key."""
    return not isinstance(value, (list, dict))


def objects(value: Any) -> list[dict]:
    """The objects of a list; nothing else counts."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class Reference:
    """One configuration, its decoded JSON as it stands."""

    def __init__(self, root: dict) -> None:
        self.root = root
        self.flags: dict[Any, dict] = {}
        for flag in objects(root.get("featureFlags")):
            if scalar(flag.get("featureKey", "")):
                self.flags[flag.get("featureKey", "")] = flag

    # --- flags

    def evaluate(self, known: Known | None, code: str, flag_key: str, now: int) -> Answer:
        """The answer of one flag for one visitor."""
        flag = self.flags[flag_key]
        answer = self._answer(known, code, flag, flag_key, now)
        if answer.kind == "given":
            if answer.key is None:
                answer.key = flag.get("defaultVariationKey", "")
            elif answer.stored is None and None not in (answer.variation_id, answer.experiment_id):
                answer.stored = (answer.experiment_id, answer.variation_id)
            if answer.stored == ():
                answer.stored = None
        return answer

    def _answer(self, known: Known | None, code: str, flag: dict, flag_key: str, now: int) -> Answer:
        if known is not None and flag_key in known.simulated:
            simulated = known.simulated[flag_key]
            return Answer("given", *(simulated or ()), stored=())
        if not flag.get("environmentEnabled", False):
            return Answer("disabled")
        settings = self.root.get("configuration") or {}
        required = settings.get("consentType") == "REQUIRED"
        refused = required and known is not None and known.consent is False
        full = settings.get("consentOptOutBehavior") == "FULLY_BLOCK"
        hashed = self._hashed_code(known, code, flag)
        held = None
        holdout = self.root.get("holdout")
        if isinstance(holdout, dict):
            if refused and full:
                return Answer("blocked")
            experiment = holdout.get("experimentId", 0)
            entry = self._draw(self._entries(holdout), share_of(hashed + str(experiment)))
            if entry is not None:
                if entry.get("variationId") is not None and experiment is not None:
                    held = (experiment, entry["variationId"])
                if entry.get("variationKey", "") == "in-holdout":
                    return Answer("given", held=held)
        group = flag.get("mutuallyExclusiveGroup")
        if group:
            members = [key for key, other in self.flags.items() if other.get("mutuallyExclusiveGroup") == group]
            members.sort(key=lambda key: self.flags[key].get("id", 0))
            winner = min(int(share_of(hashed + group) * len(members)), len(members) - 1)
            if members[winner] != flag_key:
                return Answer("given", held=held)
        answer = self._by_rules(known, code, hashed, flag, now, refused, full)
        answer.held = held if answer.kind == "given" else None
        return answer

    def _hashed_code(self, known: Known | None, code: str, flag: dict) -> str:
        if known is None:
            return code
        wanted, index = flag.get("bucketingCustomDataId"), None
        if wanted:
            for entry in self._catalogue():
                if entry.get("id") == wanted:
                    index = int(entry["index"])
        if index and known.custom.get(index):
            return known.custom[index][0]
        return known.mapping or code

    def _catalogue(self) -> list[dict]:
        usable = []
        for entry in objects(self.root.get("customData")):
            try:
                int(entry["index"])
            except (KeyError, TypeError, ValueError):
                continue
            usable.append(entry)
        return usable

    def _entries(self, owner: dict) -> list[dict]:
        return [
            entry
            for entry in objects(owner.get("variationByExposition"))
            if number(entry.get("exposition", 0.0)) and scalar(entry.get("variationId"))
        ]

    def _draw(self, entries: list[dict], place: float) -> dict | None:
        total = 0.0
        for entry in entries:
            total += entry.get("exposition", 0.0)
            if place <= total:
                return entry
        return None

    def rules(self, flag: dict) -> list[dict]:
        """The rules that can be read."""
        return [
            rule
            for rule in objects(flag.get("rules"))
            if "id" in rule
            and scalar(rule["id"])
            and number(rule.get("exposition", 0.0))
            and scalar(rule.get("experimentId"))
        ]

    def _by_rules(self, known, code, hashed, flag, now, refused, full) -> Answer:
        for rule in self.rules(flag):
            experiment, kind = rule.get("experimentId", 0), rule.get("type")
            respool = str(rule["respoolTime"]) if rule.get("respoolTime") else ""
            entries = self._entries(rule)

            def give(entry: dict, rule: dict = rule, experiment: Any = experiment) -> Answer:
                return Answer("given", entry.get("variationKey", ""), entry.get("variationId"), experiment, rule["id"])

            forcing = known.forced.get(experiment) if known is not None and experiment is not None else None
            forced = None if forcing is None else Answer("given", forcing[0], forcing[1], experiment, rule["id"])
            if forced is not None and forcing[2]:
                return forced
            if not self._is_targeted(rule, known, code, now, experiment):
                continue
            if forced is not None:
                return forced
            if not share_of(hashed + str(rule["id"]) + respool) <= rule.get("exposition", 0.0):
                if kind == "TARGETED_DELIVERY":
                    return Answer("given")
                continue
            if refused and kind == "EXPERIMENTATION":
                return Answer("blocked" if full else "given")
            place = share_of(hashed + str(experiment) + respool)
            for group in known.scores.get(experiment, []) if known is not None else []:
                candidates = [entry for entry in entries if entry.get("variationId") in group]
                if candidates:
                    return give(candidates[min(int(place * len(candidates)), len(candidates) - 1)])
            if kind == "TARGETED_DELIVERY":
                return give(entries[0]) if entries else Answer("given")
            entry = self._draw(entries, place)
            if entry is not None:
                return give(entry)
        return Answer("given")

    def variables(self, flag_key: str, variation_key: str) -> dict[str, tuple] | None:
        """``{key: (type, value)}`` of the flag's first variation of that key."""
        for variation in objects(self.flags[flag_key].get("variations")):
            if variation.get("key", "") == variation_key:
                found = {}
                for variable in objects(variation.get("variables")):
                    kind, value = variable.get("type", ""), variable.get("value", False)
                    if kind == "JSON" and isinstance(value, str):
                        try:
                            value = json.loads(value)
                        except ValueError:
                            value = None
                    elif kind not in ("BOOLEAN", "NUMBER", "STRING", "CSS", "JS"):
                        value = None
                    found[variable.get("key", "")] = (kind, value)
                return found
        return None

    # --- segments

    def _is_targeted(self, rule: dict, known, code, now, current) -> bool:
        segment = self.segments().get(rule["segmentId"]) if rule.get("segmentId") else rule.get("segment") or None
        return segment is None or self.in_segment(segment, known, code, now, current)

    def segments(self) -> dict[Any, dict]:
        """All segments by id: those of the root, and the older ones within rules."""
        found: dict[Any, dict] = {}
        for flag in self.flags.values():
            for rule in objects(flag.get("rules")):
                if isinstance(rule.get("segment"), dict):
                    found[rule["segment"].get("id")] = rule["segment"]
        roots = {segment.get("id", -1): segment for segment in objects(self.root.get("segments"))}
        return {**found, **roots}

    def audiences(self, known: Known | None, code: str, now: int) -> list:
        """Ids of the tracked segments the visitor is in."""
        roots = {segment.get("id", -1): segment for segment in objects(self.root.get("segments"))}
        return [
            key
            for key, segment in roots.items()
            if segment.get("audienceTracking") and self.in_segment(segment, known, code, now, NO_CURRENT)
        ]

    def in_segment(self, segment: dict, known, code, now, current) -> bool:
        """Whether the visitor is in the segment; in one that cannot be read nobody is."""
        tree = segment.get("conditionsData")
        if tree is None:
            return True
        if not self.is_readable(tree):
            return False
        groups = []
        for group in tree["firstLevel"] or []:
            operands = [
                self.condition(item, known, code, now, current) for item in (group or {}).get("conditions") or []
            ]
            groups.append(join(operands, (group or {}).get("orOperators") or []))
        return join(groups, tree.get("firstLevelOrOperators") or [])

    def is_readable(self, tree: Any) -> bool:
        """Whether the tree has what the service's SDK needs."""
        if not isinstance(tree, dict) or "firstLevel" not in tree:
            return False
        first = tree["firstLevel"] if tree["firstLevel"] is not None else []
        if not isinstance(first, list) or (len(first) > 1 and not isinstance(tree.get("firstLevelOrOperators"), list)):
            return False
        for group in first:
            if group is None:
                continue
            if not isinstance(group, dict) or "conditions" not in group:
                return False
            conditions, operators = group["conditions"] or [], group.get("orOperators")
            if not isinstance(conditions, list) or not all(isinstance(item, dict) for item in conditions):
                return False
            if len(conditions) > 1 and (not isinstance(operators, list) or len(operators) < len(conditions) - 1):
                return False
        return True

    def _leads_to_itself(self, segment_id: Any, path: tuple = ()) -> bool:
        if segment_id in path:
            return True
        segment = self.segments().get(segment_id)
        tree = None if segment is None else segment.get("conditionsData")
        if tree is None or not self.is_readable(tree):
            return False
        return any(
            self._leads_to_itself(item.get("segmentId"), (*path, segment_id))
            for group in tree["firstLevel"] or []
            for item in (group or {}).get("conditions") or []
            if item.get("targetingType") == "SEGMENT"
        )

    # --- conditions

    def condition(self, item: dict, known: Known | None, code: str, now: int, current: Any) -> bool:
        """One condition; whatever cannot be compared does not match."""
        test = getattr(self, "_" + str(item.get("targetingType")).lower(), None)
        result = False
        if test is not None and item["targetingType"].isupper():
            try:
                result = test(item, known, code, now, current) is True
            except (AttributeError, TypeError, ValueError, KeyError, OverflowError, re.error):
                result = False
        return not result if item.get("isInclude", True) is False else result

    def _custom_datum(self, item, known, _code, _now, _current):
        index, operator, wanted = item["customDataIndex"], item["valueMatchType"], item.get("value")
        index = int(index) if index.isdigit() else -1
        if known is None:
            return False
        if operator == "UNDEFINED":
            return index not in known.custom
        for value in known.custom.get(index, []):
            if operator == "EXACT":
                found = value == wanted
            elif operator == "CONTAINS":
                found = wanted in value
            elif operator == "REGULAR_EXPRESSION":
                found = re.fullmatch(wanted, value) is not None
            elif operator == "EQUAL":
                found = abs(float(value) - float(wanted)) < 1e-9
            elif operator == "GREATER":
                found = float(value) > float(wanted)
            elif operator == "LOWER":
                found = float(value) < float(wanted)
            elif operator == "TRUE":
                found = value == "true"
            elif operator == "FALSE":
                found = value == "false"
            elif operator == "AMONG_VALUES":
                found = value in {among(element) for element in json.loads(wanted)}
            else:
                return False
            if found:
                return True
        return False

    def _browser(self, item, known, _code, _now, _current):
        name = {"IE": "INTERNET_EXPLORER"}.get(item["browser"], item["browser"])
        if known is None or known.browser is None or known.browser[0] != name:
            return False
        if item.get("version") is None:
            return True
        wanted = version(item["version"])
        return compare(item["versionMatchType"].upper(), known.browser[1] or -1, float(f"{wanted[0]}.{wanted[1]}"))

    def _device_type(self, item, known, _code, _now, _current):
        return known is not None and known.device is not None and known.device == item["device"].upper()

    def _operating_system(self, item, known, _code, _now, _current):
        return known is not None and known.os is not None and known.os == item["os"]

    def _geolocation(self, item, known, _code, _now, _current):
        if known is None or known.place is None or item.get("country") is None:
            return False
        wanted = [item.get("country"), item.get("region"), item.get("city")]
        return all(w is None or w.lower() == have.lower() for w, have in zip(wanted, known.place, strict=True))

    def _cookie(self, item, known, _code, _now, _current):
        name, value = str(item.get("name")), str(item.get("value"))
        if known is None or known.cookies is None:
            return False
        selected = [text for key, text in known.cookies.items() if matches(item["nameMatchType"], key, name)]
        return any(matches(item["valueMatchType"], text, value) for text in selected)

    def _application_version(self, item, known, _code, _now, _current):
        if known is None or known.app is None:
            return False
        return compare(item["versionMatchType"].upper(), version(known.app), version(item["version"]))

    def _sdk_language(self, item, _known, _code, _now, _current):
        if item["sdkLanguage"] != "PYTHON":
            return False
        if item.get("version") is None:
            return True
        return compare(item["versionMatchType"].upper(), version(SDK_VERSION), version(item["version"]))

    def _page_url(self, item, known, _code, _now, _current):
        return matches(item["matchType"], newest_pages(known)[0][0], item["url"])

    def _page_title(self, item, known, _code, _now, _current):
        return matches(item["matchType"], newest_pages(known)[0][1], item["title"])

    def _previous_page(self, item, known, _code, _now, _current):
        pages = newest_pages(known)
        return len(pages) > 1 and matches(item["matchType"], pages[1][0], item["url"])

    def _page_views(self, item, known, _code, _now, _current):
        return known is not None and compare(item["matchType"], sum(page[2] for page in known.pages), item["pageCount"])

    def _visitor_code(self, item, _known, code, _now, _current):
        return matches(item["matchType"], code, item["visitorCode"])

    def _visits(self, item, known, _code, _now, _current):
        return compare(item["matchType"], len(starts(known)) + 1, item["visitCount"])

    def _same_day_visits(self, item, known, _code, now, _current):
        year, month, day = time.localtime(now // 1000)[:3]
        midnight = time.mktime((year, month, day, 0, 0, 0, 0, 0, -1)) * 1000
        count = int((now if known is None else known.started) >= midnight)
        for start in starts(known):
            if start < midnight:
                break
            count += 1
        return compare(item["matchType"], count, item["visitCount"])

    def _new_visitors(self, item, known, _code, _now, _current):
        return {"NEW": not starts(known), "RETURNING": bool(starts(known))}[item["visitorType"].upper()]

    def _first_visit(self, item, known, _code, now, _current):
        return bool(starts(known)) and compare(item["matchType"], now - starts(known)[-1], item["countInMillis"])

    def _last_visit(self, item, known, _code, now, _current):
        return bool(starts(known)) and compare(item["matchType"], now - starts(known)[0], item["countInMillis"])

    def _conversions(self, item, known, _code, _now, _current):
        goal = item.get("goalId", -1)
        if known is None or goal is None:
            return False
        since = scope_start(item, known, "VISITOR")
        return any(goal in (-1, reached) and at >= since for reached, at in known.conversions)

    def _target_feature_flag(self, item, known, _code, _now, _current):
        if known is None:
            return False
        since = scope_start(item, known, "CURRENT_VISIT")
        flag = next((f for f in reversed(self.flags.values()) if f.get("id", 0) == item.get("featureFlagId")), {})
        keys = {
            entry.get("variationId"): entry.get("variationKey", "")
            for other in self.flags.values()
            for rule in objects(other.get("rules"))
            for entry in objects(rule.get("variationByExposition"))
        }
        for rule in objects(flag.get("rules")):
            if item.get("ruleId") is None or rule.get("id") == item["ruleId"]:
                variation, at = known.assigned.get(rule.get("experimentId", 0), (None, -1))
                if at >= since and item.get("variationKey") in (None, keys.get(variation)):
                    return True
        return False

    def _target_experiment(self, item, known, _code, _now, _current):
        if known is None or item["variationMatchType"] not in ("ANY", "EXACT"):
            return False
        variation, at = known.assigned[item.get("experimentId")]
        if at < scope_start(item, known, "CURRENT_VISIT"):
            return False
        return item["variationMatchType"] == "ANY" or variation == item.get("variationId")

    def _target_personalization(self, item, known, _code, _now, _current):
        if known is None:
            return False
        return known.personalized[item.get("personalizationId")] >= scope_start(item, known, "CURRENT_VISIT")

    def _exclusive_experiment(self, item, known, _code, _now, current):
        kind = item["campaignType"]
        if kind not in ("EXPERIMENT", "PERSONALIZATION", "ANY") or current is NO_CURRENT:
            return False
        if known is None:
            return True
        since = scope_start(item, known, "VISITOR")
        experiments = [key for key, (_, at) in known.assigned.items() if at >= since and key != current]
        campaigns = [key for key, at in known.personalized.items() if at >= since]
        return not (kind != "PERSONALIZATION" and experiments) and not (kind != "EXPERIMENT" and campaigns)

    def _heat_slice(self, item, known, _code, _now, _current):
        if known is None or known.heat is None:
            return False
        moment, goal = item.get("keyMomentId"), item.get("goalId")
        return item["lowerBound"] <= known.heat[moment][goal] <= item["upperBound"]

    def _segment(self, item, known, code, now, current):
        segment_id = item.get("segmentId")
        segment = self.segments().get(segment_id)
        if segment is None or self._leads_to_itself(segment_id):
            return False
        return self.in_segment(segment, known, code, now, current)


def join(operands: list[bool], operators: list) -> bool:
    """Grouped from the right, as the service has it; a missing operator leaves only what is on its right."""
    if not operands:
        return True
    if len(operands) == 1:
        return operands[0]
    first, rest = operands[0], operands[1:]
    if not operators:
        return join(rest, operators)
    if operators[0]:
        return first or join(rest, operators[1:])
    pair = first and rest[0]
    if len(operands) == 2:
        return pair
    after = join(rest[1:], operators[2:])
    if len(operators) == 1:
        return after
    return pair or after if operators[1] else pair and after


def among(element: Any) -> str:
    """The text of one element of a list of values."""
    if isinstance(element, (list, dict)):
        raise TypeError
    if isinstance(element, str):
        return element
    return {1: "true", 0: "false"}.get(element, str(element))


def matches(operator: str, value: str, wanted: str) -> bool:
    """The text operators."""
    if not isinstance(wanted, str) or value is None:
        return False
    return {
        "EXACT": lambda: value == wanted,
        "CONTAINS": lambda: wanted in value,
        "REGULAR_EXPRESSION": lambda: re.fullmatch(wanted, value) is not None,
    }[operator]()


def compare(operator: str, value: Any, wanted: Any) -> bool:
    """The number and version operators."""
    if not isinstance(wanted, (int, float, tuple)):
        return False
    return {"EQUAL": value == wanted, "GREATER": value > wanted, "LOWER": value < wanted}[operator]


def version(value: Any) -> tuple[int, int, int]:
    """Major, minor and patch."""
    if not value:
        raise ValueError
    parts = [int(part) for part in str(value).split(".")[:3]] + [0, 0]
    return parts[0], parts[1], parts[2]


def newest_pages(known: Known | None) -> list[tuple]:
    """Pages by their last view, newest first; of equal ones the first inserted first."""
    if known is None or not known.pages:
        raise ValueError
    rest, ordered = list(known.pages), []
    while rest:
        newest = max(page[3] for page in rest)
        ordered.append(rest.pop(next(place for place, page in enumerate(rest) if page[3] == newest)))
    return ordered


def starts(known: Known | None) -> list[int]:
    """Starts of the previous visits, newest first."""
    return [] if known is None or known.visits is None else known.visits


def scope_start(item: dict, known: Known, default: str) -> int:
    """From when on what a visitor did counts."""
    if known.visits is None:
        return 0
    scope = item["visitScope"].upper() if isinstance(item.get("visitScope"), str) else default
    if scope not in ("CURRENT_VISIT", "VISITOR"):
        scope = default
    count = item.get("visitCount")
    count = count if isinstance(count, int) and count > 0 else 25
    if scope == "CURRENT_VISIT" or count < 2 or not known.visits:
        return known.started
    return known.visits[min(count - 2, len(known.visits) - 1)]


def exact_share(text: str) -> Fraction:
    """The hash before it is rounded to a double."""
    return Fraction(int(hashlib.sha256(text.encode("utf-8")).hexdigest(), 16), 2**256)

"""
Conditions as a person writes them, ``{device: phone}``, turned into the service's, ``{"targetingType": "DEVICE_TYPE", …}``.

`READERS` is the list of all conditions: the first key of a condition names it, the other keys belong to it.

Source:
    evaluation.md, sections 4.1 to 4.4.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kameleoon.server.document import Item, Refused, nearest
from kameleoon.server.project import Condition, Flag, Group, Joined, RuleType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TEXT_TESTS = {"is": "EXACT", "contains": "CONTAINS", "matches": "REGULAR_EXPRESSION"}
_NUMBER_TESTS = {"is": "EQUAL", "above": "GREATER", "below": "LOWER"}
_BROWSERS = ("chrome", "internet_explorer", "firefox", "safari", "opera", "other")
_SYSTEMS = ("windows", "mac", "ios", "linux", "android", "windows_phone")
_DURATION = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|s|min|h|days?|d)\s*", re.ASCII)
_UNIT_MS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "day": 86_400_000, "days": 86_400_000}


@dataclass(frozen=True, slots=True)
class Names:
    """
    What conditions may refer to.

    Attributes:
        custom_data: `{name: index}`.
        goals: `{key: id}`.
        segments: `{key: id}`.
        flags: `{key: flag}`.
    """

    custom_data: Mapping[str, int] = field(default_factory=dict)
    goals: Mapping[str, int] = field(default_factory=dict)
    segments: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, Flag] = field(default_factory=dict)


def read_tree(entries: Mapping[str, Item], item: Item, names: Names) -> tuple[Joined, tuple[Group, ...]]:
    """
    The conditions of a segment: ``all``, ``any``, ``not`` or one condition.

    The service has two levels, each read from the right rather than with the usual precedence of AND over OR. Each level
    here is AND throughout or OR throughout, for which every grouping means the same, so nothing written here can be
    understood otherwise than it reads.

    Args:
        entries: The segment's keys without ``id``, ``name`` and the like.
        item: The segment, for messages.
        names: What conditions may refer to.

    Raises:
        Refused: There is no condition, or ``all`` and ``any`` stand side by side.
    """
    if not entries:
        raise item.refuse("no condition here; expected all, any, not, or one condition such as {device: phone}")
    joined = [way for way in Joined if way.value in entries]
    if not joined:
        return Joined.ALL, (Group(Joined.ALL, (_read_entries(entries, item, names),)),)
    way = joined[0]
    if len(entries) > 1:
        other = next(entry for key, entry in entries.items() if key != way.value)
        raise other.refuse(f"stands beside {way.value!r}; put it into the list of {way.value!r}", key=True)
    groups: list[Group] = []
    for member in _some(entries[way.value]):
        with item.report.going_on():
            groups.append(_read_group(member, names))
    if not groups:
        raise Refused
    return way, tuple(groups)


def _read_group(item: Item, names: Names) -> Group:
    entries = item.entries("a condition such as {device: phone}")
    for way in Joined:
        if way.value not in entries:
            continue
        if len(entries) > 1:
            raise item.refuse(f"{way.value!r} must stand alone")
        conditions: list[Condition] = []
        for member in _some(entries[way.value]):
            with item.report.going_on():
                conditions.append(read_condition(member, names))
        if not conditions:
            raise Refused
        return Group(way, tuple(conditions))
    return Group(Joined.ALL, (_read_entries(entries, item, names),))


def _some(item: Item) -> list[Item]:
    members = item.members("a list of conditions")
    if not members:
        raise item.refuse("the list is empty, expected at least one condition")
    return members


def read_condition(item: Item, names: Names) -> Condition:
    """
    One condition, or ``not`` with one condition.

    Raises:
        Refused: It is not understood.
    """
    return _read_entries(item.entries("a condition such as {device: phone}"), item, names)


def _read_entries(entries: Mapping[str, Item], item: Item, names: Names) -> Condition:
    if "not" in entries:
        if len(entries) > 1:
            raise item.refuse("'not' must stand alone, with one condition below it")
        negated = read_condition(entries["not"], names)
        return Condition(negated.targeting_type, negated.fields, include=not negated.include)
    if "all" in entries or "any" in entries:
        raise item.refuse(
            "all and any may be nested once; the service knows no third level. Make it a segment of its own"
        )
    name = next((key for key in entries if key in READERS), None)
    if name is None:
        wrong = next(iter(entries.values()), item)
        raise wrong.refuse(f"no condition of this name; {nearest(next(iter(entries), ''), READERS)}", key=True)
    companions, reader = READERS[name]
    for key, entry in entries.items():
        if key != name and key not in companions:
            entry.note(f"does not belong to {name!r}; {nearest(key, companions)}", key=True)
    return reader(entries, names)


def _text_test(item: Item, names: Names | None = None) -> tuple[str, str]:  # noqa: ARG001 - one signature for all tests
    """``text``, or one of ``{is: …}``, ``{contains: …}``, ``{matches: …}``: the service's operator and the text."""
    if not item.is_mapping:
        return "EXACT", item.text()
    return _named_test(item.known(*_TEXT_TESTS), item, _TEXT_TESTS)


def _named_test(entries: Mapping[str, Item], item: Item, tests: Mapping[str, str]) -> tuple[str, str]:
    given = [key for key in entries if key in tests]
    if len(given) != 1:
        raise item.refuse(f"expected exactly one of {', '.join(tests)}")
    entry = entries[given[0]]
    text = entry.text()
    if tests[given[0]] == "REGULAR_EXPRESSION":
        try:
            re.compile(text)
        except re.error as error:
            raise entry.refuse(f"{text!r} is no regular expression: {error}") from error
    return tests[given[0]], text


def _number_test(item: Item, convert: Callable[[Item], Any]) -> tuple[str, Any]:
    """``5``, or one of ``{is: 5}``, ``{above: 5}``, ``{below: 5}``: the service's operator and the number."""
    if not item.is_mapping:
        return "EQUAL", convert(item)
    entries = item.known(*_NUMBER_TESTS)
    if len(entries) != 1:
        raise item.refuse(f"expected exactly one of {', '.join(_NUMBER_TESTS)}")
    ((key, entry),) = entries.items()
    return _NUMBER_TESTS[key], convert(entry)


def _count(item: Item) -> int:
    return item.integer()


def _version(item: Item) -> str:
    text = item.text("a version such as 2.10.1")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}", text, re.ASCII):
        raise item.refuse(f"{text!r} is no version such as 2.10.1")
    return text


def _duration(item: Item) -> int:
    text = item.text("a duration such as 7 days")
    match = _DURATION.fullmatch(text)
    if not match:
        raise item.refuse(f"{text!r} is no duration such as 30 min, 2 h or 7 days")
    return round(float(match.group(1)) * _UNIT_MS[match.group(2)])


def _referred(item: Item, known: Mapping[str, int], what: str) -> int:
    key = item.text(f"the key of a {what}")
    if key not in known:
        raise item.refuse(f"there is no {what} {key!r}; {nearest(key, known)}")
    return known[key]


def _custom_data(entries: Mapping[str, Item], names: Names) -> Condition:
    item = entries["custom_data"]
    fields: dict[str, Any] = {"customDataIndex": str(_referred(item, names.custom_data, "custom data"))}
    tests = [key for key in entries if key in _CUSTOM_DATA_TESTS]
    if len(tests) != 1:
        raise item.refuse(f"expected exactly one of {', '.join(_CUSTOM_DATA_TESTS)} beside it")
    test, entry = tests[0], entries[tests[0]]
    match test, entry.kind:
        case "is", "bool":
            operator, value = entry.text().upper(), ""
        case ("is", "int" | "float") | ("above" | "below", _):
            operator, value = _NUMBER_TESTS[test], str(entry.number())
        case "among", _:
            # Every member goes out as text: the service reads the numbers 1 and 0 as "true" and "false" here.
            members = [member.text() for member in entry.members("a list of values")]
            if not members:
                raise entry.refuse("the list is empty, expected at least one value")
            operator, value = "AMONG_VALUES", json.dumps(members, ensure_ascii=False, separators=(",", ":"))
        case "defined", _ if entry.truth():
            # "Some value fully matches anything": negating UNDEFINED would be true of visitors nothing is known of.
            operator, value = "REGULAR_EXPRESSION", "(?s:.*)"
        case "defined", _:
            operator, value = "UNDEFINED", ""
        case _:
            operator, value = _named_test({test: entry}, item, _TEXT_TESTS)
    return Condition("CUSTOM_DATUM", fields | {"valueMatchType": operator, "value": value})


_CUSTOM_DATA_TESTS = ("is", "contains", "matches", "above", "below", "among", "defined")


def _browser(entries: Mapping[str, Item], _names: Names) -> Condition:
    fields: dict[str, Any] = {"browser": entries["browser"].one_of(*_BROWSERS).upper()}
    return Condition("BROWSER", fields | _version_fields(entries))


def _version_fields(entries: Mapping[str, Item]) -> dict[str, Any]:
    if "version" not in entries:
        return {}
    operator, version = _number_test(entries["version"], _version)
    return {"version": version, "versionMatchType": operator}


def _device(entries: Mapping[str, Item], _names: Names) -> Condition:
    return Condition("DEVICE_TYPE", {"device": entries["device"].one_of("phone", "tablet", "desktop").upper()})


def _system(entries: Mapping[str, Item], _names: Names) -> Condition:
    return Condition("OPERATING_SYSTEM", {"os": entries["os"].one_of(*_SYSTEMS).upper()})


def _country(entries: Mapping[str, Item], _names: Names) -> Condition:
    return Condition(
        "GEOLOCATION", {key: entries[key].text() for key in ("country", "region", "city") if key in entries}
    )


def _cookie(entries: Mapping[str, Item], _names: Names) -> Condition:
    name_operator, name = _text_test(entries["cookie"])
    operator, value = _named_test(entries, entries["cookie"], _TEXT_TESTS)
    return Condition(
        "COOKIE", {"name": name, "nameMatchType": name_operator, "value": value, "valueMatchType": operator}
    )


def _app_version(entries: Mapping[str, Item], _names: Names) -> Condition:
    operator, version = _number_test(entries["app_version"], _version)
    return Condition("APPLICATION_VERSION", {"version": version, "versionMatchType": operator})


def _sdk_language(entries: Mapping[str, Item], _names: Names) -> Condition:
    fields: dict[str, Any] = {"sdkLanguage": entries["sdk_language"].text().upper()}
    return Condition("SDK_LANGUAGE", fields | _version_fields(entries))


def _texts(name: str, targeting_type: str, field_name: str) -> Callable[[Mapping[str, Item], Names], Condition]:
    """Reader of a condition that compares one text."""

    def read(entries: Mapping[str, Item], _names: Names) -> Condition:
        operator, text = _text_test(entries[name])
        return Condition(targeting_type, {field_name: text, "matchType": operator})

    return read


def _numbers(
    name: str, targeting_type: str, field_name: str, convert: Callable[[Item], Any] = _count
) -> Callable[[Mapping[str, Item], Names], Condition]:
    """Reader of a condition that compares one number."""

    def read(entries: Mapping[str, Item], _names: Names) -> Condition:
        operator, number = _number_test(entries[name], convert)
        return Condition(targeting_type, {field_name: number, "matchType": operator})

    return read


def _visitor(entries: Mapping[str, Item], _names: Names) -> Condition:
    return Condition("NEW_VISITORS", {"visitorType": entries["visitor"].one_of("new", "returning").upper()})


def _scope_fields(entries: Mapping[str, Item]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "within" in entries:
        scope = entries["within"].one_of("current_visit", "all_visits")
        fields["visitScope"] = "CURRENT_VISIT" if scope == "current_visit" else "VISITOR"
    if "last_visits" in entries:
        fields["visitCount"] = entries["last_visits"].integer(least=1, most=25)
    return fields


def _converted(entries: Mapping[str, Item], names: Names) -> Condition:
    item = entries["converted"]
    fields: dict[str, Any] = {}
    if item.text("the key of a goal, or any") != "any":
        fields["goalId"] = _referred(item, names.goals, "goal")
    return Condition("CONVERSIONS", fields | _scope_fields(entries))


def _heat(entries: Mapping[str, Item], names: Names) -> Condition:
    item = entries["heat"]
    if missing := [key for key in ("goal", "from", "to") if key not in entries]:
        raise item.refuse(f"{', '.join(missing)} missing; expected {{heat: <key moment id>, goal: …, from: …, to: …}}")
    fields: dict[str, Any] = {
        "keyMomentId": item.integer(),
        "goalId": _referred(entries["goal"], names.goals, "goal"),
        "lowerBound": entries["from"].number(),
        "upperBound": entries["to"].number(),
    }
    return Condition("HEAT_SLICE", fields)


def _segment(entries: Mapping[str, Item], names: Names) -> Condition:
    return Condition("SEGMENT", {"segmentId": _referred(entries["segment"], names.segments, "segment")})


def _flag_of(item: Item, names: Names) -> Flag:
    key = item.text("the key of a flag")
    if key not in names.flags:
        raise item.refuse(f"there is no flag {key!r}; {nearest(key, names.flags)}")
    return names.flags[key]


def _saw_flag(entries: Mapping[str, Item], names: Names) -> Condition:
    flag = _flag_of(entries["saw_flag"], names)
    fields: dict[str, Any] = {"featureFlagId": flag.id}
    if "rule" in entries:
        fields["ruleId"] = _referred(entries["rule"], {rule.key: rule.id for _, rule in flag.all_rules()}, "rule")
    if "variation" in entries:
        keys = {variation.key: 0 for variation in flag.variations}
        _referred(entries["variation"], keys, "variation")
        fields["variationKey"] = entries["variation"].text()
    return Condition("TARGET_FEATURE_FLAG", fields | _scope_fields(entries))


def _saw_experiment(entries: Mapping[str, Item], names: Names) -> Condition:
    item = entries["saw_experiment"]
    flag = _flag_of(item, names)
    rules = {rule.key: rule for _, rule in flag.all_rules() if rule.type is RuleType.EXPERIMENT}
    if "rule" in entries:
        _referred(entries["rule"], {key: rule.id for key, rule in rules.items()}, "experiment")
        rule = rules[entries["rule"].text()]
    elif len(rules) == 1:
        (rule,) = rules.values()
    else:
        raise item.refuse(f"flag {flag.key!r} has {len(rules)} experiments; say which with rule: …")
    fields: dict[str, Any] = {"experimentId": rule.experiment_id, "variationMatchType": "ANY"}
    if "variation" in entries:
        ids = {share.variation_key: share.variation_id for share in rule.shares}
        fields["variationId"] = _referred(entries["variation"], ids, "variation")
        fields["variationMatchType"] = "EXACT"
    return Condition("TARGET_EXPERIMENT", fields | _scope_fields(entries))


def _saw_personalization(entries: Mapping[str, Item], _names: Names) -> Condition:
    fields: dict[str, Any] = {"personalizationId": entries["saw_personalization"].integer()}
    return Condition("TARGET_PERSONALIZATION", fields | _scope_fields(entries))


def _in_no_other(entries: Mapping[str, Item], _names: Names) -> Condition:
    campaign = entries["in_no_other"].one_of("experiment", "personalization", "any", "flag")
    if campaign == "flag":
        return Condition("EXCLUSIVE_FEATURE_FLAG", {})
    return Condition("EXCLUSIVE_EXPERIMENT", {"campaignType": campaign.upper()} | _scope_fields(entries))


def _service(entries: Mapping[str, Item], _names: Names) -> Condition:
    """A condition in the service's own words, for what has none here; references are ids and are not checked."""
    item = entries["service"]
    fields = item.plain() if item.is_mapping else {}
    # `not` says it here, and what the service keeps for its own pages means nothing to SDKs.
    fields = {name: value for name, value in fields.items() if name not in {"isInclude", "include", "weight", "id"}}
    targeting_type = fields.pop("targetingType", None)
    if not isinstance(targeting_type, str):
        raise item.refuse("expected {targetingType: …} and its fields as the service has them")
    return Condition(targeting_type, fields)


_SCOPE = ("within", "last_visits")

READERS: Mapping[str, tuple[tuple[str, ...], Callable[[Mapping[str, Item], Names], Condition]]] = {
    "custom_data": (_CUSTOM_DATA_TESTS, _custom_data),
    "browser": (("version",), _browser),
    "device": ((), _device),
    "os": ((), _system),
    "country": (("region", "city"), _country),
    "cookie": (tuple(_TEXT_TESTS), _cookie),
    "app_version": ((), _app_version),
    "page_url": ((), _texts("page_url", "PAGE_URL", "url")),
    "page_title": ((), _texts("page_title", "PAGE_TITLE", "title")),
    "previous_page": ((), _texts("previous_page", "PREVIOUS_PAGE", "url")),
    "page_views": ((), _numbers("page_views", "PAGE_VIEWS", "pageCount")),
    "visitor_code": ((), _texts("visitor_code", "VISITOR_CODE", "visitorCode")),
    "sdk_language": (("version",), _sdk_language),
    "converted": (_SCOPE, _converted),
    "visits": ((), _numbers("visits", "VISITS", "visitCount")),
    "visits_today": ((), _numbers("visits_today", "SAME_DAY_VISITS", "visitCount")),
    "visitor": ((), _visitor),
    "since_first_visit": ((), _numbers("since_first_visit", "FIRST_VISIT", "countInMillis", _duration)),
    "since_last_visit": ((), _numbers("since_last_visit", "LAST_VISIT", "countInMillis", _duration)),
    "heat": (("goal", "from", "to"), _heat),
    "segment": ((), _segment),
    "saw_flag": (("rule", "variation", *_SCOPE), _saw_flag),
    "saw_experiment": (("rule", "variation", *_SCOPE), _saw_experiment),
    "saw_personalization": (_SCOPE, _saw_personalization),
    "in_no_other": (_SCOPE, _in_no_other),
    "service": ((), _service),
}
"""`{name of a condition: (keys that may stand beside it, its reader)}`."""

"""
Conditions of the service turned back into what a person writes and reads: the way back of `conditions.py`.

`condition_entry` gives the project file's form, `condition_words` a sentence. What has no form of its own is written in the service's
words, so that nothing is lost on the way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kameleoon.server.conditions import Names, read_condition
from kameleoon.server.document import ProjectError, Refused, load
from kameleoon.server.project import Condition, Joined
from kameleoon.server.yaml_out import dump

if TYPE_CHECKING:
    from kameleoon.server.project import Group, Project, Segment

Entry = dict[str, Any]

_TEXT = {"EXACT": "is", "CONTAINS": "contains", "REGULAR_EXPRESSION": "matches"}
_NUMBER = {"EQUAL": "is", "GREATER": "above", "LOWER": "below"}
_UNITS = (("days", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000), ("ms", 1))


def names_of(project: Project) -> Names:
    """What the project's conditions may refer to."""
    return Names(
        custom_data={datum.name: datum.index for datum in project.custom_data},
        goals={goal.key: goal.id for goal in project.goals},
        segments={segment.key: segment.id for segment in project.segments},
        flags={flag.key: flag for flag in project.flags},
    )


def segment_entry(segment: Segment, names: Names) -> Entry:
    """The conditions of a segment as the project file has them, without its id and name."""
    members = [_group_entry(group, names) for group in segment.groups]
    if len(members) == 1 and segment.joined is Joined.ALL and not {"all", "any"} & members[0].keys():
        return members[0]
    return {segment.joined.value: members}


def _group_entry(group: Group, names: Names) -> Entry:
    entries = [condition_entry(condition, names) for condition in group.conditions]
    return entries[0] if len(entries) == 1 and group.joined is Joined.ALL else {group.joined.value: entries}


def condition_entry(condition: Condition, names: Names) -> Entry:
    """
    One condition as the project file has it.

    Returns:
        What `read_condition` makes the same condition of, also for one that only the service's words can say.
    """
    plain = Condition(condition.targeting_type, condition.fields)
    entry: Entry | None = None
    invert = _INVERSE.get(condition.targeting_type)
    if invert is not None:
        try:
            entry = invert(dict(condition.fields), names)
        except (KeyError, ValueError, TypeError, StopIteration):
            entry = None
    if entry is None or _read_back(entry, names) != plain:
        entry = {"service": {"targetingType": condition.targeting_type, **condition.fields}}
    return entry if condition.include else {"not": entry}


def _read_back(entry: Entry, names: Names) -> Condition | None:
    try:
        root = load(dump(entry).encode(), "condition")
        return read_condition(root, names)
    except (ProjectError, Refused):
        return None


def segment_words(segment: Segment, project: Project) -> list[str]:
    """
    Who is in a segment, in words.

    Returns:
        One sentence per group; the groups are joined as `Segment.joined` says.
    """
    names = names_of(project)
    joint = {Joined.ALL: " and ", Joined.ANY: " or "}
    return [
        joint[group.joined].join(condition_words(condition, names) for condition in group.conditions)
        for group in segment.groups
    ]


def condition_words(condition: Condition, names: Names) -> str:
    """One condition in words, such as ``device is phone``."""
    entry = condition_entry(Condition(condition.targeting_type, condition.fields), names)
    words = _entry_words(entry)
    return words if condition.include else f"not ({words})"


_SUBJECTS = {
    "custom_data": "custom data",
    "os": "operating system",
    "app_version": "version of the application",
    "page_url": "URL of the page",
    "page_title": "title of the page",
    "previous_page": "URL of the page before",
    "page_views": "pages seen",
    "visitor_code": "visitor code",
    "sdk_language": "language of the SDK",
    "visits_today": "visits today",
    "since_first_visit": "time since the first visit",
    "since_last_visit": "time since the last visit",
}
_ASIDE = {
    "converted": "converted for",
    "saw_flag": "saw flag",
    "saw_experiment": "saw the experiment of",
    "saw_personalization": "saw personalization",
    "in_no_other": "is in no other",
    "segment": "is in segment",
    "heat": "heat of key moment",
    "visitor": "is a visitor who is",
}


def _entry_words(entry: Entry) -> str:
    (name, value), *others = entry.items()
    if name == "service":
        kind = value["targetingType"]
        rest = ", ".join(f"{key} {_value_words(part)}" for key, part in value.items() if key != "targetingType")
        return f"{kind} {rest}".strip()
    if name in _ASIDE:
        said = f"{_ASIDE[name]} {_value_words(value)}"
        return said + "".join(f", {key.replace('_', ' ')} {_value_words(part)}" for key, part in others)
    subject = _SUBJECTS.get(name, name)
    if name in {"custom_data", "cookie"}:
        said = f"{subject} {_value_words(value)}"
        return said + "".join(f" {_test_words(key, part)}" for key, part in others)
    said = f"{subject} {_test_words('is', value) if not isinstance(value, Mapping) else _value_words(value)}"
    return said + "".join(
        f", {key} {_value_words(part) if isinstance(part, Mapping) else f'is {part}'}" for key, part in others
    )


def _test_words(test: str, value: Any) -> str:
    if test == "defined":
        return "is known" if value else "is not known"
    word = {"above": "is above", "below": "is below", "among": "is one of"}.get(test, test)
    return f"{word} {_value_words(value)}"


def _value_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_test_words(key, part) for key, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _key_of(known: Mapping[str, int], number: Any) -> str:
    return next(key for key, of_key in known.items() if of_key == number)


def _text_test(operator: str, text: str) -> Any:
    return text if operator == "EXACT" else {_TEXT[operator]: text}


def _number_test(operator: str, number: Any) -> Any:
    return number if operator == "EQUAL" else {_NUMBER[operator]: number}


def _duration(milliseconds: int) -> str:
    unit, size = next((unit, size) for unit, size in _UNITS if milliseconds % size == 0)
    return f"{milliseconds // size} {unit}"


def _scope(fields: Mapping[str, Any]) -> Entry:
    entry: Entry = {}
    if "visitScope" in fields:
        entry["within"] = {"CURRENT_VISIT": "current_visit", "VISITOR": "all_visits"}[fields["visitScope"]]
    if "visitCount" in fields:
        entry["last_visits"] = fields["visitCount"]
    return entry


def _version(fields: Mapping[str, Any]) -> Entry:
    if "version" not in fields:
        return {}
    return {"version": _number_test(fields["versionMatchType"], fields["version"])}


def _custom_data(fields: Entry, names: Names) -> Entry:
    name = _key_of(names.custom_data, int(fields["customDataIndex"]))
    operator, value = fields["valueMatchType"], fields["value"]
    test: Entry
    match operator:
        case "TRUE" | "FALSE":
            test = {"is": operator == "TRUE"}
        case "EQUAL" | "GREATER" | "LOWER":
            test = {_NUMBER[operator]: json.loads(value)}
        case "AMONG_VALUES":
            test = {"among": json.loads(value)}
        case "UNDEFINED":
            test = {"defined": False}
        case "REGULAR_EXPRESSION" if value == "(?s:.*)":
            test = {"defined": True}
        case _:
            test = {_TEXT[operator]: value}
    return {"custom_data": name, **test}


def _geolocation(fields: Entry, _names: Names) -> Entry:
    return {key: fields[key] for key in ("country", "region", "city") if key in fields}


def _cookie(fields: Entry, _names: Names) -> Entry:
    name = _text_test(fields["nameMatchType"], fields["name"])
    return {"cookie": name, _TEXT[fields["valueMatchType"]]: fields["value"]}


def _converted(fields: Entry, names: Names) -> Entry:
    goal = _key_of(names.goals, fields["goalId"]) if "goalId" in fields else "any"
    return {"converted": goal, **_scope(fields)}


def _heat(fields: Entry, names: Names) -> Entry:
    goal = _key_of(names.goals, fields["goalId"])
    return {"heat": fields["keyMomentId"], "goal": goal, "from": fields["lowerBound"], "to": fields["upperBound"]}


def _saw_flag(fields: Entry, names: Names) -> Entry:
    flag = next(flag for flag in names.flags.values() if flag.id == fields["featureFlagId"])
    entry: Entry = {"saw_flag": flag.key}
    if "ruleId" in fields:
        entry["rule"] = next(rule.key for _, rule in flag.all_rules() if rule.id == fields["ruleId"])
    if "variationKey" in fields:
        entry["variation"] = fields["variationKey"]
    return entry | _scope(fields)


def _saw_experiment(fields: Entry, names: Names) -> Entry:
    flag, rule = next(
        (flag, rule)
        for flag in names.flags.values()
        for _, rule in flag.all_rules()
        if rule.experiment_id == fields["experimentId"]
    )
    entry: Entry = {"saw_experiment": flag.key, "rule": rule.key}
    if fields["variationMatchType"] == "EXACT":
        entry["variation"] = next(s.variation_key for s in rule.shares if s.variation_id == fields["variationId"])
    return entry | _scope(fields)


def _texts(name: str, field: str) -> Callable[[Entry, Names], Entry]:
    return lambda fields, _names: {name: _text_test(fields["matchType"], fields[field])}


def _numbers(
    name: str, field: str, convert: Callable[[Any], Any] = lambda number: number
) -> Callable[[Entry, Names], Entry]:
    return lambda fields, _names: {name: _number_test(fields["matchType"], convert(fields[field]))}


_INVERSE: dict[str, Callable[[Entry, Names], Entry]] = {
    "CUSTOM_DATUM": _custom_data,
    "BROWSER": lambda fields, _names: {"browser": fields["browser"].lower(), **_version(fields)},
    "DEVICE_TYPE": lambda fields, _names: {"device": fields["device"].lower()},
    "OPERATING_SYSTEM": lambda fields, _names: {"os": fields["os"].lower()},
    "GEOLOCATION": _geolocation,
    "COOKIE": _cookie,
    "APPLICATION_VERSION": lambda fields, _names: {
        "app_version": _number_test(fields["versionMatchType"], fields["version"])
    },
    "PAGE_URL": _texts("page_url", "url"),
    "PAGE_TITLE": _texts("page_title", "title"),
    "PREVIOUS_PAGE": _texts("previous_page", "url"),
    "PAGE_VIEWS": _numbers("page_views", "pageCount"),
    "VISITOR_CODE": _texts("visitor_code", "visitorCode"),
    "SDK_LANGUAGE": lambda fields, _names: {"sdk_language": fields["sdkLanguage"].lower(), **_version(fields)},
    "CONVERSIONS": _converted,
    "VISITS": _numbers("visits", "visitCount"),
    "SAME_DAY_VISITS": _numbers("visits_today", "visitCount"),
    "NEW_VISITORS": lambda fields, _names: {"visitor": fields["visitorType"].lower()},
    "FIRST_VISIT": _numbers("since_first_visit", "countInMillis", _duration),
    "LAST_VISIT": _numbers("since_last_visit", "countInMillis", _duration),
    "HEAT_SLICE": _heat,
    "SEGMENT": lambda fields, names: {"segment": _key_of(names.segments, fields["segmentId"])},
    "TARGET_FEATURE_FLAG": _saw_flag,
    "TARGET_EXPERIMENT": _saw_experiment,
    "TARGET_PERSONALIZATION": lambda fields, _names: {
        "saw_personalization": fields["personalizationId"],
        **_scope(fields),
    },
    "EXCLUSIVE_EXPERIMENT": lambda fields, _names: {"in_no_other": fields["campaignType"].lower(), **_scope(fields)},
    "EXCLUSIVE_FEATURE_FLAG": lambda _fields, _names: {"in_no_other": "flag"},
}

"""
The words that the Automation API has for what a project holds, for whoever writes or reads them: this server's API, and what compares
a project file with the service.

Source:
    automation-api.md, sections 7.2, 7.4, 7.6 and 7.7.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kameleoon.server.automation_fields import FieldError
from kameleoon.server.project import Joined, RuleType, VariableType
from kameleoon.server.release import ZONE, Release, moment_text, read_moment, read_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from kameleoon.server.project import Segment

RULE_TYPES = {
    "EXPERIMENTATION": RuleType.EXPERIMENT,
    "TARGETED_DELIVERY": RuleType.DELIVERY,
    "PROGRESSIVE_DELIVERY": RuleType.DELIVERY,
}
"""A progressive delivery is one whose exposition the service raises in steps; a project has it with the exposition of the moment."""

RULE_WORDS = {RuleType.EXPERIMENT: "EXPERIMENTATION", RuleType.DELIVERY: "TARGETED_DELIVERY"}

SCOPES = ("PAGE", "VISIT", "VISITOR")

CONDITION_FRAME = frozenset({"targetingType", "include", "isInclude", "weight", "id", "htmlDescription"})
"""What every condition has; its other members say what it asks."""


def percent_of(share: float) -> float | int:
    """A part of 1 as a percentage, a whole number where it can be."""
    value = round(share * 100, 9)
    return int(value) if value == int(value) else value


def is_included(condition: Mapping[str, Any]) -> bool:
    """Whether a condition stands as it is, rather than negated."""
    return condition.get("include", condition.get("isInclude", True)) is not False


def release_json(release: Release) -> dict[str, Any]:
    """The window of a rule; an end that it has not is null."""
    opens, closes = (None if one is None else moment_text(one, "T") for one in (release.opens, release.closes))
    return {"releaseFrom": opens, "releaseTo": closes, "timeZone": release.zone}


def read_release(given: Any) -> Release | None:
    """
    The window of a rule; null is none.

    Raises:
        FieldError: It is no window.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise FieldError("release", "expected {releaseFrom, releaseTo, timeZone}, or null for always")
    opens, closes = (_read_moment(given, name) for name in ("releaseFrom", "releaseTo"))
    zone = "UTC" if given.get("timeZone") is None else str(given["timeZone"])
    try:
        read_zone(zone)
    except ValueError as error:
        raise FieldError("release.timeZone", f"{error}, expected {ZONE}") from error
    if opens is None and closes is None:
        raise FieldError("release", "expected releaseFrom, releaseTo or both, or null for always")
    try:
        return Release(opens, closes, zone)
    except ValueError as error:
        raise FieldError("release.releaseTo", "expected a time after releaseFrom") from error


def _read_moment(given: Mapping[str, Any], name: str) -> datetime | None:
    text = given.get(name)
    try:
        return None if text is None else read_moment(str(text))
    except ValueError as error:
        raise FieldError(f"release.{name}", str(error)) from error


def joined(operators: Any, members: int) -> Joined | None:
    """
    How a list of operators combines so many members; None when it mixes AND and OR, which a project has no form for.

    Operators beyond those between the members mean nothing.
    """
    used = {bool(operator) for operator in (operators or [])[: members - 1]}
    return None if len(used) > 1 else Joined.ANY if used == {True} else Joined.ALL


def conditions_data(
    segment: Segment, fields: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda fields: fields
) -> dict[str, Any]:
    """
    The conditions of a segment.

    Args:
        segment: Whose.
        fields: What becomes of each condition's own fields, such as other ids.
    """
    return {
        "firstLevel": [
            {
                "conditions": [
                    {
                        "targetingType": condition.targeting_type,
                        "weight": 1,
                        "include": condition.include,
                        **fields(condition.fields),
                    }
                    for condition in group.conditions
                ],
                "orOperators": _operators(group.joined, group.conditions),
            }
            for group in segment.groups
        ],
        "firstLevelOrOperators": _operators(segment.joined, segment.groups),
    }


def _operators(joined: Joined, members: Sequence[object]) -> list[bool]:
    return [joined is Joined.ANY] * (len(members) - 1)


def variable_text(kind: VariableType, value: Any) -> str:
    """The value of a variable, which is text in the API whatever its type."""
    if kind is VariableType.JSON:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def variable_value(kind: VariableType, text: Any) -> Any:
    """
    The value of a variable as a project has it; what is not text is taken as the value itself, where that is of the type.

    Raises:
        ValueError: It is not of its type, or there is none.
    """
    if text is None:
        raise ValueError("there is no value")
    match kind:
        case VariableType.BOOLEAN if isinstance(text, bool) or str(text).lower() in {"true", "false"}:
            return str(text).lower() == "true"
        case VariableType.BOOLEAN:
            raise ValueError(f"{text!r} is neither true nor false")
        case VariableType.NUMBER:
            number = _read_json(text) if isinstance(text, str) else text
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"{text!r} is no number")
            return number
        case VariableType.JSON:
            return _read_json(text) if isinstance(text, str) else text
        case _:
            return str(text)


def _read_json(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=float)
        # Infinity and numbers that become it have no form in JSON.
        json.dumps(value, allow_nan=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value

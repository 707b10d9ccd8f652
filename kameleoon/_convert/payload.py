"""
What Convert is told: exposures and conversions to the body of a tracking request. Pure; nothing is sent here.

Source:
    docs/convert.md, "Tracking".
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from kameleoon._convert.access import PROJECT
from kameleoon._convert.values import well_formed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kameleoon._convert.ruleset import VisitorState

SOURCE = "kameleoon-python"
"""What the body names as its sender."""

_CUSTOM_DIMENSIONS = frozenset(f"customDimension{number}" for number in range(1, 6))
_NUMBERS_AND_TEXTS = frozenset({"amount", "productsCount", "transactionId"})
_LONGEST_DIMENSION = 32
_REPORT_SEGMENTS = ("country", "browser", "devices", "source", "campaign", "visitorType", "customSegments")


@dataclass(frozen=True, slots=True)
class Exposed:
    """
    A visitor was drawn into a variation.

    Attributes:
        visitor_code: Whom.
        experience_id: By which experience.
        variation_id: Into which variation.
        segments: The visitor's report segments then.
    """

    visitor_code: str
    experience_id: str
    variation_id: str
    segments: Mapping[str, Any] = field(default_factory=dict)

    def event(self) -> dict[str, Any]:
        """The event as Convert takes it."""
        data = {"experienceId": self.experience_id, "variationId": self.variation_id}
        return {"eventType": "bucketing", "data": data}


@dataclass(frozen=True, slots=True)
class Converted:
    """
    A visitor reached a goal.

    Attributes:
        visitor_code: Who.
        goal_id: Which goal.
        bucketing: ``{experience id: variation id}`` of all that the visitor has had then.
        goal_data: ``{name: value}``; see `check_goal_data`.
        segments: The visitor's report segments then.
    """

    visitor_code: str
    goal_id: str
    bucketing: Mapping[str, str] = field(default_factory=dict)
    goal_data: Mapping[str, Any] = field(default_factory=dict)
    segments: Mapping[str, Any] = field(default_factory=dict)

    def event(self) -> dict[str, Any]:
        """The event as Convert takes it; what is empty is left out."""
        data: dict[str, Any] = {"goalId": self.goal_id}
        if self.goal_data:
            data["goalData"] = [{"key": key, "value": value} for key, value in self.goal_data.items()]
        if self.bucketing:
            data["bucketingData"] = dict(self.bucketing)
        return {"eventType": "conversion", "data": data}


Told: TypeAlias = Exposed | Converted


def conversions(
    converted: Converted, *, is_repeated: bool, repeats_transactions: bool = False
) -> tuple[Converted, ...]:
    """
    What is told when a visitor reaches a goal: it alone, then its goal data in an event of their own.

    Args:
        converted: With its goal data, if there are any.
        is_repeated: Whether the visitor reached it before. Then nothing is told, save the goal data if *repeats_transactions*.
        repeats_transactions: Whether goal data is told each time.
    """
    if is_repeated:
        return (converted,) if converted.goal_data and repeats_transactions else ()
    return (replace(converted, goal_data={}), converted) if converted.goal_data else (converted,)


def check_goal_data(goal_data: Mapping[str, Any]) -> None:
    """
    Refuse what Convert does not know.

    Raises:
        ValueError: A name is none of ``amount``, ``productsCount``, ``transactionId``, ``customDimension1`` to ``5``; or a value is
            neither a finite number nor a text nor, for a custom dimension, a list of texts of up to 32 characters.
    """
    for key, value in goal_data.items():
        if key not in _CUSTOM_DIMENSIONS and key not in _NUMBERS_AND_TEXTS:
            allowed = ", ".join(sorted(_NUMBERS_AND_TEXTS | _CUSTOM_DIMENSIONS))
            raise ValueError(f"goal data: {key!r} is not known; allowed: {allowed}")
        if isinstance(value, list) and key in _CUSTOM_DIMENSIONS:
            if not all(isinstance(item, str) and len(item) <= _LONGEST_DIMENSION for item in value):
                raise ValueError(f"goal data: {key} must hold texts of at most {_LONGEST_DIMENSION} characters")
        elif not (isinstance(value, str) or (_is_number(value) and math.isfinite(value))):
            raise ValueError(f"goal data: {key} must be a finite number or a text, not {type(value).__name__}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def report_segments(state: VisitorState) -> dict[str, Any]:
    """The segments by which Convert reports; other attributes of a visitor are for targeting alone and stay here."""
    known: dict[str, Any] = {name: state.segments[name] for name in _REPORT_SEGMENTS if name in state.segments}
    if state.custom_segments:
        known["customSegments"] = sorted(state.custom_segments)
    return known


def tracking_body(
    account_id: str, project_id: str, told: Sequence[Told], *, enriches: bool = True, source: str = SOURCE
) -> bytes:
    """
    The body of one tracking request.

    Args:
        account_id: Whose project.
        project_id: Which project.
        told: At least one; those of one visitor are put together in their order, visitors come in the order of their first. A
            visitor's segments are those of the first event.
        enriches: Whether Convert fills in what it stored itself and leaves out exposures that it knows.
        source: Name of the sender.

    Returns:
        Compact JSON in UTF-8; half surrogate pairs become U+FFFD.

    Raises:
        ValueError: *told* is empty, or holds what JSON has no form for.
    """
    if not told:
        raise ValueError("a tracking request needs at least one event")
    return joined_body(account_id, project_id, [visitor(one) for one in told], enriches=enriches, source=source)


def visitor(*told: Told) -> dict[str, Any]:
    """An entry of a body: one visitor with at least one event, his segments those of the first."""
    entry: dict[str, Any] = {"visitorId": told[0].visitor_code}
    if told[0].segments:
        entry["segments"] = dict(told[0].segments)
    return {**entry, "events": [one.event() for one in told]}


def joined_body(
    account_id: str,
    project_id: str,
    entries: Iterable[Mapping[str, Any]],
    *,
    enriches: bool = True,
    source: str = SOURCE,
) -> bytes:
    """`tracking_body` of entries, as `visitor` makes them; several of one visitor become one."""
    visitors: dict[str, dict[str, Any]] = {}
    for entry in entries:
        known = visitors.setdefault(entry["visitorId"], {**entry, "events": []})
        known["events"] += entry["events"]
    root = {
        "accountId": account_id,
        "projectId": project_id,
        "enrichData": enriches,
        "source": source,
        "visitors": list(visitors.values()),
    }
    return as_json(root)


def as_json(value: Any) -> bytes:
    """
    Compact JSON in UTF-8, half surrogate pairs as U+FFFD.

    Raises:
        ValueError: JSON has no form for *value*.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return well_formed(text).encode()


def tracking_url(base: str, project_id: str, key_path: str) -> str:
    """
    Where a project's tracking goes.

    Args:
        base: Such as `kameleoon._convert.access.TRACKING_BASE`, without a slash at its end.
        project_id: Takes the place of ``[project_id]``.
        key_path: From `key_path`.
    """
    return f"{base.replace(PROJECT, project_id)}/track/{key_path}"

"""
The Automation API's bodies as changes of the site, its goals, segments and custom data. No I/O.

Source:
    automation-api.md, sections 7.1, 7.5 to 7.7 and 11.
"""

from __future__ import annotations

import secrets
import string
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kameleoon.server.api_words import CONDITION_FRAME, SCOPES, is_included, joined
from kameleoon.server.automation_fields import Entity, FieldError, checked, free_key, listed, text, truth
from kameleoon.server.project import (
    Condition,
    CustomDatum,
    Goal,
    Group,
    Joined,
    Project,
    Segment,
    derive_id,
)

if TYPE_CHECKING:
    from collections.abc import Container


# --- as changes -------------------------------------------------------------------------------------------------------

_CODE_CHARACTERS = 10
"""Source: automation-api.md, section 1."""


def new_site(body: Entity, taken: Container[str]) -> Project:
    """
    A site with the environments that the service makes by itself.

    Args:
        body: With a name; a ``code`` of ten letters and digits is taken, else there is a new one.
        taken: Site codes of other sites.
    """
    alphabet = string.ascii_lowercase + string.digits
    code = text(body, "code", "") or "".join(secrets.choice(alphabet) for _ in range(_CODE_CHARACTERS))
    if len(code) != _CODE_CHARACTERS or not code.isascii() or not code.isalnum() or code in taken:
        raise FieldError("code", f"taken, or not {_CODE_CHARACTERS} letters and digits")
    return patch_site(Project(code, environments=("production", "staging", "development")), body)


def patch_site(project: Project, body: Entity) -> Project:
    """Change what a site has here."""
    consent = project.consent
    if "consentType" in body:
        consent = replace(consent, required=body["consentType"] == "REQUIRED")
    if "consentOptOutBehavior" in body:
        consent = replace(consent, refusal_blocks_all=body["consentOptOutBehavior"] == "FULLY_BLOCK")
    streaming = truth(body, "realTimeUpdate", project.streaming)
    return replace(project, name=text(body, "name", project.name), streaming=streaming, consent=consent)


def put_goal(project: Project, body: Entity, goal_id: int | None) -> Project:
    """A new goal, or with an id a changed one."""
    name = text(body, "name", None if goal_id is None else "", longest=255)
    known = next((goal for goal in project.goals if goal.id == goal_id), None)
    multiple = truth(body, "hasMultipleConversions", known is not None and known.multiple)
    if goal_id is None:
        key = free_key(name, [goal.key for goal in project.goals] + ["any"])
        return checked(
            lambda: replace(project, goals=(*project.goals, Goal(key, derive_id("goal", key), name, multiple)))
        )
    return replace(
        project,
        goals=tuple(
            replace(goal, name=name or goal.name, multiple=multiple) if goal is known else goal
            for goal in project.goals
        ),
    )


def remove_goal(project: Project, goal_id: int) -> Project:
    """Without a goal, unless a segment asks for it."""
    _check_unused(project, "goalId", goal_id, "goal")
    return replace(project, goals=tuple(goal for goal in project.goals if goal.id != goal_id))


def put_custom_datum(project: Project, body: Entity, datum_id: int | None) -> Project:
    """New custom data at the lowest free index, or changed ones; their name and index stay."""
    known = next((datum for datum in project.custom_data if datum.id == datum_id), None)
    if known is None:
        name = text(body, "name", longest=255)
        index = body.get("index")
        taken = {datum.index for datum in project.custom_data}
        if index is None:
            index = next(number for number in range(len(taken) + 1) if number not in taken)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= 10_000 or index in taken:
            raise FieldError("index", "taken, or no whole number from 0 to 10000")
        known = CustomDatum(name, index, derive_id("custom data", name))
    scope = text(body, "scope", known.scope)
    if scope not in SCOPES:
        raise FieldError("scope", f"expected one of {', '.join(SCOPES)}")
    datum = replace(
        known,
        scope=scope,
        local_only=truth(body, "isLocalOnly", known.local_only),
        mapping_identifier=truth(body, "isMappingIdentifier", known.mapping_identifier),
    )
    if datum.mapping_identifier and any(d.mapping_identifier for d in project.custom_data if d.id != datum.id):
        raise FieldError("isMappingIdentifier", "another custom data is the mapping identifier")
    if datum_id is None:
        return checked(lambda: replace(project, custom_data=(*project.custom_data, datum)))
    return replace(project, custom_data=tuple(datum if d.id == datum_id else d for d in project.custom_data))


def remove_custom_datum(project: Project, datum_id: int) -> Project:
    """Without custom data, unless a segment or a flag uses them."""
    gone = next(datum for datum in project.custom_data if datum.id == datum_id)
    _check_unused(project, "customDataIndex", str(gone.index), "custom data")
    if any(flag.bucket_by == gone.name for flag in project.flags):
        raise FieldError("id", "a flag draws by the custom data")
    return replace(project, custom_data=tuple(datum for datum in project.custom_data if datum is not gone))


def put_segment(project: Project, body: Entity, segment_id: int | None) -> Project:
    """A new segment, or with an id a changed one."""
    known = next((segment for segment in project.segments if segment.id == segment_id), None)
    if known is None:
        name = text(body, "name", longest=255)
        key = free_key(name, [segment.key for segment in project.segments])
        joined, groups = _tree(project, body.get("conditionsData"))
        known = Segment(key, derive_id("segment", key), joined, groups, name)
    elif "conditionsData" in body:
        joined, groups = _tree(project, body["conditionsData"])
        known = replace(known, joined=joined, groups=groups)
    segment = replace(
        known,
        name=text(body, "name", known.name, longest=255),
        audience_tracking=truth(body, "audienceTracking", known.audience_tracking),
    )
    if segment_id is None:
        return checked(lambda: replace(project, segments=(*project.segments, segment)))
    return replace(project, segments=tuple(segment if s.id == segment_id else s for s in project.segments))


def remove_segment(project: Project, segment_id: int) -> Project:
    """Without a segment, unless a rule or another segment uses it."""
    gone = next(segment for segment in project.segments if segment.id == segment_id)
    _check_unused(project, "segmentId", segment_id, "segment")
    if any(rule.segment_key == gone.key for flag in project.flags for _, rule in flag.all_rules()):
        raise FieldError("id", "a rule is for the segment")
    return replace(project, segments=tuple(segment for segment in project.segments if segment is not gone))


def _tree(project: Project, given: object) -> tuple[Joined, tuple[Group, ...]]:
    if not isinstance(given, dict):
        raise FieldError("conditionsData", "required")
    groups: list[Group] = []
    for group in listed(given, "firstLevel"):
        conditions = tuple(_condition(project, condition) for condition in listed(group, "conditions"))
        if not conditions:
            raise FieldError("conditionsData", "a group needs a condition")
        groups.append(Group(_joined(group, "orOperators", len(conditions)), conditions))
    if not groups:
        raise FieldError("conditionsData", "a segment needs a condition")
    return _joined(given, "firstLevelOrOperators", len(groups)), tuple(groups)


def _joined(given: Entity, name: str, members: int) -> Joined:
    found = joined(given.get(name), members)
    if found is None:
        raise FieldError(name, "this server knows only AND throughout or OR throughout on one level")
    return found


def _condition(project: Project, given: Entity) -> Condition:
    kind = text(given, "targetingType")
    fields = {name: value for name, value in given.items() if name not in CONDITION_FRAME}
    known: dict[str, set[Any]] = {
        "goalId": {goal.id for goal in project.goals},
        "segmentId": {segment.id for segment in project.segments},
        "customDataIndex": {str(datum.index) for datum in project.custom_data},
        "featureFlagId": {flag.id for flag in project.flags},
    }
    for name, ids in known.items():
        if fields.get(name) is not None and fields[name] not in ids:
            raise FieldError(name, f"there is no {fields[name]!r} in this site")
    return Condition(kind, fields, include=is_included(given))


def _check_unused(project: Project, field: str, value: object, what: str) -> None:
    for segment in project.segments:
        for group in segment.groups:
            if any(condition.fields.get(field) == value for condition in group.conditions):
                raise FieldError("id", f"segment {segment.key!r} uses the {what}")

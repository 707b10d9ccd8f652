"""
A project in one environment as the service's configuration JSON, the "data file" that SDKs poll.

Source:
    evaluation.md, section 1; automation-api.md, section 10.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kameleoon.server.project import ACTIVE, Joined, RuleType, VariableType

if TYPE_CHECKING:
    from kameleoon.server.project import (
        CustomDatum,
        Flag,
        Group,
        Holdout,
        Project,
        Rule,
        Segment,
        Variable,
        Variation,
    )

HELD_OUT_KEY = "in-holdout"
"""Variation key that holds a visitor out. Source: evaluation.md, section 1.7."""


def build_configuration(
    project: Project, environment: str, *, modified_ms: int, at_ms: int, embed_segments: bool = False
) -> dict[str, Any]:
    """
    What a client of *environment* is sent.

    Args:
        project: What is given out.
        environment: One of the project's.
        modified_ms: When the project was last changed, in ms since 1970.
        at_ms: Rules whose windows are not open at this moment, in ms since 1970, are left out.
        embed_segments: Put each rule's segment into the rule, as SDKs up to 3.4.0 read it, instead of naming its id.

    Returns:
        The configuration, ready for `json.dumps`.

    Raises:
        ValueError: The project has no such environment.
    """
    if environment not in project.environments:
        raise ValueError(f"there is no environment {environment!r}")
    segments = {segment.key: segment for segment in project.segments}
    data_ids = {datum.name: datum.id for datum in project.custom_data}
    built: dict[str, Any] = {
        "dateModified": modified_ms,
        "configuration": {
            "realTimeUpdate": project.streaming,
            "consentType": "REQUIRED" if project.consent.required else "NOT_REQUIRED",
            "consentOptOutBehavior": "FULLY_BLOCK" if project.consent.refusal_blocks_all else "PARTIALLY_BLOCK",
        },
        "customData": [_custom_datum(datum) for datum in project.custom_data],
        "segments": [_segment(segment) for segment in project.segments],
        "featureFlags": [_flag(flag, environment, segments, data_ids, at_ms, embed_segments) for flag in project.flags],
    }
    # An explicit null makes the vendor's SDK refuse the whole file, so a project without a holdout has no such key.
    if project.holdout is not None:
        built["holdout"] = _holdout(project.holdout)
    return built


def _custom_datum(datum: CustomDatum) -> dict[str, Any]:
    return {
        "index": datum.index,
        "id": datum.id,
        "name": datum.name,
        "scope": datum.scope,
        "localOnly": datum.local_only,
        "isMappingIdentifier": datum.mapping_identifier,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "audienceTracking": segment.audience_tracking,
        "conditionsData": {
            "firstLevelOrOperators": _operators(segment.joined, len(segment.groups)),
            "firstLevel": [_group(group) for group in segment.groups],
        },
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "orOperators": _operators(group.joined, len(group.conditions)),
        "conditions": [
            {"targetingType": condition.targeting_type, "isInclude": condition.include, **condition.fields}
            for condition in group.conditions
        ],
    }


def _operators(joined: Joined, operands: int) -> list[bool]:
    """One operator between two operands, true for OR; all alike, so that the service's grouping from the right is harmless."""
    return [joined is Joined.ANY] * (operands - 1)


def _holdout(holdout: Holdout) -> dict[str, Any]:
    return {
        "experimentId": holdout.experiment_id,
        "variationByExposition": [
            {"variationKey": HELD_OUT_KEY, "variationId": holdout.held_variation_id, "exposition": holdout.exposition},
            {
                "variationKey": "not-in-holdout",
                "variationId": holdout.free_variation_id,
                "exposition": round(1 - holdout.exposition, 12),
            },
        ],
    }


def _flag(
    flag: Flag,
    environment: str,
    segments: dict[str, Segment],
    data_ids: dict[str, int],
    at_ms: int,
    embed_segments: bool,
) -> dict[str, Any]:
    return {
        "id": flag.id,
        "featureKey": flag.key,
        "environmentEnabled": environment in flag.enabled_in,
        "defaultVariationKey": flag.default_in(environment),
        "mutuallyExclusiveGroup": flag.exclusive_group,
        "bucketingCustomDataId": data_ids[flag.bucket_by] if flag.bucket_by is not None else None,
        "variations": [_variation(variation) for variation in flag.variations],
        "rules": [
            _rule(rule, order, segments, embed_segments)
            for order, rule in enumerate(rule for rule in flag.rules_in(environment) if rule.state(at_ms) == ACTIVE)
        ],
    }


def _variation(variation: Variation) -> dict[str, Any]:
    return {
        "key": variation.key,
        "name": variation.name or variation.key,
        "variables": [_variable(variable) for variable in variation.variables.values()],
    }


def _variable(variable: Variable) -> dict[str, Any]:
    value = variable.value
    if variable.type is VariableType.JSON:
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return {"key": variable.key, "type": variable.type.value, "value": value}


def _rule(rule: Rule, order: int, segments: dict[str, Segment], embed_segments: bool) -> dict[str, Any]:
    segment = segments[rule.segment_key] if rule.segment_key is not None else None
    built: dict[str, Any] = {
        "id": rule.id,
        "order": order,
        "type": "EXPERIMENTATION" if rule.type is RuleType.EXPERIMENT else "TARGETED_DELIVERY",
        "exposition": rule.exposition,
        "experimentId": rule.experiment_id,
        "respoolTime": rule.respool_time,
        "variationByExposition": [
            {"variationKey": share.variation_key, "variationId": share.variation_id, "exposition": share.share}
            for share in rule.shares
        ],
    }
    if embed_segments:
        built["segment"] = _segment(segment) if segment else None
    else:
        built["segmentId"] = segment.id if segment else None
    return built

"""
The Automation API's entities: a project as its JSON. No I/O.

Source:
    automation-api.md, section 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon.server.api_words import RULE_WORDS, conditions_data, percent_of, release_json, variable_text
from kameleoon.server.project import (
    CustomDatum,
    Flag,
    Goal,
    Rule,
    RuleType,
    Segment,
    Variable,
    derive_id,
)
from kameleoon.server.results import reference_share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.project import Project


FLAG_FIELDS = ("id", "featureKey", "name", "siteCode", "archived")


NAMED_FIELDS = (
    "id",
    "name",
    "siteId",
    "siteCode",
    "index",
    "type",
    "status",
    "experimentId",
    "segmentType",
    "scope",
    "code",
)


def site_id(project: Project) -> int:
    """The id of the one site that a server has."""
    return derive_id("site", project.site_code)


# --- as JSON ----------------------------------------------------------------------------------------------------------


def site_json(project: Project) -> Entity:
    """The site."""
    return {
        "id": site_id(project),
        "code": project.site_code,
        "name": project.name or project.site_code,
        "type": "SITE_SDK",
        "realTimeUpdate": project.streaming,
        "consentType": "REQUIRED" if project.consent.required else "NOT_REQUIRED",
        "consentOptOutBehavior": "FULLY_BLOCK" if project.consent.refusal_blocks_all else "PARTIALLY_BLOCK",
    }


def flag_json(project: Project, flag: Flag) -> Entity:
    """One flag, with every environment."""
    data_ids = {datum.name: datum.id for datum in project.custom_data}
    bucketing: Entity = {"bucketingKeyType": "VISITOR_CODE"}
    if flag.bucket_by is not None:
        bucketing = {"bucketingKeyType": "CUSTOM_DATA", "customDataId": data_ids[flag.bucket_by]}
    default = next(v for v in flag.variations if v.key == flag.default_variation)
    known = {key: variable for v in (*flag.variations, default) for key, variable in v.variables.items()}
    return {
        "id": flag.id,
        "featureKey": flag.key,
        "name": flag.name or flag.key,
        "siteCode": project.site_code,
        "archived": False,
        "bucketingKey": bucketing,
        "variables": [variable_json(variable) for variable in known.values()],
        "variations": [
            {
                "key": variation.key,
                "name": variation.name or variation.key,
                "variables": [variable_json(variable) for variable in variation.variables.values()],
            }
            for variation in flag.variations
        ],
        "environmentConfigurations": [
            {
                "environmentKey": environment,
                "defaultVariationKey": flag.default_in(environment),
                "featureEnabled": environment in flag.enabled_in,
                "rolloutRules": [
                    _rule_json(project, flag, rule, order) for order, rule in enumerate(flag.rules_in(environment))
                ],
                "integrations": {"deliveryRules": [], "experimentRules": []},
            }
            for environment in project.environments
        ],
    }


def variable_json(variable: Variable) -> Entity:
    """A variable; its value is text whatever its type."""
    text = variable_text(variable.type, variable.value)
    return {"key": variable.key, "type": variable.type.value, "value": text}


def _rule_json(project: Project, flag: Flag, rule: Rule, order: int) -> Entity:
    segments = {segment.key: segment.id for segment in project.segments}
    built: Entity = {
        "id": rule.id,
        "type": RULE_WORDS[rule.type],
        "name": rule.key,
        "orderIndex": order,
        "status": "PAUSED" if rule.is_paused else "ACTIVE",
        "segmentId": segments[rule.segment_key] if rule.segment_key is not None else None,
        "exposition": percent_of(rule.exposition),
        "experimentId": rule.experiment_id,
        "release": release_json(rule.release) if rule.release is not None else None,
    }
    if rule.type is RuleType.DELIVERY:
        return built | {"variationKey": rule.shares[0].variation_key}
    return built | {
        "controlVariationKey": reference_share(flag, rule).variation_key,
        "trafficAllocations": [
            {"variationKey": s.variation_key, "variationId": s.variation_id, "exposition": percent_of(s.share)}
            for s in rule.shares
        ],
    }


def goal_json(project: Project, goal: Goal) -> Entity:
    """One goal."""
    name = goal.name or goal.key
    return {
        "id": goal.id,
        "name": name,
        "siteId": site_id(project),
        "type": "CUSTOM",
        "status": "ACTIVE",
        "hasMultipleConversions": goal.multiple,
        "key": goal.key,
    }


def custom_datum_json(project: Project, datum: CustomDatum) -> Entity:
    """One custom data."""
    return {
        "id": datum.id,
        "name": datum.name,
        "siteId": site_id(project),
        "index": datum.index,
        "method": "SDK",
        "scope": datum.scope,
        "isLocalOnly": datum.local_only,
        "isMappingIdentifier": datum.mapping_identifier,
    }


def segment_json(project: Project, segment: Segment) -> Entity:
    """One segment with its conditions."""
    return {
        "id": segment.id,
        "name": segment.name or segment.key,
        "siteId": site_id(project),
        "segmentType": "STANDARD",
        "audienceTracking": segment.audience_tracking,
        "conditionsData": conditions_data(segment),
        "key": segment.key,
    }


def experiments_json(project: Project) -> Iterator[Entity]:
    """The experiments of the flags' rules; environments that share a rule share its experiment."""
    for flag, rule in _experiments(project):
        yield {
            "id": rule.experiment_id,
            "name": f"{flag.name or flag.key}: {rule.key}",
            "siteId": site_id(project),
            "siteCode": project.site_code,
            "type": "FEATURE_FLAG",
            "status": "PAUSED" if rule.is_paused else "ACTIVE",
            "variations": [share.variation_id for share in rule.shares],
            "deviations": {str(share.variation_id): share.share for share in rule.shares},
            "featureFlagId": flag.id,
        }


def variations_json(project: Project) -> Iterator[Entity]:
    """The variations of these experiments."""
    for _, rule in _experiments(project):
        for share in rule.shares:
            yield {
                "id": share.variation_id,
                "name": share.variation_key,
                "siteId": site_id(project),
                "experimentId": rule.experiment_id,
            }


def _experiments(project: Project) -> Iterator[tuple[Flag, Rule]]:
    for flag in project.flags:
        for _, rule in flag.all_rules():
            if rule.type is RuleType.EXPERIMENT:
                yield flag, rule

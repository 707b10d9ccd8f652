"""
What a project file says, as the service would hold it: conditions, rules, variables, variations, with the service's own ids.

What the file cannot say is taken from what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kameleoon.api.feature_flags import (
    Allocation,
    EnvironmentConfiguration,
    FeatureFlag,
    FlagVariable,
    FlagVariation,
    RolloutRule,
)
from kameleoon.project_sync.changes import rule_details
from kameleoon.server.api_words import (
    RULE_WORDS,
    conditions_data,
    percent_of,
    read_release,
    release_json,
    variable_text,
    variable_value,
)
from kameleoon.server.project import RuleType, derive_id, rule_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kameleoon.server import project as model
    from kameleoon.server.project import VariableType
    from kameleoon.server.release import Release


UNKNOWN = "(not on the service yet)"


Ids = dict[tuple[str, Any], Any]
"""``{(kind, id in the file): id on the service}``; grows while a plan is carried out."""


REFERENCES = {
    "goalId": "goal",
    "segmentId": "segment",
    "featureFlagId": "flag",
    "ruleId": "rule",
    "experimentId": "experiment",
    "variationId": "variation",
}


def conditions_of(segment: model.Segment, ids: Ids) -> dict[str, Any]:
    """The conditions of a segment as the service writes them, with its own ids."""
    return conditions_data(
        segment,
        lambda fields: {
            name: ids.get((REFERENCES[name], value), UNKNOWN) if name in REFERENCES else value
            for name, value in fields.items()
        },
    )


def environment_of(
    project: model.Project,
    flag: model.Flag,
    environment: str,
    before: EnvironmentConfiguration,
    ids: Ids,
    *,
    keep: bool,
) -> EnvironmentConfiguration:
    """A flag in one environment as it should be; what the file cannot say is taken from *before*."""
    segments = {segment.key: segment.id for segment in project.segments}
    there = before.rollout_rules or ()
    pairs = list(matched_rules(flag, environment, there))
    rules = [_rule(rule, other, segments, ids, flag.default_in(environment)) for rule, other in pairs]
    if keep:
        used = {other.id for _, other in pairs if other is not None}
        rules += [other for other in there if other.id not in used]
    return replace(
        before,
        default_variation_key=flag.default_in(environment),
        feature_enabled=environment in flag.enabled_in,
        rollout_rules=tuple(rules),
    )


def matched_rules(
    flag: model.Flag, environment: str, there: Iterable[RolloutRule]
) -> Iterable[tuple[model.Rule, RolloutRule | None]]:
    """Each rule of the file with the one of the service that it is, by id where that is written down, else by name."""
    by_id = {rule.id: rule for rule in there}
    by_name = {rule.name: rule for rule in there}
    own = flag.own.get(environment)
    place = environment if own is not None and own.rules is not None else None
    for rule in flag.rules_in(environment):
        explicit = by_id.get(rule.id) if rule.id != derive_id(*rule_names(flag.key, place, rule.key)) else None
        yield rule, explicit or by_name.get(rule.key)


def _rule(
    rule: model.Rule, other: RolloutRule | None, segments: Mapping[str, int], ids: Ids, default: str
) -> RolloutRule:
    segment_id = None if rule.segment_key is None else ids.get(("segment", segments[rule.segment_key]), UNKNOWN)
    changed: dict[str, Any] = {
        "name": rule.key if other is None else other.name,
        "state": "PAUSED" if rule.is_paused else "ACTIVE",
        "segment_id": segment_id,
        "exposition": percent_of(rule.exposition),
    }
    if rule.release is not None and not _is_window(other, rule.release):
        changed["release"] = release_json(rule.release)
    if rule.type is RuleType.EXPERIMENT:
        keys = [share.variation_key for share in rule.shares]
        control = other.control_variation_key if other is not None else None
        changed |= {
            "type": RULE_WORDS[rule.type],
            "control_variation_key": control if control in keys else (default if default in keys else keys[0]),
            "traffic_allocations": tuple(
                Allocation(variation_key=share.variation_key, exposition=percent_of(share.share))
                for share in rule.shares
            ),
        }
    else:
        progressive = other is not None and other.type == "PROGRESSIVE_DELIVERY"
        changed |= {
            "type": "PROGRESSIVE_DELIVERY" if progressive else RULE_WORDS[rule.type],
            "variation_key": rule.shares[0].variation_key,
        }
    made = replace(other or RolloutRule(), **changed)
    return other if other is not None and not rule_details(other, made) else made


def has_window(rule: RolloutRule) -> bool:
    """Whether the service gives the rule out in a window of time only."""
    given: Any = rule.release
    return given is not None and (not isinstance(given, Mapping) or any(map(given.get, ("releaseFrom", "releaseTo"))))


def _is_window(rule: RolloutRule | None, wanted: Release) -> bool:
    """Whether a rule of the service has the same window, however it is written."""
    try:
        there = read_release(rule.release) if rule is not None else None
    except ValueError:
        return False
    return there is not None and (there.opens_ms, there.closes_ms) == (wanted.opens_ms, wanted.closes_ms)


def variables_of(flag: model.Flag, there: Iterable[FlagVariable]) -> tuple[FlagVariable, ...] | None:
    """The flag's variables as they should be, ``None`` when they are so; those that the file does not have stay."""
    known: dict[str | None, FlagVariable] = {one.key: one for one in there}
    wanted: dict[str | None, FlagVariable] = {}
    default = next((one for one in flag.variations if one.key == flag.default_variation), flag.variations[0])
    for variation in (default, *flag.variations):
        for key, variable in variation.variables.items():
            if key not in wanted:
                value = known[key].value if key in known else variable_text(variable.type, variable.value)
                wanted[key] = replace(known.get(key, FlagVariable(key=key)), type=variable.type.value, value=value)
    merged = {**known, **wanted}
    return None if merged == known else tuple(merged.values())


def variations_of(flag: model.Flag, known: FeatureFlag) -> tuple[FlagVariation, ...] | None:
    """Likewise the variations."""
    there = {one.key: one for one in known.variations or ()}
    merged = dict(there)
    for variation in flag.variations:
        old = there.get(variation.key, FlagVariation(key=variation.key, name=variation.name or variation.key))
        values: dict[str | None, FlagVariable] = {one.key: one for one in old.variables or ()}
        for key, variable in variation.variables.items():
            if key not in values or not _same_value(variable.type, values[key].value, variable.value):
                values[key] = FlagVariable(key=key, value=variable_text(variable.type, variable.value))
        variables = tuple(values.values())
        name = variation.name or old.name
        if variation.key not in there or variables != tuple(old.variables or ()) or name != old.name:
            merged[variation.key] = replace(old, name=name, variables=variables)
    return None if merged == there else tuple(merged.values())


def _same_value(kind: VariableType, text: Any, value: Any) -> bool:
    try:
        return bool(variable_value(kind, text) == value)
    except ValueError:
        return False

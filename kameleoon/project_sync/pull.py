"""A project made of what the service holds, for `write_project`. What a project file cannot say is named, never silently lost."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kameleoon.project_sync.wanted import has_window
from kameleoon.server.api_words import (
    CONDITION_FRAME,
    RULE_TYPES,
    SCOPES,
    is_included,
    joined,
    read_release,
    variable_value,
)
from kameleoon.server.project import (
    Condition,
    CustomDatum,
    Flag,
    Goal,
    Group,
    Joined,
    Own,
    Project,
    Rule,
    RuleType,
    Segment,
    Share,
    Variable,
    VariableType,
    Variation,
    derive_id,
    rule_names,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from kameleoon.api.feature_flags import FeatureFlag, RolloutRule
    from kameleoon.api.segments import Segment as RemoteSegment
    from kameleoon.project_sync.remote import Remote

_MAX_KEY = 60


class _LeftOut(Exception):
    """A thing has no form in a project file."""


@dataclass(slots=True)
class Pulled:
    """
    What was read.

    Attributes:
        project: The project.
        left_out: What it does not have, and why.
    """

    project: Project
    left_out: list[str] = field(default_factory=list)


def make_project(remote: Remote) -> Pulled:
    """
    Make a project of *remote*. Ids are written down, so that applying it changes nothing.

    Raises:
        ValueError: What the service holds contradicts itself.
    """
    left_out: list[str] = []
    data = tuple(
        CustomDatum(
            name=str(datum.name),
            index=int(datum.index or 0),
            id=int(datum.id or 0),
            scope=datum.scope if datum.scope in SCOPES else "VISIT",
            local_only=bool(datum.is_local_only),
            mapping_identifier=bool(datum.is_mapping_identifier),
        )
        for datum in remote.custom_data
    )
    goals = tuple(
        Goal(key, int(goal.id or 0), str(goal.name), bool(goal.has_multiple_conversions))
        for key, goal in _keyed(remote.goals, lambda goal: goal.name, taken={"any"})
    )
    segments = []
    keys: dict[int, str] = {}
    for key, segment in _keyed(remote.segments, lambda segment: segment.name):
        try:
            segments.append(_segment(key, segment))
            keys[int(segment.id or 0)] = key
        except _LeftOut as why:
            left_out.append(f"segment {segment.name}: {why}")
    names = list(
        dict.fromkeys(
            str(one.environment_key) for flag in remote.flags for one in flag.environment_configurations or ()
        )
    )
    environments = tuple(names or ["production"])
    flags = []
    for flag in remote.flags:
        if flag.archived:
            left_out.append(f"flag {flag.feature_key}: it is archived")
            continue
        try:
            flags.append(_flag(flag, environments, keys, {datum.id: datum.name for datum in data}, left_out))
        except (_LeftOut, ValueError) as why:
            left_out.append(f"flag {flag.feature_key}: {why}")
    project = Project(
        site_code=str(remote.site.code),
        environments=environments,
        name=remote.site.name or "",
        custom_data=data,
        goals=goals,
        segments=tuple(segments),
        flags=tuple(flags),
    )
    return Pulled(project, left_out)


def _keyed(things: Iterable[Any], name: Any, taken: Container[str] = ()) -> Iterable[tuple[str, Any]]:
    """Each thing with a key made of its name."""
    used: set[str] = set()
    for thing in things:
        base = re.sub(r"[^a-z0-9]+", "_", str(name(thing) or "").lower()).strip("_")[:_MAX_KEY] or "unnamed"
        key, count = base, 1
        while key in used or key in taken:
            count += 1
            key = f"{base}_{count}"
        used.add(key)
        yield key, thing


def _segment(key: str, segment: RemoteSegment) -> Segment:
    data = segment.conditions_data
    groups = data.get("firstLevel") if data is not None and hasattr(data, "get") else None
    if not isinstance(groups, list) or not groups or data is None:
        raise _LeftOut("it has no conditions")
    read = []
    for group in groups:
        conditions = group.get("conditions") or []
        if not conditions:
            raise _LeftOut("a group of it has no conditions")
        read.append(
            Group(
                _joined(group.get("orOperators"), len(conditions)),
                tuple(
                    Condition(
                        str(condition.get("targetingType")),
                        {name: value for name, value in condition.items() if name not in CONDITION_FRAME},
                        include=is_included(condition),
                    )
                    for condition in conditions
                ),
            )
        )
    return Segment(
        key=key,
        id=int(segment.id or 0),
        joined=_joined(data.get("firstLevelOrOperators"), len(read)),
        groups=tuple(read),
        name=str(segment.name),
        audience_tracking=bool(segment.audience_tracking),
    )


def _joined(operators: Any, operands: int) -> Joined:
    found = joined(operators, operands)
    if found is None:
        raise _LeftOut("it mixes AND and OR on one level; write it as two segments")
    return found


def _flag(
    flag: FeatureFlag,
    environments: tuple[str, ...],
    segments: Mapping[int, str],
    data: Mapping[int, str],
    left_out: list[str],
) -> Flag:
    kinds = {variable.key: variable.type for variable in flag.variables or ()}
    variations = []
    for variation in flag.variations or ():
        variables = {}
        for variable in variation.variables or ():
            kind = VariableType(variable.type or kinds.get(variable.key) or "STRING")
            key = str(variable.key)
            variables[key] = Variable(key, kind, variable_value(kind, variable.value))
        name = variation.name if variation.name != variation.key else ""
        variations.append(Variation(str(variation.key), name or "", MappingProxyType(variables)))
    if not variations:
        raise _LeftOut("it has no variations")
    common, default = _rules_of(flag, environments[0], segments, None, frozenset(), left_out)
    used = frozenset(
        number
        for rule in common
        for number in (rule.id, rule.experiment_id, *(share.variation_id for share in rule.shares))
    )
    own: dict[str, Own] = {}
    for environment in environments[1:]:
        if _rules_of(flag, environment, segments, None, frozenset(), []) == (common, default):
            continue
        rules, its_default = _rules_of(flag, environment, segments, environment, used, left_out)
        own[environment] = Own(its_default if its_default != default else None, rules)
    bucketing = (flag.bucketing_key or {}).get("customDataId")
    if bucketing is not None and bucketing not in data:
        raise _LeftOut("it is drawn by custom data that are not there")
    return Flag(
        key=str(flag.feature_key),
        id=int(flag.id or 0),
        default_variation=default or variations[0].key,
        variations=tuple(variations),
        rules=common,
        enabled_in=frozenset(
            environment
            for environment in environments
            if (there := flag.environment(environment)) is not None and there.feature_enabled
        ),
        name=flag.name if flag.name and flag.name != flag.feature_key else "",
        bucket_by=None if bucketing is None else data[bucketing],
        own=MappingProxyType(own),
    )


def _rules_of(
    flag: FeatureFlag,
    environment: str,
    segments: Mapping[int, str],
    place: str | None,
    used: Container[int],
    left_out: list[str],
) -> tuple[tuple[Rule, ...], str | None]:
    """
    The rules and the default of one environment.

    Args:
        flag: The flag.
        environment: The environment.
        segments: ``{id: key}``.
        place: The environment whose own rules they become, ``None`` for those of all environments.
        used: Ids that another environment's rules have; a file cannot have them twice.
        left_out: Told of rules that have no form.
    """
    there = flag.environment(environment)
    if there is None:
        raise _LeftOut(f"it has no environment {environment}")
    rules: list[Rule] = []
    for rule in there.rollout_rules or ():
        try:
            rules.append(_rule(rule, segments, {known.key for known in rules}, str(flag.feature_key), place, used))
        except (_LeftOut, ValueError) as why:
            left_out.append(f"rule {rule.name or rule.id} of flag {flag.feature_key} in {environment}: {why}")
    return tuple(rules), there.default_variation_key


def _rule(
    rule: RolloutRule,
    segments: Mapping[int, str],
    taken: Container[str | None],
    flag: str,
    place: str | None,
    used: Container[int],
) -> Rule:
    if rule.segment_id is not None and rule.segment_id not in segments:
        raise _LeftOut("its segment is not in the file")
    key, count = str(rule.name or f"rule_{rule.id}"), 1
    while key in taken:
        count += 1
        key = f"{rule.name or 'rule'}_{count}"
    names = rule_names(flag, place, key)
    kind = RULE_TYPES.get(str(rule.type))
    if kind is RuleType.EXPERIMENT:
        shares = tuple(
            Share(
                str(one.variation_key),
                _free(one.variation_id, used) or derive_id(*names, "variation", str(one.variation_key)),
                round(float(one.exposition or 0) / 100, 12),
            )
            for one in rule.traffic_allocations or ()
        )
    elif kind is RuleType.DELIVERY and rule.variation_key is not None:
        # The API tells no variation id of a delivery, so the file has the one that follows from the keys.
        shares = (Share(rule.variation_key, derive_id(*names, "variation", rule.variation_key), 1.0),)
    else:
        raise _LeftOut(f"its type {rule.type} has no form in a project file")
    return Rule(
        key=key,
        type=kind,
        id=_free(rule.id, used) or derive_id(*names),
        experiment_id=_free(rule.experiment_id, used) or derive_id(*names, "experiment"),
        shares=shares,
        segment_key=None if rule.segment_id is None else segments[rule.segment_id],
        exposition=(100 if rule.exposition is None else rule.exposition) / 100,
        is_paused=(rule.status or rule.state) == "PAUSED",
        release=read_release(rule.release) if has_window(rule) else None,
    )


def _free(number: int | None, used: Container[int]) -> int | None:
    return None if number in used else number

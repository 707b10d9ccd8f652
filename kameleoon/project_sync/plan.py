"""
What has to be done so that the service holds what a project file says, as a list of single calls in an order that works.

Things are known by the ids in the file where they are written down, else by name: flags by key, goals, segments and custom data by
name, rules by key within flag and environment. What is on the service and not in the file is left alone, rules and variations too, unless
deleting is asked for. A new flag is made switched off and gets its rules in a later call, so that no half of it is given out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kameleoon.api.custom_data import CustomDatum
from kameleoon.api.feature_flags import (
    Allocation,
    EnvironmentConfiguration,
    FeatureFlag,
    FlagVariable,
    FlagVariation,
    RolloutRule,
)
from kameleoon.api.goals import Goal
from kameleoon.api.segments import Segment
from kameleoon.project_sync.remote import read_value, tree_of, written_value
from kameleoon.server.project import Joined, RuleType, derive_id, rule_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kameleoon.api.automation import AutomationApi
    from kameleoon.project_sync.remote import Remote
    from kameleoon.server import project as model

_UNKNOWN = "(not on the service yet)"

Ids = dict[tuple[str, Any], Any]
"""``{(kind, id in the file): id on the service}``; grows while a plan is carried out."""


@dataclass(frozen=True, slots=True)
class Action:
    """
    One call.

    Attributes:
        verb: ``create``, ``update`` or ``delete``.
        what: Such as ``flag checkout in production``.
        details: What changes, one line each.
        run: Makes the call.
    """

    verb: str
    what: str
    details: tuple[str, ...]
    run: Callable[[AutomationApi, Ids], None] = field(repr=False)


@dataclass(slots=True)
class Plan:
    """
    All that is to be done.

    Attributes:
        actions: In their order.
        left_alone: What is on the service and not in the file.
        notes: What the file says and the service's API cannot be told.
        conflicts: Why the file cannot be applied; nothing is done while there is one.
    """

    actions: list[Action] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    ids: Ids = field(default_factory=dict)


def make_plan(project: model.Project, remote: Remote, *, delete: bool = False) -> Plan:
    """
    Compare *project* with what the service holds.

    Args:
        project: What should be.
        remote: What is.
        delete: Take away what the file does not have: flags are archived, the rest is deleted.
    """
    return _Planner(project, remote, delete).plan()


class _Planner:
    def __init__(self, project: model.Project, remote: Remote, delete: bool) -> None:
        self._project = project
        self._remote = remote
        self._delete = delete
        self._plan = Plan()
        self._last: list[Action] = []
        self._site_id = remote.site.id

    def plan(self) -> Plan:
        self._note_what_cannot_be_said()
        self._custom_data()
        self._goals()
        flags = {flag.feature_key: flag for flag in self._remote.flags}
        for flag in self._project.flags:
            self._match_rules(flag, flags.get(flag.key))
        later = [rest for flag in self._project.flags for rest in self._flag(flag, flags.get(flag.key))]
        self._segments()
        self._plan.actions += later_actions(later)
        wanted = {flag.key for flag in self._project.flags}
        for one in self._remote.flags:
            if one.feature_key not in wanted and not one.archived:
                self._superfluous(f"flag {one.feature_key}", _archive(one), "archived")
        self._plan.actions += self._last
        return self._plan

    # --- small things -------------------------------------------------------------------------------------------------

    def _note_what_cannot_be_said(self) -> None:
        project, notes = self._project, self._plan.notes
        if project.holdout is not None:
            notes.append("the holdout is not applied: the service's API does not have it")
        if project.consent.required or project.consent.refusal_blocks_all:
            notes.append("consent is not applied: set it in the service")
        for flag in project.flags:
            if flag.exclusive_group is not None:
                notes.append(
                    f"the exclusive group of flag {flag.key} is not applied: the service's API does not have it"
                )
            notes.extend(
                f"respool_time of rule {rule.key} of flag {flag.key} is not applied: the service sets it"
                for _, rule in flag.all_rules()
                if rule.respool_time is not None
            )

    def _superfluous(self, what: str, run: Callable[[AutomationApi, Ids], None], said: str) -> None:
        if self._delete:
            self._last.append(Action("delete", what, (said,), run))
        else:
            self._plan.left_alone.append(what)

    def _custom_data(self) -> None:
        by_id, by_name = {d.id: d for d in self._remote.custom_data}, {d.name: d for d in self._remote.custom_data}
        matched = set()
        for datum in self._project.custom_data:
            known = _explicit(by_id, datum.id, "custom data", datum.name) or by_name.get(datum.name)
            wanted = {
                "name": datum.name,
                "scope": datum.scope,
                "is_local_only": datum.local_only,
                "is_mapping_identifier": datum.mapping_identifier,
            }
            if known is None:
                self._plan.actions.append(
                    Action("create", f"custom data {datum.name}", (), _create_custom_data(self._site_id, datum, wanted))
                )
                continue
            matched.add(known.id)
            self._plan.ids["custom data", datum.id] = known.id
            if known.index != datum.index:
                self._plan.conflicts.append(
                    f"custom data {datum.name} has the index {known.index} on the service, {datum.index} in the file"
                )
            changes = {
                name: value
                for name, value in wanted.items()
                if value != getattr(known, name) and (value or getattr(known, name))
            }
            if changes:
                details = tuple(f"{name}: {getattr(known, name)} -> {value}" for name, value in changes.items())
                self._plan.actions.append(
                    Action("update", f"custom data {datum.name}", details, _update("custom_data", known.id, changes))
                )
        for known in self._remote.custom_data:
            if known.id not in matched:
                self._superfluous(f"custom data {known.name}", _remove("custom_data", known.id), "deleted")

    def _goals(self) -> None:
        by_id, by_name = {g.id: g for g in self._remote.goals}, {g.name: g for g in self._remote.goals}
        matched = set()
        for goal in self._project.goals:
            name = goal.name or goal.key
            known = _explicit(by_id, goal.id, "goal", goal.key) or by_name.get(name)
            if known is None:
                run = _create("goals", Goal(name=name, site_id=self._site_id, type="CUSTOM"), "goal", goal.id)
                self._plan.actions.append(Action("create", f"goal {goal.key}", (), run))
                continue
            matched.add(known.id)
            self._plan.ids["goal", goal.id] = known.id
            if goal.name and known.name != goal.name:
                details = (f"name: {known.name} -> {goal.name}",)
                self._plan.actions.append(
                    Action("update", f"goal {goal.key}", details, _update("goals", known.id, {"name": goal.name}))
                )
        for known in self._remote.goals:
            if known.id not in matched:
                self._superfluous(f"goal {known.name}", _remove("goals", known.id), "deleted")

    # --- segments -----------------------------------------------------------------------------------------------------

    def _segments(self) -> None:
        by_id, by_name = {s.id: s for s in self._remote.segments}, {s.name: s for s in self._remote.segments}
        found = {
            segment.key: _explicit(by_id, segment.id, "segment", segment.key)
            or by_name.get(segment.name or segment.key)
            for segment in self._project.segments
        }
        for segment in self._project.segments:
            known = found[segment.key]
            if known is not None:
                self._plan.ids["segment", segment.id] = known.id
        for segment in _referred_first(self._project.segments):
            known, name = found[segment.key], segment.name or segment.key
            if known is None:
                run = _create_segment(self._site_id, name, segment)
                self._plan.actions.append(Action("create", f"segment {segment.key}", (), run))
                continue
            details = []
            if tree_of(known.conditions_data) != tree_of(conditions_of(segment, self._plan.ids)):
                details.append("other conditions")
            if segment.name and known.name != segment.name:
                details.append(f"name: {known.name} -> {segment.name}")
            if bool(known.audience_tracking) != segment.audience_tracking:
                details.append(f"audience tracking turned {'on' if segment.audience_tracking else 'off'}")
            if details:
                run = _replace_segment(known, segment)
                self._plan.actions.append(Action("update", f"segment {segment.key}", tuple(details), run))
        used = {known.id for known in found.values() if known is not None}
        for one in self._remote.segments:
            if one.id not in used:
                self._superfluous(f"segment {one.name}", _remove("segments", one.id), "deleted")

    # --- flags --------------------------------------------------------------------------------------------------------

    def _match_rules(self, flag: model.Flag, known: FeatureFlag | None) -> None:
        if known is None:
            return
        self._plan.ids["flag", flag.id] = known.id
        for environment in self._project.environments:
            there = known.environment(environment)
            for rule, other in _matched(flag, environment, there.rollout_rules or () if there else ()):
                if other is not None:
                    self._plan.ids["rule", rule.id] = other.id
                    self._plan.ids["experiment", rule.experiment_id] = other.experiment_id
                    ids = {one.variation_key: one.variation_id for one in other.traffic_allocations or ()}
                    for share in rule.shares:
                        if share.variation_key in ids:
                            self._plan.ids["variation", share.variation_id] = ids[share.variation_key]

    def _flag(self, flag: model.Flag, known: FeatureFlag | None) -> Iterable[_Later]:
        bucketing = self._bucketing(flag)
        if known is None:
            self._plan.actions.append(
                Action(
                    "create",
                    f"flag {flag.key}",
                    ("switched off until its rules are there",),
                    _create_flag(self._project, flag, bucketing),
                )
            )
        else:
            self._update_flag(flag, known, bucketing)
        for environment in self._project.environments:
            there = None if known is None else known.environment(environment)
            if known is not None and there is None:
                self._plan.conflicts.append(f"flag {flag.key} has no environment {environment} on the service")
                continue
            yield _Later(self, flag, known, there, environment)

    def _bucketing(self, flag: model.Flag) -> int | None:
        """Id in the file of the custom data that replaces the visitor code."""
        return next((datum.id for datum in self._project.custom_data if datum.name == flag.bucket_by), None)

    def _update_flag(self, flag: model.Flag, known: FeatureFlag, bucketing: int | None) -> None:
        details: list[str] = []
        changes: dict[str, Any] = {}
        if flag.name and flag.name != known.name:
            changes["name"] = flag.name
            details.append(f"name: {known.name} -> {flag.name}")
        if known.archived:
            changes["is_archived"] = False
            details.append("taken out of the archive")
        variables = _variables(flag, known.variables or ())
        if variables is not None:
            changes["variables"] = variables
            details.append("other variables")
        variations = _variations(flag, known)
        if variations is not None:
            changes["variations"] = variations
            details.append("other variations: " + ", ".join(str(one.key) for one in variations))
        there = (known.bucketing_key or {}).get("customDataId")
        if there != (None if bucketing is None else self._plan.ids.get(("custom data", bucketing), _UNKNOWN)):
            changes["bucketing_key"] = bucketing
            details.append(f"drawn by {flag.bucket_by or 'the visitor code'}")
        if changes:
            run = _update_flag(str(known.site_code or self._project.site_code), flag.key, changes)
            self._plan.actions.append(Action("update", f"flag {flag.key}", tuple(details), run))
        extra = [one.key for one in known.variations or () if one.key not in {v.key for v in flag.variations}]
        if extra:
            kept = {v.key for v in flag.variations}
            names = ", ".join(map(str, extra))
            run = _drop_variations(self._project.site_code, flag.key, frozenset(kept))
            self._superfluous(f"variations {names} of flag {flag.key}", run, "deleted")


@dataclass(frozen=True, slots=True)
class _Later:
    """A flag in one environment: compared once the segments are known."""

    planner: _Planner
    flag: model.Flag
    known: FeatureFlag | None
    there: EnvironmentConfiguration | None
    environment: str

    def action(self) -> Action | None:
        planner = self.planner
        plan, project = planner._plan, planner._project  # noqa: SLF001 - a part of the planner
        keep = not planner._delete  # noqa: SLF001 - a part of the planner
        before = self.there or EnvironmentConfiguration(environment_key=self.environment, feature_enabled=False)
        after = environment_of(project, self.flag, self.environment, before, plan.ids, keep=keep)
        details = _environment_details(before, after, is_new=self.there is None)
        if keep:
            there = before.rollout_rules or ()
            used = {other.id for _, other in _matched(self.flag, self.environment, there) if other is not None}
            plan.left_alone.extend(
                f"rule {rule.name or rule.id} of flag {self.flag.key} in {self.environment}"
                for rule in there
                if rule.id not in used
            )
        if not details:
            return None
        run = _put_environment(project, self.flag, self.environment, keep)
        verb = "update"
        return Action(verb, f"flag {self.flag.key} in {self.environment}", tuple(details), run)


def later_actions(later: Iterable[_Later]) -> list[Action]:
    """The calls on flags in their environments."""
    return [action for rest in later if (action := rest.action()) is not None]


# --- what should be ---------------------------------------------------------------------------------------------------


def conditions_of(segment: model.Segment, ids: Ids) -> dict[str, Any]:
    """The conditions of a segment as the service writes them, with its own ids."""
    return {
        "firstLevel": [
            {
                "conditions": [
                    {
                        "targetingType": condition.targeting_type,
                        "weight": 1,
                        "include": condition.include,
                        **_with_ids(condition.fields, ids),
                    }
                    for condition in group.conditions
                ],
                "orOperators": [group.joined is Joined.ANY] * (len(group.conditions) - 1),
            }
            for group in segment.groups
        ],
        "firstLevelOrOperators": [segment.joined is Joined.ANY] * (len(segment.groups) - 1),
    }


_REFERENCES = {
    "goalId": "goal",
    "segmentId": "segment",
    "featureFlagId": "flag",
    "ruleId": "rule",
    "experimentId": "experiment",
    "variationId": "variation",
}


def _with_ids(fields: Mapping[str, Any], ids: Ids) -> dict[str, Any]:
    return {
        name: ids.get((_REFERENCES[name], value), _UNKNOWN) if name in _REFERENCES else value
        for name, value in fields.items()
    }


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
    pairs = list(_matched(flag, environment, there))
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


def _matched(
    flag: model.Flag, environment: str, there: Iterable[RolloutRule]
) -> Iterable[tuple[model.Rule, RolloutRule | None]]:
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
    segment_id = None if rule.segment_key is None else ids.get(("segment", segments[rule.segment_key]), _UNKNOWN)
    changed: dict[str, Any] = {
        "name": rule.key if other is None else other.name,
        "state": "PAUSED" if rule.is_paused else "ACTIVE",
        "segment_id": segment_id,
        "exposition": _percent(rule.exposition),
    }
    if rule.type is RuleType.EXPERIMENT:
        keys = [share.variation_key for share in rule.shares]
        control = other.control_variation_key if other is not None else None
        changed |= {
            "type": "EXPERIMENTATION",
            "control_variation_key": control if control in keys else (default if default in keys else keys[0]),
            "traffic_allocations": tuple(
                Allocation(variation_key=share.variation_key, exposition=_percent(share.share)) for share in rule.shares
            ),
        }
    else:
        progressive = other is not None and other.type == "PROGRESSIVE_DELIVERY"
        changed |= {
            "type": "PROGRESSIVE_DELIVERY" if progressive else "TARGETED_DELIVERY",
            "variation_key": rule.shares[0].variation_key,
        }
    made = replace(other or RolloutRule(), **changed)
    return other if other is not None and not _rule_details(other, made) else made


def _percent(share: float) -> float:
    value = round(share * 100, 9)
    return int(value) if value == int(value) else value


def _rule_details(before: RolloutRule, after: RolloutRule) -> list[str]:
    pairs = {
        "type": (before.type, after.type),
        "name": (before.name, after.name),
        "state": (before.status or before.state or "ACTIVE", after.state or after.status),
        "segment": (before.segment_id, after.segment_id),
        "exposition": (100 if before.exposition is None else before.exposition, after.exposition),
    }
    if after.type == "EXPERIMENTATION":
        pairs["shares"] = (_shares(before), _shares(after))
    else:
        pairs["variation"] = (before.variation_key, after.variation_key)
    return [f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if old != new]


def _shares(rule: RolloutRule) -> str:
    return " / ".join(f"{one.variation_key} {float(one.exposition or 0):g}" for one in rule.traffic_allocations or ())


def _environment_details(
    before: EnvironmentConfiguration, after: EnvironmentConfiguration, *, is_new: bool
) -> list[str]:
    details = []
    if bool(before.feature_enabled) != bool(after.feature_enabled):
        details.append(f"turned {'on' if after.feature_enabled else 'off'}")
    if not is_new and before.default_variation_key != after.default_variation_key:
        details.append(f"default: {before.default_variation_key} -> {after.default_variation_key}")
    olds = {rule.id: rule for rule in before.rollout_rules or ()}
    news = after.rollout_rules or ()
    for rule in news:
        if rule.id is None or rule.id not in olds:
            details.append(f"rule {rule.name} added")
        else:
            details += [f"rule {rule.name}: {said}" for said in _rule_details(olds.pop(rule.id), _said(rule))]
    details += [f"rule {rule.name} removed" for rule in olds.values()]
    if not details and [rule.id for rule in news] != [rule.id for rule in before.rollout_rules or ()]:
        details.append("other order of rules")
    return details


def _said(rule: RolloutRule) -> RolloutRule:
    return replace(
        rule,
        exposition=100 if rule.exposition is None else rule.exposition,
        state=rule.state or rule.status or "ACTIVE",
    )


def _variables(flag: model.Flag, there: Iterable[FlagVariable]) -> tuple[FlagVariable, ...] | None:
    """The flag's variables as they should be, ``None`` when they are so; those that the file does not have stay."""
    known: dict[str | None, FlagVariable] = {one.key: one for one in there}
    wanted: dict[str | None, FlagVariable] = {}
    default = next((one for one in flag.variations if one.key == flag.default_variation), flag.variations[0])
    for variation in (default, *flag.variations):
        for key, variable in variation.variables.items():
            if key not in wanted:
                value = known[key].value if key in known else written_value(variable.type.value, variable.value)
                wanted[key] = replace(known.get(key, FlagVariable(key=key)), type=variable.type.value, value=value)
    merged = {**known, **wanted}
    return None if merged == known else tuple(merged.values())


def _variations(flag: model.Flag, known: FeatureFlag) -> tuple[FlagVariation, ...] | None:
    """Likewise the variations."""
    there = {one.key: one for one in known.variations or ()}
    merged = dict(there)
    for variation in flag.variations:
        old = there.get(variation.key, FlagVariation(key=variation.key, name=variation.name or variation.key))
        values: dict[str | None, FlagVariable] = {one.key: one for one in old.variables or ()}
        for key, variable in variation.variables.items():
            kind = variable.type.value
            if key not in values or not _same_value(kind, values[key].value, variable.value):
                values[key] = FlagVariable(key=key, value=written_value(kind, variable.value))
        variables = tuple(values.values())
        name = variation.name or old.name
        if variation.key not in there or variables != tuple(old.variables or ()) or name != old.name:
            merged[variation.key] = replace(old, name=name, variables=variables)
    return None if merged == there else tuple(merged.values())


def _same_value(kind: str, text: Any, value: Any) -> bool:
    try:
        return bool(read_value(kind, text) == value)
    except ValueError:
        return False


def _explicit(known: Mapping[int | None, Any], number: int, *names: str) -> Any:
    """What the service has under an id that the file writes down; an id that follows from the key says nothing."""
    return known.get(number) if number != derive_id(*names) else None


def _referred_first(segments: Iterable[model.Segment]) -> list[model.Segment]:
    """Segments so that each comes after those it refers to. A project has no cycles."""
    by_id = {segment.id: segment for segment in segments}
    ordered: dict[int, model.Segment] = {}

    def add(segment: model.Segment) -> None:
        if segment.id in ordered:
            return
        for group in segment.groups:
            for condition in group.conditions:
                other = by_id.get(condition.fields.get("segmentId", -1))
                if other is not None and condition.targeting_type == "SEGMENT":
                    add(other)
        ordered[segment.id] = segment

    for segment in segments:
        add(segment)
    return list(ordered.values())


# --- the calls --------------------------------------------------------------------------------------------------------


class Blocked(Exception):
    """A call cannot be made, because something that it needs is not there."""


def _create(resource: str, entity: Any, kind: str, number: int) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, ids: Ids) -> None:
        ids[kind, number] = getattr(api, resource).create(entity).id

    return run


def _create_custom_data(
    site_id: int | None, datum: model.CustomDatum, wanted: Mapping[str, Any]
) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, ids: Ids) -> None:
        made = api.custom_data.create(CustomDatum(site_id=site_id, index=datum.index, method="SDK", **wanted))
        ids["custom data", datum.id] = made.id
        if made.index is not None and made.index != datum.index:
            raise Blocked(
                f"the service gave custom data {datum.name} the index {made.index}, not {datum.index}; write that into the file"
            )

    return run


def _update(resource: str, number: int | None, changes: Mapping[str, Any]) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, _ids: Ids) -> None:
        getattr(api, resource).update(number, **changes)

    return run


def _remove(resource: str, number: int | None) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, _ids: Ids) -> None:
        getattr(api, resource).delete(number)

    return run


def _archive(flag: FeatureFlag) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, _ids: Ids) -> None:
        api.feature_flags.archive(str(flag.site_code), str(flag.feature_key))

    return run


def _resolved(segment: model.Segment, ids: Ids) -> dict[str, Any]:
    tree = conditions_of(segment, ids)
    for group in tree["firstLevel"]:
        for condition in group["conditions"]:
            if missing := [name for name, value in condition.items() if value is _UNKNOWN]:
                raise Blocked(
                    f"segment {segment.key} refers to a {_REFERENCES[missing[0]]} that is not on the service yet; "
                    "apply the file once without that condition"
                )
    return tree


def _create_segment(site_id: int | None, name: str, segment: model.Segment) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, ids: Ids) -> None:
        made = api.segments.create(
            Segment(
                name=name,
                site_id=site_id,
                segment_type="STANDARD",
                conditions_data=_resolved(segment, ids),
                audience_tracking=segment.audience_tracking,
            )
        )
        ids["segment", segment.id] = made.id

    return run


def _replace_segment(known: Segment, segment: model.Segment) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, ids: Ids) -> None:
        whole = replace(
            known,
            name=segment.name or known.name,
            conditions_data=_resolved(segment, ids),
            audience_tracking=segment.audience_tracking,
        )
        assert known.id is not None, "it was read from the service"
        api.segments.replace(known.id, whole)

    return run


def _bucketing_key(bucketing: int | None, ids: Ids) -> dict[str, Any]:
    if bucketing is None:
        # A change is merged into what is there, so what no longer holds has to be taken away by name.
        return {"bucketingKeyType": "VISITOR_CODE", "customDataId": None}
    return {"bucketingKeyType": "CUSTOM_DATA", "customDataId": ids["custom data", bucketing]}


def _create_flag(
    project: model.Project, flag: model.Flag, bucketing: int | None
) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, ids: Ids) -> None:
        empty = FeatureFlag()
        made = api.feature_flags.create(
            FeatureFlag(
                site_code=project.site_code,
                feature_key=flag.key,
                name=flag.name or flag.key,
                variables=_variables(flag, ()) or (),
                variations=_variations(flag, empty),
                bucketing_key=None if bucketing is None else _bucketing_key(bucketing, ids),
                environment_configurations=tuple(
                    EnvironmentConfiguration(
                        environment_key=environment,
                        default_variation_key=flag.default_in(environment),
                        feature_enabled=False,
                        rollout_rules=(),
                    )
                    for environment in project.environments
                ),
            )
        )
        ids["flag", flag.id] = made.id

    return run


def _update_flag(site_code: str, key: str, changes: Mapping[str, Any]) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, ids: Ids) -> None:
        sent = dict(changes)
        if "bucketing_key" in sent:
            sent["bucketing_key"] = _bucketing_key(sent["bucketing_key"], ids)
        api.feature_flags.update(site_code, key, **sent)

    return run


def _drop_variations(site_code: str, key: str, kept: frozenset[str]) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, _ids: Ids) -> None:
        now = api.feature_flags.get(site_code, key)
        api.feature_flags.update(site_code, key, variations=tuple(v for v in now.variations or () if v.key in kept))

    return run


def _put_environment(
    project: model.Project, flag: model.Flag, environment: str, keep: bool
) -> Callable[[AutomationApi, Ids], None]:
    def run(api: AutomationApi, ids: Ids) -> None:
        def edit(now: EnvironmentConfiguration) -> EnvironmentConfiguration:
            # Compared with what is there at this moment, so that a change made meanwhile is not undone unseen.
            after = environment_of(project, flag, environment, now, ids, keep=keep)
            if any(str(rule.segment_id) == _UNKNOWN for rule in after.rollout_rules or ()):
                raise Blocked(f"a segment of flag {flag.key} in {environment} is not on the service")
            return after

        try:
            api.feature_flags.edit_environment(project.site_code, flag.key, environment, edit)
        except KeyError:
            raise Blocked(f"flag {flag.key} has no environment {environment} on the service") from None

    return run


def apply_plan(plan: Plan, api: AutomationApi, told: Callable[[Action], None]) -> None:
    """
    Carry out *plan*, one call after the other.

    Args:
        plan: Without conflicts.
        api: The service.
        told: Told of each action that is done.

    Raises:
        ApiError: A call failed. What was done stays; a new plan has the rest.
        Blocked: A call cannot be made; likewise.
    """
    for action in plan.actions:
        action.run(api, plan.ids)
        told(action)

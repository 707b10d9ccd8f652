"""
What has to be done so that the service holds what a project file says, as a list of single calls in an order that works.

Things are known by the ids in the file where they are written down, else by name: flags by key, goals, segments and custom data by
name, rules by key within flag and environment. What is on the service and not in the file is left alone, rules and variations too, unless
deleting is asked for. A new flag is made switched off and gets its rules in a later call, so that no half of it is given out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kameleoon.api.feature_flags import (
    EnvironmentConfiguration,
    FeatureFlag,
)
from kameleoon.api.goals import Goal
from kameleoon.project_sync.calls import (
    archive,
    create,
    create_custom_data,
    create_flag,
    create_segment,
    drop_variations,
    put_environment,
    remove,
    replace_segment,
    update,
    update_flag,
)
from kameleoon.project_sync.changes import environment_details
from kameleoon.project_sync.remote import tree_of
from kameleoon.project_sync.wanted import (
    UNKNOWN,
    Ids,
    conditions_of,
    environment_of,
    matched_rules,
    variables_of,
    variations_of,
)
from kameleoon.server.project import derive_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kameleoon.api.automation import AutomationApi
    from kameleoon.project_sync.remote import Remote
    from kameleoon.server import project as model


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
                self._superfluous(f"flag {one.feature_key}", archive(one), "archived")
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
                    Action("create", f"custom data {datum.name}", (), create_custom_data(self._site_id, datum, wanted))
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
                    Action("update", f"custom data {datum.name}", details, update("custom_data", known.id, changes))
                )
        for known in self._remote.custom_data:
            if known.id not in matched:
                self._superfluous(f"custom data {known.name}", remove("custom_data", known.id), "deleted")

    def _goals(self) -> None:
        by_id, by_name = {g.id: g for g in self._remote.goals}, {g.name: g for g in self._remote.goals}
        matched = set()
        for goal in self._project.goals:
            name = goal.name or goal.key
            known = _explicit(by_id, goal.id, "goal", goal.key) or by_name.get(name)
            if known is None:
                made = Goal(
                    name=name, site_id=self._site_id, type="CUSTOM", has_multiple_conversions=goal.multiple or None
                )
                run = create("goals", made, "goal", goal.id)
                self._plan.actions.append(Action("create", f"goal {goal.key}", (), run))
                continue
            matched.add(known.id)
            self._plan.ids["goal", goal.id] = known.id
            details: list[str] = []
            changed: dict[str, Any] = {}
            if goal.name and known.name != goal.name:
                details.append(f"name: {known.name} -> {goal.name}")
                changed["name"] = goal.name
            if goal.multiple and not known.has_multiple_conversions:
                details.append("multiple: false -> true")
                changed["has_multiple_conversions"] = True
            if details:
                self._plan.actions.append(
                    Action("update", f"goal {goal.key}", tuple(details), update("goals", known.id, changed))
                )
        for known in self._remote.goals:
            if known.id not in matched:
                self._superfluous(f"goal {known.name}", remove("goals", known.id), "deleted")

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
                run = create_segment(self._site_id, name, segment)
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
                run = replace_segment(known, segment)
                self._plan.actions.append(Action("update", f"segment {segment.key}", tuple(details), run))
        used = {known.id for known in found.values() if known is not None}
        for one in self._remote.segments:
            if one.id not in used:
                self._superfluous(f"segment {one.name}", remove("segments", one.id), "deleted")

    # --- flags --------------------------------------------------------------------------------------------------------

    def _match_rules(self, flag: model.Flag, known: FeatureFlag | None) -> None:
        if known is None:
            return
        self._plan.ids["flag", flag.id] = known.id
        for environment in self._project.environments:
            there = known.environment(environment)
            for rule, other in matched_rules(flag, environment, there.rollout_rules or () if there else ()):
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
                    create_flag(self._project, flag, bucketing),
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
        variables = variables_of(flag, known.variables or ())
        if variables is not None:
            changes["variables"] = variables
            details.append("other variables")
        variations = variations_of(flag, known)
        if variations is not None:
            changes["variations"] = variations
            details.append("other variations: " + ", ".join(str(one.key) for one in variations))
        there = (known.bucketing_key or {}).get("customDataId")
        if there != (None if bucketing is None else self._plan.ids.get(("custom data", bucketing), UNKNOWN)):
            changes["bucketing_key"] = bucketing
            details.append(f"drawn by {flag.bucket_by or 'the visitor code'}")
        if changes:
            run = update_flag(str(known.site_code or self._project.site_code), flag.key, changes)
            self._plan.actions.append(Action("update", f"flag {flag.key}", tuple(details), run))
        extra = [one.key for one in known.variations or () if one.key not in {v.key for v in flag.variations}]
        if extra:
            kept = {v.key for v in flag.variations}
            names = ", ".join(map(str, extra))
            run = drop_variations(self._project.site_code, flag.key, frozenset(kept))
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
        details = environment_details(before, after, is_new=self.there is None)
        if keep:
            there = before.rollout_rules or ()
            used = {other.id for _, other in matched_rules(self.flag, self.environment, there) if other is not None}
            plan.left_alone.extend(
                f"rule {rule.name or rule.id} of flag {self.flag.key} in {self.environment}"
                for rule in there
                if rule.id not in used
            )
        if not details:
            return None
        run = put_environment(project, self.flag, self.environment, keep)
        verb = "update"
        return Action(verb, f"flag {self.flag.key} in {self.environment}", tuple(details), run)


def later_actions(later: Iterable[_Later]) -> list[Action]:
    """The calls on flags in their environments."""
    return [action for rest in later if (action := rest.action()) is not None]


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

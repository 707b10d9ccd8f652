"""
A Convert project compiled: asked for a visitor, it decides. No clock, no network, no lock, and nothing is changed.

Source:
    docs/convert.md, "Decisions".
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from kameleoon._convert.bucketing import Bucketing, make_bucketer
from kameleoon._convert.model import Problem
from kameleoon._convert.read import read_project
from kameleoon._convert.rules import Exclusion, RuleCompiler, never
from kameleoon._convert.variables import cast_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kameleoon._convert.bucketing import Bucketer
    from kameleoon._convert.model import Experience, Feature, Project, RuleSet, Variation
    from kameleoon._convert.rules import Data, Provider, Test


class Outcome(Enum):
    """Why an experience gave a visitor a variation, or none."""

    BUCKETED = "the visitor was drawn into the variation"
    STICKY = "the visitor has had the variation before"
    FORCED = "the variation was forced"
    NO_VISITOR = "the visitor code is empty"
    ARCHIVED = "the experience is archived"
    NOT_ACTIVE = "the experience is not active"
    ENVIRONMENT = "the experience is for another environment"
    LOCATION = "no location matches"
    AUDIENCE = "the audiences do not match"
    SEGMENT = "the visitor is in none of the segments"
    NO_VARIATIONS = "the experience has no variations"
    NOT_BUCKETED = "the visitor's place is in no variation"


@dataclass(frozen=True, slots=True)
class VisitorState:
    """
    What an application told and what is stored of a visitor. It is read, never changed.

    Attributes:
        properties: What audiences are matched against.
        location: What locations are matched against. Nothing given is the same as nothing known: an experience without
            locations is then open, one with locations is not.
        bucketing: ``{experience id: variation id}`` of what the visitor has had.
        segments: Stored report segments, which audiences see under *properties*.
        custom_segments: Ids of the segments the visitor was put into.
    """

    properties: Mapping[str, Any] = field(default_factory=dict)
    location: Mapping[str, Any] = field(default_factory=dict)
    bucketing: Mapping[str, str] = field(default_factory=dict)
    segments: Mapping[str, Any] = field(default_factory=dict)
    custom_segments: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What one experience gives one visitor.

    Attributes:
        experience: Which one.
        outcome: Why.
        variation: ``None`` when there is none.
        place: The place drawn, 0 to 9,999 by default; ``None`` when none was.
        is_new: Whether it is to be stored and told to Convert; what a visitor has had before is not.
    """

    experience: Experience
    outcome: Outcome
    variation: Variation | None = None
    place: int | None = None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class FeatureDecision:
    """
    What one feature gives one visitor.

    Attributes:
        feature: Which one.
        enabled_by: The decision that switched it on, ``None`` when it is off.
        variables: ``{variable key: value of its declared type}``; Convert has no defaults.
        decisions: All that were made to find out, in order; those that are new are to be stored, also when the feature is off.
    """

    feature: Feature
    enabled_by: Decision | None
    variables: Mapping[str, Any]
    decisions: tuple[Decision, ...]

    @property
    def is_enabled(self) -> bool:
        """Whether the feature is on."""
        return self.enabled_by is not None


@dataclass(frozen=True, slots=True)
class _Audience:
    is_permanent: bool
    test: Test
    exclusion: Exclusion | None


class CompiledExperience:
    """
    One experience, ready to decide.

    Attributes:
        experience: What it was made of.
        bucketer: Its hash and layout.
        barred: The outcome for everybody, ``None`` when it is open.
    """

    __slots__ = ("_audiences", "_by_key", "_location", "_segments", "_variations", "barred", "bucketer", "experience")

    def __init__(
        self,
        experience: Experience,
        bucketer: Bucketer,
        barred: Outcome | None,
        location: Test | None,
        audiences: tuple[_Audience, ...],
        segments: frozenset[str],
        by_key: Mapping[str, Experience],
    ) -> None:
        self.experience = experience
        self.bucketer = bucketer
        self.barred = barred
        self._location = location
        self._audiences = audiences
        self._segments = segments
        self._by_key = by_key
        self._variations: dict[str, Variation] = {}
        for variation in experience.variations:
            if variation.id:
                self._variations.setdefault(variation.id, variation)

    def decide(
        self, code: str, state: VisitorState, forced_id: str | None = None, *, is_for_all: bool = False
    ) -> Decision:
        """
        Decide for the visitor *code*.

        Args:
            code: As it is: case, spaces and Unicode form count.
            state: What is known of the visitor.
            forced_id: A variation to give instead of the one drawn; one that does not exist is ignored.
            is_for_all: Whether locations, audiences and segments do not count.
        """
        if not code:
            return Decision(self.experience, Outcome.NO_VISITOR)
        if self.barred is not None:
            return Decision(self.experience, self.barred)
        stored = self._variations.get(state.bucketing.get(self.experience.id, ""))
        kept_out = None if is_for_all else self._kept_out(state, has_variation=stored is not None)
        if kept_out is not None:
            return Decision(self.experience, kept_out)
        if not self.experience.variations:
            return Decision(self.experience, Outcome.NO_VARIATIONS)
        forced = self._variations.get(forced_id) if forced_id else None
        # What the visitor has had stays, also when it takes no new visitors any more.
        if stored is not None and (forced is None or forced is stored):
            return Decision(self.experience, Outcome.STICKY, stored)
        place = self.bucketer.place(code)
        if forced is not None:
            return Decision(self.experience, Outcome.FORCED, forced, place, is_new=True)
        drawn = self.bucketer.variation_at(place)
        if drawn is None:
            return Decision(self.experience, Outcome.NOT_BUCKETED, place=place)
        return Decision(self.experience, Outcome.BUCKETED, self._variations[drawn], place, is_new=True)

    def _kept_out(self, state: VisitorState, *, has_variation: bool) -> Outcome | None:
        """Why the experience is not for the visitor, ``None`` when it is."""
        if self._location is not None and not self._location(state.location):
            return Outcome.LOCATION
        if not self._matches_audiences(state, has_variation=has_variation):
            return Outcome.AUDIENCE
        if self._segments and self._segments.isdisjoint(state.custom_segments):
            return Outcome.SEGMENT
        return None

    def _matches_audiences(self, state: VisitorState, *, has_variation: bool) -> bool:
        audiences = [one for one in self._audiences if not (has_variation and one.is_permanent)]
        if not audiences:
            return True
        properties = {**state.segments, **state.properties} if state.segments else state.properties
        results = (self._matches(audience, properties, state) for audience in audiences)
        return all(results) if self.experience.needs_all_audiences else any(results)

    def _matches(self, audience: _Audience, properties: Data, state: VisitorState) -> bool:
        exclusion = audience.exclusion
        if exclusion is None:
            return audience.test(properties)
        target = self._by_key.get(exclusion.experience_key)
        is_in_target = target is not None and target.id in state.bucketing
        return is_in_target is not exclusion.is_negated


class CompiledFeature:
    """
    One feature with the experiences that can switch it on, in the project's order.

    Args:
        feature: Which one.
        sources: ``(experience, {id of a variation that has the feature: its variables})``.
    """

    __slots__ = ("feature", "sources")

    def __init__(
        self, feature: Feature, sources: Sequence[tuple[CompiledExperience, Mapping[str, Mapping[str, Any]]]]
    ) -> None:
        self.feature = feature
        self.sources = tuple(sources)

    @property
    def experiences(self) -> tuple[Experience, ...]:
        """Those that can switch it on."""
        return tuple(source.experience for source, _ in self.sources)

    def decide(
        self, code: str, state: VisitorState, forced: Mapping[str, tuple[str, bool]] | None = None
    ) -> FeatureDecision:
        """
        Ask one experience after the other, until one puts the visitor into a variation that has the feature.

        Args:
            code: The visitor.
            state: What is known of the visitor.
            forced: ``{experience id: (variation id, whether the experience is then for all)}``.
        """
        decisions: list[Decision] = []
        for source, variables in self.sources:
            forced_id, is_for_all = (forced or {}).get(source.experience.id, (None, False))
            decision = source.decide(code, state, forced_id, is_for_all=is_for_all)
            decisions.append(decision)
            if decision.variation is None:
                continue
            if decision.variation.id in variables:
                return FeatureDecision(self.feature, decision, variables[decision.variation.id], tuple(decisions))
            if decision.is_new:
                # An experience asked later may exclude who is in this one.
                state = replace(state, bucketing={**state.bucketing, source.experience.id: decision.variation.id})
        return FeatureDecision(self.feature, None, {}, tuple(decisions))


class ConvertRuleset:
    """
    One project, compiled.

    Attributes:
        project: What it was made of.
        features: ``{feature key: feature}``.
        experiences: ``{experience key: experience}``; of several with one key the first.
        goals: ``{goal key: goal}`` and, beside them, by id where no key is the same.
        by_id: ``{experience id: experience}`` of all of them.
        providers: Values for built-in rule types, by type.
        problems: What is out of service.
    """

    __slots__ = (
        "_goal_tests",
        "_segment_tests",
        "by_id",
        "experiences",
        "features",
        "goals",
        "problems",
        "project",
        "providers",
    )

    def __init__(
        self,
        project: Project,
        features: Mapping[str, CompiledFeature],
        experiences: Mapping[str, CompiledExperience],
        by_id: Mapping[str, CompiledExperience],
        goals: Mapping[str, Test],
        segments: Mapping[str, Test],
        providers: Mapping[str, Provider],
        problems: Sequence[Problem],
    ) -> None:
        self.project = project
        self.features = features
        self.experiences = experiences
        self.by_id = by_id
        self.providers = providers
        self.goals: dict[str, RuleSet] = {}
        for goal in project.goals:
            if goal.key:
                self.goals.setdefault(goal.key, goal)
        for goal in project.goals:
            self.goals.setdefault(goal.id, goal)
        self.problems = tuple(problems)
        self._goal_tests = goals
        self._segment_tests = segments

    def matches_goal(self, goal: RuleSet, data: Data) -> bool:
        """Whether *data* matches the goal's rules; a goal without rules matches nothing."""
        return self._goal_tests[goal.id](data)

    def segments_for(self, keys: Sequence[str], data: Data | None) -> tuple[str, ...]:
        """
        Ids of the named segments that a visitor belongs to.

        Args:
            keys: Which segments; unknown ones are left out.
            data: What their rules are matched against, each of them; ``None`` puts the visitor into all.
        """
        by_key = {segment.key: segment.id for segment in reversed(self.project.segments)}
        named = [by_key[key] for key in keys if key in by_key]
        return tuple(one for one in named if data is None or self._segment_tests[one](data))

    def segments_of(self, data: Data) -> tuple[str, ...]:
        """Ids of all segments whose rules *data* matches, in the project's order."""
        return tuple(segment.id for segment in self.project.segments if self._segment_tests[segment.id](data))


def compile_project(
    root: Any,
    *,
    environment: str | None = None,
    providers: Mapping[str, Provider] | None = None,
    bucketing: Bucketing | None = None,
    runs_inactive: bool = False,
    tell: Callable[[Problem], None] | None = None,
) -> ConvertRuleset:
    """
    Compile a project's configuration.

    Args:
        root: The decoded JSON.
        environment: The client's; experiences of another one are off.
        providers: Values for built-in rule types, by type; without one such a rule never matches.
        bucketing: How places are drawn, unless as usual.
        runs_inactive: Whether experiences whose status is not ``active`` run, as they do in a configuration fetched with a debug
            token.
        tell: Told of each problem, as it is found.

    Raises:
        ProjectRefused: *root* is no project; see `read_project`.
    """
    project = read_project(root)
    return _Compiler(
        project, environment, providers or {}, bucketing or Bucketing(), runs_inactive or project.is_debug, tell
    ).compile()


class _Compiler:
    def __init__(
        self,
        project: Project,
        environment: str | None,
        providers: Mapping[str, Provider],
        bucketing: Bucketing,
        runs_inactive: bool,
        tell: Callable[[Problem], None] | None,
    ) -> None:
        self._project = project
        self._environment = environment
        self._bucketing = bucketing
        self._runs_inactive = runs_inactive
        self._listener = tell
        self._problems: list[Problem] = []
        self._rules = RuleCompiler(providers, self._tell)
        for problem in project.problems:
            self._tell(problem)

    def _tell(self, problem: Problem) -> None:
        self._problems.append(problem)
        if self._listener is not None:
            self._listener(problem)

    def compile(self) -> ConvertRuleset:
        project = self._project
        self._locations = {one.id: self._test(one) for one in project.locations}
        self._audiences = {
            one.id: _Audience(one.is_permanent, self._test(one), self._rules.exclusion(one.place, one.rules))
            for one in project.audiences
        }
        segments = {one.id: self._test(one) for one in project.segments}
        self._segment_ids = frozenset(segments)
        self._by_key: dict[str, Experience] = {}
        for experience in project.experiences:
            self._by_key.setdefault(experience.key, experience)
        compiled = [self._experience(experience) for experience in project.experiences]
        features = self._features(compiled)
        experiences: dict[str, CompiledExperience] = {}
        for one in compiled:
            key = one.experience.key
            if not key or key in experiences:
                self._tell(Problem(one.experience.place, "no key of its own, so it cannot be asked for by key"))
                continue
            if key in features:
                self._tell(
                    Problem(one.experience.place, f"a feature has the key {key} too; the key stands for the feature")
                )
            experiences[key] = one
        goals = {goal.id: self._test(goal) for goal in project.goals}
        by_id = {one.experience.id: one for one in compiled}
        return ConvertRuleset(
            project, features, experiences, by_id, goals, segments, self._rules.providers, self._problems
        )

    def _test(self, one: RuleSet) -> Test:
        return never if one.rules is None else self._rules.compile(f"{one.place}.rules", one.rules)

    def _experience(self, experience: Experience) -> CompiledExperience:
        return CompiledExperience(
            experience,
            make_bucketer(experience.id, experience.version, experience.variations, self._bucketing),
            self._barred(experience),
            self._location(experience),
            tuple(self._audiences[one] for one in experience.audiences if one in self._audiences),
            self._segment_ids.intersection(experience.audiences),
            self._by_key,
        )

    def _barred(self, experience: Experience) -> Outcome | None:
        if experience.id in self._project.archived:
            return Outcome.ARCHIVED
        if experience.environment and experience.environment != self._environment:
            return Outcome.ENVIRONMENT
        if experience.status not in ("", "active") and not self._runs_inactive:
            return Outcome.NOT_ACTIVE
        return None

    def _location(self, experience: Experience) -> Test | None:
        if experience.locations:
            tests = [self._locations[one] for one in experience.locations if one in self._locations]
            if len(tests) < len(experience.locations):
                self._tell(Problem(f"{experience.place}.locations", "some of them are not in the project"))
            return lambda data: any(test(data) for test in tests)
        if experience.site_area is not None and experience.site_area != {}:
            return self._rules.compile(f"{experience.place}.site_area", experience.site_area)
        return None

    def _features(self, compiled: Sequence[CompiledExperience]) -> dict[str, CompiledFeature]:
        known = {feature.id: feature for feature in self._project.features}
        sources: dict[str, list[tuple[CompiledExperience, dict[str, Mapping[str, Any]]]]] = {one: [] for one in known}
        for one in compiled:
            place = one.experience.place
            by_feature: dict[str, dict[str, Mapping[str, Any]]] = {}
            for variation in one.experience.variations:
                for change in variation.changes:
                    feature = known.get(change.feature_id)
                    if feature is None:
                        self._tell(
                            Problem(place, f"a variation switches on the feature {change.feature_id}, which is unknown")
                        )
                        continue
                    here = f"{place}.variations[{variation.id}]"
                    by_feature.setdefault(feature.id, {}).setdefault(
                        variation.id, cast_variables(here, change.variables, feature.types, self._tell)
                    )
            for feature_id, variables in by_feature.items():
                sources[feature_id].append((one, variables))
        features: dict[str, CompiledFeature] = {}
        for feature in self._project.features:
            if not feature.key or feature.key in features:
                self._tell(Problem(feature.place, "no key of its own"))
            else:
                features[feature.key] = CompiledFeature(feature, sources[feature.id])
        return features

"""
A Convert project as flags: what a client asks of any configuration, answered by features and experiences.

A feature is a flag whose rules are the experiences that can switch it on. An experience is a flag too, with itself as its only rule,
so that experiments without features can be asked for.

Source:
    docs/convert.md, "In the client".
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kameleoon._convert.explain import walk_flag
from kameleoon._convert.ids import Ids, id_number
from kameleoon._convert.model import Feature
from kameleoon._convert.ruleset import CompiledFeature, Outcome
from kameleoon._convert.visitor import CATALOGUE, visitor_state
from kameleoon._datafile import model
from kameleoon._datafile.model import RuleType, Settings, Share
from kameleoon._engine.choice import make_choice
from kameleoon.types._read_only import read_only
from kameleoon.types.data_file import DataFile
from kameleoon.types.feature_flag import FeatureFlag
from kameleoon.types.reason import Reason
from kameleoon.types.rule import Rule
from kameleoon.types.variable import Variable
from kameleoon.types.variation import OFF_KEY, Variation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kameleoon._convert.model import Experience, Problem
    from kameleoon._convert.ruleset import CompiledExperience, ConvertRuleset, FeatureDecision
    from kameleoon._datafile.model import Catalogue
    from kameleoon._engine.choice import Choice
    from kameleoon._engine.explain import Walk
    from kameleoon._engine.flag import Answer
    from kameleoon._visitor.record import Simulation, VisitorRecord

_DELIVERIES = frozenset({"feature_rollout", "deploy"})
_TYPES = {"boolean": "BOOLEAN", "integer": "NUMBER", "float": "NUMBER", "string": "STRING", "json": "JSON"}
_SETTINGS = Settings()


class _ActiveVariation(Variation):
    """A variation that switches its feature on although its key is ``off``."""

    @property
    def is_active(self) -> bool:
        """It is."""
        return True


class ConvertFlag:
    """
    A feature or an experience as an `AnyFlag`.

    Args:
        key: The flag's key.
        compiled: What decides: the experiences in their order, and which of their variations have the feature.
        ids: Of the project.
        is_feature: Whether having the feature makes a variation active, rather than its key.

    Attributes:
        key: As given.
        compiled: As given.
        model: The flag with its rules, one for each experience.
    """

    __slots__ = (
        "_choices",
        "_default",
        "_held",
        "_ids",
        "_is_feature",
        "_rules",
        "_sticky",
        "compiled",
        "key",
        "model",
    )

    settled_by = None

    is_enabled = True

    def __init__(self, key: str, compiled: CompiledFeature, ids: Ids, *, is_feature: bool) -> None:
        self.key = key
        self.compiled = compiled
        self._ids = ids
        self._is_feature = is_feature
        self._rules = {experience.id: _rule(experience) for experience in compiled.experiences}
        self.model = model.Flag(
            id=id_number(compiled.feature.id),
            key=key,
            enabled=True,
            default_variation_key=OFF_KEY,
            variations=(),
            rules=tuple(self._rules.values()),
            group=None,
            bucketing_id=None,
        )
        self._default = make_choice(Variation(OFF_KEY, None, None, {}, ""), None, OFF_KEY, Reason.DEFAULT)
        self._choices: dict[tuple[str, str], Choice] = {}
        self._sticky: dict[tuple[str, str], Choice] = {}
        self._held: dict[tuple[str, str], Choice] = {}
        for source, by_variation in compiled.sources:
            for variation in source.experience.variations:
                place = source.experience.id, variation.id
                if variation.id in by_variation and place not in self._choices:
                    choice = self._choice(source.experience, place, by_variation[variation.id])
                    self._choices[place] = choice
                    self._sticky[place] = replace(choice, is_stored=False)
                # What an evaluation that ends elsewhere leaves to be remembered of this experience.
                remembered = Variation("", id_number(variation.id), id_number(source.experience.id), {}, "")
                self._held[place] = make_choice(remembered, None, variation.key, Reason.SPLIT, self._rules[place[0]])

    def decide(self, record: VisitorRecord | None, code: str, now_ms: int) -> Answer:
        """See `AnyFlag.decide`."""
        del now_ms
        if record is not None and record.simulated is not None:
            simulation = record.simulated.get(self.key)
            if simulation is not None:
                return self._simulated(simulation), None
        decided = self.decide_feature(record, code)
        found = decided.enabled_by
        held = tuple(
            self._held[one.experience.id, one.variation.id]
            for one in decided.decisions
            if one.is_new and one.variation is not None and one is not found
        )
        if found is None or found.variation is None:
            return self._default, held or None
        place = found.experience.id, found.variation.id
        if found.outcome is Outcome.FORCED:
            return replace(self._choices[place], reason=Reason.TARGETING_MATCH), held or None
        return (self._choices if found.is_new else self._sticky)[place], held or None

    def decide_feature(self, record: VisitorRecord | None, code: str) -> FeatureDecision:
        """What all experiences say that must be asked, simulated answers aside."""
        forced: dict[str, tuple[str, bool]] | None = None
        if record is not None and record.forced:
            forced = {}
            for experiment_id, forcing in list(record.forced.items()):
                experience_id, variation_id = self._ids.text(experiment_id), self._ids.text(forcing.variation_id)
                if experience_id is not None and variation_id is not None:
                    forced[experience_id] = variation_id, forcing.force_targeting
        return self.compiled.decide(code, visitor_state(record, self._ids), forced)

    def variables_of(self, variation_key: str) -> Mapping[str, Variable] | None:
        """`AnyFlag.variables_of`; of variations of one key in several experiences the first."""
        for choice in self._choices.values():
            if choice.variation_key == variation_key:
                return choice.variation.variables
        return {} if variation_key == OFF_KEY else None

    def view(self) -> FeatureFlag:
        """The flag as applications see it."""
        variations = {OFF_KEY: self._default.variation}
        rules = []
        for rule in self.model.rules:
            given = {
                choice.variation_key: choice.variation
                for choice in self._choices.values()
                if choice.experiment_id == rule.experiment_id
            }
            rules.append(Rule(given))
            for key, variation in given.items():
                if key not in variations or key == OFF_KEY:
                    variations[key] = replace(variation, id_=None, experiment_id=None)
        return FeatureFlag(variations, True, tuple(rules), OFF_KEY)

    def _choice(self, experience: Experience, place: tuple[str, str], values: Mapping[str, Any]) -> Choice:
        types = self.compiled.feature.types
        variation = next(one for one in experience.variations if one.id == place[1])
        variables = read_only(
            {key: Variable(key, _type(types.get(key, ""), value), value) for key, value in values.items()}
        )
        kind = _ActiveVariation if self._is_feature and variation.key == OFF_KEY else Variation
        made = kind(variation.key, id_number(variation.id), id_number(experience.id), variables, variation.name)
        rule = self._rules[experience.id]
        is_delivery = rule.type is RuleType.TARGETED_DELIVERY
        reason = Reason.TARGETING_MATCH if is_delivery else Reason.SPLIT
        choice = make_choice(made, variables, variation.key, reason, rule, is_delivery=is_delivery)
        return replace(choice, is_active=made.is_active)

    def _simulated(self, simulation: Simulation) -> Choice:
        experience_id, variation_id = self._ids.text(simulation.experiment_id), self._ids.text(simulation.variation_id)
        choice = self._choices.get((experience_id or "", variation_id or ""))
        if choice is None:
            return self._default
        return replace(choice, reason=Reason.TARGETING_MATCH, is_stored=False)


class ConvertFlags:
    """
    A project as an `AnyRuleset`.

    Args:
        project: The project, compiled.

    Attributes:
        project: As given.
        ids: Of the project.
        compiled: ``{flag key: flag}``, all of them: features first, then experiences.
        catalogue: Takes custom data of any name.
        date_modified: See `AnyRuleset.date_modified`.
    """

    __slots__ = (
        "_by_experiment",
        "_first_keys",
        "_goals",
        "_view",
        "catalogue",
        "compiled",
        "date_modified",
        "ids",
        "project",
    )

    consent_required = False
    settings = _SETTINGS
    pattern_timeouts = 0  # nobody counts them

    def __init__(self, project: ConvertRuleset) -> None:
        self.project = project
        self.ids = Ids(_all_ids(project))
        self.catalogue: Catalogue = CATALOGUE
        self.date_modified = _date(project.project.version)
        self.compiled: dict[str, ConvertFlag] = {
            key: ConvertFlag(key, feature, self.ids, is_feature=True) for key, feature in project.features.items()
        }
        for key, experience in project.experiences.items():
            if key not in self.compiled:
                as_feature = _as_feature(experience, project.features.values())
                self.compiled[key] = ConvertFlag(key, as_feature, self.ids, is_feature=False)
        self._by_experiment = {
            rule.experiment_id: (flag, rule) for flag in self.compiled.values() for rule in flag.model.rules
        }
        self._first_keys: dict[int | None, str] = {}
        for experiment_id, key in (
            (rule.experiment_id, flag.key) for flag in self.compiled.values() for rule in flag.model.rules
        ):
            self._first_keys.setdefault(experiment_id, key)
        self._goals = {id_number(name): goal.id for name, goal in project.goals.items()}
        self._view: DataFile | None = None

    @property
    def flag_keys(self) -> Sequence[str]:
        """Keys of features, then of experiences."""
        return tuple(self.compiled)

    @property
    def problems(self) -> Sequence[Problem]:
        """What is out of service."""
        return self.project.problems

    def flag(self, key: str) -> ConvertFlag:
        """See `AnyRuleset.flag`."""
        return self.compiled[key]

    def view(self) -> DataFile:
        """See `AnyRuleset.view`."""
        if self._view is None:
            self._view = DataFile({key: flag.view() for key, flag in self.compiled.items()}, self.date_modified)
        return self._view

    def of_experiment(self, experiment_id: int) -> tuple[ConvertFlag, model.Rule] | None:
        """See `AnyRuleset.of_experiment`."""
        return self._by_experiment.get(experiment_id)

    def flag_key_of(self, experiment_id: int) -> str | None:
        """The first feature that an experience can switch on, its own flag if there is none; ``None`` for one that is not in the project."""
        return self._first_keys.get(experiment_id)

    def has_page_code(self, experiment_id: int) -> bool:
        """Never: code for pages is of no use to a server."""
        del experiment_id
        return False

    def goal_id(self, goal: Any) -> Any:
        """The number that stands for a goal's key or id; also for one that is not in the project, as a later one may have it."""
        return id_number(goal) if isinstance(goal, str) else goal

    def goal(self, number: int) -> str | None:
        """The id of the goal that *number* of `goal_id` stands for, ``None`` when the project does not have it."""
        return self._goals.get(number)

    def has_delivery(self) -> bool:
        """See `AnyRuleset.has_delivery`."""
        return any(
            rule.type is RuleType.TARGETED_DELIVERY for flag in self.compiled.values() for rule in flag.model.rules
        )

    def audiences(self, record: VisitorRecord | None, code: str, now_ms: int) -> tuple[int, ...]:
        """The segments whose rules the visitor matches; being in one is what experiences for segments ask for."""
        del code, now_ms
        state = visitor_state(record, self.ids)
        return tuple(map(id_number, self.project.segments_of({**state.segments, **state.properties})))

    def walk(self, key: str, record: VisitorRecord | None, code: str, now_ms: int) -> Walk:
        """See `AnyRuleset.walk`."""
        return walk_flag(self, self.flag(key), record, code, now_ms)


def _rule(experience: Experience) -> model.Rule:
    shares = tuple(
        Share(
            variation.key,
            id_number(variation.id),
            (100.0 if variation.allocation is None else variation.allocation) / 100,
        )
        for variation in experience.variations
        if variation.id
    )
    number = id_number(experience.id)
    kind = RuleType.TARGETED_DELIVERY if experience.type in _DELIVERIES else RuleType.EXPERIMENTATION
    return model.Rule(number, kind, 1.0, number, "", None, shares)


def _as_feature(experience: CompiledExperience, features: Iterable[CompiledFeature]) -> CompiledFeature:
    """The experience alone, each variation with all variables of the features it switches on; of one key the first."""
    raw = experience.experience
    types: dict[str, str] = {}
    by_variation: dict[str, dict[str, Any]] = {variation.id: {} for variation in raw.variations if variation.id}
    for feature in features:
        for source, given in feature.sources:
            if source is experience:
                types = {**feature.feature.types, **types}
                for variation_id, values in given.items():
                    if variation_id in by_variation:
                        by_variation[variation_id] = {**values, **by_variation[variation_id]}
    return CompiledFeature(Feature(raw.id, raw.key, raw.name, types, raw.place), [(experience, by_variation)])


def _all_ids(project: ConvertRuleset) -> list[str]:
    raw = project.project
    ids = [one.id for group in (raw.goals, raw.audiences, raw.segments, raw.features) for one in group]
    for experience in raw.experiences:
        ids += [experience.id, *(variation.id for variation in experience.variations)]
    return ids


def _type(declared: str, value: Any) -> str:
    if declared in _TYPES:
        return _TYPES[declared]
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, (int, float)):
        return "NUMBER"
    return "STRING" if isinstance(value, str) else "JSON"


def _date(version: str | None) -> int:
    """The time in a version ``<ISO date and time>-<number>``, in milliseconds since 1970; 0 when there is none."""
    try:
        moment = datetime.fromisoformat((version or "").rpartition("-")[0])
        return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0

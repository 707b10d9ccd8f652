"""
A project as a person thinks of it: flags, their rules, who they are for, and the goals they are measured by.

The model knows neither how a project is written down (`project_file.py`) nor what the service sends to SDKs
(`configuration.py`), so that both a file and an API may build one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kameleoon.server.release import Release

DEFAULT_ENVIRONMENT = "production"
"""Environment of a request that names none. Source: automation-api.md, section 10."""

ACTIVE = "active"
"""State of a rule that is given out."""

_SHARE_TOLERANCE = 1e-9


class RuleType(Enum):
    """How a rule chooses: drawn between variations and measured, or one variation handed out."""

    EXPERIMENT = "experiment"
    DELIVERY = "deliver"


class VariableType(Enum):
    """Types of a flag's variables. Source: evaluation.md, section 1.6."""

    BOOLEAN = "BOOLEAN"
    NUMBER = "NUMBER"
    STRING = "STRING"
    JSON = "JSON"
    CSS = "CSS"
    JS = "JS"


class Joined(Enum):
    """How the members of a segment or of a group are combined."""

    ALL = "all"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One condition on a visitor, in the service's own vocabulary.

    Attributes:
        targeting_type: The service's name of the condition, such as ``DEVICE_TYPE``.
        fields: The condition's own fields, as the service's JSON has them; references are ids.
        include: False negates the condition.

    Source:
        evaluation.md, sections 4.3 and 4.4.
    """

    targeting_type: str
    fields: Mapping[str, Any]
    include: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """
    Conditions combined in one way.

    Raises:
        ValueError: There is no condition: the service takes an empty group for one that always matches.
    """

    joined: Joined
    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ValueError("a group needs at least one condition")


@dataclass(frozen=True, slots=True)
class Segment:
    """
    Visitors told apart by conditions.

    Attributes:
        key: What people call it.
        id: What rules refer to.
        joined: How the groups are combined.
        groups: One or more.
        audience_tracking: Whether SDKs report who is in it (`evaluate_audiences`).
    """

    key: str
    id: int
    joined: Joined
    groups: tuple[Group, ...]
    name: str = ""
    audience_tracking: bool = False

    def __post_init__(self) -> None:
        if not self.groups:
            raise ValueError(f"segment {self.key!r} needs at least one condition")


@dataclass(frozen=True, slots=True)
class CustomDatum:
    """
    One entry of the custom data catalogue.

    Attributes:
        index: Position used by `CustomData(index, …)`, 0 or more.
        scope: ``VISITOR``, ``VISIT`` or ``PAGE``.
        local_only: Usable for targeting, never sent.
        mapping_identifier: Its value links an anonymous visitor to a known one.

    Source:
        evaluation.md, section 1.3.
    """

    name: str
    index: int
    id: int
    scope: str = "VISIT"
    local_only: bool = False
    mapping_identifier: bool = False


@dataclass(frozen=True, slots=True)
class Goal:
    """
    What a conversion is counted for.

    Attributes:
        id: What applications pass to `track_conversion`.
        multiple: Every conversion of a visit counts in the Automation API's results, not the first alone.
    """

    key: str
    id: int
    name: str = ""
    multiple: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """
    A variable's value in one variation.

    Attributes:
        value: Python value; for `VariableType.JSON` the structure itself, not its text.
    """

    key: str
    type: VariableType
    value: Any


@dataclass(frozen=True, slots=True)
class Variation:
    """One form of a flag. Attributes: `variables` is `{variable key: variable}` in the author's order."""

    key: str
    name: str = ""
    variables: Mapping[str, Variable] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Share:
    """
    A variation's part of a rule.

    Attributes:
        variation_id: The service's id of the variation within this rule; tracking lines carry it.
        share: Part of the exposed visitors, 0 to 1.
    """

    variation_key: str
    variation_id: int
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"the share of {self.variation_key!r} is {self.share}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule of a flag, tried in the flag's order.

    Attributes:
        key: Unique within the flag.
        id: Decides, with the visitor code, who is exposed.
        experiment_id: Decides, with the visitor code, the variation; tracking lines carry it.
        segment_key: Who the rule is for; None is everybody.
        exposition: Part of those visitors who are exposed, 0 to 1.
        shares: In drawing order, which is part of the bucketing; they sum to 1.
        respool_time: Changed to draw all visitors anew.
        is_paused: Kept, but not given out to clients: as if it were not there.
        release: Given out in this window of time only; None is always.

    Raises:
        ValueError: Shares do not sum to 1, or a delivery has not exactly one variation.

    Source:
        evaluation.md, section 1.5; automation-api.md, section 10.
    """

    key: str
    type: RuleType
    id: int
    experiment_id: int
    shares: tuple[Share, ...]
    segment_key: str | None = None
    exposition: float = 1.0
    respool_time: int | None = None
    is_paused: bool = False
    release: Release | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.exposition <= 1:
            raise ValueError(f"the exposition of rule {self.key!r} is {self.exposition}, expected 0 to 1")
        if self.type is RuleType.DELIVERY and len(self.shares) != 1:
            raise ValueError(f"rule {self.key!r} delivers {len(self.shares)} variations, expected one")
        total = math.fsum(share.share for share in self.shares)
        if abs(total - 1) > _SHARE_TOLERANCE:
            raise ValueError(f"the shares of rule {self.key!r} sum to {total}, expected 1")

    def state(self, at_ms: int) -> str:
        """``active`` while the rule is given out; otherwise ``paused``, or ``not yet`` or ``over`` outside its window."""
        if self.is_paused:
            return "paused"
        if self.release is not None and self.release.is_ahead(at_ms):
            return "not yet"
        return "over" if self.release is not None and self.release.is_over(at_ms) else ACTIVE


@dataclass(frozen=True, slots=True)
class Own:
    """
    What a flag has of its own in one environment; None where it has what it has everywhere.

    Attributes:
        rules: Stand in place of the flag's rules; an empty tuple for no rule at all.
    """

    default_variation: str | None = None
    rules: tuple[Rule, ...] | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """
    A feature flag.

    Attributes:
        default_variation: Key of the variation for whoever no rule exposes.
        rules: In environments that have none of their own.
        enabled_in: Environments in which the flag is on.
        own: `{environment: what differs there}`.
        exclusive_group: Among flags of one group a visitor gets at most one.
        bucket_by: Name of the custom data that replaces the visitor code when drawing.

    Raises:
        ValueError: A rule or the default names a variation that the flag has not, or keys repeat.
    """

    key: str
    id: int
    default_variation: str
    variations: tuple[Variation, ...]
    rules: tuple[Rule, ...] = ()
    enabled_in: frozenset[str] = frozenset()
    name: str = ""
    exclusive_group: str | None = None
    bucket_by: str | None = None
    own: Mapping[str, Own] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        keys = {variation.key for variation in self.variations}
        used = {self.default_variation} | {own.default_variation for own in self.own.values() if own.default_variation}
        used |= {share.variation_key for _, rule in self.all_rules() for share in rule.shares}
        if unknown := sorted(used - keys):
            raise ValueError(f"flag {self.key!r} has no variation {', '.join(map(repr, unknown))}")
        for kind, names in (
            ("variation", [variation.key for variation in self.variations]),
            *(("rule", [rule.key for rule in rules]) for _, rules in self.rule_lists()),
        ):
            if repeated := _repeated(names):
                raise ValueError(f"flag {self.key!r} has two {kind}s {repeated!r}")

    def default_in(self, environment: str) -> str:
        """Key of the variation for whoever no rule exposes in *environment*."""
        own = self.own.get(environment)
        return own.default_variation if own and own.default_variation is not None else self.default_variation

    def rules_in(self, environment: str) -> tuple[Rule, ...]:
        """The rules that hold in *environment*, paused ones too."""
        own = self.own.get(environment)
        return own.rules if own and own.rules is not None else self.rules

    def rule_lists(self) -> Iterator[tuple[str | None, tuple[Rule, ...]]]:
        """Yields: ``(environment, rules)``; None stands for all environments without rules of their own."""
        yield None, self.rules
        for environment, own in self.own.items():
            if own.rules is not None:
                yield environment, own.rules

    def all_rules(self) -> Iterator[tuple[str | None, Rule]]:
        """Yields: ``(environment, rule)`` as in `rule_lists`."""
        for environment, rules in self.rule_lists():
            for rule in rules:
                yield environment, rule


@dataclass(frozen=True, slots=True)
class Holdout:
    """
    Visitors kept out of every experiment, to measure all of them together.

    Attributes:
        exposition: Part of all visitors, 0 to 1.

    Source:
        evaluation.md, section 1.7.
    """

    exposition: float
    experiment_id: int
    held_variation_id: int
    free_variation_id: int

    def __post_init__(self) -> None:
        if not 0 <= self.exposition <= 1:
            raise ValueError(f"the holdout is {self.exposition}, expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Consent:
    """
    Whether visitors must agree first.

    Attributes:
        required: Experiments of visitors who refused are blocked.
        refusal_blocks_all: A refusal blocks delivery rules too.

    Source:
        evaluation.md, section 1.2.
    """

    required: bool = False
    refusal_blocks_all: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """
    All of one project.

    Attributes:
        site_code: What clients name the project by.
        environments: At least one; the first is the default when none is called ``production``.
        streaming: Clients listen for changes instead of asking for them now and then.

    Raises:
        ValueError: There is no environment, a flag or segment key repeats, an id is used twice, or a rule names a
            segment that does not exist.
    """

    site_code: str
    environments: tuple[str, ...] = (DEFAULT_ENVIRONMENT,)
    name: str = ""
    custom_data: tuple[CustomDatum, ...] = ()
    goals: tuple[Goal, ...] = ()
    segments: tuple[Segment, ...] = ()
    flags: tuple[Flag, ...] = ()
    holdout: Holdout | None = None
    consent: Consent = Consent()
    streaming: bool = False

    def __post_init__(self) -> None:
        if not self.environments:
            raise ValueError("a project needs at least one environment")
        for kind, names in (
            ("flag", [flag.key for flag in self.flags]),
            ("segment", [segment.key for segment in self.segments]),
            ("goal", [goal.key for goal in self.goals]),
            ("custom data", [datum.name for datum in self.custom_data]),
            ("id", [f"{number} among {space}" for space, _, number in self.numbered()]),
        ):
            if repeated := _repeated(names):
                raise ValueError(f"the project has {kind} {repeated!r} twice")
        segments = {segment.key for segment in self.segments}
        for flag in self.flags:
            if unknown := sorted({*flag.own, *flag.enabled_in} - set(self.environments)):
                raise ValueError(f"flag {flag.key!r} names no environment {', '.join(map(repr, unknown))}")
            for _, rule in flag.all_rules():
                if rule.segment_key is not None and rule.segment_key not in segments:
                    raise ValueError(f"rule {rule.key!r} of flag {flag.key!r} is for no segment {rule.segment_key!r}")

    @property
    def default_environment(self) -> str:
        """Environment of a request that names none: ``production`` when there is one, else the first."""
        return DEFAULT_ENVIRONMENT if DEFAULT_ENVIRONMENT in self.environments else self.environments[0]

    def next_edge_ms(self, at_ms: int) -> int | None:
        """When, after a moment, the next window of a rule opens or closes, in ms since 1970; None when none does."""
        releases = (rule.release for flag in self.flags for _, rule in flag.all_rules() if not rule.is_paused)
        edges = (edge for release in releases if release is not None for edge in release.edges_ms)
        return min((edge for edge in edges if edge > at_ms), default=None)

    def numbered(self) -> Iterator[tuple[str, str, int]]:
        """
        Every id of the project with what it stands for.

        Yields:
            ``(space, description, id)``. No id may be given twice within a space; flags, rules, experiments and
            variations share one, because SDKs index them together.

        Source:
            automation-api.md, section 10.
        """
        for datum in self.custom_data:
            yield "custom data", f"custom data {datum.name}", datum.id
        for goal in self.goals:
            yield "goals", f"goal {goal.key}", goal.id
        for segment in self.segments:
            yield "segments", f"segment {segment.key}", segment.id
        if self.holdout is not None:
            yield "flags", "the holdout's experiment", self.holdout.experiment_id
            yield "flags", "the holdout's held variation", self.holdout.held_variation_id
            yield "flags", "the holdout's free variation", self.holdout.free_variation_id
        for flag in self.flags:
            yield "flags", f"flag {flag.key}", flag.id
            for environment, rule in flag.all_rules():
                label = rule_label(flag.key, environment, rule.key)
                yield "flags", f"rule {label}", rule.id
                yield "flags", f"experiment of {label}", rule.experiment_id
                for share in rule.shares:
                    yield "flags", f"variation {label}/{share.variation_key}", share.variation_id


def rule_label(flag: str, environment: str | None, rule: str) -> str:
    """What a rule is called in messages."""
    return f"{flag}/{rule}" if environment is None else f"{flag}/{environment}/{rule}"


def rule_names(flag: str, environment: str | None, rule: str) -> tuple[str, ...]:
    """What `derive_id` makes a rule's id from; more names are added for what belongs to the rule."""
    return ("flag", flag, *(("environment", environment) if environment is not None else ()), "rule", rule)


def derive_id(*names: str) -> int:
    """
    Id for something that its author gave none: a hash of its names, so that it is the same in every run and does not move
    when something else is added or renamed.

    Args:
        names: What the thing is and what it is called, from the outside in.

    Returns:
        1 to 2**31 - 1.
    """
    digest = hashlib.sha256("\x1f".join(names).encode()).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 1) + 1


def _repeated(names: list[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)

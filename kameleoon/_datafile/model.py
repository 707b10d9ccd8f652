"""
What a configuration says, in our own terms.

Every value here is complete: a piece of JSON that cannot be read becomes a `Problem` beside the model, never a half-built value in
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One piece of the configuration that is out of service.

    Attributes:
        place: Where it stands, such as ``featureFlags[checkout].rules[2]``.
        reason: What is wrong with it, in one sentence.
    """

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class RuleType(Enum):
    """The kinds of rule; `UNKNOWN` behaves like an experimentation that consent never blocks."""

    EXPERIMENTATION = "EXPERIMENTATION"
    TARGETED_DELIVERY = "TARGETED_DELIVERY"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class CustomDataEntry:
    """One entry of the custom data catalogue."""

    index: int
    id: int | None
    name: str | None
    local_only: bool
    visitor_scope: bool
    is_mapping: bool


@dataclass(frozen=True, slots=True)
class Catalogue:
    """
    The custom data known to the configuration.

    Attributes:
        by_index: ``{index: entry}``
        index_by_name: ``{name: index}``
        index_by_id: ``{catalogue id: index}``
        mapping_index: The index whose value maps an anonymous visitor to a known one, if any.
    """

    by_index: Mapping[int, CustomDataEntry]
    index_by_name: Mapping[str, int]
    index_by_id: Mapping[int, int]
    mapping_index: int | None


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``configuration`` object."""

    real_time: bool = False
    consent_required: bool = False
    consent_full_block: bool = False
    data_api_domain: str | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """One entry of ``variationByExposition``; *exposition* is a share between 0 and 1, not checked by the service."""

    variation_key: str
    variation_id: int | None
    exposition: float


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One targeting condition.

    Attributes:
        type: The literal of ``targetingType``, or ``None`` when missing.
        include: ``False`` negates the condition's result.
        fields: The condition's JSON object, read by the condition's compiler.
    """

    type: str | None
    include: bool
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """
    Conditions joined by operators, read right-recursively.

    Attributes:
        conditions: The operands; empty means "true".
        ors: ``ors[i]`` stands between operand ``i`` and ``i + 1``: ``True`` for OR, ``False`` for AND.
    """

    conditions: tuple[Condition, ...]
    ors: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """Groups joined by operators, as in `Group`; *ors* may be too short, see `kameleoon._engine.tree`."""

    groups: tuple[Group, ...]
    ors: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A targeting segment; no *tree* matches everybody, a *problem* matches nobody."""

    id: int
    audience_tracking: bool
    tree: Tree | None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """
    One rule with its experiment.

    Attributes:
        id: Text hashed for the rule's exposition.
        experiment_id: Key of the assigned variation; ``None`` is evaluated but never stored.
        respool: Text appended to what is hashed, may be empty.
        exposition: Share of targeted visitors that are exposed.
        segment: The segment aimed at, ``None`` for everybody.
        shares: The experiment's variations in the order they are tried.
    """

    id: int
    type: RuleType
    exposition: float
    experiment_id: int | None
    respool: str
    segment: Segment | None
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of a variation; *value* is decoded already."""

    key: str
    type: str
    value: Any


@dataclass(frozen=True, slots=True)
class Variation:
    """A variation with its variables, duplicates kept in order."""

    key: str
    name: str
    variables: tuple[Variable, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """A feature flag; *enabled* is the JSON value as it stands, its truth decides."""

    id: int
    key: str
    enabled: Any
    default_variation_key: str
    variations: tuple[Variation, ...]
    rules: tuple[Rule, ...]
    group: str | None
    bucketing_id: int | None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Holdout:
    """The site-wide holdout experiment."""

    experiment_id: int
    shares: tuple[Share, ...]

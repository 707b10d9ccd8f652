"""Why a visitor gets what he gets: each rule and condition, what was compared with what, and how it ended."""

from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from kameleoon.types.reason import Reason
from kameleoon.types.variation import Variation


@dataclass(frozen=True, slots=True)
class HashExplanation:
    """
    One hash and what it was held against.

    Attributes:
        purpose: ``holdout``, ``group``, ``exposition``, ``variation`` or ``scores``.
        text: What was hashed.
        value: Its place between 0 and 1, both included.
        thresholds: ``(name, bound)``: the first bound that is not below the value wins; for a group and for scores the bounds
            are even parts of 1.
        result: The winner's name, ``None`` when all bounds are below the value.
    """

    purpose: str
    text: str
    value: float
    thresholds: tuple[tuple[str, float], ...]
    result: str | None

    def __str__(self) -> str:
        bounds = ", ".join(f"{name} up to {bound:g}" for name, bound in self.thresholds) or "no shares"
        return f"{self.purpose}: hash {self.value!r}, {bounds}: {self.result or 'none'}"


@dataclass(frozen=True, slots=True)
class ConditionExplanation:
    """
    One targeting condition.

    Attributes:
        type: As the configuration has it, such as ``CUSTOM_DATUM``.
        group: Number of its group in the segment, from 0.
        include: ``False`` turns the result round.
        expected: What the condition asks for.
        actual: What is known of the visitor.
        matched: The result, include or exclude applied.
        problem: Why the condition is out of service, ``None`` when it is not.
    """

    type: str
    group: int
    include: bool
    expected: str
    actual: str
    matched: bool
    problem: str | None = None

    def __str__(self) -> str:
        word = "matches" if self.matched else "does not match"
        tail = "" if self.problem is None else f" (out of service: {self.problem})"
        negation = "" if self.include else "not "
        return f"{word}: {negation}{self.type} {self.expected}; found {self.actual}{tail}"


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """
    One rule that was looked at.

    Attributes:
        id: The rule.
        type: ``EXPERIMENTATION``, ``TARGETED_DELIVERY`` or ``UNKNOWN``.
        experiment_id: Its experiment.
        segment_id: The segment it aims at, ``None`` for everybody.
        is_targeted: Whether the visitor is in the segment; ``None`` when that was not asked.
        conditions: The segment's conditions, each on its own; what joins them is in *is_targeted*.
        hashes: Hashes that were worked out.
        outcome: How the rule ended, in a few words.
    """

    id: Any
    type: str
    experiment_id: Any
    segment_id: Any
    is_targeted: bool | None
    conditions: tuple[ConditionExplanation, ...]
    hashes: tuple[HashExplanation, ...]
    outcome: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Why a visitor gets what he gets. ``print`` it, or take it apart with `to_dict`.

    Attributes:
        visitor_code: The visitor.
        feature_key: The flag.
        variation: What he gets; ``None`` when the flag is disabled or blocked for him.
        reason: Why.
        rule: Id of the rule that gave it, ``None`` for none.
        is_known: Whether anything is known of the visitor.
        is_stale: Whether the last attempt to fetch the configuration failed, so that it may be old.
        hashed_code: The text that stands for him in hashes.
        steps: What was decided before any rule: simulation, environment, holdout, group, consent.
        hashes: Hashes of holdout and group.
        rules: The rules looked at, in their order; those behind the deciding one are left out.
        problems: What of the flag is out of service.
    """

    visitor_code: str
    feature_key: str
    variation: Variation | None
    reason: Reason
    rule: Any
    is_known: bool
    is_stale: bool
    hashed_code: str
    steps: tuple[str, ...]
    hashes: tuple[HashExplanation, ...]
    rules: tuple[RuleExplanation, ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists, texts and numbers, in the order of the attributes."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def __str__(self) -> str:
        given = "nothing" if self.variation is None else f"variation {self.variation.key!r}"
        by_rule = "" if self.rule is None else f" by rule {self.rule}"
        lines = [f"{self.feature_key} for {self.visitor_code!r}: {given}{by_rule}, {self.reason}"]
        if self.is_stale:
            lines.append("  the configuration may be old: the last fetch failed")
        if not self.is_known:
            lines.append("  nothing is known of the visitor")
        if self.hashed_code != self.visitor_code:
            lines.append(f"  hashed as {self.hashed_code!r}")
        lines += [f"  {step}" for step in self.steps]
        lines += [f"  {hashed}" for hashed in self.hashes]
        for rule in self.rules:
            lines.append(f"  rule {rule.id}, {rule.type}, experiment {rule.experiment_id}: {rule.outcome}")
            if rule.is_targeted is not None and rule.segment_id is not None:
                lines.append(f"    {'in' if rule.is_targeted else 'not in'} segment {rule.segment_id}")
            lines += [f"      {condition}" for condition in rule.conditions]
            lines += [f"    {hashed}" for hashed in rule.hashes]
        lines += [f"  out of service: {problem}" for problem in self.problems]
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value

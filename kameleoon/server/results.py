"""
Results: per flag, rule and variation, what was counted and how it compares with the reference.

Numbers of different rules of one flag are never added up: rules choose their visitors differently, so a sum would compare different
people.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from kameleoon.server import statistics
from kameleoon.server.project import RuleType
from kameleoon.server.statistics import Comparison, Interval, Mean, Rate
from kameleoon.server.stored import GoalTotals, VariationTotals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kameleoon.server.project import Flag, Goal, Project, Rule, Share

SAMPLE_RATIO_ALARM = 0.001
"""Below this p-value the shares are reported as broken."""


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


_T = TypeVar("_T", bound=_Keyed)
_NOBODY = VariationTotals(0, {})


@dataclass(frozen=True, slots=True)
class GoalResult:
    """
    One variation and one goal.

    Attributes:
        rate: Converted visitors over visitors, 0 to 1.
        rate_interval: Wilson's.
        revenue_per_visitor: Over all visitors, also those who did not convert.
        uplift: Relative change of the rate against the reference, 0.1 for ten percent more; None for the reference itself and
            where the reference has no conversion.
        uplift_interval: To be read once, at the planned end.
        p_value: Two-sided, belongs to *uplift_interval*.
        sequential_uplift_interval: To be looked at any time; None while there are too few conversions.
        sequential_p_value: Belongs to it.
        revenue: Difference of revenue per visitor against the reference, by Welch's test.
        sequential_revenue: The same, to be looked at any time.
    """

    key: str
    id: int
    converted: int
    conversions: int
    rate: float
    rate_interval: Interval
    revenue_total: float
    revenue_per_visitor: float
    uplift: float | None = None
    uplift_interval: Interval | None = None
    difference: Comparison | None = None
    p_value: float | None = None
    sequential_uplift_interval: Interval | None = None
    sequential_p_value: float | None = None
    revenue: Comparison | None = None
    sequential_revenue: Comparison | None = None


@dataclass(frozen=True, slots=True)
class VariationResult:
    """One variation of a rule. Attributes: `share` is the planned one, 0 to 1; `goals` are all of the project's."""

    key: str
    id: int
    share: float
    visitors: int
    is_reference: bool
    goals: tuple[GoalResult, ...]

    def goal(self, key: str) -> GoalResult:
        """The goal *key*; KeyError when the project has none."""
        return _named(self.goals, key)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """
    One rule of a flag.

    Attributes:
        environment: Where the rule holds; None for all environments without rules of their own.
        sample_ratio_p: Whether visitors were divided as planned; None for a delivery or without visitors.
        is_ratio_broken: *sample_ratio_p* is below `SAMPLE_RATIO_ALARM`: other numbers of this rule cannot be trusted.
    """

    key: str
    environment: str | None
    type: RuleType
    experiment_id: int
    segment: str | None
    exposition: float
    visitors: int
    sample_ratio_p: float | None
    is_ratio_broken: bool
    variations: tuple[VariationResult, ...]

    def variation(self, key: str) -> VariationResult:
        """The variation *key*; KeyError when the rule has none."""
        return _named(self.variations, key)


@dataclass(frozen=True, slots=True)
class FlagResult:
    """One flag; rules in their order."""

    key: str
    name: str
    rules: tuple[RuleResult, ...]

    def rule(self, key: str) -> RuleResult:
        """The rule *key*, the one for all environments first; KeyError when the flag has none."""
        return _named(self.rules, key)


@dataclass(frozen=True, slots=True)
class Results:
    """All of a project's results. Attributes: `confidence` holds for every interval."""

    site_code: str
    confidence: float
    flags: tuple[FlagResult, ...]

    def flag(self, key: str) -> FlagResult:
        """The flag *key*; KeyError when the project has none."""
        return _named(self.flags, key)

    def as_json(self) -> dict[str, Any]:
        """The same for `json.dumps`, names in camel case; an end that nothing bounds becomes null."""
        return {
            "siteCode": self.site_code,
            "confidence": self.confidence,
            "flags": [
                {"key": flag.key, "name": flag.name, "rules": [_rule_json(rule) for rule in flag.rules]}
                for flag in self.flags
            ],
        }


def build_results(
    project: Project, totals: Mapping[int, Mapping[int, VariationTotals]], *, confidence: float = statistics.CONFIDENCE
) -> Results:
    """
    Results of every flag.

    Args:
        project: Its flags, rules and goals give the shape.
        totals: `{experiment id: {variation id: totals}}`, as `Storage.totals` gives them. What belongs to no rule of the project, such
            as a rule that was removed, is left out.
        confidence: Of every interval, between 0 and 1.
    """
    flags = tuple(
        FlagResult(
            flag.key,
            flag.name,
            tuple(
                _rule(flag, environment, rule, totals.get(rule.experiment_id, {}), project.goals, confidence)
                for environment, rule in flag.all_rules()
            ),
        )
        for flag in project.flags
    )
    return Results(project.site_code, confidence, flags)


def reference_share(flag: Flag, rule: Rule) -> Share:
    """What the others are compared with: the flag's default variation if the rule has it, else ``off``, else the first."""
    by_key = {share.variation_key: share for share in rule.shares}
    return by_key.get(flag.default_variation) or by_key.get("off") or rule.shares[0]


def _rule(
    flag: Flag,
    environment: str | None,
    rule: Rule,
    totals: Mapping[int, VariationTotals],
    goals: tuple[Goal, ...],
    confidence: float,
) -> RuleResult:
    reference = reference_share(flag, rule)
    reference_totals = totals.get(reference.variation_id, _NOBODY)
    visitors = [totals.get(share.variation_id, _NOBODY).visitors for share in rule.shares]
    is_experiment = rule.type is RuleType.EXPERIMENT
    ratio_p = statistics.sample_ratio_p(visitors, [share.share for share in rule.shares]) if is_experiment else None
    return RuleResult(
        key=rule.key,
        environment=environment,
        type=rule.type,
        experiment_id=rule.experiment_id,
        segment=rule.segment_key,
        exposition=rule.exposition,
        visitors=sum(visitors),
        sample_ratio_p=ratio_p,
        is_ratio_broken=ratio_p is not None and ratio_p < SAMPLE_RATIO_ALARM,
        variations=tuple(
            VariationResult(
                key=share.variation_key,
                id=share.variation_id,
                share=share.share,
                visitors=count,
                is_reference=share is reference,
                goals=tuple(
                    _goal(
                        goal,
                        totals.get(share.variation_id, _NOBODY),
                        None if share is reference or not is_experiment else reference_totals,
                        confidence,
                    )
                    for goal in goals
                ),
            )
            for share, count in zip(rule.shares, visitors, strict=True)
        ),
    )


def _goal(goal: Goal, ours: VariationTotals, theirs: VariationTotals | None, confidence: float) -> GoalResult:
    counted = ours.goals.get(goal.id, GoalTotals())
    rate = Rate(counted.converted, ours.visitors)
    plain: dict[str, Any] = {
        "key": goal.key,
        "id": goal.id,
        "converted": counted.converted,
        "conversions": counted.conversions,
        "rate": rate.value,
        "rate_interval": statistics.wilson_interval(rate, confidence),
        "revenue_total": counted.revenue,
        "revenue_per_visitor": counted.revenue / ours.visitors if ours.visitors else 0.0,
    }
    if theirs is None:
        return GoalResult(**plain)
    reference_counted = theirs.goals.get(goal.id, GoalTotals())
    reference = Rate(reference_counted.converted, theirs.visitors)
    difference = statistics.compare_rates(rate, reference, confidence)
    sequential = statistics.sequential_uplift(rate, reference, confidence)
    our_mean = Mean.of_sums(counted.revenue, counted.revenue_squares, ours.visitors)
    their_mean = Mean.of_sums(reference_counted.revenue, reference_counted.revenue_squares, theirs.visitors)
    return GoalResult(
        **plain,
        uplift=statistics.uplift(rate, reference) if rate.visitors else None,
        uplift_interval=statistics.uplift_interval(rate, reference, confidence),
        difference=difference,
        p_value=difference.p_value if difference else None,
        sequential_uplift_interval=sequential.interval if sequential else None,
        sequential_p_value=sequential.p_value if sequential else None,
        revenue=statistics.compare_means(our_mean, their_mean, confidence),
        sequential_revenue=statistics.sequential_difference(our_mean, their_mean, confidence),
    )


def _named(things: tuple[_T, ...], key: str) -> _T:
    for thing in things:
        if thing.key == key:
            return thing
    raise KeyError(key)


def _rule_json(rule: RuleResult) -> dict[str, Any]:
    return {
        "key": rule.key,
        "environment": rule.environment,
        "type": rule.type.value,
        "experimentId": rule.experiment_id,
        "segment": rule.segment,
        "exposition": rule.exposition,
        "visitors": rule.visitors,
        "sampleRatio": None
        if rule.sample_ratio_p is None
        else {"pValue": rule.sample_ratio_p, "broken": rule.is_ratio_broken},
        "variations": [
            {
                "key": variation.key,
                "variationId": variation.id,
                "share": variation.share,
                "visitors": variation.visitors,
                "isReference": variation.is_reference,
                "goals": [_goal_json(goal) for goal in variation.goals],
            }
            for variation in rule.variations
        ],
    }


def _goal_json(goal: GoalResult) -> dict[str, Any]:
    return {
        "key": goal.key,
        "id": goal.id,
        "converted": goal.converted,
        "conversions": goal.conversions,
        "rate": goal.rate,
        "rateInterval": _ends(goal.rate_interval),
        "revenue": goal.revenue_total,
        "revenuePerVisitor": goal.revenue_per_visitor,
        "uplift": goal.uplift,
        "upliftInterval": _ends(goal.uplift_interval),
        "pValue": goal.p_value,
        "sequentialUpliftInterval": _ends(goal.sequential_uplift_interval),
        "sequentialPValue": goal.sequential_p_value,
        "rateDifference": _comparison_json(goal.difference),
        "revenueDifference": _comparison_json(goal.revenue),
        "sequentialRevenueDifference": _comparison_json(goal.sequential_revenue),
    }


def _comparison_json(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {"difference": comparison.difference, "interval": _ends(comparison.interval), "pValue": comparison.p_value}


def _ends(interval: Interval | None) -> list[float | None] | None:
    if interval is None:
        return None
    return [end if math.isfinite(end) else None for end in (interval.low, interval.high)]

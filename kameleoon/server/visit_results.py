"""
Results of visits, as the Automation API tells them: counted from stored events when they are asked for. No I/O.

The page's results count visitors and are kept as events arrive; these know visits, intervals of time and the last variation seen.

Source:
    automation-api.md, section 9, "Local computation".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kameleoon.server import statistics
from kameleoon.server.automation_fields import FieldError, listed, truth
from kameleoon.server.lines import Conversion, Exposure
from kameleoon.server.results import reference_share
from kameleoon.server.statistics import Rate
from kameleoon.server.visits import VISIT_GAP_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kameleoon.server.automation_fields import Entity
    from kameleoon.server.project import Flag, Project, Rule, Share


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What a request for results wants.

    Attributes:
        intervals: ``(start, end)`` in ms since 1970, both included; without any, all times count.
        all_conversions: The rate is of conversions, not of visits with one.
        by_visitor: Rates are per visitor instead of per visit.
        goals: Only these, by id; None for all.
        reference: Id of the variation that the others are compared with, where a rule has it.
    """

    intervals: tuple[tuple[float, float], ...] = ()
    all_conversions: bool = True
    by_visitor: bool = False
    goals: frozenset[int] | None = None
    reference: str = ""

    def is_inside(self, time_ms: int) -> bool:
        """Whether a time counts."""
        return not self.intervals or any(start <= time_ms <= end for start, end in self.intervals)


def read_asked(body: Entity) -> Asked:
    """
    The body of a request for results.

    Raises:
        FieldError: A field makes no sense.
    """
    kind = body.get("conversionType", "ALL_CONVERSION")
    if kind not in {"ALL_CONVERSION", "CONVERTED_VISITS"}:
        raise FieldError("conversionType", "expected ALL_CONVERSION or CONVERTED_VISITS")
    goals = body.get("goalsIds")
    if goals is not None and not (isinstance(goals, list) and all(type(goal) is int for goal in goals)):
        raise FieldError("goalsIds", "expected an array of ids")
    return Asked(
        tuple((_time(given, "start"), _time(given, "end")) for given in listed(body, "dateIntervals")),
        kind == "ALL_CONVERSION",
        truth(body, "visitorData", False),
        frozenset(goals) if goals else None,
        str(body.get("referenceVariationId") or ""),
    )


def _time(interval: Entity, name: str) -> float:
    try:
        moment = datetime.fromisoformat(interval[name])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
    except (KeyError, TypeError, ValueError) as error:
        raise FieldError("dateIntervals", f"expected {name} as in 2026-01-31T08:00:00Z") from error


@dataclass(slots=True)
class _GoalCounts:
    conversions: int = 0
    visits: int = 0
    visitors: int = 0
    revenue: float = 0.0


@dataclass(slots=True)
class _Counts:
    visits: int = 0
    visitors: int = 0
    goals: dict[int, _GoalCounts] = field(default_factory=dict)

    def goal(self, number: int) -> _GoalCounts:
        return self.goals.setdefault(number, _GoalCounts())


class VisitResults:
    """
    Counts visitors one by one, then tells.

    Args:
        project: Its rules and goals give the shape.
        experiments: Whose variations are told, by id.
        asked: What is wanted.
    """

    def __init__(self, project: Project, experiments: frozenset[int], asked: Asked) -> None:
        self._project = project
        self._experiments = experiments
        self._asked = asked
        self._multiple = {goal.id for goal in project.goals if goal.multiple}
        self._counts: dict[tuple[int, int], _Counts] = {}

    def add(self, events: Iterable[tuple[int, Exposure | Conversion | None]]) -> None:
        """
        Count one visitor.

        Args:
            events: All that is stored of the visitor, in the order of time: ``(time in ms, what it says for results)``. Of one moment exposures
                come first.
        """
        visit, last_ms = -1, 0
        timed: list[tuple[int, int, Exposure | Conversion]] = []
        for time_ms, fact in events:
            if visit < 0 or time_ms - last_ms >= VISIT_GAP_MS:
                visit += 1
            last_ms = time_ms
            if fact is not None:
                timed.append((visit, time_ms, fact))
        for experiment in self._experiments:
            self._add_to(experiment, timed)

    def _add_to(self, experiment: int, timed: Sequence[tuple[int, int, Exposure | Conversion]]) -> None:
        exposed: dict[int, tuple[int, int]] = {}
        seen: tuple[int, int] | None = None
        credited: dict[tuple[int, int], list[tuple[int, float]]] = {}
        for visit, time_ms, fact in timed:
            if isinstance(fact, Exposure):
                if fact.experiment_id == experiment:
                    seen = visit, fact.variation_id
                    exposed[visit] = fact.variation_id, time_ms
            elif seen is not None:
                credited.setdefault(seen, []).append((fact.goal_id, fact.revenue))
        inside = {visit for visit, (_, time_ms) in exposed.items() if self._asked.is_inside(time_ms)}
        for visit in inside:
            self._of(experiment, exposed[visit][0]).visits += 1
        for variation in {exposed[visit][0] for visit in inside}:
            self._of(experiment, variation).visitors += 1
        converted: set[tuple[int, int]] = set()
        for (visit, variation), conversions in credited.items():
            if visit not in inside:
                continue
            counts = self._of(experiment, variation)
            met: set[int] = set()
            for goal, revenue in conversions:
                if goal in met and goal not in self._multiple:
                    continue
                of_goal = counts.goal(goal)
                of_goal.conversions += 1
                of_goal.revenue += revenue
                of_goal.visits += goal not in met
                of_goal.visitors += (variation, goal) not in converted
                met.add(goal)
                converted.add((variation, goal))

    def _of(self, experiment: int, variation: int) -> _Counts:
        return self._counts.setdefault((experiment, variation), _Counts())

    def as_json(self) -> Entity:
        """What ``GET /results`` gives when all are counted."""
        data: Entity = {}
        for flag in self._project.flags:
            for _, rule in flag.all_rules():
                if rule.experiment_id in self._experiments:
                    reference = self._reference(flag, rule)
                    for share in rule.shares:
                        general = self._general(rule.experiment_id, share, reference)
                        data[str(share.variation_id)] = {"breakdownData": {"_reference": {"generalData": general}}}
        return {"status": "READY", "data": {"variationData": data}}

    def _reference(self, flag: Flag, rule: Rule) -> Share:
        named = (share for share in rule.shares if str(share.variation_id) == self._asked.reference)
        return next(named, None) or reference_share(flag, rule)

    def _general(self, experiment: int, share: Share, reference: Share) -> Entity:
        ours, theirs = (self._of(experiment, one.variation_id) for one in (share, reference))
        wanted = self._asked.goals
        return {
            "visitCount": ours.visits,
            "visitorCount": ours.visitors,
            "goalsData": {
                str(goal.id): self._goal(goal.id, ours, theirs, is_reference=share is reference)
                for goal in self._project.goals
                if wanted is None or goal.id in wanted
            },
        }

    def _goal(self, goal: int, ours: _Counts, theirs: _Counts, *, is_reference: bool) -> dict[str, Any]:
        counts = ours.goal(goal)
        rate, base = self._rate(ours, goal), self._rate(theirs, goal)
        reliability = 0.0
        if not is_reference:
            compared = statistics.compare_rates(self._proportion(ours, goal), self._proportion(theirs, goal))
            reliability = 1 - compared.p_value if compared else 0.0
        return {
            "conversionCount": counts.conversions,
            "convertedVisitCount": counts.visits,
            "revenueCount": counts.revenue,
            "averageCart": counts.revenue / counts.conversions if counts.conversions else 0.0,
            "conversionRate": rate,
            "improvementRate": rate / base - 1 if base else None,
            "reliability": reliability,
        }

    def _rate(self, counts: _Counts, goal: int) -> float:
        of_goal = counts.goal(goal)
        told = of_goal.conversions if self._asked.all_conversions else of_goal.visits
        whole = counts.visitors if self._asked.by_visitor else counts.visits
        return told / whole if whole else 0.0

    def _proportion(self, counts: _Counts, goal: int) -> Rate:
        """For the test: each visit, or visitor, converted or not."""
        of_goal = counts.goal(goal)
        told, whole = (of_goal.visitors, counts.visitors) if self._asked.by_visitor else (of_goal.visits, counts.visits)
        # A visit with several variations counts for the last one and may have converted with another.
        return Rate(min(told, whole), whole)

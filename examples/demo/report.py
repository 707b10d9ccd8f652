"""The tables at the end, and the comparison of what the server counted with what the visitors did."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from visitors import Tally, tally

from kameleoon.server.project import RuleType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from visitors import Visit

    from kameleoon.server.results import GoalResult, Results, RuleResult
    from kameleoon.server.statistics import Interval
    from kameleoon.server.stored import StoredEvent
    from kameleoon.types.stats import Stats

_MOST_NAMED = 10
_WIDTH = 98


@dataclass(frozen=True, slots=True)
class Measured:
    """
    What client and server say.

    Attributes:
        results: The server's.
        counters: The server's, of all that arrived.
        events: All events the server stored.
        stats: The client's, after it was closed or flushed.
    """

    results: Results
    counters: dict[str, int]
    events: Sequence[StoredEvent]
    stats: Stats

    @property
    def lost(self) -> int:
        """Events that were produced and are not stored."""
        return self.stats.events_produced - self.counters["stored"]


# --- results --------------------------------------------------------------------------------------------------------------


def result_lines(results: Results, goal_key: str, *, people: str, acts: str) -> Iterator[str]:
    """
    The table of one goal.

    Args:
        results: The server's.
        goal_key: The goal.
        people: Heading of converted visitors, such as ``buyers``.
        acts: Heading of conversions, such as ``orders``.
    """
    level = f"{100 * results.confidence:g}%"
    head = f"{'':16}{'visitors':>9}{people:>9}{acts:>8}{'rate':>7}{'revenue':>13}  uplift of the rate ({level})"
    yield head
    yield "-" * _WIDTH
    for flag in results.flags:
        for rule in flag.rules:
            yield f"{flag.key}: {_about(rule)}"
            for variation in rule.variations:
                goal = variation.goal(goal_key)
                revenue = f"{goal.revenue_total:,.2f}" if goal.revenue_total else "-"
                yield (
                    f"  {variation.key:14}{variation.visitors:>9,}{goal.converted:>9,}{goal.conversions:>8,}"
                    f"{100 * goal.rate:>6.1f}%{revenue:>13}  {_comparison(rule, variation.is_reference, goal)}"
                ).rstrip()


def verdict_lines(results: Results, goal_key: str, *, acts: str) -> Iterator[str]:
    """What each experiment says of one goal, a sentence each; and a warning where visitors were not divided as planned."""
    for flag in results.flags:
        for rule in flag.rules:
            if rule.type is not RuleType.EXPERIMENT:
                continue
            if rule.is_ratio_broken:
                yield f"{flag.key}/{rule.key}: visitors were not divided as planned (p = {rule.sample_ratio_p:.2g})"
            better = [
                (goal.uplift, variation.key, goal)
                for variation in rule.variations
                if (goal := variation.goal(goal_key)).uplift is not None
                and (interval := goal.uplift_interval) is not None
                and interval.low > 0
            ]
            if not better:
                yield f"{flag.key}: no variation is better than the reference for sure"
                continue
            _, key, goal = max(better, key=lambda entry: entry[0] or 0.0)
            money = ""
            if goal.revenue is not None and goal.revenue_total:
                low, high = goal.revenue.interval.low, goal.revenue.interval.high
                money = f", {goal.revenue.difference:+.2f} revenue per visitor ({low:+.2f} to {high:+.2f})"
            yield f"{flag.key}: {key} wins with {_percent(goal.uplift)} {acts}{money}"


def unruled_lines(results: Results, visits: Iterable[Visit]) -> Iterator[str]:
    """What the pages showed of flags without a rule, for which the server has nothing to count."""
    shown = Counter(item for visit in visits for item in visit.shown.items())
    for flag in results.flags:
        if not flag.rules:
            counts = ", ".join(
                f"{count:,} saw {key!r}" for (name, key), count in sorted(shown.items()) if name == flag.key
            )
            yield f"{flag.key}: no rule, nothing to compare; {counts or 'nobody saw it'}"


def _about(rule: RuleResult) -> str:
    kind = f"experiment {rule.key}" if rule.type is RuleType.EXPERIMENT else "delivery"
    to = f" to {rule.segment}" if rule.segment else " to everybody"
    return f"{kind}{to}" + (f", {100 * rule.exposition:g}% take part" if rule.exposition < 1 else "")


def _comparison(rule: RuleResult, is_reference: bool, goal: GoalResult) -> str:
    if rule.type is not RuleType.EXPERIMENT:
        return "nothing to compare"
    if is_reference:
        return "reference"
    if goal.uplift is None:
        return "not yet known"
    return f"{_percent(goal.uplift):>7}{_interval(goal.uplift_interval)}"


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return ""
    verdict = "better" if interval.low > 0 else "worse" if interval.high < 0 else ""
    return f"  {f'({_percent(interval.low)} to {_percent(interval.high)})':19} {verdict}"


def _percent(share: float | None) -> str:
    return "?" if share is None else "no limit" if abs(share) > 1e4 else f"{100 * share:+.1f}%"


# --- events ---------------------------------------------------------------------------------------------------------------


def event_lines(measured: Measured) -> Iterator[str]:
    """What became of events on their way, and of what kinds they were."""
    stats, counters = measured.stats, measured.counters
    yield f"{'produced by the client':32}{stats.events_produced:>9,}"
    yield f"{'sent, accepted by the server':32}{stats.events_sent:>9,}   {_retries(stats.requests_retried)}"
    yield f"{'received and stored':32}{counters['stored']:>9,}   in {counters['requests']:,} requests"
    yield f"{'received again after a retry':32}{counters['duplicates']:>9,}   not counted twice"
    yield f"{'refused or given up':32}{counters['refused'] + stats.events_dropped:>9,}"
    yield f"{'lost':32}{measured.lost:>9,}"
    kinds = Counter(event.type for event in measured.events)
    listed = "of these " + ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    yield from textwrap.wrap(listed, _WIDTH, subsequent_indent="  ")
    exposures = {(event.visitor, event.parameters.get("id")) for event in measured.events if event.type == "experiment"}
    yield f"An exposure is sent again with a later evaluation: {kinds['experiment']:,} events for {len(exposures):,} exposures."
    yield "An activity says that a visitor is there and nothing else is new."


def _retries(requests: int) -> str:
    return "no request was repeated" if not requests else f"{requests:,} requests were repeated"


# --- the check ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Check:
    """One comparison: how many figures were compared, and what differed."""

    name: str
    compared: int
    differences: list[str]

    def line(self) -> str:
        """One line for people."""
        verdict = "all the same" if not self.differences else f"{len(self.differences):,} DIFFERENT"
        return f"{self.name:64}{self.compared:>9,}   {verdict}"


def check(measured: Measured, visits: Sequence[Visit]) -> list[Check]:
    """Compare what the server counted with what the visitors saw and did."""
    return [
        *_check_results(measured.results, tally(visits)),
        _check_exposures(measured, visits),
        _check_conversions(measured.events, visits),
        _check_pages(measured.events, visits),
        _check_delivery(measured),
        _check_visits(visits),
    ]


def difference_lines(checks: Iterable[Check]) -> Iterator[str]:
    """What differs, in words, the first few of each check."""
    for one in checks:
        yield from (f"{one.name}: {text}" for text in one.differences[:_MOST_NAMED])
        if len(one.differences) > _MOST_NAMED:
            yield f"{one.name}: and {len(one.differences) - _MOST_NAMED:,} more"


def _check_results(results: Results, tallies: dict[tuple[int, int], Tally]) -> list[Check]:
    visitors = Check("visitors of each variation, as the pages showed it", 0, [])
    conversions = Check("converted visitors and conversions of each variation and goal", 0, [])
    revenue = Check("revenue of each variation and goal, to the cent", 0, [])
    for flag in results.flags:
        for rule in flag.rules:
            for variation in rule.variations:
                truth = tallies.get((rule.experiment_id, variation.id), Tally())
                where = f"{flag.key}, rule {rule.key}, {variation.key}"
                _compare(visitors, where, variation.visitors, truth.visitors)
                for goal in variation.goals:
                    place = f"{where}, {goal.key}"
                    _compare(conversions, f"{place}, converted", goal.converted, truth.converted[goal.id])
                    _compare(conversions, f"{place}, conversions", goal.conversions, truth.conversions[goal.id])
                    _compare(revenue, f"{place}, cents", round(100 * goal.revenue_total), truth.cents[goal.id])
    return [visitors, conversions, revenue]


def _compare(to: Check, where: str, counted: int, truth: int) -> None:
    to.compared += 1
    if counted != truth:
        to.differences.append(f"{where}: the server counted {counted:,}, the visitors {truth:,}")


def _check_exposures(measured: Measured, visits: Sequence[Visit]) -> Check:
    # A holdout is an experiment too, which pages do not show.
    of_rules = {rule.experiment_id for flag in measured.results.flags for rule in flag.rules}
    received = Counter(
        {
            (event.visitor, int(event.parameters["id"]), int(event.parameters["variationId"]))
            for event in measured.events
            if event.type == "experiment" and int(event.parameters["id"]) in of_rules
        }
    )
    shown = Counter((visit.code, *exposure) for visit in visits for exposure in visit.exposures.items())
    return _same("each visitor's own exposures", received, shown)


def _check_conversions(events: Iterable[StoredEvent], visits: Sequence[Visit]) -> Check:
    received = Counter(
        (event.visitor, int(event.parameters["goalId"]), round(100 * float(event.parameters["revenue"])))
        for event in events
        if event.type == "conversion"
    )
    made = Counter((visit.code, one.goal_id, one.cents) for visit in visits for one in visit.conversions)
    return _same("each visitor's own conversions", received, made)


def _check_pages(events: Iterable[StoredEvent], visits: Sequence[Visit]) -> Check:
    received = Counter((event.visitor, event.parameters["href"]) for event in events if event.type == "page")
    read = Counter((visit.code, page) for visit in visits for page in visit.pages)
    return _same("each visitor's own page views", received, read)


def _same(
    name: str, received: Counter[tuple[str, int, int]] | Counter[tuple[str, str]], truth: Counter[object]
) -> Check:
    differences = [f"missing: {entry}" for entry in (truth - received)]  # type: ignore[operator]
    differences += [f"too many: {entry}" for entry in (received - truth)]  # type: ignore[operator]
    return Check(name, sum(truth.values()), differences)


def _check_delivery(measured: Measured) -> Check:
    stats, counters = measured.stats, measured.counters
    found = Check("events on their way: none lost, refused, given up or left over", stats.events_produced, [])
    for name, count in (
        ("lost", measured.lost),
        ("refused by the server", counters["refused"]),
        ("given up by the client", stats.events_dropped),
        ("still waiting in the client", stats.events_pending),
        ("produced and not accepted", stats.events_produced - stats.events_sent),
    ):
        if count:
            found.differences.append(f"{count:,} {name}")
    return found


def _check_visits(visits: Sequence[Visit]) -> Check:
    problems = [f"visitor {visit.number}: {text}" for visit in visits for text in visit.problems]
    return Check(
        "carts with their variation's title, columns, steps and button", sum(v.designs for v in visits), problems
    )

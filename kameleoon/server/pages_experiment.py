"""The page of one rule: what can be said of its variations, in words, numbers and plots."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kameleoon.server.charts import (
    Bar,
    Line,
    interval_words,
    signed,
    time_plot,
    uplift_plot,
)
from kameleoon.server.forecast import forecast
from kameleoon.server.html import Html, h
from kameleoon.server.pages_layout import DASH, Surroundings, page, rule_sentence, table
from kameleoon.server.project import RuleType
from kameleoon.server.statistics import Rate, sequential_uplift

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kameleoon.server.project import Flag, Rule
    from kameleoon.server.results import GoalResult, RuleResult, VariationResult
    from kameleoon.server.stored import Moment


def experiment_page(
    around: Surroundings,
    flag: Flag,
    rule: Rule,
    result: RuleResult,
    goal_key: str,
    moments: Sequence[Moment],
    *,
    started_ms: int | None,
    now_ms: int,
    confidence: float,
) -> str:
    """``/page/experiment``: results of one rule by one goal."""
    project = around.project
    goals = [
        h(
            "li",
            h(
                "a",
                goal.name or goal.key,
                href=around.link(
                    "/page/experiment", flag=flag.key, environment=result.environment, rule=rule.key, goal=goal.key
                ),
                aria_current="page" if goal.key == goal_key else None,
            ),
        )
        for goal in project.goals
    ]
    elapsed_s = 1.0 if started_ms is None else max(1.0, (now_ms - started_ms) / 1000)
    body: list[Html | None] = [_ratio_words(result)]
    if not goal_key:
        body.append(h("p", "The project has no goals, so there is nothing to compare.", class_="note"))
    else:
        body += _goal_parts(result, goal_key, moments, elapsed_s=elapsed_s, confidence=confidence)
    return page(
        around,
        f"{rule.key} of {flag.name or flag.key}",
        h(
            "p",
            h("a", "Flags", href=around.link("/")),
            " / ",
            h("a", flag.name or flag.key, href=around.link("/page/flag", key=flag.key)),
            " /",
            class_="crumbs",
        ),
        h("h1", f"Rule {rule.key}"),
        h(
            "p",
            rule_sentence(project, rule),
            f" {result.visitors:,} visitors so far.",
            f" In {result.environment} alone." if result.environment else None,
            class_="quiet",
        ),
        h("nav", h("ul", goals), aria_label="Goals", class_="tabs") if goals else None,
        body,
    )


def _goal_parts(
    result: RuleResult, goal_key: str, moments: Sequence[Moment], *, elapsed_s: float, confidence: float
) -> list[Html | None]:
    others = [variation for variation in result.variations if not variation.is_reference]
    reference = next(variation for variation in result.variations if variation.is_reference)
    bars = [
        Bar(variation.key, goal.uplift, goal.uplift_interval, goal.sequential_uplift_interval)
        for variation in others
        if (goal := variation.goal(goal_key)).uplift is not None
    ]
    lines = [_line(variation, reference, goal_key, moments, confidence) for variation in others]
    plot, growth = uplift_plot(bars), time_plot(lines)
    nothing = h("p", "Not enough visitors yet: at least ten conversions on each side are needed.", class_="quiet")
    if any(line.points for line in lines):
        growth = growth or h("p", "All of it came within a moment; the next events make a line of it.", class_="quiet")
    return [
        h(
            "section",
            h("h2", "What can be said"),
            [_verdict(variation, reference, goal_key, elapsed_s, confidence) for variation in others]
            if result.type is RuleType.EXPERIMENT
            else h("p", "A delivery compares nothing: all its visitors get the same."),
            class_="card",
        ),
        h("section", h("h2", "Results"), _results_table(result, goal_key, confidence), class_="card"),
        h(
            "section",
            h("h2", f"Change against {reference.key}"),
            h(
                "p",
                f"The dot is what was seen, the line its {confidence:.0%} interval for one look at the planned end, the band the"
                " interval that stays valid however often you look.",
                class_="quiet",
            ),
            plot or nothing,
            class_="card",
        )
        if others
        else None,
        h(
            "section",
            h("h2", "The always-valid interval over time"),
            h(
                "p",
                f"Change against {reference.key} since the first visitor. Once a band leaves out 0 the change is real, whenever you looked.",
                class_="quiet",
            ),
            growth or nothing,
            class_="card",
        )
        if others
        else None,
    ]


def _ratio_words(result: RuleResult) -> Html | None:
    if result.sample_ratio_p is None:
        return None
    counts = ", ".join(f"{variation.key} {variation.visitors:,}" for variation in result.variations)
    if result.is_ratio_broken:
        return h(
            "p",
            f"The visitors are not divided as planned: {counts}. By chance this happens once in {1 / max(result.sample_ratio_p, 1e-300):,.0f}"
            " experiments. Find the cause before you trust any number here: lost events, redirects, or bots in one variation are usual.",
            class_="note bad",
            role="alert",
        )
    return h("p", f"The visitors are divided as planned: {counts}.", class_="note good")


def _verdict(
    variation: VariationResult, reference: VariationResult, goal_key: str, elapsed_s: float, confidence: float
) -> Html:
    goal, base = variation.goal(goal_key), reference.goal(goal_key)
    interval = goal.sequential_uplift_interval
    name = h("strong", variation.key)
    if goal.uplift is None or interval is None:
        return h("p", name, ": too few conversions on one side to compare, at least ten of each are needed.")
    seen = f" converts {signed(goal.uplift)} against {reference.key} ({goal.rate:.2%} instead of {base.rate:.2%})."
    if interval.low > 0 or interval.high < 0:
        side = "better" if interval.low > 0 else "worse"
        return h("p", name, seen, f" It is {side}: the change is {interval_words(interval)}, valid at any time.")
    coming = forecast(
        Rate(goal.converted, variation.visitors),
        Rate(base.converted, reference.visitors),
        elapsed_s=elapsed_s,
        confidence=confidence,
    )
    how_long = ""
    if coming is not None and coming.days is not None and coming.days < 3650:
        how_long = (
            f" If it goes on like this, with {_number(coming.visitors_per_day)} visitors a day, {_number(coming.missing)} more visitors and"
            f" {_duration(coming.days)} are needed to decide."
        )
    elif coming is not None:
        how_long = " If it goes on like this, it will not be decided within years: the difference is too small for this traffic."
    return h("p", name, seen, f" That may still be chance: the change is {interval_words(interval)}.", how_long)


def _results_table(result: RuleResult, goal_key: str, confidence: float) -> Html:
    rows = [_result_row(variation, variation.goal(goal_key)) for variation in result.variations]
    titles = (
        "Visitors",
        "Converted visitors",
        "All conversions",
        "Conversion rate",
        "Revenue",
        "Revenue per visitor",
        "Change of the rate",
        f"{confidence:.0%} interval, one look",
        "p-value, one look",
        f"{confidence:.0%} interval, any time",
    )
    return table("Results", ["Variation", *((title, "n") for title in titles)], rows)


def _result_row(variation: VariationResult, goal: GoalResult) -> Html:
    cells = (
        f"{variation.visitors:,}",
        f"{goal.converted:,}",
        f"{goal.conversions:,}",
        f"{goal.rate:.2%}",
        f"{goal.revenue_total:,.2f}",
        f"{goal.revenue_per_visitor:,.2f}",
        DASH if goal.uplift is None else signed(goal.uplift),
        interval_words(goal.uplift_interval),
        DASH if goal.p_value is None else _p_value(goal.p_value),
        interval_words(goal.sequential_uplift_interval),
    )
    return h(
        "tr",
        h(
            "th",
            h("code", variation.key),
            [h("br"), h("span", "reference", class_="quiet")] if variation.is_reference else None,
            scope="row",
        ),
        [h("td", cell, class_="n") for cell in cells],
    )


def _p_value(value: float) -> str:
    return "below 0.0001" if value < 0.0001 else f"{value:.4f}"


def _line(
    variation: VariationResult, reference: VariationResult, goal_key: str, moments: Iterable[Moment], confidence: float
) -> Line:
    goal_id = variation.goal(goal_key).id
    points = []
    for moment in moments:
        rates = [_rate(moment, side.id, goal_id) for side in (variation, reference)]
        found = sequential_uplift(rates[0], rates[1], confidence)
        if found is not None:
            points.append((moment.time_ms, found.difference, found.interval))
    return Line(variation.key, points)


def _rate(moment: Moment, variation_id: int, goal_id: int) -> Rate:
    totals = moment.variations.get(variation_id)
    if totals is None:
        return Rate(0, 0)
    converted = totals.goals[goal_id].converted if goal_id in totals.goals else 0
    # Times of events may lie: a conversion dated before its exposure must not make more converted visitors than visitors.
    return Rate(min(converted, totals.visitors), totals.visitors)


def _number(value: float) -> str:
    """Two or three figures are enough for a forecast."""
    if value <= 0:
        return "0"
    size = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{round(value / size) * size:,.0f}"


def _duration(days: float) -> str:
    if days >= 2:
        return f"about {_number(days)} days"
    hours = days * 24
    if hours >= 2:
        return f"about {_number(hours)} hours"
    minutes = hours * 60
    return f"about {_number(minutes)} minutes" if minutes >= 2 else "a minute or two"

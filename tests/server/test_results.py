"""Results: what the variations of a rule are compared with."""

import pytest

from kameleoon.server.project_file import parse_project
from kameleoon.server.results import build_results
from kameleoon.server.stored import GoalTotals, VariationTotals


@pytest.mark.parametrize(
    ("default", "experiment", "reference"),
    [("new", "[off, old, new]", "new"), ("new", "[old, off]", "off"), ("new", "[old, other]", "old")],
)
def test_the_reference(default, experiment, reference):
    """The reference is the default variation if the rule has it, else `off`, else the first."""
    project = parse_project(
        "project: {site_code: shop123456}\ngoals: [{key: purchase, id: 1}]\n"
        f"flags:\n  a: {{default: {default}, variations: [off, old, new, other], rules: [{{experiment: {experiment}}}]}}\n"
    )
    (rule,) = build_results(project, {}).flag("a").rules
    assert [variation.key for variation in rule.variations if variation.is_reference] == [reference]
    with pytest.raises(KeyError, match="missing"):
        rule.variation("missing")


@pytest.mark.parametrize(
    ("visitors", "is_broken"), [((5116, 4884), False), ((5165, 4835), True), ((52_000, 48_000), True), ((0, 40), True)]
)
def test_a_broken_division_is_reported_below_one_in_a_thousand(visitors, is_broken):
    """A p-value of 0.02 is no alarm, one below 0.001 is; so is a division of 52 to 48 of 100,000 visitors."""
    project = parse_project(
        "project: {site_code: shop123456}\nflags:\n"
        "  a: {rules: [{experiment: [off, on], experiment_id: 7, variation_ids: {off: 71, on: 72}}]}\n"
    )
    totals = {7: {number: VariationTotals(count, {}) for number, count in zip((71, 72), visitors, strict=True)}}
    (rule,) = build_results(project, totals).flag("a").rules
    assert rule.is_ratio_broken is is_broken
    assert (rule.sample_ratio_p < 0.001) is is_broken


def test_a_delivery_is_counted_and_not_compared():
    """A delivery has counts and no uplift, and experiments that are no longer in the project are left out."""
    project = parse_project(
        "project: {site_code: shop123456}\ngoals: [{key: purchase, id: 1}]\n"
        "flags:\n  a: {rules: [{deliver: on, experiment_id: 7, variation_ids: {on: 71}}]}\n"
    )
    totals = {7: {71: VariationTotals(4, {1: GoalTotals(2, 3, 10.0, 60.0)})}, 8: {81: VariationTotals(9, {})}}
    results = build_results(project, totals)
    (rule,) = results.flag("a").rules
    goal = rule.variation("on").goal("purchase")
    assert (rule.visitors, goal.rate, goal.revenue_per_visitor, goal.uplift, rule.sample_ratio_p) == (
        4,
        0.5,
        2.5,
        None,
        None,
    )

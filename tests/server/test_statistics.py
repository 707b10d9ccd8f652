"""The statistics: equal to scipy where scipy has them, and with the error rates that they promise."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kameleoon.server import statistics
from kameleoon.server.statistics import Interval, Mean, Rate

RATES = st.integers(1, 5000).flatmap(lambda visitors: st.builds(Rate, st.integers(0, visitors), st.just(visitors)))
CONFIDENCES = st.sampled_from([0.8, 0.9, 0.95, 0.99])


@settings(deadline=None)
@given(st.floats(-37, 37))
def test_normal_probability_equals_scipys(z):
    """The two-sided normal probability is scipy's, far out too."""
    assert statistics.two_sided_p(z) == pytest.approx(2 * scipy.stats.norm.sf(abs(z)), rel=1e-12)


@settings(deadline=None)
@given(st.floats(0.01, 0.9999))
def test_normal_quantile_equals_scipys(confidence):
    """The quantile of a two-sided interval is scipy's."""
    assert statistics.normal_quantile(confidence) == pytest.approx(scipy.stats.norm.ppf((1 + confidence) / 2), rel=1e-9)


@settings(deadline=None)
@given(st.floats(0.5, 1e7), st.floats(0, 40))
def test_student_probability_equals_scipys(freedom, t):
    """Student's probability is scipy's from half a degree of freedom to ten million."""
    expected = 2 * scipy.stats.t.sf(t, freedom)
    assert statistics.student_two_sided_p(t, freedom) == pytest.approx(expected, rel=2e-9, abs=1e-300)


@settings(deadline=None)
@given(st.floats(0.5, 1e7), CONFIDENCES)
def test_student_quantile_equals_scipys(freedom, confidence):
    """Student's quantile is scipy's."""
    expected = scipy.stats.t.ppf((1 + confidence) / 2, freedom)
    assert statistics.student_quantile(confidence, freedom) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(st.floats(0.3, 2000), st.floats(0, 4))
def test_incomplete_gamma_equals_scipys(a, ratio):
    """The chi-square probability is scipy's on both sides of the switch from series to fraction."""
    expected = scipy.stats.chi2.sf(2 * a * ratio, 2 * a)
    assert statistics.gamma_upper(a, a * ratio) == pytest.approx(expected, rel=1e-9, abs=1e-14)


@settings(deadline=None)
@given(RATES, CONFIDENCES)
def test_wilson_interval_equals_scipys(rate, confidence):
    """Wilson's interval is scipy's."""
    expected = scipy.stats.binomtest(rate.converted, rate.visitors).proportion_ci(confidence, method="wilson")
    ours = statistics.wilson_interval(rate, confidence)
    assert (ours.low, ours.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@settings(deadline=None)
@given(RATES, RATES)
def test_rate_test_equals_scipys(variation, reference):
    """The pooled z-test is scipy's chi-square test of the two-by-two table without correction."""
    converted = variation.converted + reference.converted
    assume(0 < converted < variation.visitors + reference.visitors)
    table = [[rate.converted, rate.visitors - rate.converted] for rate in (variation, reference)]
    expected = scipy.stats.chi2_contingency(table, correction=False).pvalue
    assert statistics.compare_rates(variation, reference).p_value == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_newcombes_published_example():
    """The interval for a difference is that of Newcombe's paper of 1998, method 10: 56/70 against 48/80."""
    interval = statistics.compare_rates(Rate(56, 70), Rate(48, 80)).interval
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0524, 0.3339)


def restricted_score(variation, reference, ratio):
    """The score statistic with the restricted maximum found by scipy instead of in closed form."""

    def loss(p):
        def part(rate, chance):
            return -(
                (rate.converted * math.log(chance) if rate.converted else 0)
                + ((rate.visitors - rate.converted) * math.log1p(-chance) if rate.visitors > rate.converted else 0)
            )

        return part(variation, ratio * p) + part(reference, p)

    top = min(1, 1 / ratio)
    found = scipy.optimize.minimize_scalar(
        loss, bounds=(1e-12, top * (1 - 1e-12)), method="bounded", options={"xatol": 1e-14}
    )
    p = found.x
    variance = ratio * p * (1 - ratio * p) / variation.visitors + ratio**2 * p * (1 - p) / reference.visitors
    return (variation.value - ratio * reference.value) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("variation", "reference"),
    [
        (Rate(30, 100), Rate(20, 100)),
        (Rate(3, 900), Rate(9, 1000)),
        (Rate(480, 500), Rate(90, 100)),
        (Rate(1, 40), Rate(39, 40)),
    ],
)
def test_uplift_interval_ends_where_the_score_test_rejects(variation, reference):
    """At both ends of the interval the score, its maximum likelihood found numerically, is at the critical value."""
    interval = statistics.uplift_interval(variation, reference)
    critical = statistics.normal_quantile(0.95)
    assert restricted_score(variation, reference, interval.low + 1) == pytest.approx(critical, rel=1e-4)
    assert restricted_score(variation, reference, interval.high + 1) == pytest.approx(-critical, rel=1e-4)


@settings(deadline=None)
@given(RATES, RATES, CONFIDENCES)
def test_uplift_interval_and_test_agree(variation, reference, confidence):
    """The interval for the uplift leaves out zero exactly when the test rejects, and holds the observed uplift."""
    interval = statistics.uplift_interval(variation, reference, confidence)
    assume(interval is not None)
    p_value = statistics.compare_rates(variation, reference, confidence).p_value
    assume(abs(p_value - (1 - confidence)) > 1e-9)
    assert (p_value < 1 - confidence) == (not interval.low <= 0 <= interval.high)
    if reference.converted:
        assert interval.low - 1e-9 <= statistics.uplift(variation, reference) <= interval.high + 1e-9


def test_uplift_without_conversions():
    """Zeros on either side give a bounded or half-open interval instead of an error."""
    assert statistics.uplift_interval(Rate(0, 100), Rate(20, 100)).low == -1
    assert statistics.uplift_interval(Rate(20, 100), Rate(0, 100)).high == math.inf
    assert statistics.uplift_interval(Rate(0, 100), Rate(0, 100)) is None
    assert statistics.uplift_interval(Rate(0, 0), Rate(1, 100)) is None
    assert statistics.uplift(Rate(1, 100), Rate(0, 100)) is None
    assert statistics.compare_rates(Rate(0, 0), Rate(1, 10)) is None
    assert statistics.compare_rates(Rate(0, 10), Rate(0, 10)).p_value == 1
    assert statistics.wilson_interval(Rate(0, 0)) == Interval(0, 1)


VALUES = st.lists(st.floats(-1000, 1000), min_size=2, max_size=40)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_welch_equals_scipys(ours, theirs):
    """Test and interval of Welch are scipy's."""
    assume(np.var(ours) > 1e-3 and np.var(theirs) > 1e-3)
    expected = scipy.stats.ttest_ind(ours, theirs, equal_var=False)
    interval = expected.confidence_interval(0.95)
    means = [Mean(np.mean(values), np.var(values, ddof=1), len(values)) for values in (ours, theirs)]
    found = statistics.compare_means(*means)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-8)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), rel=1e-8, abs=1e-8)


def test_means_from_sums():
    """A mean from sums has scipy's variance; too few visitors or no variance give no comparison."""
    values = [0, 0, 12.5, 3, 0, 80]
    mean = Mean.of_sums(sum(values), sum(value**2 for value in values), len(values))
    assert (mean.value, mean.variance) == pytest.approx((np.mean(values), np.var(values, ddof=1)))
    assert Mean.of_sums(0, 0, 0) == Mean(0, 0, 0)
    assert Mean.of_sums(5, 25, 1) == Mean(5, 0, 1)
    assert statistics.compare_means(mean, Mean(5, 0, 1)) is None
    assert statistics.compare_means(Mean(5, 0, 10), Mean(5, 0, 10)) is None
    assert statistics.sequential_difference(mean, Mean(5, 0, 10)) is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 5000), min_size=2, max_size=5))
def test_sample_ratio_equals_scipys(observed):
    """The check of shares is scipy's goodness-of-fit test."""
    assume(sum(observed))
    shares = [1 / len(observed)] * len(observed)
    expected = scipy.stats.chisquare(observed).pvalue
    assert statistics.sample_ratio_p(observed, shares) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_sample_ratio_of_odd_shares():
    """A variation without a share must have no visitors; one variation, or nobody, cannot be checked."""
    assert statistics.sample_ratio_p([50, 50, 0], [0.5, 0.5, 0]) == 1
    assert statistics.sample_ratio_p([50, 50, 1], [0.5, 0.5, 0]) == 0
    assert statistics.sample_ratio_p([50], [1]) is None
    assert statistics.sample_ratio_p([0, 0], [0.5, 0.5]) is None


def test_impossible_numbers_are_refused():
    """More converted visitors than visitors, and a confidence that is none, are errors."""
    for make in (lambda: Rate(2, 1), lambda: Rate(-1, 1), lambda: statistics.normal_quantile(1.0)):
        with pytest.raises(ValueError, match=r"visitors|confidence"):
            make()
    with pytest.raises(ValueError, match="visitor"):
        statistics.sequential_half_width(1.0, 0)


def test_sequential_interval_is_narrowest_relative_to_a_fixed_one_where_it_is_tuned():
    """The price of looking early is lowest near the number of visitors that it is tuned for."""
    price = {
        visitors: statistics.sequential_half_width(1.0, visitors, tuned_for=5000)
        for visitors in (50, 500, 5000, 50_000)
    }
    assert min(price, key=price.get) == 5000
    assert 1.96 < price[5000] < 3.2


@settings(deadline=None)
@given(st.floats(-5, 5), st.floats(0.01, 5), st.integers(1, 100_000))
def test_sequential_p_value_and_interval_agree(estimate, error, visitors):
    """The always-valid p-value is below the level exactly when the interval leaves out zero."""
    half = statistics.sequential_half_width(error, visitors)
    assume(abs(abs(estimate) - half) > 1e-9)
    assert (statistics.sequential_p_value(estimate, error, visitors) < 0.05) == (abs(estimate) > half)


@pytest.mark.parametrize(
    ("variation", "reference", "is_told"),
    [
        (Rate(10, 20), Rate(10, 20), True),
        (Rate(9, 20), Rate(10, 20), False),
        (Rate(10, 20), Rate(9, 20), False),
        (Rate(10, 19), Rate(10, 20), False),
        (Rate(10, 20), Rate(11, 20), False),
        (Rate(0, 0), Rate(10, 20), False),
        (Rate(120, 1000), Rate(100, 1000), True),
    ],
)
def test_the_sequential_uplift_needs_ten_of_each(variation, reference, is_told):
    """It is told from ten converted and ten other visitors on each side, and is that of the logarithm of the rates' ratio."""
    found = statistics.sequential_uplift(variation, reference)
    assert (found is not None) is is_told
    if found is not None:
        ratio = (variation.converted / variation.visitors) / (reference.converted / reference.visitors)
        error = math.sqrt(sum((1 - rate.converted / rate.visitors) / rate.converted for rate in (variation, reference)))
        half = statistics.sequential_half_width(error, variation.visitors + reference.visitors)
        assert found.difference == pytest.approx(ratio - 1)
        assert found.interval.low == pytest.approx(math.exp(math.log(ratio) - half) - 1)
        assert found.interval.high == pytest.approx(math.exp(math.log(ratio) + half) - 1)


def test_the_sequential_interval_finds_what_is_there():
    """Looked at every day, a third more conversions are found in most experiments of 20,000 visitors."""
    random = np.random.default_rng(11)
    found = 0
    for _ in range(200):
        ours, theirs = random.binomial(1000, [[0.04], [0.03]], (2, 10)).cumsum(axis=1)
        looks = (
            statistics.sequential_uplift(Rate(int(a), 1000 * n), Rate(int(b), 1000 * n))
            for n, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1)
        )
        found += any(look is not None and look.interval.low > 0 for look in looks)
    assert 0.5 < found / 200 < 1


def test_error_rates_by_simulation():
    """
    Without any effect, one look at the end errs as often as promised; looking all the time makes the fixed test err far too often,
    and the sequential interval no more often than promised.
    """
    random = np.random.default_rng(20_260_101)
    runs, looks, step, chance = 2000, 14, 400, 0.1  # a look a day, for two weeks
    at_end = peeked = sequential = told = 0
    for _ in range(runs):
        ours, theirs = random.binomial(step, chance, (2, looks)).cumsum(axis=1)
        pairs = [
            (Rate(int(a), step * n), Rate(int(b), step * n))
            for n, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1)
        ]
        p_values = [statistics.compare_rates(*pair).p_value for pair in pairs]
        at_end += p_values[-1] < 0.05
        peeked += min(p_values) < 0.05
        intervals = [found.interval for pair in pairs if (found := statistics.sequential_uplift(*pair))]
        told += len(intervals)
        sequential += any(not interval.low <= 0 <= interval.high for interval in intervals)
    assert 0.04 <= at_end / runs <= 0.06
    assert peeked / runs > 0.15
    assert sequential / runs <= 0.05
    assert told == runs * looks, "an interval that is not told errs never"


def test_a_broken_division_is_found():
    """Of 100,000 visitors meant to be divided evenly, 52 to 48 is found; what chance does is not."""
    assert statistics.sample_ratio_p([52_000, 48_000], [0.5, 0.5]) < 0.001
    random = np.random.default_rng(3)
    draws = random.binomial(100_000, 0.5, 2000)
    alarms = sum(statistics.sample_ratio_p([int(n), 100_000 - int(n)], [0.5, 0.5]) < 0.001 for n in draws)
    assert alarms <= 10


def test_intervals_cover_the_truth_by_simulation():
    """Intervals for uplift and for revenue hold the true value about as often as promised, and a real effect is found."""
    random = np.random.default_rng(7)
    runs, visitors = 500, 2000
    covered_uplift = covered_revenue = found = 0
    for _ in range(runs):
        rates = [Rate(int(random.binomial(visitors, chance)), visitors) for chance in (0.13, 0.10)]
        interval = statistics.uplift_interval(*rates)
        covered_uplift += interval.low <= 0.3 <= interval.high
        found += interval.low > 0
        means = []
        for chance in (0.13, 0.10):
            spent = random.binomial(1, chance, visitors) * random.gamma(2, 20, visitors)
            means.append(Mean.of_sums(float(spent.sum()), float((spent**2).sum()), visitors))
        revenue = statistics.compare_means(*means).interval
        covered_revenue += revenue.low <= 0.03 * 40 <= revenue.high
    assert 0.925 < covered_uplift / runs < 0.975
    assert 0.925 < covered_revenue / runs < 0.975
    assert found / runs > 0.75

"""
The statistics behind results, from the standard library alone and without any state: tests and intervals for conversion rates and for
revenue per visitor, the check of shares, and intervals that stay valid however often one looks.

Formulas and the reasons for choosing them: docs/local-server.md, "Statistics".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONFIDENCE = 0.95
TUNED_FOR = 5000
"""Visitors at which the sequential interval is narrowest relative to a fixed one."""

_NORMAL = NormalDist()
_TINY = 1e-300
_MAX_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends; an end that nothing bounds is infinite."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """
    A conversion rate.

    Attributes:
        converted: Visitors who converted.
        visitors: All visitors.

    Raises:
        ValueError: Not ``0 <= converted <= visitors``.
    """

    converted: int
    visitors: int

    def __post_init__(self) -> None:
        if not 0 <= self.converted <= self.visitors:
            raise ValueError(f"{self.converted} of {self.visitors} visitors cannot have converted")

    @property
    def value(self) -> float:
        """0 to 1; 0 without visitors."""
        return self.converted / self.visitors if self.visitors else 0.0


@dataclass(frozen=True, slots=True)
class Mean:
    """
    A mean over visitors.

    Attributes:
        value: The mean.
        variance: Unbiased variance of one visitor's value, 0 or more.
        visitors: How many.
    """

    value: float
    variance: float
    visitors: int

    @classmethod
    def of_sums(cls, total: float, squares: float, visitors: int) -> Mean:
        """The mean of *visitors* values with the sum *total* and the sum of squares *squares*; values may be zero."""
        if visitors == 0:
            return cls(0.0, 0.0, 0)
        if visitors == 1:
            return cls(total, 0.0, 1)
        return cls(total / visitors, max(0.0, (squares - total * total / visitors) / (visitors - 1)), visitors)


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    A variation against the reference.

    Attributes:
        difference: Variation minus reference.
        interval: For the difference.
        p_value: Two-sided, of no difference.
    """

    difference: float
    interval: Interval
    p_value: float


def normal_quantile(confidence: float) -> float:
    """How many standard errors a two-sided interval of this confidence reaches to each side; 1.96 for 0.95."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    return -_NORMAL.inv_cdf((1 - confidence) / 2)


def two_sided_p(z: float) -> float:
    """Probability of a standard normal value at least as far from 0 as *z*; exact far out too."""
    return math.erfc(abs(z) / math.sqrt(2))


def wilson_interval(rate: Rate, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval for one rate, without continuity correction; 0 to 1 without visitors."""
    if rate.visitors == 0:
        return Interval(0.0, 1.0)
    z = normal_quantile(confidence)
    n, p = rate.visitors, rate.value
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if rate.converted == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if rate.converted == n else min(1.0, centre + half))


def compare_rates(variation: Rate, reference: Rate, confidence: float = CONFIDENCE) -> Comparison | None:
    """
    The pooled two-proportion z-test with Newcombe's hybrid score interval for the difference of rates.

    Returns:
        None when one side has no visitors. The p-value is 1 when nobody or everybody converted.
    """
    if not variation.visitors or not reference.visitors:
        return None
    difference = variation.value - reference.value
    ours, theirs = wilson_interval(variation, confidence), wilson_interval(reference, confidence)
    low = difference - math.hypot(variation.value - ours.low, theirs.high - reference.value)
    high = difference + math.hypot(ours.high - variation.value, reference.value - theirs.low)
    return Comparison(difference, Interval(low, high), two_sided_p(_ratio_score(variation, reference, 1.0)))


def uplift(variation: Rate, reference: Rate) -> float | None:
    """Relative change of the rate, 0.1 for ten percent more; None when the reference's rate is 0."""
    return variation.value / reference.value - 1 if reference.converted else None


def uplift_interval(variation: Rate, reference: Rate, confidence: float = CONFIDENCE) -> Interval | None:
    """
    Koopman's score interval for the relative change of a rate: all ratios that the score test does not reject.

    At a ratio of 1 the score test is the pooled z-test, so this interval leaves out 0 exactly when `compare_rates` gives
    a p-value below ``1 - confidence``. It needs no conversions on either side; without any in the reference it has no upper end.

    Returns:
        None when one side has no visitors, or nobody converted at all.
    """
    if not variation.visitors or not reference.visitors or not variation.converted + reference.converted:
        return None
    z = normal_quantile(confidence)
    low = 0.0
    if variation.converted:
        low = _ratio_where(variation, reference, z)
    high = math.inf
    if reference.converted:
        high = _ratio_where(variation, reference, -z)
    return Interval(low - 1, high - 1)


def _ratio_where(variation: Rate, reference: Rate, z: float) -> float:
    """The ratio at which the score is *z*; the score falls as the ratio grows. Bisects the logarithm."""
    low, high = -1.0, 1.0
    while _ratio_score(variation, reference, math.exp(low)) < z and low > -700:
        low *= 2
    while _ratio_score(variation, reference, math.exp(high)) > z and high < 700:
        high *= 2
    low, high = max(low, -700.0), min(high, 700.0)
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _ratio_score(variation, reference, math.exp(middle)) > z:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def _ratio_score(variation: Rate, reference: Rate, ratio: float) -> float:
    """
    Score statistic of the hypothesis that the variation's rate is *ratio* times the reference's: standard normal if it is.

    The reference's most likely rate p under the hypothesis is the smaller root of
    ``N r p² - (r (n₁ + x₀) + x₁ + n₀) p + x₁ + x₀ = 0``.
    """
    x1, n1, x0, n0 = variation.converted, variation.visitors, reference.converted, reference.visitors
    a = (n1 + n0) * ratio
    b = ratio * (n1 + x0) + x1 + n0
    c = x1 + x0
    # This form of the smaller root does not cancel when the rates are small.
    p = 2 * c / (b + math.sqrt(max(0.0, b * b - 4 * a * c)))
    p = min(p, 1.0, 1 / ratio)
    variance = ratio * p * max(0.0, 1 - ratio * p) / n1 + ratio * ratio * p * max(0.0, 1 - p) / n0
    gap = x1 / n1 - ratio * x0 / n0
    if variance <= 0:
        return 0.0 if abs(gap) < 1e-15 else math.copysign(math.inf, gap)
    return gap / math.sqrt(variance)


def compare_means(variation: Mean, reference: Mean, confidence: float = CONFIDENCE) -> Comparison | None:
    """
    Welch's test and interval for the difference of two means whose variances may differ.

    Returns:
        None when a side has fewer than two visitors or both have no variance at all.
    """
    if min(variation.visitors, reference.visitors) < 2:
        return None
    ours, theirs = variation.variance / variation.visitors, reference.variance / reference.visitors
    error = math.sqrt(ours + theirs)
    if error == 0:
        return None
    freedom = (ours + theirs) ** 2 / (ours**2 / (variation.visitors - 1) + theirs**2 / (reference.visitors - 1))
    difference = variation.value - reference.value
    half = student_quantile(confidence, freedom) * error
    return Comparison(
        difference, Interval(difference - half, difference + half), student_two_sided_p(difference / error, freedom)
    )


def sample_ratio_p(observed: Sequence[int], expected_shares: Sequence[float]) -> float | None:
    """
    Chi-square test of whether visitors were divided as the shares say. A p-value below 0.001 means that something
    treats the variations differently, and that no other number of the experiment can be trusted.

    Args:
        observed: Visitors of each variation.
        expected_shares: Share of each, summing to 1.

    Returns:
        None with fewer than two variations that have a share, or without visitors. 0 when a variation without a share has visitors.
    """
    total = sum(observed)
    pairs = [(count, share * total) for count, share in zip(observed, expected_shares, strict=True) if share > 0]
    if len(pairs) < 2 or total == 0:
        return None
    if sum(count for count, _ in pairs) < total:
        return 0.0
    statistic = math.fsum((count - expected) ** 2 / expected for count, expected in pairs)
    return gamma_upper((len(pairs) - 1) / 2, statistic / 2)


def sequential_half_width(
    standard_error: float, visitors: int, confidence: float = CONFIDENCE, *, tuned_for: int = TUNED_FOR
) -> float:
    """
    Half width of an interval that holds at all times at once: with the given confidence the true value is in it at every look.

    One may look however often and for whatever reason. It is the asymptotic confidence sequence with a normal mixture:

    ``se · sqrt(2 (n r² + 1) / (n r²) · ln(sqrt(n r² + 1) / (1 - confidence)))``.

    Args:
        standard_error: Of the estimate now, above 0.
        visitors: n, all visitors behind the estimate so far.
        confidence: Of all looks together.
        tuned_for: n at which it should be narrowest; sets ``r``. To be chosen before looking.

    Raises:
        ValueError: *visitors* or *tuned_for* is below 1.

    Source:
        Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences",
        Annals of Statistics 52 (2024).
    """
    spread = visitors * _mixture(confidence, tuned_for, visitors)
    return standard_error * math.sqrt(2 * (spread + 1) / spread * (math.log1p(spread) / 2 - math.log(1 - confidence)))


def sequential_p_value(
    estimate: float, standard_error: float, visitors: int, confidence: float = CONFIDENCE, *, tuned_for: int = TUNED_FOR
) -> float:
    """The p-value that belongs to `sequential_half_width`: below ``1 - confidence`` exactly when the interval leaves out 0."""
    spread = visitors * _mixture(confidence, tuned_for, visitors)
    z = estimate / standard_error
    return math.exp(min(0.0, math.log1p(spread) / 2 - z * z * spread / (2 * (spread + 1))))


def _mixture(confidence: float, tuned_for: int, visitors: int) -> float:
    """r², which makes the interval nearly narrowest at *tuned_for* visitors."""
    if visitors < 1 or tuned_for < 1:
        raise ValueError("there must be at least one visitor")
    spread = -2 * math.log(1 - confidence)
    return (spread + math.log(spread + 1)) / tuned_for


def sequential_difference(
    variation: Mean, reference: Mean, confidence: float = CONFIDENCE, *, tuned_for: int = TUNED_FOR
) -> Comparison | None:
    """
    The difference of two means, to be looked at any time; rates too, as means of 0 and 1.

    Returns:
        None when a side has fewer than two visitors or no variance.
    """
    if min(variation.visitors, reference.visitors) < 2 or not variation.variance or not reference.variance:
        return None
    error = math.sqrt(variation.variance / variation.visitors + reference.variance / reference.visitors)
    visitors = variation.visitors + reference.visitors
    difference = variation.value - reference.value
    half = sequential_half_width(error, visitors, confidence, tuned_for=tuned_for)
    p_value = sequential_p_value(difference, error, visitors, confidence, tuned_for=tuned_for)
    return Comparison(difference, Interval(difference - half, difference + half), p_value)


def sequential_uplift(
    variation: Rate, reference: Rate, confidence: float = CONFIDENCE, *, least: int = 10, tuned_for: int = TUNED_FOR
) -> Comparison | None:
    """
    The relative change of a rate, to be looked at any time: the sequential interval of the logarithm of the ratio.

    Its standard error is ``sqrt((1 - p₁)/x₁ + (1 - p₀)/x₀)`` (delta method).

    Args:
        variation: What is compared.
        reference: What it is compared with.
        confidence: Of all looks together.
        tuned_for: As in `sequential_half_width`.
        least: Conversions, and visitors without one, that each side needs; below, the normal approximation is not to be trusted.

    Returns:
        `difference` and `interval` as relative changes; None before *least* is reached.
    """
    if any(min(rate.converted, rate.visitors - rate.converted) < least for rate in (variation, reference)):
        return None
    error = math.sqrt((1 - variation.value) / variation.converted + (1 - reference.value) / reference.converted)
    visitors = variation.visitors + reference.visitors
    ratio = math.log(variation.value / reference.value)
    half = sequential_half_width(error, visitors, confidence, tuned_for=tuned_for)
    return Comparison(
        math.expm1(ratio),
        Interval(math.expm1(ratio - half), math.expm1(ratio + half)),
        sequential_p_value(ratio, error, visitors, confidence, tuned_for=tuned_for),
    )


def student_two_sided_p(t: float, freedom: float) -> float:
    """Probability of Student's t at least as far from 0 as *t*, with *freedom* degrees of freedom above 0."""
    if math.isinf(t):
        return 0.0
    a = freedom / 2
    square = t * t / freedom
    # x = 1 / (1 + t²/freedom); its logarithm and complement are taken from t²/freedom, because x itself rounds to 1 for many degrees of freedom.
    log_x, complement = -math.log1p(square), square / (1 + square)
    if complement == 0:
        return 1.0
    front = math.exp(a * log_x + math.log(complement) / 2) * _half_gamma_ratio(a) / math.sqrt(math.pi)
    x = 1 / (1 + square)
    if x < (a + 1) / (a + 2.5):
        return min(1.0, front * _beta_fraction(a, 0.5, x) / a)
    return max(0.0, 1 - front * _beta_fraction(0.5, a, complement) / 0.5)


def student_quantile(confidence: float, freedom: float) -> float:
    """How many standard errors a two-sided interval reaches to each side, with *freedom* degrees of freedom above 0."""
    wanted = 1 - confidence
    low, high = 0.0, max(2.0, normal_quantile(confidence))
    while student_two_sided_p(high, freedom) > wanted:
        low, high = high, high * 2
    return _falls_to(lambda t: student_two_sided_p(t, freedom), wanted, low, high)


def _falls_to(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a falling *function* reaches *wanted* between *low* and *high*: false position, bisecting when it gets stuck."""
    at_low, at_high = math.log(function(low) / wanted), math.log(max(function(high), _TINY) / wanted)
    for step in range(200):
        if at_high == 0 or high - low <= 4e-16 * high:
            return high
        middle = low + (high - low) * (at_low / (at_low - at_high) if step % 3 else 0.5)
        if not low < middle < high:
            return middle
        at_middle = math.log(max(function(middle), _TINY) / wanted)
        if at_middle == 0:
            return middle
        if at_middle > 0:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    return (low + high) / 2


def gamma_upper(a: float, x: float) -> float:
    """
    Regularised upper incomplete gamma function Q(a, x): the probability that a chi-square value with ``2a`` degrees of freedom is above
    ``2x``.

    Args:
        a: Above 0.
        x: 0 or more.
    """
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for step in range(1, _MAX_STEPS):
            term *= x / (a + step)
            total += term
            if term < total * 1e-17:
                break
        return max(0.0, 1 - total * front)
    # Lentz's method for the continued fraction 1/(x+1-a - 1(1-a)/(x+3-a - 2(2-a)/(x+5-a - …))).
    b = x + 1 - a
    c = 1 / _TINY
    d = 1 / b
    value = d
    for step in range(1, _MAX_STEPS):
        factor = -step * (step - a)
        b += 2
        d = 1 / _away_from_zero(factor * d + b)
        c = _away_from_zero(b + factor / c)
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return front * value


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function by Lentz's method; converges fast for ``x < (a + 1) / (a + b + 2)``."""
    c = 1.0
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for step in range(1, _MAX_STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        d = 1 / _away_from_zero(1 + even * d)
        c = _away_from_zero(1 + even / c)
        value *= c * d
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        d = 1 / _away_from_zero(1 + odd * d)
        c = _away_from_zero(1 + odd / c)
        value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value


def _half_gamma_ratio(a: float) -> float:
    """Γ(a + ½) / Γ(a); by its asymptotic series where the logarithms would cancel."""
    if a < 40:
        return math.exp(math.lgamma(a + 0.5) - math.lgamma(a))
    series = 1.0
    for power, coefficient in enumerate(
        (-1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304), start=1
    ):
        series += coefficient / a**power
    return math.sqrt(a) * series


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY

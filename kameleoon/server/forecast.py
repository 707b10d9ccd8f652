"""How long an experiment has still to run: from the traffic so far, without I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kameleoon.server import statistics

if TYPE_CHECKING:
    from kameleoon.server.statistics import Rate

_MOST_VISITORS = 10**12


@dataclass(frozen=True, slots=True)
class Forecast:
    """
    What is to be expected if things go on as they did.

    Attributes:
        visitors_per_day: Of both variations together.
        missing: Visitors that are still needed; 0 when the always-valid interval leaves out 0 already.
        days: The same in days; None when so many never come.
    """

    visitors_per_day: float
    missing: int
    days: float | None


def forecast(
    variation: Rate, reference: Rate, *, elapsed_s: float, confidence: float = statistics.CONFIDENCE
) -> Forecast | None:
    """
    When the always-valid interval of the uplift will leave out 0 if rates and traffic stay as they are.

    With *n* times the visitors the standard error shrinks by the root of *n*, which says at what number of visitors the half width falls
    below the difference seen so far.

    Args:
        variation: Compared with *reference*.
        reference: What it is compared with.
        elapsed_s: Time since the first visitor, above 0.
        confidence: Of the interval.

    Returns:
        None while nothing can be said: no difference at all, or too few conversions on a side.
    """
    if statistics.sequential_uplift(variation, reference, confidence) is None:
        return None
    visitors = variation.visitors + reference.visitors
    per_day = visitors / max(elapsed_s, 1.0) * 86_400
    distance = abs(math.log(variation.value / reference.value))
    error = math.sqrt((1 - variation.value) / variation.converted + (1 - reference.value) / reference.converted)

    def is_decided(count: float) -> bool:
        then = error * math.sqrt(visitors / count)
        return statistics.sequential_half_width(then, int(count), confidence) < distance

    if is_decided(visitors):
        return Forecast(per_day, 0, 0.0)
    low, high = float(visitors), float(visitors)
    while not is_decided(high):
        high *= 2
        if high > _MOST_VISITORS:
            return Forecast(per_day, _MOST_VISITORS, None)
    while high - low > max(1.0, low * 1e-3):
        middle = (low + high) / 2
        low, high = (low, middle) if is_decided(middle) else (middle, high)
    missing = math.ceil(high) - visitors
    return Forecast(per_day, missing, missing / per_day)

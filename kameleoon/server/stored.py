"""What the storage gives back: totals of what was counted, events as they were stored, changes of the project."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GoalTotals:
    """
    What the visitors of one variation did for one goal.

    Attributes:
        converted: Visitors with at least one conversion.
        conversions: All conversions.
        revenue: Sum over all conversions, signed.
        revenue_squares: Sum over visitors of the square of each visitor's revenue; gives the variance of revenue per visitor.
    """

    converted: int = 0
    conversions: int = 0
    revenue: float = 0.0
    revenue_squares: float = 0.0

    def plus(self, more: GoalTotals) -> GoalTotals:
        """The totals of both."""
        return GoalTotals(
            self.converted + more.converted,
            self.conversions + more.conversions,
            self.revenue + more.revenue,
            self.revenue_squares + more.revenue_squares,
        )


@dataclass(frozen=True, slots=True)
class VariationTotals:
    """
    What is counted for one variation of one experiment.

    Attributes:
        visitors: Distinct visitors assigned to it.
        goals: `{goal id: totals}`, of goals with a conversion.
    """

    visitors: int
    goals: dict[int, GoalTotals]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """
    An event as it was stored.

    Attributes:
        id: Rises in the order of arrival.
        request: Number of the request it came with.
        visitor: The visitor's code, after links of identifiers were followed.
    """

    id: int
    request: int
    visitor: str
    time_ms: int
    type: str
    parameters: dict[str, str]
    is_bot: bool


@dataclass(frozen=True, slots=True)
class Moment:
    """
    What had been counted for an experiment up to a time.

    Attributes:
        time_ms: End of the span, in ms since 1970.
        variations: `{variation id: totals}` since the beginning.
    """

    time_ms: int
    variations: dict[int, VariationTotals]


@dataclass(frozen=True, slots=True)
class Change:
    """
    One change of the project.

    Attributes:
        author: Where it came from: the page, the API or the project file.
        flag: Key of the flag it concerns; None for the project as a whole.
        said: The change in words.
    """

    id: int
    time_ms: int
    author: str
    flag: str | None
    said: str

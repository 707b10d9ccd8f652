"""An evaluation's value together with how it came about."""

from dataclasses import dataclass
from typing import Any

from kameleoon.types.reason import Reason
from kameleoon.types.variation import Variation


@dataclass(frozen=True, slots=True)
class Details:
    """
    What ``evaluate`` answers.

    Attributes:
        value: What was asked for, or the caller's default.
        variation: The variation, ``None`` when there is none.
        reason: Why.
        rule: Id of the rule that caught the visitor, ``None`` for none.
        error: What went wrong, ``None`` unless *reason* is ``ERROR`` or ``DISABLED``.
    """

    value: Any
    variation: Variation | None
    reason: Reason
    rule: int | None = None
    error: Exception | None = None

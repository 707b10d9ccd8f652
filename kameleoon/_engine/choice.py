"""What a flag can answer: made when the flag is compiled, shared by all visitors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kameleoon.types.variation import OFF_KEY

if TYPE_CHECKING:
    from kameleoon._datafile.model import Rule
    from kameleoon.types.reason import Reason
    from kameleoon.types.variable import Variable
    from kameleoon.types.variation import Variation

HELD_OUT_KEY = "in-holdout"
"""Key of the holdout's variation that keeps a visitor out of everything."""


class Refusal(Enum):
    """Why a flag gives no answer at all."""

    ENVIRONMENT = "the flag is disabled in the environment"
    CONSENT = "the visitor refused consent"


@dataclass(frozen=True, slots=True)
class Choice:
    """
    One possible answer of a flag.

    Attributes:
        variation_key: Key of the variation, also when the flag has no variation of that key.
        variation_id: Its id, ``None`` for the default or when the configuration gives none.
        experiment_id: The experiment's id, ``None`` for the default.
        rule: The rule that gave it, ``None`` for the default, the holdout and simulated answers without one.
        is_delivery: Whether a targeted delivery gave it.
        reason: Why, in OpenFeature's words.
        variation: What the application gets.
        values: ``{variable key: first variable of that key}``; `variation` has the last one instead.
        is_active: Whether the key is not ``off``.
        is_stored: Whether it is remembered and sent as an exposure.
        is_always_sent: Whether it is sent even of an evaluation that is not tracked.
        refusal: Set when there is no answer.
    """

    variation_key: str
    variation_id: int | None
    experiment_id: int | None
    rule: Rule | None
    is_delivery: bool
    reason: Reason
    variation: Variation
    values: dict[str, Variable] | None
    is_active: bool
    is_stored: bool
    refusal: Refusal | None = None
    is_always_sent: bool = False


def make_choice(
    variation: Variation,
    values: dict[str, Variable] | None,
    key: str,
    reason: Reason,
    rule: Rule | None = None,
    *,
    is_delivery: bool = False,
    refusal: Refusal | None = None,
) -> Choice:
    """A choice around *variation*, whose ids are those of the answer."""
    return Choice(
        variation_key=key,
        variation_id=variation.id_,
        experiment_id=variation.experiment_id,
        rule=rule,
        is_delivery=is_delivery,
        reason=reason,
        variation=variation,
        values=values,
        is_active=key != OFF_KEY,
        is_stored=variation.id_ is not None and variation.experiment_id is not None,
        refusal=refusal,
    )

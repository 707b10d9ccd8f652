"""A rule of a flag, as the data file shows it."""

from collections.abc import Mapping
from dataclasses import dataclass

from kameleoon.types._read_only import read_only
from kameleoon.types.variation import Variation


@dataclass(frozen=True, slots=True)
class Rule:
    """
    A rule of a flag.

    Attributes:
        variations: ``{variation key: variation}``, a read-only ``dict``: those of the flag's variations the rule can
            give, with ``id_`` and ``experiment_id``.
    """

    variations: Mapping[str, Variation]

    def __post_init__(self) -> None:
        object.__setattr__(self, "variations", read_only(self.variations))

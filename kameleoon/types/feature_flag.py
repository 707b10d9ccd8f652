"""A flag, as the data file shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kameleoon.types._read_only import read_only
from kameleoon.types.rule import Rule
from kameleoon.types.variation import Variation


@dataclass(frozen=True, slots=True)
class FeatureFlag:
    """
    A flag, as the data file shows it.

    Attributes:
        variations: ``{variation key: variation}``, a read-only ``dict``; their ids are ``None``.
        environment_enabled: Whether the flag is on in the environment, as the service wrote it.
        rules: The rules in their order, as a tuple.
        default_variation_key: Key of the variation for visitors whom no rule catches.

    Source:
        docs/service/evaluation.md 3.8.
    """

    variations: Mapping[str, Variation]
    environment_enabled: Any
    rules: tuple[Rule, ...]
    default_variation_key: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "variations", read_only(self.variations))
        object.__setattr__(self, "rules", tuple(self.rules))

    @property
    def default_variation(self) -> Variation:
        """
        The variation for visitors whom no rule catches.

        Raises:
            KeyError: The flag has no variation of that key.
        """
        return self.variations[self.default_variation_key]

"""The variation a visitor gets."""

from collections.abc import Mapping
from dataclasses import dataclass

from kameleoon.types._read_only import read_only
from kameleoon.types.variable import Variable

OFF_KEY = "off"
"""Key of the variation that stands for a flag switched off; spelled exactly so."""


@dataclass(frozen=True, slots=True)
class Variation:
    """
    The variation a visitor gets. Equal by value, and not hashable.

    Attributes:
        key: Its key within the flag; empty when the flag has no variation of the key that a rule gave.
        id_: Its id in the experiment, ``None`` when it is the flag's default.
        experiment_id: The experiment's id, ``None`` when it is the flag's default.
        variables: ``{variable key: variable}``, a read-only ``dict``.
        name: Its name, for people.

    Source:
        docs/service/evaluation.md 3.8.
    """

    key: str
    id_: int | None
    experiment_id: int | None
    variables: Mapping[str, Variable]
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "variables", read_only(self.variables))

    @property
    def is_active(self) -> bool:
        """Whether the flag is on for the visitor: the key is not ``off``."""
        return self.key != OFF_KEY

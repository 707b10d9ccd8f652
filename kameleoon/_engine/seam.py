"""
What a client asks of a compiled configuration, whoever's it is.

Our own configuration keeps this promise in `kameleoon._engine.ruleset` and `kameleoon._engine.flag`, a Convert project in
`kameleoon._convert.flags`. Nothing above these rooms tells one from the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kameleoon._datafile.model import Catalogue, Flag, Problem, Rule, Settings
    from kameleoon._engine.explain import Walk
    from kameleoon._engine.flag import Decide
    from kameleoon._visitor.record import VisitorRecord
    from kameleoon.types.data_file import DataFile
    from kameleoon.types.variable import Variable


class AnyFlag(Protocol):
    """A flag ready to decide. It never changes."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def model(self) -> Flag:
        """What it was made of; its rules and their shares are complete, its variations need not be there."""

    @property
    def decide(self) -> Decide:
        """
        ``(record, code, now in ms) -> (choice, what else is to be remembered)``, the answer for one visitor.

        Changes nothing. The record is ``None`` for an unknown visitor, the code as the caller gave it; one with a lone surrogate
        may raise `UnicodeEncodeError`, and nothing else is raised. What else is to be remembered is ``None`` for nothing.
        """

    @property
    def settled_by(self) -> Rule | None:
        """
        The rule whose answer a visitor keeps for as long as his record is plain, since it follows from his code alone.

        ``None`` when the flag has more than one rule, or anything else about a visitor can decide.
        """

    @property
    def is_enabled(self) -> bool:
        """Whether the flag is enabled in the environment."""

    def variables_of(self, variation_key: str) -> Mapping[str, Variable] | None:
        """``{variable key: variable}`` of a variation, of duplicates the last; ``None`` when there is no such variation."""


class AnyRuleset(Protocol):
    """A configuration ready to decide. Its answers never change, and any thread may ask."""

    @property
    def compiled(self) -> Mapping[str, AnyFlag]:
        """``{flag key: flag}`` of the flags asked for so far."""

    @property
    def flag_keys(self) -> Sequence[str]:
        """Keys of all flags, disabled ones too, in the configuration's order."""

    @property
    def catalogue(self) -> Catalogue:
        """The custom data known to the configuration."""

    @property
    def settings(self) -> Settings:
        """The configuration's own settings."""

    @property
    def consent_required(self) -> bool:
        """Whether what is told of a visitor waits for his consent."""

    @property
    def date_modified(self) -> int:
        """When the configuration last changed, in milliseconds since 1970; 0 when unknown."""

    @property
    def problems(self) -> Iterable[Problem]:
        """What was found out of service so far."""

    @property
    def pattern_timeouts(self) -> int:
        """How often a pattern ran out of time so far."""

    def flag(self, key: str) -> AnyFlag:
        """
        A flag.

        Raises:
            KeyError: There is none.
            TypeError: *key* cannot be a key.
        """

    def view(self) -> DataFile:
        """The configuration as applications see it; the same object at every call."""

    def of_experiment(self, experiment_id: int) -> tuple[AnyFlag, Rule] | None:
        """The flag and rule of an experiment; of several the last."""

    def has_page_code(self, experiment_id: int) -> bool:
        """Whether a flag with the experiment brings code for the page."""

    def goal_id(self, goal: Any) -> Any:
        """The number of the goal that an application named; what can be no name is given back as it is."""

    def has_delivery(self) -> bool:
        """Whether any flag enabled in the environment has a targeted delivery, which needs no consent."""

    def audiences(self, record: VisitorRecord | None, code: str, now_ms: int) -> tuple[int, ...]:
        """Ids of the audience segments that are told of and that the visitor is in, in the configuration's order."""

    def walk(self, key: str, record: VisitorRecord | None, code: str, now_ms: int) -> Walk:
        """
        Decide on the flag *key*, and keep what was seen. Changes nothing.

        Raises:
            KeyError: There is no such flag.
            UnicodeEncodeError: *code* holds a lone surrogate.
        """

"""What is told to destinations, the same for all of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, TypeAlias


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Exposure:
    """
    A visitor was given a variation of an experiment.

    Attributes:
        visitor_code: Whom.
        experiment_id: Which experiment.
        variation_id: Which variation.
        at_ms: When, in milliseconds since 1970.
        variation_key: The variation's key, if known.
        feature_key: The flag that was asked for, if known.
        rule_type: Kind of the rule that gave it, if known.
        origin: Whose decision it was: ``kameleoon`` or ``convert``.
        event_id: The same however often the event is sent, so that receivers can leave out what they have.
    """

    visitor_code: str
    experiment_id: str
    variation_id: str
    at_ms: int
    variation_key: str | None = None
    feature_key: str | None = None
    rule_type: str | None = None
    origin: str = "kameleoon"
    event_id: str = field(default_factory=_new_id)

    def plain(self) -> dict[str, Any]:
        """The event as JSON has it, for destinations without a form of their own; what is not known is left out."""
        return _plain("exposure", self, ("experiment_id", "variation_id", "variation_key", "feature_key", "rule_type"))


@dataclass(frozen=True, slots=True)
class Conversion:
    """
    A visitor reached a goal.

    Attributes:
        visitor_code: Who.
        goal_id: Which goal.
        at_ms: When, in milliseconds since 1970.
        goal_key: The goal's key, if known.
        revenue: What it brought, ``None`` when nothing is known of it.
        assignments: ``((experiment id, variation id), …)`` of the visitor then.
        origin: As for `Exposure`.
        event_id: As for `Exposure`.
    """

    visitor_code: str
    goal_id: str
    at_ms: int
    goal_key: str | None = None
    revenue: float | None = None
    assignments: tuple[tuple[str, str], ...] = ()
    origin: str = "kameleoon"
    event_id: str = field(default_factory=_new_id)

    def plain(self) -> dict[str, Any]:
        """As `Exposure.plain`."""
        return _plain("conversion", self, ("goal_id", "goal_key", "revenue"), experiments=experiments(self.assignments))


Event: TypeAlias = Exposure | Conversion


def experiments(assignments: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """Assignments as JSON has them."""
    return [{"experiment_id": experiment, "variation_id": variation} for experiment, variation in assignments]


def _plain(kind: str, event: Event, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
    known = {name: value for name in names if (value := getattr(event, name)) is not None}
    head = {"type": kind, "event_id": event.event_id, "at_ms": event.at_ms, "visitor_code": event.visitor_code}
    return {**head, **known, **{name: value for name, value in more.items() if value}, "origin": event.origin}

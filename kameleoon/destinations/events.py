"""What is told to destinations, the same for all of them."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        feature_key: The flag that the rule belongs to, if known; of a Convert project the first feature that the experience can switch on, or
            the experience.
        rule_type: Kind of the rule that gave it, if known, such as ``EXPERIMENTATION``.
        rule_id: Which rule, if known.
        consent: The visitor's legal consent when the event was made: given, refused, or ``None`` for unknown.
        details: What only some destinations can use, ``{name: JSON value}``.
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
    rule_id: str | None = None
    consent: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "kameleoon"
    event_id: str = field(default_factory=_new_id)

    def plain(self) -> dict[str, Any]:
        """The event as JSON has it, for destinations without a form of their own; what is not known is left out."""
        names = ("experiment_id", "variation_id", "variation_key", "feature_key", "rule_type", "rule_id", "consent")
        return _plain("exposure", self, names, details=self.details)


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
        is_negative: Whether it takes back an earlier one.
        assignments: ``((experiment id, variation id), …)`` of the visitor then.
        consent: As for `Exposure`.
        details: As for `Exposure`.
        origin: As for `Exposure`.
        event_id: As for `Exposure`.
    """

    visitor_code: str
    goal_id: str
    at_ms: int
    goal_key: str | None = None
    revenue: float | None = None
    is_negative: bool = False
    assignments: tuple[tuple[str, str], ...] = ()
    consent: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "kameleoon"
    event_id: str = field(default_factory=_new_id)

    def plain(self) -> dict[str, Any]:
        """As `Exposure.plain`."""
        more = {"is_negative": self.is_negative, "experiments": experiments(self.assignments), "details": self.details}
        return _plain("conversion", self, ("goal_id", "goal_key", "revenue", "consent"), **more)


Event: TypeAlias = Exposure | Conversion


_KINDS: dict[str, type[Exposure | Conversion]] = {"exposure": Exposure, "conversion": Conversion}


def to_text(event: Event) -> str:
    """
    *event* as a queue keeps it: one line of ASCII.

    Raises:
        TypeError: Its details have no JSON form.
        ValueError: As `TypeError`.
    """
    kind = "exposure" if isinstance(event, Exposure) else "conversion"
    values = {one.name: getattr(event, one.name) for one in fields(event)}
    return json.dumps({"type": kind, **values}, allow_nan=False, separators=(",", ":"))


def from_text(text: str) -> Event:
    """
    The event that `to_text` wrote. What a later version added to it is left out.

    Raises:
        ValueError: *text* is no such line.
    """
    try:
        values = json.loads(text)
        made = _KINDS[values["type"]]
        known = {one.name: values[one.name] for one in fields(made) if one.name in values}
        if "assignments" in known:
            known["assignments"] = tuple((experiment, variation) for experiment, variation in known["assignments"])
        return made(**known)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no event: {type(error).__name__}") from None


def experiments(assignments: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    """Assignments as JSON has them."""
    return [{"experiment_id": experiment, "variation_id": variation} for experiment, variation in assignments]


def _plain(kind: str, event: Event, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
    known = {name: value for name in names if (value := getattr(event, name)) is not None}
    head = {"type": kind, "event_id": event.event_id, "at_ms": event.at_ms, "visitor_code": event.visitor_code}
    return {**head, **known, **{name: value for name, value in more.items() if value}, "origin": event.origin}

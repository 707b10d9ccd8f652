"""How one destination is fed: under which name, with whose consent, within which bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from kameleoon._tracking.queues import MAX_BYTES, MAX_EVENTS
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from kameleoon.destinations.protocol import Destination

Consent: TypeAlias = Callable[[str], bool | None]
"""``visitor code -> whether his events may go there``; anything but ``True``, also an exception, drops the event."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """
    An event that was given up after it had been taken in.

    Attributes:
        destination: Name of the destination.
        reason: Why, without secrets.
        content: What would have been sent; where it did not come to that, the event as it was kept.
    """

    destination: str
    reason: str
    content: bytes = field(repr=False)


class ConsentRule(StrEnum):
    """
    What a visitor's legal consent means for one destination.

    ``REQUIRED``: a refusal drops his events; while nothing is known they wait if the configuration requires consent, else they are sent.
    ``GIVEN``: as ``REQUIRED``, whatever the configuration says. ``IGNORED``: all that the service would be told is sent.
    """

    REQUIRED = "required"
    GIVEN = "given"
    IGNORED = "ignored"

    def decide(self, consent: bool | None, *, is_required: bool) -> bool | None:
        """
        Whether an event may go.

        Args:
            consent: The visitor's word, ``None`` for unknown.
            is_required: Whether the configuration requires consent.

        Returns:
            ``None``: it has to wait for his word.
        """
        if self is ConsentRule.IGNORED:
            return True
        if consent is None:
            return None if is_required or self is ConsentRule.GIVEN else True
        return consent


@dataclass(frozen=True, slots=True)
class Feed:
    """
    A destination with settings of its own, for ``KameleoonClientConfig(destinations=[…])``.

    Attributes:
        destination: Where events go.
        name: In place of the destination's own, for messages and counters; on disk its queue is found by it again.
        consent: ``required``, ``given`` or ``ignored``, see `ConsentRule`; or a function that alone decides for each visitor code,
            called where the destination is.
        on_dead_letter: Told of each event that is given up; what it raises is logged.
        most_events: Most events kept; beyond, new ones are dropped.
        most_bytes: Most bytes of events kept.

    Raises:
        ConfigException: A value is none of these.
    """

    destination: Destination
    name: str = ""
    consent: ConsentRule | str | Consent = ConsentRule.REQUIRED
    on_dead_letter: Callable[[DeadLetter], None] | None = field(default=None, kw_only=True)
    most_events: int = field(default=MAX_EVENTS, kw_only=True)
    most_bytes: int = field(default=MAX_BYTES, kw_only=True)

    def __post_init__(self) -> None:
        missing = [name for name in ("map", "check", "send") if not callable(getattr(self.destination, name, None))]
        missing += [name for name in ("name", "limits") if not hasattr(self.destination, name)]
        if missing or isinstance(self.destination, type):
            kind = getattr(self.destination, "__name__", type(self.destination).__name__)
            raise ConfigException(f"{kind} is no destination: it lacks {', '.join(missing) or 'an instance'}")
        name: object = self.name or self.destination.name
        object.__setattr__(self, "name", name)
        if not isinstance(name, str) or not name.isprintable():
            raise ConfigException("a destination's name must be a text of one line")
        rules = [str(rule) for rule in ConsentRule]
        if isinstance(self.consent, str) and self.consent in rules:
            object.__setattr__(self, "consent", ConsentRule(self.consent))
        elif not callable(self.consent) or isinstance(self.consent, str):
            raise ConfigException(
                f"{self.name}: consent is {self.consent!r}, allowed is {', '.join(rules)} or a function"
            )
        for bound in ("most_events", "most_bytes"):
            value = getattr(self, bound)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigException(f"{self.name}: {bound} is {value!r}, allowed is a whole number above 0")
        if self.on_dead_letter is not None and not callable(self.on_dead_letter):
            raise ConfigException(f"{self.name}: on_dead_letter must be a function")

    def decide(self, consent: bool | None, *, is_required: bool) -> bool | None:
        """As `ConsentRule.decide`; where a function decides, it does so later."""
        return self.consent.decide(consent, is_required=is_required) if isinstance(self.consent, ConsentRule) else True

    @property
    def asks(self) -> Consent | None:
        """The function that decides, if there is one."""
        return None if isinstance(self.consent, (ConsentRule, str)) else self.consent

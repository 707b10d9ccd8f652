"""The window of time in which a rule is given out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

MOMENT = "a date, or date and time, such as 2026-12-01 or 2026-12-01 09:00"
ZONE = "the name of a time zone such as Europe/Paris or UTC"
"""What is expected of either, for the end of a message."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?"
_MOMENT = re.compile(rf"{_DATE}(?:[T ]{_TIME}(?:Z|[+-]\d{{2}}:?\d{{2}})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Release:
    """
    When a rule holds: from the moment it opens until right before it closes.

    Attributes:
        opens: None for one that has always been open. A time without an offset is one of the zone's clocks; where they show it twice,
            the first is meant.
        closes: None for one that never closes.
        zone: Name of the time zone.

    Raises:
        ValueError: It has neither end, closes no later than it opens, or there is no such time zone.

    Source:
        automation-api.md, section 7.4.
    """

    opens: datetime | None
    closes: datetime | None
    zone: str = "UTC"

    def __post_init__(self) -> None:
        zone = read_zone(self.zone)
        if self.opens is None and self.closes is None:
            raise ValueError("a window needs a beginning, an end or both")
        if self.opens is not None and self.closes is not None and _ms(self.opens, zone) >= _ms(self.closes, zone):
            raise ValueError("a window closes after it opens")

    @property
    def opens_ms(self) -> int | None:
        """When it opens, in ms since 1970."""
        return None if self.opens is None else _ms(self.opens, read_zone(self.zone))

    @property
    def closes_ms(self) -> int | None:
        """When it closes, likewise."""
        return None if self.closes is None else _ms(self.closes, read_zone(self.zone))

    @property
    def edges_ms(self) -> tuple[int, ...]:
        """When it opens and closes, as far as it does."""
        return tuple(edge for edge in (self.opens_ms, self.closes_ms) if edge is not None)

    def is_ahead(self, at_ms: int) -> bool:
        """Whether it has not yet opened at a moment."""
        return (opens_ms := self.opens_ms) is not None and at_ms < opens_ms

    def is_over(self, at_ms: int) -> bool:
        """Whether it has closed by a moment."""
        return (closes_ms := self.closes_ms) is not None and at_ms >= closes_ms

    def __str__(self) -> str:
        opens, closes = (None if moment is None else moment_text(moment) for moment in (self.opens, self.closes))
        if opens is None:
            return f"until {closes} ({self.zone})"
        return f"from {opens}{f' to {closes}' if closes is not None else ''} ({self.zone})"


def read_moment(text: str) -> datetime:
    """
    A moment in ISO 8601: a date, which is its first moment, or a date and time, with an offset from UTC or without.

    Raises:
        ValueError: It is something else, or no calendar has it.
    """
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        # No calendar has it.
        pass
    raise ValueError(f"{text[:60]!r} is not understood, expected {MOMENT}")


def moment_text(moment: datetime, separator: str = " ") -> str:
    """What `read_moment` reads as the same; seconds are left out between the date and time of a person."""
    is_short = separator == " " and not moment.second and not moment.microsecond
    return moment.isoformat(separator, "minutes" if is_short else "auto").replace("+00:00", "Z")


def read_zone(name: str) -> tzinfo:
    """
    The time zone of a name.

    Raises:
        ValueError: The system knows none.
    """
    if name == "UTC":
        # Known also where the system has no data of time zones.
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name[:60]!r}") from error


def _ms(moment: datetime, zone: tzinfo) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return (aware - _EPOCH) // timedelta(milliseconds=1)

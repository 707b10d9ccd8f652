"""What a destination promises, and what the one who feeds it does in return."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event


@dataclass(frozen=True, slots=True)
class Limits:
    """
    How much at once.

    Attributes:
        batch_events: Most events in one `Destination.send`.
        batch_bytes: Most bytes: those of all events, *frame_bytes*, and one between two events.
        frame_bytes: What stands around the events.
        flush_events: So many are sent without waiting for more.
        flush_after_s: So long the first one waits for others, in seconds.
        requests_per_s: Most sends in a second, ``None`` for any number.
        attempts: So often a batch is tried that the destination wants to have again later, before it is given up; ``None`` for as long
            as there is room to keep it.
    """

    batch_events: int = 100
    batch_bytes: int = 500_000
    frame_bytes: int = 0
    flush_events: int = 50
    flush_after_s: float = 1.0
    requests_per_s: float | None = None
    attempts: int | None = None

    def size(self, lengths: Sequence[int]) -> int:
        """Bytes of a batch of events of these *lengths*."""
        return sum(lengths) + self.frame_bytes + max(0, len(lengths) - 1)


class Verdict(Enum):
    """What becomes of a batch."""

    SENT = "taken"
    RETRY = "to be tried again later"
    SPLIT = "something in it is refused: halves are tried, and what is refused alone is given up"
    REPACK = "to be sent at once under other limits"
    CLOSED = "given up, and nothing more is sent for a while"


@dataclass(frozen=True, slots=True)
class Result:
    """
    How a `Destination.send` ended.

    Attributes:
        verdict: What becomes of the batch.
        reason: For people, without events and secrets.
        wait_s: For ``RETRY`` and ``CLOSED``: wait at least so long, in seconds; ``None`` to leave it to the caller.
    """

    verdict: Verdict
    reason: str = ""
    wait_s: float | None = None


SENT = Result(Verdict.SENT)


class EventRefused(Exception):
    """
    An event that a destination would not take, or would drop in silence.

    Attributes:
        code: A short name for counting.
        reason: What is wrong, without values of the event.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Destination(Protocol):
    """
    Somewhere events go. One destination belongs to one client, which calls it from one thread at a time.

    Each delivery maps and checks its events anew. `Event.event_id` and `Event.at_ms` are the event's own, so that a repeated one can be
    known for one whatever else `map` looks up. What any of these methods raises counts as a fault: the batch is tried again later.
    """

    @property
    def name(self) -> str:
        """Short name for messages and counters, without secrets; its events on disk are found again by it."""

    @property
    def limits(self) -> Limits:
        """How much at once; looked at before each `send`, since it may change."""

    def map(self, event: Event) -> Any | None:
        """*event* in the destination's own form, ``None`` for an event it does not take."""

    def check(self, mapped: Any) -> bytes:
        """
        The bytes to send for what `map` gave.

        Raises:
            EventRefused: The other side would not take it.
        """

    def send(self, batch: Sequence[bytes]) -> Flow[Result]:
        """
        Send one batch, in order.

        Args:
            batch: What `check` gave, at least one, within `limits`.
        """


def compact(value: Any) -> bytes:
    """
    JSON without spaces, in UTF-8.

    Raises:
        EventRefused: Of code ``json``: *value* has no such form.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EventRefused("json", f"no JSON: {type(error).__name__}") from None

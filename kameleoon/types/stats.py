"""What a client has sent so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DestinationStats:
    """
    What became of the events of one destination, in this process.

    Attributes:
        queued: Taken in to be sent.
        sent: Accepted by the destination.
        left_out: The destination had no use for them.
        dropped: Not told for another reason: no consent, no room, not valid, refused, given up.
        dropped_by_reason: ``{short reason: events}``.
        pending: Waiting, or on their way at this moment; with a data directory those of all its processes.
        held: Waiting for their visitors' consent.
        requests: Batches that the destination was given, repeated ones too.
        retried: Batches that failed and are tried again.
        bytes_sent: Size of the events that were accepted.
    """

    queued: int = 0
    sent: int = 0
    left_out: int = 0
    dropped: int = 0
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    held: int = 0
    requests: int = 0
    retried: int = 0
    bytes_sent: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """
    What a client did since it was made, or since the fork in a forked process. Events are counted in tracking lines.

    An event is produced when it is handed over for sending; what was added to a visitor and is not yet due for sending is no
    event yet. Unless an event is handed over or sent meanwhile, *produced* is *sent*, *dropped* and *pending* together.

    Attributes:
        events_produced: Handed over for sending.
        events_sent: Accepted by the service.
        events_dropped: Refused by the service for good, or given up because there was no room.
        events_pending: Waiting, or on their way at this moment.
        requests_retried: Tracking requests that failed, whose events were kept to be sent again.
        visitors: Visitor codes known now; 0 once the client is closed.
        pattern_timeouts: Times that a regular expression of the configuration took too long for a visitor's text, which then counted as
            not matching. Those of a Convert project are not counted.
        destinations: ``{name: what became of its events}``; the numbers above are of the service alone.
    """

    events_produced: int
    events_sent: int
    events_dropped: int
    events_pending: int
    requests_retried: int
    visitors: int
    pattern_timeouts: int = 0
    destinations: Mapping[str, DestinationStats] = field(default_factory=dict)

"""What a client has sent so far."""

from dataclasses import dataclass


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
    """

    events_produced: int
    events_sent: int
    events_dropped: int
    events_pending: int
    requests_retried: int
    visitors: int
    pattern_timeouts: int = 0

"""What a flush achieved."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlushResult:
    """
    What ``flush(timeout=...)`` achieved, in tracking lines.

    Attributes:
        sent: Lines that the service accepted.
        pending: Lines still to be sent when the time was over.
        dropped: Lines that the service refused for good, or that there was no room for.
    """

    sent: int
    pending: int
    dropped: int

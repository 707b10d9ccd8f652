"""The event of a configuration that has arrived."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kameleoon.events.event_handler import EventHandler


@dataclass(frozen=True, slots=True)
class DataFileUpdateEvent:
    """
    A configuration has arrived, the same as before perhaps.

    Attributes:
        source: Whether it was polled, or fetched because the service announced it.
        date_modified: When it last changed, in milliseconds since 1970.

    Source:
        docs/service/network.md 3.4.
    """

    class Source(Enum):
        """How a configuration came."""

        POLLING = "POLLING"
        STREAMING = "STREAMING"

    source: Source
    date_modified: int


class DataFileUpdateHandler(EventHandler, Protocol):
    """Handler for ``EventType.DATAFILE_UPDATE``."""

    def on_update(self, event: DataFileUpdateEvent) -> None:
        """Take note of a configuration that the client already works with."""

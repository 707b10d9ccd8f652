"""The service itself, asked over HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from kameleoon._transport.configuration import SERVICE, Fetched, fetch_configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.endpoints import Endpoints
    from kameleoon._transport.flow import Flow


@dataclass(frozen=True, slots=True)
class ServiceSource:
    """
    `Source` that asks the configuration service.

    Attributes:
        endpoints: Whose configuration, and where.
        interval_s: Seconds between two questions while nothing is streamed.
        timeout_s: Seconds for one question, its second attempt included.
        clock: Monotonic seconds.
    """

    name: ClassVar[str] = SERVICE

    endpoints: Endpoints
    interval_s: float
    timeout_s: float
    clock: Callable[[], float] = time.monotonic

    @property
    def identity(self) -> str:
        """What tells the configuration from others on disk."""
        return self.endpoints.configuration()

    def fetch(self, known: Fetched | None, ts: int | None) -> Flow[Fetched | None]:
        """Ask the service, as `fetch_configuration` does. What another source gave is not named in the question."""
        own = known if known is not None and known.source_name == self.name else None
        return fetch_configuration(self.endpoints, own, ts, self.timeout_s, self.clock)

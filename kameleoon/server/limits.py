"""
The service's rate limits, for whoever wants to meet them before production does. They are off unless asked for.

Source:
    data-api.md, section 4; automation-api.md, section 4.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_ASKERS = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in so many seconds."""

    requests: int
    seconds: float


DATA_GET = Limit(5, 1), Limit(50, 1)
"""A GET of the Data API: without a token, and with one."""
DATA_OTHER = Limit(50, 1), Limit(1000, 1)
"""Every other method, each counted by itself."""
AUTOMATION = Limit(50, 10), Limit(1000, 3600)
"""A token of the Automation API: both hold."""


class RateLimits:
    """
    Counts requests in sliding windows; askers that were silent longest are forgotten first.

    Args:
        now_s: A clock that does not go back.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._seen: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()

    def wait_s(self, asker: tuple[str, ...], limits: tuple[Limit, ...]) -> float:
        """
        Take one request, or say how long it must wait.

        Args:
            asker: Who asks for what.
            limits: All of which must hold.

        Returns:
            0 when it may go on; it is counted then. Else seconds until it may, above 0.
        """
        now_s = self._now_s()
        times = self._seen.setdefault(asker, deque())
        self._seen.move_to_end(asker)
        if len(self._seen) > _MAX_ASKERS:
            self._seen.popitem(last=False)
        longest = max(limit.seconds for limit in limits)
        while times and times[0] <= now_s - longest:
            times.popleft()
        for limit in limits:
            # The request that came `requests` ago has to be older than the window.
            if len(times) >= limit.requests and (wait := times[-limit.requests] + limit.seconds - now_s) > 0:
                return wait
        times.append(now_s)
        return 0.0

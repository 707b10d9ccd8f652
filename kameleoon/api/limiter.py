"""
Not more requests than the service takes: windows that are asked before a request goes out. Pure; times are arguments.

The service counts a request when it arrives, some time between its sending and its answer. So a request under way counts, and one
that was answered counts for a whole window after its answer: however slow the way, no window at the service holds more than its rate.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass

from kameleoon._transport.fork import ForkSafeLock

MARGIN_S = 0.005
"""Added to every window for clocks that tick in steps."""

_LOOK_AGAIN_S = 0.02


@dataclass(frozen=True, slots=True)
class Rate:
    """At most *count* requests within any *period_s* seconds; both above 0."""

    count: int
    period_s: float


class Limiter:
    """
    Keeps to several rates at once, for all threads and loops that share it.

    Args:
        rates: All of them hold.
        margin_s: See `MARGIN_S`.
    """

    __slots__ = ("__weakref__", "_closed_until_s", "_ended_at_s", "_lock", "_margin_s", "_pid", "_rates", "_under_way")

    def __init__(self, *rates: Rate, margin_s: float = MARGIN_S) -> None:
        self._rates = rates
        self._margin_s = margin_s
        self._lock = ForkSafeLock()
        self._ended_at_s: deque[float] = deque(maxlen=max(rate.count for rate in rates))
        self._under_way = 0
        self._pid = os.getpid()
        self._closed_until_s = float("-inf")

    def take(self, now_s: float) -> float:
        """
        Take a place for a request that goes out at once, if there is one; it is given back with `ended`.

        Args:
            now_s: Monotonic seconds.

        Returns:
            0 when a place was taken, else the seconds after which to ask again.
        """
        with self._lock:
            self._forget_parent()
            wait_s = self._closed_until_s - now_s
            for rate in self._rates:
                free = rate.count - self._under_way
                if free <= 0:
                    wait_s = max(wait_s, _LOOK_AGAIN_S)
                elif len(self._ended_at_s) >= free:
                    wait_s = max(wait_s, self._ended_at_s[-free] + rate.period_s + self._margin_s - now_s)
            if wait_s > 0:
                return wait_s
            self._under_way += 1
            return 0.0

    def ended(self, now_s: float) -> None:
        """Note that a request for which a place was taken was answered, or given up."""
        with self._lock:
            self._forget_parent()
            self._under_way = max(0, self._under_way - 1)
            # Threads may come here in another order than they read the clock.
            self._ended_at_s.append(max(now_s, self._ended_at_s[-1]) if self._ended_at_s else now_s)

    def close_until(self, at_s: float) -> None:
        """Let nothing go before *at_s*: the service refused a request and said, or we chose, when to come back."""
        with self._lock:
            self._closed_until_s = max(self._closed_until_s, at_s)

    def _forget_parent(self) -> None:
        # Requests that a parent process had under way are ended there, not here.
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._under_way = 0

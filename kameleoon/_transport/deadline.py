"""One deadline for a whole conversation, so that several requests together keep to the caller's timeout (faults B13)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kameleoon._transport.message import TransportError, TransportErrorKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.message import Request


class Deadline:
    """
    A point in time, *timeout_s* from now.

    Args:
        clock: Gives monotonic seconds.
        timeout_s: Seconds from now; 0 or less has passed already.
    """

    __slots__ = ("_at_s", "_clock")

    def __init__(self, clock: Callable[[], float], timeout_s: float) -> None:
        self._clock = clock
        self._at_s = clock() + timeout_s

    def remaining(self) -> float:
        """Seconds left, 0 when it has passed."""
        return max(0.0, self._at_s - self._clock())

    def limit(self, request: Request) -> Request:
        """
        Give *request* no more time than is left.

        Raises:
            TransportError: Nothing is left; of kind ``TIMEOUT``.
        """
        left = self.remaining()
        if left <= 0:
            raise TransportError.of(request, TransportErrorKind.TIMEOUT, "no time left to send it")
        return replace(request, timeout_s=min(left, request.timeout_s))

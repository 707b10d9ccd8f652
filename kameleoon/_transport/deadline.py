"""One deadline for a whole conversation, so that several requests together keep to the caller's timeout (faults B13)."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from kameleoon._transport.fork import ForkSafeLock
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

    def watch(self, sock: socket.socket) -> None:
        """Take note of the socket that it bounds. A deadline that can be ended early uses it."""

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


class EndableDeadline(Deadline):
    """A deadline that can be put off, or ended by another thread while a read of the socket waits for it."""

    __slots__ = ("_is_ended", "_lock", "_sock")

    def __init__(self, clock: Callable[[], float], timeout_s: float) -> None:
        super().__init__(clock, timeout_s)
        self._lock = ForkSafeLock()
        self._is_ended = False
        self._sock: socket.socket | None = None

    @property
    def is_ended(self) -> bool:
        """Whether somebody called `end`."""
        return self._is_ended

    def remaining(self) -> float:
        """Seconds left, 0 when it has passed or was ended."""
        return 0.0 if self._is_ended else super().remaining()

    def renew(self, timeout_s: float) -> None:
        """Put the deadline off to *timeout_s* from now."""
        self._at_s = self._clock() + timeout_s

    def watch(self, sock: socket.socket) -> None:
        """Take note of the socket whose reader `end` wakes."""
        with self._lock:
            self._sock = sock

    def release(self) -> None:
        """Let go of the socket: it serves another request from now on."""
        with self._lock:
            self._sock = None

    def end(self) -> None:
        """Make it pass now, and wake the thread that reads the socket."""
        with self._lock:
            self._is_ended = True
            if self._sock is not None:
                # The plain socket's method: a TLS socket's own would take its state away under the reader.
                with suppress(OSError):
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

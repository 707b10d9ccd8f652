"""
The blocking sender, over ``requests``: its life, its threads, its forks.

``requests`` is imported with the first request, by `kameleoon._transport.requests_wire`, which knows how one request is sent.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from kameleoon._transport.adapter import tell
from kameleoon._transport.flow import run
from kameleoon._transport.fork import ForkSafeLock, importing
from kameleoon._transport.message import TransportError, TransportErrorKind
from kameleoon._transport.redirect import following_redirects

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.adapter import Observer
    from kameleoon._transport.message import Request, Response
    from kameleoon._transport.requests_wire import Wire


class RequestsSender:
    """
    `Sender` over one pool of kept-alive connections, for any number of threads.

    Proxies and certificate authorities come from the usual environment variables. Cookies and ``.netrc`` are not used. A forked
    child leaves its parent's connections alone and opens its own. Name lookup is the system's and not bounded by the timeout.

    Args:
        observer: Told of every attempt, in the thread that made it.
        clock: Monotonic seconds.
    """

    def __init__(self, observer: Observer | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._observer = observer
        self._clock = clock
        self._lock = ForkSafeLock()
        self._wires: dict[int, Wire] = {}
        self._is_closed = False
        self._closing: dict[int, threading.Event] = {}

    def send(self, request: Request) -> Response:
        """
        Send *request* and wait for the whole response.

        Raises:
            TransportError: No complete response came in time, it was refused, or the sender is closed.
        """
        started_s = self._clock()
        outcome: Response | TransportError | None = None
        try:
            outcome = run(following_redirects(request, self._clock), self._wire(request))
            return outcome
        except TransportError as error:
            outcome = error
            raise
        finally:
            if outcome is not None:
                tell(self._observer, request, outcome, self._clock() - started_s)

    def pause(self, seconds: float) -> None:
        """Wait *seconds*, or until `close`."""
        self._closing_event().wait(seconds)

    def close(self) -> None:
        """Free all connections and end all pauses and requests under way in other threads; one that still connects ends by itself."""
        with self._lock:
            self._is_closed = True
            wire = self._wires.pop(os.getpid(), None)
        self._closing_event()
        if wire is not None:
            wire.close()

    def _closing_event(self) -> threading.Event:
        # One for each process: some thread of the parent may hold the lock of an inherited one for ever.
        event = self._closing.setdefault(os.getpid(), threading.Event())
        if self._is_closed:
            event.set()
        return event

    def _wire(self, request: Request) -> Wire:
        with importing:
            from kameleoon._transport.requests_wire import Wire  # noqa: PLC0415 - `requests` costs time and memory

        with self._lock:
            if self._is_closed:
                raise TransportError.of(request, TransportErrorKind.CONNECTION, "the client is closed")
            pid = os.getpid()
            if pid not in self._wires:
                # The parent's wire stays in the dictionary: closing it here would end the parent's TLS sessions.
                self._wires[pid] = Wire(self._clock)
            return self._wires[pid]

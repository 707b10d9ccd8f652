"""One daemon thread that keeps a connection open, and opens another one when it ends."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from kameleoon._transport.message import TransportError
from kameleoon._transport.retry import retry_wait
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

STEADY_S = 30.0
"""A connection that lasted so long was a good one: the waits start anew after it."""

_random = random.SystemRandom()

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Connection(Protocol[T_co]):
    """What is listened to."""

    def events(self) -> Iterator[T_co | None]:
        """
        Open it and wait: ``None`` once it is open, then each event, until it ends.

        Raises:
            TransportError: It could not be opened, or broke.
        """

    def abort(self) -> None:
        """End it from another thread. Without effect on one that has ended."""


class Listener(Generic[T]):
    """
    Listens until it is stopped; waits longer after each failure, and never the same time as others do.

    Args:
        name: The thread's name.
        connect: Makes the next connection, not yet open.
        on_open: Called, in the thread, each time a connection is open.
        on_event: Called, in the thread, with each event.
        first_wait_s: Seconds after the first failure, above 0.
        longest_wait_s: Seconds after many, at least *first_wait_s*.
        steady_s: Seconds after which a connection counts as a good one.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection[T]],
        on_open: Callable[[], None],
        on_event: Callable[[T], None],
        *,
        first_wait_s: float = FIRST_WAIT_S,
        longest_wait_s: float = LONGEST_WAIT_S,
        steady_s: float = STEADY_S,
    ) -> None:
        self._connect = connect
        self._on_open = on_open
        self._on_event = on_event
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._steady_s = steady_s
        self._stopping = threading.Event()
        self._is_open = False
        self._connection: Connection[T] | None = None
        self._failures = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """Whether a connection is open now, as far as anybody knows."""
        return self._is_open

    def stop(self, timeout_s: float) -> bool:
        """
        End the connection and the thread.

        Returns:
            Whether it ended within *timeout_s* seconds. If not, it is opening a connection, and ends with that.
        """
        self._stopping.set()
        connection = self._connection
        if connection is not None:
            connection.abort()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._connection = self._connect()
            # `stop` may have looked for a connection just before there was this one.
            if self._stopping.is_set():
                return
            self._listen(self._connection)
            if not self._stopping.is_set():
                self._stopping.wait(self._wait_s())

    def _listen(self, connection: Connection[T]) -> None:
        opened_s: float | None = None
        reason = "it was ended by the other side"
        try:
            for event in connection.events():
                if event is None:
                    opened_s = time.monotonic()
                    self._is_open = True
                    self._on_open()
                else:
                    self._on_event(event)
        except TransportError as error:
            reason = str(error)
        except Exception as error:  # the thread must outlive whatever goes wrong in one connection
            reason = repr(error)
        finally:
            self._is_open = False
        if self._stopping.is_set():
            return
        if opened_s is not None and time.monotonic() - opened_s >= self._steady_s:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            KameleoonLogger.info("The stream is opened anew: %s", reason)
        elif self._failures == 2:
            KameleoonLogger.warning("The stream cannot be kept open, changes are polled meanwhile: %s", reason)

    def _wait_s(self) -> float:
        return retry_wait(
            self._failures,
            first_s=self._first_wait_s,
            ceiling_s=self._longest_wait_s,
            retry_after_s=None,
            source=_random,
        )

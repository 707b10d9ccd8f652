"""
Changes that the service announces: when to listen, and what an announcement leads to.

The stream's thread only listens. What is announced is fetched by whoever runs the schedule, so that fetches follow one another.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from kameleoon._transport.requests_stream import EventConnection
from kameleoon._transport.retry import retry_wait
from kameleoon._transport.server_events import UPDATE_EVENT, ServerEvent, announced_version
from kameleoon._workers.listener import Listener
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._runtime.configuration import Configuration
    from kameleoon._transport.flow import Flow

FETCH_AGAIN_S = 1.0
LONGEST_WAIT_S = 60.0

_random = random.SystemRandom()


class Streaming:
    """
    One client's stream: at most one thread, and only while the configuration asks for it.

    Args:
        name: The thread's name.
        configuration: What is refreshed.
        url: Gives the stream's address.
        hasten: Called when `refresh` is due at once.
        connect: Makes a connection to an address.
    """

    def __init__(
        self,
        name: str,
        configuration: Configuration,
        url: Callable[[], str],
        hasten: Callable[[], object],
        connect: Callable[[str], EventConnection] = EventConnection,
    ) -> None:
        self._name = name
        self._configuration = configuration
        self._url = url
        self._hasten = hasten
        self._connect = connect
        self._lock = threading.Lock()
        self._listener: Listener[ServerEvent] | None = None
        self._is_closed = False
        self._announced: int | None = None
        self._is_wanted = False
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether changes are announced now, so that polling may rest."""
        listener = self._listener
        return listener is not None and listener.is_open

    def follow(self, is_wanted: bool) -> None:
        """Listen from now on, or no longer. Never waits, and costs nothing when nothing changes."""
        with self._lock:
            if is_wanted == (self._listener is not None) or self._is_closed:
                return
            listener, self._listener = self._listener, None
            if is_wanted:
                self._listener = Listener(self._name, lambda: self._connect(self._url()), self._on_open, self._on_event)
                self._listener.start()
        if listener is not None:
            listener.stop(0.0)
        KameleoonLogger.info(
            "Changes of the configuration are streamed" if is_wanted else "Changes of the configuration are polled"
        )

    def close(self, timeout_s: float) -> None:
        """End the stream for good, waiting for its thread at most *timeout_s* seconds."""
        with self._lock:
            self._is_closed = True
            listener, self._listener = self._listener, None
        if listener is not None:
            listener.stop(timeout_s)

    def refresh(self) -> Flow[bool]:
        """Fetch what was announced, or, after the stream was opened, whatever changed while nobody listened."""
        with self._lock:
            version, self._announced = self._announced, None
            is_wanted, self._is_wanted = self._is_wanted, False
        if not is_wanted:
            return True
        is_fetched = yield from self._configuration.refresh(version, announced=True)
        if is_fetched:
            self._failures = 0
        else:
            self._failures += 1
            self._want(version)
        return is_fetched

    def wait_s(self) -> float | None:
        """Seconds until `refresh` is due again: ``None`` unless the last one failed."""
        if not self._failures:
            return None
        return retry_wait(
            self._failures,
            first_s=FETCH_AGAIN_S,
            ceiling_s=LONGEST_WAIT_S,
            retry_after_s=self._configuration.retry_after_s,
            source=_random,
        )

    def _on_open(self) -> None:
        self._ask(None)

    def _on_event(self, event: ServerEvent) -> None:
        if event.name == UPDATE_EVENT:
            self._ask(announced_version(event))

    def _ask(self, version: int | None) -> None:
        self._want(version)
        self._hasten()

    def _want(self, version: int | None) -> None:
        with self._lock:
            if version is not None:
                self._announced = max(version, self._announced or 0)
            self._is_wanted = True

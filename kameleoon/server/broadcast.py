"""Tells listeners on the event loop what happens, from whatever thread it happens in."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

_T = TypeVar("_T")
MAX_WAITING = 256
"""Messages kept for a listener that is slow; then its oldest ones are dropped."""


class Broadcast(Generic[_T]):
    """One message to all who listen at that moment."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Queue[_T | None], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    @contextmanager
    def listening(self) -> Iterator[asyncio.Queue[_T | None]]:
        """Listen, on the running event loop. ``None`` in the queue means that nothing more will come."""
        queue: asyncio.Queue[_T | None] = asyncio.Queue()
        with self._lock:
            self._listeners[queue] = asyncio.get_running_loop()
            if self._is_closed:
                queue.put_nowait(None)
        try:
            yield queue
        finally:
            with self._lock:
                self._listeners.pop(queue, None)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def send(self, message: _T) -> None:
        """Tell all listeners. Any thread may call this."""
        self._put(message)

    def close(self) -> None:
        """Let all listeners, also later ones, know that nothing more will come."""
        self._is_closed = True
        self._put(None)

    def _put(self, message: _T | None) -> None:
        with self._lock:
            for queue, loop in self._listeners.items():
                # A loop that has ended has nobody left who reads.
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_deliver, queue, message)


def _deliver(queue: asyncio.Queue[_T | None], message: _T | None) -> None:
    if queue.qsize() >= MAX_WAITING:
        queue.get_nowait()
    queue.put_nowait(message)

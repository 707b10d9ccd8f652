"""Calls the application's event handlers, away from the thread that does the network's work."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 1_000
"""Calls waiting for a handler that is slow or hangs; more are left out."""


class Dispatcher:
    """
    A thread that makes calls in order, started with the first one.

    Args:
        name: The thread's name.
        threaded: Whether a thread may be started; without one calls are made at once.
    """

    def __init__(self, name: str, *, threaded: bool) -> None:
        self._name = name
        self._threaded = threaded
        self._calls: queue.Queue[Callable[[], None] | None] = queue.Queue(_MOST)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def post(self, call: Callable[[], None]) -> None:
        """Have *call* made soon. What it raises is logged."""
        if not self._threaded:
            _make(call)
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            KameleoonLogger.warning("An event was left out: the handler has not finished %d earlier ones", _MOST)

    def stop(self) -> None:
        """End the thread after the call at hand; what waits is left out."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            while True:
                try:
                    self._calls.get_nowait()
                except queue.Empty:
                    break
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            _make(call)


def _make(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:  # a handler of the application may raise anything
        KameleoonLogger.warning("An event handler raised %s", repr(error))

"""What a forked child must not inherit: a lock that some thread of the parent held at that moment."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class ForkSafeLock:
    """
    A lock that a forked child finds open, whatever threads of the parent did.

    One lock for each process id. The child's copy of what the lock guards may be half changed, so hold it only around changes
    that are whole or not seen.
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[int, threading.Lock] = {}

    def _own(self) -> threading.Lock:
        pid = os.getpid()
        # `setdefault` is atomic, so that two threads cannot both bring in a lock.
        return self._locks.get(pid) or self._locks.setdefault(pid, threading.Lock())

    def __enter__(self) -> None:
        self._own().acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._own().release()

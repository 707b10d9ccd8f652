"""What a forked child must not inherit: a lock that some thread of the parent held at that moment, one of Python's imports too."""

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


importing = threading.RLock()
"""
Held around an import that may happen in a thread of ours. Forks wait for it: a child that is forked while another thread is in the
middle of an import finds that module locked for ever. Reentrant, because a module that is imported might fork itself.
"""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=importing.acquire, after_in_parent=importing.release, after_in_child=importing.release)

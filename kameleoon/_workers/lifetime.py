"""
The process's own events: it forks, and it ends.

Hooks are registered once per process and hold clients weakly, so that a client nobody uses any more can go.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from typing import Protocol

from kameleoon.logging.kameleoon_logger import KameleoonLogger


class HasLifetime(Protocol):
    """What wants to know of forks and of the end."""

    def after_fork_in_child(self) -> None:
        """Called in the child of a fork, before anything else runs there. Must only set marks."""

    def at_exit(self) -> None:
        """Called when the interpreter ends."""


_watched: weakref.WeakSet[HasLifetime] = weakref.WeakSet()
_lock = threading.Lock()
_registered = False
_ends_watched: set[tuple[str, int]] = set()


def watch(subject: HasLifetime) -> None:
    """Tell *subject* of forks and of the end, as long as it lives and until `unwatch`."""
    global _registered  # noqa: PLW0603 - once per process is what this is for
    with _lock:
        if not _registered:
            _registered = True
            atexit.register(_at_exit)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_after_fork_in_child)
        _watched.add(subject)
    watch_worker_end()


def watch_worker_end() -> None:
    """
    In a child of ``multiprocessing`` or ``billiard`` (Celery): be told of its end too. Call it in each such child, after a fork as well.

    Such children end with ``os._exit``, which runs none of the functions registered with `atexit`, but their own.
    """
    for name in ("multiprocessing", "billiard"):
        process, util = sys.modules.get(f"{name}.process"), sys.modules.get(f"{name}.util")
        # The main process has no identity; there `atexit` does it, after all that the application registered later.
        if process is not None and util is not None and process.current_process()._identity:  # noqa: SLF001 - no other way to tell
            key = (name, os.getpid())
            if key not in _ends_watched:
                _ends_watched.add(key)
                util.Finalize(None, _at_exit, exitpriority=0)


def unwatch(subject: HasLifetime) -> None:
    """Tell *subject* nothing more."""
    with _lock:
        _watched.discard(subject)


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603 - a thread of the parent may have held it
    _lock = threading.Lock()
    for subject in list(_watched):
        subject.after_fork_in_child()


def _at_exit() -> None:
    for subject in list(_watched):
        try:
            subject.at_exit()
        except (
            Exception
        ) as error:  # what one client cannot end, a store of the application's say, must not keep others from it
            KameleoonLogger.error("A client did not end well: %s", repr(error))

"""
The process's own events: it forks, and it ends.

Hooks are registered once per process and hold clients weakly, so that a client nobody uses any more can go.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol


class HasLifetime(Protocol):
    """What wants to know of forks and of the end."""

    def after_fork_in_child(self) -> None:
        """Called in the child of a fork, before anything else runs there. Must only set marks."""

    def at_exit(self) -> None:
        """Called when the interpreter ends."""


_watched: weakref.WeakSet[HasLifetime] = weakref.WeakSet()
_lock = threading.Lock()
_registered = False


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
        subject.at_exit()

"""
The wall clock of a recorded case: it stands still, and moves only when it is told to.

Monotonic time is left alone, so waiting and timeouts work as usual.

Source:
    The format of tests/vectors, "Clock".
"""

from __future__ import annotations

import datetime as dt
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_REAL_DATETIME = dt.datetime


class FrozenClock:
    """
    Replaces ``time.time``, ``time.time_ns`` and ``datetime.datetime`` while it is entered.

    What is shown is half a millisecond past the mark, so that rounding either way gives the same millisecond.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self._replaced: tuple[Any, Any] | None = None

    def time(self) -> float:
        """Seconds since 1970, as ``time.time`` gives them."""
        return (self.now_ms + 0.5) / 1000

    def time_ns(self) -> int:
        """Nanoseconds since 1970, as ``time.time_ns`` gives them."""
        return self.now_ms * 1_000_000 + 500_000

    def __enter__(self) -> Self:
        if self._replaced is not None:
            raise RuntimeError("the clock is frozen already")
        self._replaced = (time.time, time.time_ns)
        time.time = self.time
        time.time_ns = self.time_ns
        dt.datetime = _frozen_datetime(self)  # type: ignore[misc]
        return self

    def __exit__(self, *_: object) -> None:
        assert self._replaced is not None
        time.time, time.time_ns = self._replaced
        dt.datetime = _REAL_DATETIME  # type: ignore[misc]
        self._replaced = None


def _frozen_datetime(clock: FrozenClock) -> type[dt.datetime]:
    """Make a ``datetime`` whose ``now``, ``utcnow`` and ``today`` read *clock*; real instances count as its own."""

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, _REAL_DATETIME)

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, _REAL_DATETIME)

    class FrozenDatetime(_REAL_DATETIME, metaclass=Meta):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return _REAL_DATETIME.fromtimestamp(clock.time(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return _REAL_DATETIME.fromtimestamp(clock.time(), dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return cls.now()

    return FrozenDatetime


@contextmanager
def time_zone(name: str) -> Iterator[None]:
    """Let the process live in the time zone *name* (POSIX form, for example ``EST5``) for a while."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()

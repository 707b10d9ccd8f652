"""
Which job is due when: no thread, no waiting, only times.

A job is a flow with an interval, so that a worker thread, an event loop or a caller without either can run the same schedule.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    JobFlow = Generator[Any, Any, object]


@dataclass(slots=True, eq=False)
class Job:
    """
    Something done again and again.

    Attributes:
        name: For logs and for `Schedule.hasten`.
        make: Makes one run, a flow.
        wait_s: Seconds from the end of one run to the start of the next, asked after each run; ``None`` for never again.
        due_s: When the next run is due, in seconds of the schedule's clock; ``None`` for not at all.
        runs: Runs finished so far.
        started: Runs begun so far.
    """

    name: str
    make: Callable[[], JobFlow]
    wait_s: Callable[[], float | None]
    due_s: float | None = None
    runs: int = field(default=0, init=False)
    started: int = field(default=0, init=False)


class Schedule:
    """
    Jobs and their times. Thread-safe; two callers never run a job at once, nor two jobs.

    Args:
        jobs: The jobs, first in line first.
        clock: Monotonic seconds.
    """

    def __init__(self, jobs: list[Job], clock: Callable[[], float]) -> None:
        self._jobs = jobs
        self._clock = clock
        self.changed = threading.Condition()
        self._watchers: list[Callable[[], None]] = []

    def hasten(self, name: str) -> int:
        """
        Make a job due now.

        Returns:
            How many of its runs must be finished for one that began after this call; see `wait_for`.
        """
        with self.changed:
            job = self._job(name)
            job.due_s = self._clock()
            self.wake()
            return job.started + 1

    def wake(self) -> None:
        """Have everybody who waits look again."""
        with self.changed:
            self.changed.notify_all()
            for watcher in self._watchers:
                watcher()

    @contextmanager
    def watched_by(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Have *watcher* called, by any thread, whenever a job became due early. It must neither wait nor raise."""
        with self.changed:
            self._watchers.append(watcher)
        try:
            yield
        finally:
            with self.changed:
                self._watchers.remove(watcher)

    def wait_for(self, name: str, runs: int, timeout_s: float) -> bool:
        """Wait until *runs* runs of a job are finished. ``False`` when *timeout_s* passes first."""
        job = self._job(name)
        with self.changed:
            return self.changed.wait_for(lambda: job.runs >= runs, timeout_s)

    def begin(self) -> Job | None:
        """The first job that is due, now running; ``None`` when none is. To be ended with `end`."""
        with self.changed:
            now = self._clock()
            for job in self._jobs:
                if job.due_s is not None and job.due_s <= now:
                    job.due_s = None
                    job.started += 1
                    return job
            return None

    def end(self, job: Job) -> None:
        """*job* has run; its next time is set, unless somebody hastened it meanwhile."""
        wait_s = job.wait_s()
        with self.changed:
            job.runs += 1
            if job.due_s is None and wait_s is not None:
                job.due_s = self._clock() + wait_s
            self.wake()

    def idle_s(self) -> float | None:
        """Seconds until a job is due, 0 when one is, ``None`` when none ever is."""
        with self.changed:
            due = [job.due_s for job in self._jobs if job.due_s is not None]
            return max(0.0, min(due) - self._clock()) if due else None

    def _job(self, name: str) -> Job:
        return next(job for job in self._jobs if job.name == name)

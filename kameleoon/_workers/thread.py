"""One daemon thread that runs a schedule."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kameleoon._transport.flow import run
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from kameleoon._transport.flow import Sender
    from kameleoon._workers.schedule import Schedule


class WorkerThread:
    """
    Runs the jobs of a schedule when they are due, one at a time.

    Args:
        name: The thread's name.
        schedule: What to run.
        sender: What the jobs' requests go through.
    """

    def __init__(self, name: str, schedule: Schedule, sender: Sender) -> None:
        self._schedule = schedule
        self._sender = sender
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller is the worker itself, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def stop(self, timeout_s: float) -> bool:
        """
        End the thread after the job at hand.

        Returns:
            Whether it ended within *timeout_s* seconds.
        """
        with self._schedule.changed:
            self._stopping = True
            self._schedule.changed.notify_all()
        if not self.is_current:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while not self._stopping:
            if not run_due(self._schedule, self._sender):
                self._wait()

    def _wait(self) -> None:
        with self._schedule.changed:
            idle_s = self._schedule.idle_s()
            if not self._stopping and idle_s != 0.0:
                self._schedule.changed.wait(idle_s)


def run_due(schedule: Schedule, sender: Sender) -> bool:
    """
    Run one job if one is due.

    Returns:
        Whether there was one. Whatever a job raises is logged; it never gets out.
    """
    job = schedule.begin()
    if job is None:
        return False
    try:
        run(job.make(), sender)
    except Exception as error:  # a broken job must not end the others
        KameleoonLogger.error(f"The job {job.name!r} failed and will be tried again: {error!r}")
    finally:
        schedule.end(job)
    return True

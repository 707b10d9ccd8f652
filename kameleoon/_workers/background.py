"""Who runs a schedule: a thread of the library, or whoever calls when no thread may be started."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

from kameleoon._workers.thread import WorkerThread, run_due

if TYPE_CHECKING:
    from kameleoon._transport.flow import Sender
    from kameleoon._workers.schedule import Schedule


class Background:
    """
    A schedule and who runs it.

    Args:
        name: The thread's name.
        schedule: What is to be done.
        sender: What requests go through.
        threaded: Whether a thread may be started.
    """

    def __init__(self, name: str, schedule: Schedule, sender: Sender, *, threaded: bool) -> None:
        self._schedule = schedule
        self._sender = sender
        self._worker = WorkerThread(name, schedule, sender) if threaded else None
        self._serving = threading.Lock()

    def start(self) -> None:
        """Start the thread, if there is one."""
        if self._worker is not None:
            self._worker.start()

    @property
    def is_threaded(self) -> bool:
        """Whether a thread of the library runs the schedule."""
        return self._worker is not None

    def hasten(self, job: str) -> int:
        """Make *job* due now; a caller without a thread does it himself. Returns as `Schedule.hasten`."""
        runs = self._schedule.hasten(job)
        self._do_due()
        return runs

    def wait_for(self, job: str, runs: int, timeout_s: float) -> bool:
        """Wait until *job* has run *runs* times, as `Schedule.wait_for`. The worker itself never waits."""
        if self._worker is not None and self._worker.is_current:
            return False
        deadline = time.monotonic() + timeout_s
        self._do_due()
        return self._schedule.wait_for(job, runs, max(0.0, deadline - time.monotonic()))

    def serve(self) -> None:
        """Without a thread: do all that is due, unless another caller is at it, or an event loop runs here and would be held up."""
        if self._worker is None and not in_event_loop():
            self._do_due()

    def _do_due(self) -> None:
        if self._worker is None and self._serving.acquire(blocking=False):
            try:
                while run_due(self._schedule, self._sender):
                    pass
            finally:
                self._serving.release()

    def stop(self, timeout_s: float) -> None:
        """End the thread after the job at hand, waiting for at most *timeout_s* seconds."""
        if self._worker is not None:
            self._worker.stop(timeout_s)


def in_event_loop() -> bool:
    """Whether an event loop runs in this thread, so that waiting would hold it up."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

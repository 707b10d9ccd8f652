"""A schedule run by a task of the application's own event loop, for clients that may start no thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from kameleoon._transport.flow import arun
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.flow import AsyncSender
    from kameleoon._workers.schedule import Schedule


async def run_schedule(schedule: Schedule, sender: AsyncSender, is_over: Callable[[], bool]) -> None:
    """
    Run jobs when they are due, until *is_over* or cancelled. Whatever a job raises is logged; it never gets out.

    Between jobs the task sleeps: it is woken when the next one is due, and by `Schedule.hasten` and `Schedule.wake` of any thread.

    Args:
        schedule: What to run.
        sender: What the jobs' requests go through.
        is_over: Whether to end; looked at after each job and each waking.
    """
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    def wake() -> None:
        # A loop that was closed without ending its tasks wakes nobody.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(woken.set)

    with schedule.watched_by(wake):
        while not is_over():
            woken.clear()
            job = schedule.begin()
            if job is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(schedule.idle_s()):
                        await woken.wait()
                continue
            try:
                await arun(job.make(), sender)
            except Exception as error:  # a broken job must not end the others
                KameleoonLogger.error("The job %s failed and will be tried again: %s", job.name, repr(error))
            finally:
                schedule.end(job)

"""A schedule run by a task of the application's loop."""

import asyncio
import gc
import itertools
import time

from kameleoon._workers.loop import run_schedule
from kameleoon._workers.schedule import Job, Schedule


class NoNetwork:
    """A sender that no job here uses."""


def counting(runs, wait_s, due_s=0.0):
    """A job that counts its runs."""

    def make():
        runs.append(time.monotonic())
        return None
        yield

    return Job("count", make, lambda: wait_s, due_s=due_s)


def test_jobs_run_whenever_they_are_due():
    """Nobody wakes the task: it sleeps for as long as the schedule says, again and again."""
    runs = []
    schedule = Schedule([counting(runs, 0.02)], time.monotonic)

    async def main():
        async with asyncio.timeout(10):
            await run_schedule(schedule, NoNetwork(), lambda: len(runs) >= 4)

    asyncio.run(main())
    assert all(later - earlier >= 0.02 for earlier, later in itertools.pairwise(runs))
    assert schedule._watchers == []


def test_a_thread_wakes_the_task():
    """A job that is never due by itself runs when another thread hastens it."""
    runs = []
    schedule = Schedule([counting(runs, None, None)], time.monotonic)

    async def main():
        async with asyncio.timeout(10):
            task = asyncio.create_task(run_schedule(schedule, NoNetwork(), lambda: len(runs) >= 2))
            for number in (1, 2):
                await asyncio.sleep(0)
                await asyncio.to_thread(schedule.hasten, "count")
                assert await asyncio.to_thread(schedule.wait_for, "count", number, 5.0)
            await task

    asyncio.run(main())
    assert len(runs) == 2


def test_a_loop_closed_under_the_task_is_woken_no_more():
    """An application that closes its loop without ending its tasks may still have others hasten a job."""
    schedule = Schedule([counting([], None, None)], time.monotonic)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # a task is destroyed, as the application wants it
    task = loop.create_task(run_schedule(schedule, NoNetwork(), lambda: False))
    loop.run_until_complete(asyncio.sleep(0))
    assert len(schedule._watchers) == 1
    loop.close()
    assert schedule.hasten("count") == 1
    del task
    gc.collect()

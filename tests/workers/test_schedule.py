"""Which job is due when, and who runs it."""

import threading

import pytest

from kameleoon._workers.background import Background
from kameleoon._workers.dispatcher import Dispatcher
from kameleoon._workers.schedule import Job, Schedule
from kameleoon._workers.thread import run_due


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def job(name, log, wait_s=10.0, due_s=0.0, error=None):
    """A job that writes its name down."""

    def make():
        log.append(name)
        if error is not None:
            raise error
        return None
        yield

    return Job(name, make, lambda: wait_s, due_s=due_s)


def test_due_jobs_run_in_line_and_come_again_after_their_wait():
    """A job runs when it is due, and again its interval after it ended."""
    clock, log = Clock(), []
    schedule = Schedule([job("a", log), job("b", log, wait_s=5.0)], clock)
    while run_due(schedule, None):
        pass
    assert log == ["a", "b"]
    assert schedule.idle_s() == 5.0
    clock.now = 5.0
    while run_due(schedule, None):
        pass
    assert log == ["a", "b", "b"]


def test_a_job_without_a_wait_runs_only_when_hastened():
    """``None`` means never again by itself."""
    clock, log = Clock(), []
    schedule = Schedule([job("a", log, wait_s=None, due_s=None)], clock)
    assert schedule.idle_s() is None
    assert not run_due(schedule, None)
    schedule.hasten("a")
    assert run_due(schedule, None)
    assert schedule.idle_s() is None


def test_a_broken_job_is_logged_and_tried_again(caplog):
    """What a job raises reaches the log and nobody else; its next run is set."""
    log = []
    schedule = Schedule([job("a", log, error=RuntimeError("broken"))], Clock())
    assert run_due(schedule, None)
    assert "'a' failed" in caplog.text
    assert schedule.idle_s() == 10.0


def test_waiting_is_for_a_run_that_began_later():
    """A run that was under way when a job was hastened does not count."""
    log = []
    schedule = Schedule([job("a", log)], Clock())
    under_way = schedule.begin()
    runs = schedule.hasten("a")
    schedule.end(under_way)
    assert not schedule.wait_for("a", runs, 0)
    assert run_due(schedule, None)
    assert schedule.wait_for("a", runs, 0)


@pytest.mark.parametrize("threaded", [True, False])
def test_a_hastened_job_is_done_with_and_without_a_thread(threaded):
    """Whoever runs the schedule, a hastened job is done when it was waited for, and stopping ends the thread."""
    log = []
    before = threading.active_count()
    background = Background("test", Schedule([job("a", log, due_s=None)], Clock()), None, threaded=threaded)
    background.start()
    assert threading.active_count() == before + threaded
    assert background.wait_for("a", background.hasten("a"), 5.0)
    assert log == ["a"]
    background.stop(5.0)
    assert threading.active_count() == before


def test_events_are_called_in_order_away_from_the_caller(caplog):
    """Calls are made in order on another thread, what they raise is logged, and stopping ends the thread."""
    before = threading.active_count()
    dispatcher = Dispatcher("test", threaded=True)
    seen, done = [], threading.Event()

    def broken():
        raise RuntimeError("broken handler")

    dispatcher.post(lambda: seen.append(threading.current_thread().name))
    dispatcher.post(broken)
    dispatcher.post(done.set)
    assert done.wait(5.0)
    assert seen == ["test"]
    assert "broken handler" in caplog.text
    thread = next(thread for thread in threading.enumerate() if thread.name == "test")
    dispatcher.stop()
    thread.join(5.0)
    assert threading.active_count() == before

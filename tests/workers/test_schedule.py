"""Which job is due when, and who runs it."""

import asyncio
import threading

import pytest
from clocks import Clock

from kameleoon._workers.background import Background
from kameleoon._workers.dispatcher import Dispatcher
from kameleoon._workers.schedule import Job, Schedule
from kameleoon._workers.thread import run_due


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
    clock, log = Clock(0.0), []
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
    clock, log = Clock(0.0), []
    schedule = Schedule([job("a", log, wait_s=None, due_s=None)], clock)
    assert schedule.idle_s() is None
    assert not run_due(schedule, None)
    schedule.hasten("a")
    assert run_due(schedule, None)
    assert schedule.idle_s() is None


def test_a_broken_job_is_logged_and_tried_again(caplog):
    """What a job raises reaches the log and nobody else; its next run is set."""
    log = []
    schedule = Schedule([job("a", log, error=RuntimeError("broken"))], Clock(0.0))
    assert run_due(schedule, None)
    assert "'a' failed" in caplog.text
    assert schedule.idle_s() == 10.0


def test_waiting_is_for_a_run_that_began_later():
    """A run that was under way when a job was hastened does not count."""
    log = []
    schedule = Schedule([job("a", log)], Clock(0.0))
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
    background = Background("test", Schedule([job("a", log, due_s=None)], Clock(0.0)), None, threaded=threaded)
    background.start()
    assert threading.active_count() == before + threaded
    assert background.wait_for("a", background.hasten("a"), 5.0)
    assert log == ["a"]
    background.stop(5.0)
    assert threading.active_count() == before


def test_the_worker_never_waits_for_itself():
    """A job that waits for another one is told at once that it is not done."""
    answers = []

    def make():
        answers.append(background.wait_for("b", background.hasten("b"), 60.0))
        return None
        yield

    log = []
    asking = Job("a", make, lambda: None)
    background = Background("test", Schedule([asking, job("b", log, due_s=None)], Clock(0.0)), None, threaded=True)
    background.start()
    assert background.wait_for("a", background.hasten("a"), 10.0)
    background.stop(10.0)
    assert answers == [False]


def test_the_worker_sleeps_between_jobs_and_is_woken():
    """A thread with nothing due waits until the next job is, or one is hastened, and stops at once from any wait."""
    log, clock = [], Clock(0.0)
    schedule = Schedule([job("a", log, wait_s=3600.0, due_s=3600.0)], clock)
    waits, asleep = [], threading.Event()
    wait = schedule.changed.wait

    def noted(timeout=None):
        waits.append(timeout)
        asleep.set()
        return wait(timeout)

    schedule.changed.wait = noted
    background = Background("test", schedule, None, threaded=True)
    background.start()
    assert asleep.wait(10.0)
    asleep.clear()
    assert log == []
    schedule.hasten("a")
    assert asleep.wait(10.0)
    assert background.is_threaded
    background.stop(10.0)
    assert (log, waits) == (["a"], [3600.0, 3600.0])


def test_without_a_thread_one_caller_at_a_time_does_the_work():
    """A caller who finds another one at work leaves it to him, and an event loop is not held up."""
    log = []
    background = Background("test", Schedule([job("a", log, wait_s=0.5)], Clock(0.0)), None, threaded=False)
    with background._serving:
        background.serve()
    assert log == []

    async def on_a_loop():
        background.serve()

    asyncio.run(on_a_loop())
    assert log == []
    background.serve()
    background.serve()
    assert log == ["a"]


def test_events_without_a_thread_are_called_at_once(caplog):
    """Where no thread may be started the caller makes the call, and still gets nothing that it raises."""
    dispatcher, seen = Dispatcher("test", threaded=False), []

    def broken():
        raise RuntimeError("broken handler")

    dispatcher.post(broken)
    dispatcher.post(lambda: seen.append(threading.current_thread()))
    dispatcher.stop()
    assert seen == [threading.current_thread()]
    assert "broken handler" in caplog.text


def test_events_beyond_what_a_slow_handler_can_take_are_left_out(monkeypatch, caplog):
    """A handler that hangs holds back a bounded number of calls; what is more is told and left out, in order."""
    monkeypatch.setattr("kameleoon._workers.dispatcher._MOST", 3)
    dispatcher, seen = Dispatcher("test", threaded=True), []
    begun, going_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert going_on.wait(10.0)

    dispatcher.post(slow)
    assert begun.wait(10.0)
    for number in range(5):
        dispatcher.post(lambda number=number: seen.append(number))
    assert caplog.text.count("left out") == 2
    going_on.set()
    while not dispatcher._calls.empty():
        threading.Event().wait(0.001)
    dispatcher.post(done.set)
    assert done.wait(10.0)
    assert seen == [0, 1, 2]
    dispatcher.stop()
    dispatcher.stop()


def test_stopping_leaves_out_what_still_waits():
    """The call at hand is finished and no other is begun."""
    dispatcher, seen = Dispatcher("test", threaded=True), []
    begun, going_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert going_on.wait(10.0)
        seen.append("slow")

    dispatcher.post(slow)
    dispatcher.post(lambda: seen.append("late"))
    assert begun.wait(10.0)
    thread = dispatcher._thread
    dispatcher.stop()
    going_on.set()
    thread.join(10.0)
    assert not thread.is_alive()
    assert seen == ["slow"]


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

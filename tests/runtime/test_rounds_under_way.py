"""A round of the background is between two steps: what it took from visitors is nobody's loss, whoever comes along then."""

import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.destinations import FunctionDestination

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import SOURCE, Sink

STEPS = range(5)
"""More than a round over one visitor has."""


@pytest.fixture
def sink():
    """A service that takes everything."""
    with Sink() as running:
        yield running


@pytest.fixture
def start(sink):
    """Make a client that does nothing by itself, and what its destination is told."""
    made = []

    def make(**settings):
        told = []
        config = KameleoonClientConfig(
            "id", "secret", base_url=sink.url, source=SOURCE, multi_threading=False, top_level_domain="localhost",
            destinations=[FunctionDestination(told.extend)], **settings,
        )  # fmt: skip
        made.append(KameleoonClient("sink", config))
        assert made[-1].wait_init(5000)
        return made[-1], told

    yield make
    for one in made:
        one.close(0.5)


def begin_round(client, steps):
    """What the timer does before anything is sent, as far as *steps* steps, held there."""
    flow = client._core.tracker._collect()
    for _, _ in zip(range(steps), flow, strict=False):
        pass
    return flow


@pytest.mark.parametrize("session_minutes", [30, 1e-9], ids=["a visitor", "a session that is over"])
@pytest.mark.parametrize("steps", STEPS)
def test_close_sends_what_the_round_took(sink, start, steps, session_minutes):
    """The service and the destination are told, once."""
    client, told = start(session_duration_minute=session_minutes)
    client.track_conversion("ann", 5)
    flow = begin_round(client, steps)
    client.close()
    assert (sink.goals(), [event["goal_id"] for event in told]) == ([5], ["5"])
    flow.close()


@pytest.mark.parametrize("steps", STEPS)
def test_a_flush_counts_what_the_round_took(sink, start, steps):
    """It says complete when it is."""
    client, told = start()
    client.track_conversion("ann", 5)
    flow = begin_round(client, steps)
    assert client.flush("ann", timeout=5).is_complete
    assert (sink.goals(), [event["goal_id"] for event in told]) == ([5], ["5"])
    flow.close()


@pytest.mark.parametrize("code", ["ann", None])
@pytest.mark.parametrize("steps", STEPS)
def test_a_finished_flush_is_on_disk(start, tmp_path, monkeypatch, steps, code):
    """Both what the service is to be told and what the destination is: a process may be killed then."""
    client, _ = start(data_dir=tmp_path)
    client.track_conversion("ann", 5)
    flow = begin_round(client, steps)
    monkeypatch.setattr(client._core, "serve", lambda: None)
    client.flush(code)
    (file,) = tmp_path.glob("events-*.sqlite3")
    with closing(sqlite3.connect(file)) as disk:
        kept = [disk.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("events", "forwarded")]
    assert min(kept) >= 1
    flow.close()


def test_a_flush_waits_for_a_step_of_another_thread(start, tmp_path, monkeypatch):
    """Which has taken a visitor's events and not yet put them anywhere."""
    client, _ = start(data_dir=tmp_path)
    tracker = client._core.tracker
    client.track_conversion("ann", 5)
    took, go_on = threading.Event(), threading.Event()
    write_claims = tracker._write_claims

    def slow(claims, ready):
        if threading.current_thread() is other:
            took.set()
            go_on.wait(10)
        write_claims(claims, ready)

    monkeypatch.setattr(tracker, "_write_claims", slow)
    other = threading.Thread(target=lambda: list(tracker._collect()))
    other.start()
    assert took.wait(10)
    threading.Timer(0.1, go_on.set).start()
    client.flush("ann")
    (file,) = tmp_path.glob("events-*.sqlite3")
    with closing(sqlite3.connect(file)) as disk:
        assert disk.execute("SELECT count(*) FROM forwarded").fetchone() == (1,)
    other.join(10)

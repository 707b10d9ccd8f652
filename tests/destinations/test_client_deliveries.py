"""A client's destinations over real sockets and a real disk: what arrives, what is given up, and what outlives the process."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.destinations import CommandersAct, Feed, FunctionDestination, JsonLines, Webhook
from kameleoon.types.stats import DestinationStats

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import SOURCE, until


def make_client(*destinations, **settings):
    """A client with destinations alone."""
    config = KameleoonClientConfig(
        source=SOURCE, top_level_domain="localhost", destinations=list(destinations), **settings
    )
    client = KameleoonClient("site", config)
    assert client.wait_init()
    return client


@pytest.fixture(params=["a thread each", "no threads"])
def threaded(request):
    """Who does the work."""
    return request.param == "a thread each"


def test_all_of_them_are_told_the_same(collector, tmp_path, threaded):
    """One conversion and one exposure reach each shipped destination, checked by the strictest of receivers."""
    collector.hook_now_s = None
    told = []
    client = make_client(
        CommandersAct(collector.site_id, collector.source_key, base_url=collector.url, currency="EUR", mode="batch"),
        Webhook(f"{collector.url}/hook", collector.hook_secret),
        JsonLines(tmp_path / "events.jsonl"),
        FunctionDestination(told.extend),
        multi_threading=None if threaded else False,
    )
    with client:
        client.get_variation("ann", "flag")
        client.track_conversion("ann", 5, 49.9)
        result = client.flush(timeout=5)
    assert result.is_complete
    assert {part.sent for part in result.destinations.values()} == {2}
    assert collector.refused == []
    ids = [one["event_id"] for one in told]
    acts = [event for event in collector.events if "context" in event]
    assert [event["context"]["event_id"] for event in acts] == ids
    assert [(event["event_name"], event.get("value"), event.get("currency")) for event in acts] == [
        ("experiment_viewed", None, None), ("experiment_conversion", 49.9, "EUR")
    ]  # fmt: skip
    assert [event for event in collector.events if "context" not in event] == told
    assert [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()] == told


def test_a_wrong_secret_or_key_hurts_nobody_else(collector):
    """The events become dead letters with their reason, and the destination is left alone for a while."""
    dead, told = [], []
    with make_client(
        Feed(Webhook(f"{collector.url}/hook", "not the secret"), "hook", on_dead_letter=dead.append),
        Feed(CommandersAct("12 34", "not the key", base_url=collector.url), "act", on_dead_letter=dead.append),
        FunctionDestination(told.extend),
    ) as client:
        client.track_conversion("ann", 5)
        result = client.flush(timeout=5)
        client.track_conversion("ann", 6)
        again = client.flush(timeout=0.2)
    assert min(collector.refused).startswith("query")
    assert len(collector.refused) == 2
    assert sorted((letter.destination, letter.reason) for letter in dead) == [
        ("act", "status 403"),
        ("hook", "status 401"),
    ]
    assert [result.destinations[name].dropped for name in ("hook", "act", "function")] == [1, 1, 0]
    assert [again.destinations[name].pending for name in ("hook", "act", "function")] == [1, 1, 0]
    assert [event["goal_id"] for event in told] == ["5", "6"]


def test_an_oversized_event_is_not_sent(collector, tmp_path):
    """What is larger than the other side takes is a dead letter on disk; what is not goes out."""
    act = CommandersAct(
        collector.site_id, collector.source_key, base_url=collector.url,
        context=lambda event: {"pad": "x" * 40_000} if event.goal_id == "5" else {},
    )  # fmt: skip
    with make_client(Feed(act, "act"), data_dir=tmp_path) as client:
        client.track_conversion("ann", 5)
        client.track_conversion("ann", 6)
        client.flush(timeout=5)
        assert client.stats().destinations["act"].dropped_by_reason == {"V13": 1}
    assert [event["goal_id"] for event in collector.events] == ["6"]
    (file,) = tmp_path.glob("events-*.sqlite3")
    with closing(sqlite3.connect(file)) as disk:
        ((destination, event, reason),) = disk.execute("SELECT destination, event, reason FROM dead_letters").fetchall()
    assert (destination, json.loads(event)["goal_id"], reason[:4]) == ("act", "5", "V13:")


def test_a_destination_that_is_down_gets_all_of_it_later(collector):
    """A 503 is waited out as long as it asks for; the ids stay."""
    collector.hook_now_s = None
    collector.faults += [(503, {"Retry-After": "1"})]
    with make_client(Feed(Webhook(f"{collector.url}/hook", collector.hook_secret), "hook")) as client:
        client.track_conversion("ann", 5)
        assert client.flush(timeout=0.5).destinations["hook"].pending == 1
        until(lambda: collector.events)
        assert client.stats().destinations["hook"].retried == 1
    assert len(collector.targets) == 2


@pytest.mark.parametrize("timeout", [0.5, 5])
def test_nobody_listens(timeout, threaded):
    """A flush raises nothing; the attempt counts as one to be made again, and the events are kept."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    webhook = Webhook(f"http://127.0.0.1:{port}/", "s")
    with make_client(Feed(webhook, "hook"), multi_threading=None if threaded else False) as client:
        client.track_conversion("ann", 5)
        assert client.flush(timeout=timeout).destinations["hook"].pending == 1
        until(lambda: client.stats().destinations["hook"].retried >= 1)
        assert client.stats().destinations["hook"].dropped == 0


def test_stats_of_a_destination():
    """Nothing at first; then what was taken in, left out, sent and in how many requests."""
    with make_client(FunctionDestination(lambda _: None)) as client:
        assert client.stats().destinations == {"function": DestinationStats(0, 0, 0, 0, {}, 0, 0, 0, 0, 0)}
        client.track_conversion("ann", 5)
        assert client.flush(timeout=5).is_complete
        now = client.stats().destinations["function"]
        assert (now.queued, now.sent, now.requests, now.retried, now.left_out, now.held) == (1, 1, 1, 0, 0, 0)
        assert now.bytes_sent > 100


CHILD = """
import sys, time
sys.path[:0] = {path!r}
from event_sink import SOURCE
from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.destinations import Feed, FunctionDestination

def block(events):
    time.sleep(600)

config = KameleoonClientConfig(source=SOURCE, top_level_domain="localhost", data_dir={data_dir!r}, destinations=[
    FunctionDestination({function}, name="file")])
client = KameleoonClient("site", config)
client.wait_init()
for number in range(20):
    client.track_conversion("ann", number)
    client.flush("ann")
print("flushed", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("function", ["block", "lambda events: 1 / 0"])
def test_what_a_killed_process_leaves_the_next_one_sends(tmp_path, function):
    """Each event of a finished flush, once, whether its delivery had begun or not."""
    code = CHILD.format(path=sys.path, data_dir=str(tmp_path / "data"), function=function)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "flushed\n"
        child.send_signal(signal.SIGKILL)
    (file,) = (tmp_path / "data").glob("events-*.sqlite3")
    with closing(sqlite3.connect(file)) as disk:  # as if its leases were over
        disk.execute("UPDATE forwarded SET leased_until_ms = 0")
        disk.commit()
    path = tmp_path / "events.jsonl"
    with make_client(Feed(JsonLines(path), "file"), data_dir=tmp_path / "data") as client:
        until(lambda: client.flush(timeout=5).is_complete)
    assert [json.loads(line)["goal_id"] for line in path.read_text().splitlines()] == [
        str(number) for number in range(20)
    ]


def test_processes_that_share_the_disk_send_each_event_once(tmp_path, monkeypatch):
    """Also when one takes longer over an event than a lease lasts: its tracking renews it."""
    monkeypatch.setattr("kameleoon._tracking.queues.LEASE_S", 1.5)
    release, began, told = threading.Event(), threading.Event(), []

    def slow(events):
        began.set()
        release.wait(10)
        told.extend(events)

    with make_client(FunctionDestination(slow), data_dir=tmp_path) as one:
        one.track_conversion("ann", 5)
        one.flush(timeout=0.0)
        assert began.wait(5)
        with make_client(FunctionDestination(told.extend), data_dir=tmp_path) as other:
            for _ in range(4):
                assert other.flush(timeout=0.0).destinations["function"].pending == 1
                release.wait(0.8)
            assert told == []
            release.set()
            until(lambda: other.stats().destinations["function"].pending == 0)
    assert len(told) == 1

"""A client tells Commanders Act, checked by a collector that refuses what the real one drops in silence."""

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from strict_collector import Collector

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.destinations import CommandersAct, Feed, FunctionDestination

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import SOURCE, Sink, until


def act(collector, **options):
    """The destination for *collector*."""
    return CommandersAct(collector.site_id, collector.source_key, **{"base_url": collector.url, **options})


@pytest.fixture
def client():
    """Build clients with destinations alone."""
    made = []

    def make(*destinations, **settings):
        known = {"source": SOURCE, "top_level_domain": "localhost", "destinations": list(destinations), **settings}
        made.append(KameleoonClient("site", KameleoonClientConfig(**known)))
        assert made[-1].wait_init()
        return made[-1]

    yield make
    for one in made:
        one.close(0.5)


def goals(collector):
    """Goals of the conversions that were taken."""
    return [event["goal_id"] for event in collector.events if "goal_id" in event]


YAML = """
top_level_domain: localhost
source: flags.json
destinations:
  - type: commanders_act
    site_id: "12 34"
    source_key: ${ACT_KEY}
    base_url: {url}
    mode: {mode}
    auth: {auth}
    currency: EUR
    exposure_name: ab_seen
    conversion_name: ab_goal
    test_code: t1
    requests_per_s: 500
    name: act
"""


@pytest.mark.parametrize("way", ["code", "file"])
@pytest.mark.parametrize(("mode", "auth"), [("single", "query"), ("batch", "header")])
def test_in_code_and_in_a_settings_file(client, collector, tmp_path, monkeypatch, caplog, way, mode, auth):
    """Both ways the same arrives: all options have their effect, and the key is in no message."""
    caplog.set_level("DEBUG")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACT_KEY", collector.source_key)
    if way == "code":
        options = {"exposure_name": "ab_seen", "conversion_name": "ab_goal", "test_code": "t1", "requests_per_s": 500}
        one = client(Feed(act(collector, mode=mode, auth=auth, currency="EUR", **options), "act"))
    else:
        Path("flags.json").write_text(json.dumps(SOURCE))
        text = YAML.replace("{url}", collector.url).replace("{mode}", mode).replace("{auth}", auth)
        Path("client.yaml").write_text(text)
        one = KameleoonClient("site", KameleoonClientConfig.read_from_yaml("client.yaml"))
    with one:
        assert one.wait_init()
        one.get_variation("ann", "flag")
        one.track_conversion("ann", 5, 49.9)
        assert one.flush(timeout=5).is_complete
    assert collector.refused == []
    exposure, conversion = collector.events
    assert (exposure["event_name"], exposure["experiment_id"], exposure["test_code"]) == ("ab_seen", "77", "t1")
    assert (conversion["event_name"], conversion["value"], conversion["currency"]) == ("ab_goal", 49.9, "EUR")
    assert len(collector.targets) == (1 if mode == "batch" else 2)
    assert all(("token" in target) is (auth == "query") for target in collector.targets)
    assert collector.source_key not in caplog.text
    assert "token=" not in caplog.text


def test_a_retry_is_the_same_event(client, collector):
    """A 500 and a lost answer: the same id, time and bytes again, so that receivers can tell."""
    respond, bodies = collector.respond, []

    def failing(method, target, headers, body):
        bodies.append(body)
        if len(bodies) == 1:
            return 500, {}, b""
        answer = respond(method, target, headers, body)
        if len(bodies) == 2:
            raise ConnectionAbortedError  # taken, and nobody is told
        return answer

    collector.respond = failing
    collector.server.handle_error = lambda *_: None
    one = client(act(collector))
    one.track_conversion("ann", 5)
    until(lambda: one.flush(timeout=1).is_complete)
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


@pytest.mark.parametrize("mode", ["single", "batch"])
def test_a_slow_collector_delays_nobody(mode):
    """Another collector, the service, the application and the end go on while it does not answer."""
    with Collector() as slow, Collector() as fast, Sink() as sink:
        release = threading.Event()
        respond = slow.respond
        slow.respond = lambda *parts: (release.wait(20), respond(*parts))[1]
        feeds = [Feed(act(slow, mode=mode), "slow"), Feed(act(fast, mode=mode), "fast")]
        with sink.client(destinations=feeds, source=SOURCE) as one:
            try:
                assert one.wait_init()
                for number in range(5):
                    one.track_conversion("ann", number)
                    started_s = time.monotonic()
                    one.flush(timeout=0.1)
                    assert time.monotonic() - started_s < 3
                    until(lambda: goals(fast) == [str(earlier) for earlier in range(number + 1)])  # noqa: B023 - at once
                    until(lambda: sink.goals() == [*range(number + 1)])  # noqa: B023
                assert one.stats().destinations["slow"].pending == 5
                assert slow.events == []
            finally:
                release.set()
            until(lambda: goals(slow) == ["0", "1", "2", "3", "4"])
        assert slow.refused == fast.refused == []


def test_a_forked_child(client, collector):
    """What was taken in before is the parent's; each event arrives once."""
    one = client(act(collector))
    one.track_conversion("before", 1)
    pid = os.fork()
    if pid == 0:
        try:
            one.track_conversion("child", 2)
            is_complete = one.flush(timeout=5).is_complete
            one.close()
            os._exit(0 if is_complete else 1)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    one.track_conversion("parent", 3)
    one.close()
    who = sorted(event["user"]["consistent_anonymous_id"] for event in collector.events)
    assert who == ["before", "child", "parent"]
    assert len({event["context"]["event_id"] for event in collector.events}) == 3


@pytest.mark.parametrize("auth", ["query", "header"])
def test_on_an_event_loop(client, collector, auth):
    """The same addresses and events go out, a redirect is not followed, and nothing is sent twice."""
    one = client(act(collector, auth=auth, currency="EUR"), multi_threading=False)

    async def work():
        task = asyncio.create_task(one.run_background())
        for number in range(3):
            one.track_conversion("ann", number, 2.5)
        await asyncio.to_thread(until, lambda: len(collector.events) == 3)
        collector.faults.append((307, {"Location": f"{collector.url}/elsewhere"}))
        one.track_conversion("ann", 3)
        await asyncio.to_thread(until, lambda: one.stats().destinations["commanders act 12 34"].dropped == 1)
        await one.aclose(0.5)
        await task

    asyncio.run(work())
    assert goals(collector) == ["0", "1", "2"]
    query = "tc_s=12%2034" + ("&token=s%2Fk%26%3D" if auth == "query" else "")
    assert collector.targets == [f"POST /events?{query}"] * 4
    assert collector.refused == []


@pytest.mark.parametrize("mode", ["single", "batch"])
def test_sizes_are_kept_to(client, collector, mode):
    """What is above 32,000 bytes is given up alone; what is not goes out in requests of up to 500,000."""
    sizes = itertools.chain([31_000] * 10, [40_000], itertools.repeat(31_000))
    dead = []
    destination = act(collector, mode=mode, requests_per_s=500, context=lambda _: {"pad": "x" * next(sizes)})
    one = client(Feed(destination, "act", on_dead_letter=dead.append))
    for number in range(30):
        one.track_conversion("ann", number)
    result = one.flush(timeout=10).destinations["act"]
    assert (result.sent, result.dropped, result.pending) == (29, 1, 0)
    assert collector.refused == []
    assert goals(collector) == [str(number) for number in range(30) if number != 10]
    assert len(collector.targets) == (29 if mode == "single" else 2)
    assert [letter.reason[:4] for letter in dead] == ["V13:"]


def test_consent_counts_for_each(collector):
    """One for those who agreed, one for those who did not refuse, one whose function decides; categories are the visitor's."""
    with Collector() as given, Collector() as asked, Sink() as sink:
        feeds = [
            Feed(act(collector), "required"),
            Feed(act(given, consent_categories=lambda code: [1, code]), "given", "given"),
            Feed(act(asked), "asked", lambda code: code == "bob"),
        ]
        with sink.client(destinations=feeds, source=SOURCE) as one:
            assert one.wait_init()
            one.set_legal_consent("ann", True)
            one.set_legal_consent("bob", False)
            for code in ("ann", "bob", "cay"):
                one.track_conversion(code, 5)
            one.flush(timeout=5)
            dropped = {name: stats.dropped_by_reason for name, stats in one.stats().destinations.items()}
        who = [
            sorted(event["user"]["consistent_anonymous_id"] for event in at.events) for at in (collector, given, asked)
        ]
        assert who == [["ann", "cay"], ["ann"], ["bob"]]
        assert dropped == {"required": {"consent": 1}, "given": {"consent": 1}, "asked": {"consent": 2}}
        assert given.events[0]["user"]["consent_categories"] == ["1", "ann"]
        assert "consent_categories" not in collector.events[0]["user"]


def test_loop_guard_and_rate(client, collector):
    """What would come back is not sent, and the rest no faster than it may."""
    arrived = []
    respond = collector.respond
    collector.respond = lambda *parts: (arrived.append(time.monotonic()), respond(*parts))[1]

    def mapper(event):
        return {"event_name": "sign_up" if event.goal_id == "2" else "order_done"}

    destination = act(collector, mapper=mapper, kameleoon_goals=["sign_up"], requests_per_s=20)
    one = client(Feed(destination, "act"))
    for number in range(6):
        one.track_conversion("ann", number)
    result = one.flush(timeout=5).destinations["act"]
    assert (result.sent, result.dropped) == (5, 1)
    assert one.stats().destinations["act"].dropped_by_reason == {"LOOP": 1}
    assert arrived[-1] - arrived[0] >= 4 / 20 - 0.03
    assert {event["event_name"] for event in collector.events} == {"order_done"}


CHILD = """
import sys, time
sys.path[:0] = {path!r}
from event_sink import SOURCE
from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.destinations import CommandersAct, Feed

config = KameleoonClientConfig(source=SOURCE, top_level_domain="localhost", data_dir={data_dir!r}, destinations=[
    Feed(CommandersAct({site_id!r}, {key!r}, base_url={url!r}, mode={mode!r}, requests_per_s=500), "act")])
client = KameleoonClient("site", config)
client.wait_init()
for number in range(20):
    client.track_conversion("ann", number)
    client.flush("ann")
print("flushed", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("mode", ["single", "batch"])
def test_a_killed_process_loses_nothing(client, collector, tmp_path, mode):
    """While the collector fails a process is killed: the next one tells all of it, once."""
    collector.faults += [(503, {})] * 1000
    place = {"url": collector.url, "site_id": collector.site_id, "key": collector.source_key, "mode": mode}
    code = CHILD.format(path=sys.path, data_dir=str(tmp_path), **place)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "flushed\n"
        child.send_signal(signal.SIGKILL)
    collector.faults.clear()
    (file,) = tmp_path.glob("events-*.sqlite3")
    with closing(sqlite3.connect(file)) as disk:  # as if its leases were over
        disk.execute("UPDATE forwarded SET leased_until_ms = 0")
        disk.commit()
    one = client(Feed(act(collector, mode=mode, requests_per_s=500), "act"), data_dir=tmp_path)
    until(lambda: one.flush(timeout=5).is_complete)
    assert goals(collector) == [str(number) for number in range(20)]
    assert collector.refused == []


def test_a_collector_that_is_down_is_told_of(client, collector, caplog):
    """Once for each time that it is down, without the key."""
    collector.faults += [(503, {})] * 4
    one = client(Feed(act(collector), "act"), FunctionDestination(lambda _: None))
    one.track_conversion("ann", 5)
    until(lambda: one.flush(timeout=0.2).is_complete)
    collector.faults += [(503, {})]
    one.track_conversion("ann", 6)
    until(lambda: one.flush(timeout=0.2).is_complete)
    assert caplog.text.count("Destination act takes nothing (status 503): events are kept and tried again") == 1
    assert collector.source_key not in caplog.text

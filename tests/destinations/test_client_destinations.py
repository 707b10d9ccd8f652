"""A client feeds its destinations: what they are told, whose consent counts, and that nobody waits for anybody."""

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.data import Conversion
from kameleoon.destinations import Feed, FunctionDestination, JsonLines, Limits, Result, Verdict
from kameleoon.exceptions import ConfigException

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import FLAG, SOURCE, Sink, until

DELIVERY = {
    **FLAG,
    "featureKey": "given",
    "rules": [
        {
            "id": 2,
            "experimentId": 88,
            "type": "TARGETED_DELIVERY",
            "exposition": 1.0,
            "variationByExposition": [{"variationKey": "on", "variationId": 8, "exposition": 1.0}],
        }
    ],
}
BOTH = {"featureFlags": [FLAG, DELIVERY]}
ASKING = {**BOTH, "configuration": {"consentType": "REQUIRED"}}


class Told(list):
    """What a function was told; `by` is the threads that called it."""

    def __init__(self):
        super().__init__()
        self.by = set()

    def __call__(self, events):
        self.by.add(threading.current_thread().name)
        self.extend(events)

    def short(self):
        """``[(visitor, experiment or goal)]``."""
        return [(one["visitor_code"], one.get("experiment_id") or f"goal {one['goal_id']}") for one in self]


@pytest.fixture
def client():
    """Build clients with destinations alone; they are closed at the end."""
    made = []

    def make(*destinations, source=BOTH, **settings):
        known = {"top_level_domain": "localhost", "source": source, "destinations": list(destinations), **settings}
        one = KameleoonClient("site", KameleoonClientConfig(**known))
        made.append(one)
        assert one.wait_init()
        return one

    yield make
    for one in made:
        one.close(0.5)


def test_what_they_are_told():
    """Exposures and conversions with all that is known, beside the lines of the service; a thread of its own calls."""
    told = Told()
    with Sink() as sink, sink.client(destinations=[FunctionDestination(told)]) as client:
        client.wait_init()
        before_ms = time.time_ns() // 1_000_000
        assert client.get_variation("ann", "flag").key == "on"
        client.set_legal_consent("ann", True)
        client.track_conversion("ann", 5, 3.5)
        client.track_conversion("ann", 6, negative=True)
        client.get_variation("ann", "flag")
        result = client.flush(timeout=5)
        assert (result.sent, result.is_complete) == (3, True)
        assert result.destinations["function"].sent == 3
        assert len(sink.taken()) == 3
    exposure, revenue, negative = told
    ids = {one.pop("event_id") for one in told}
    assert len(ids) == 3
    assert all(before_ms <= one.pop("at_ms") <= time.time_ns() // 1_000_000 for one in told)
    assert exposure == {
        "type": "exposure", "visitor_code": "ann", "experiment_id": "77", "variation_id": "7", "variation_key": "on",
        "feature_key": "flag", "rule_type": "EXPERIMENTATION", "rule_id": "1", "consent": True, "origin": "kameleoon",
    }  # fmt: skip
    experiments = [{"experiment_id": "77", "variation_id": "7"}]
    assert revenue == {
        "type": "conversion", "visitor_code": "ann", "goal_id": "5", "revenue": 3.5, "consent": True, "experiments": experiments,
        "origin": "kameleoon",
    }  # fmt: skip
    assert (negative["is_negative"], "revenue" in negative) == (True, False)
    assert told.by == {"kameleoon-destination-sink-function"}


def test_what_they_are_not_told(client):
    """The same exposure twice, what is forced or simulated or not tracked, and other data."""
    told = Told()
    one = client(FunctionDestination(told))
    for _ in range(3):
        one.get_variation("ann", "flag")
        one.flush(timeout=5)
    one.get_variation("bob", "flag", track=False)
    one.set_forced_variation("cay", 77, "on")
    one.get_variation("cay", "flag")
    one.get_visitor_code(
        {"kameleoonSimulationFFData": json.dumps({"flag": {"expId": 77, "varId": 7}})}, default_visitor_code="dan"
    )
    one.get_variation("dan", "flag")
    one.add_data("eve", Conversion(5), track=False)
    one.flush(timeout=5)
    assert told.short() == [("ann", "77")]


def test_an_exposure_is_told_again_in_the_next_session(client):
    """A session that ended is forgotten, and what was unsent in it is told."""
    told = Told()
    one = client(FunctionDestination(told), session_duration_minute=0.05 / 60)
    one.get_variation("ann", "flag")
    until(lambda: len(told) == 1)
    until(lambda: one.stats().visitors == 0)
    one.get_variation("ann", "flag")
    until(lambda: len(told) == 2)
    assert told.short() == [("ann", "77")] * 2


def test_events_arrive_without_a_flush():
    """Within a second or two of what happened."""
    told = Told()
    with Sink() as sink, sink.client(destinations=[FunctionDestination(told)]) as client:
        client.wait_init()
        client.track_conversion("ann", 5)
        until(lambda: told)
        assert told.short() == [("ann", "goal 5")]


# --- consent ----------------------------------------------------------------------------------------------------------


def three(client, **settings):
    """A client with a destination for each rule of consent, and what each is told."""
    told = {rule: Told() for rule in ("required", "given", "ignored")}
    feeds = [Feed(FunctionDestination(function), rule, rule) for rule, function in told.items()]
    return client(*feeds, **settings), told


def test_consent_that_is_required_is_waited_for(client):
    """What the service is told all the same waits for the visitor's word; what it is not told is told to nobody."""
    one, told = three(client, source=ASKING)
    for code in ("ann", "bob", "cay"):
        one.get_variation(code, "given")
        one.get_variation(code, "flag")
        one.track_conversion(code, 5)
    one.flush(timeout=5)
    assert [told[rule].short() for rule in ("required", "given")] == [[], []]
    assert sorted(told["ignored"].short()) == [
        (code, what) for code in ("ann", "bob", "cay") for what in ("88", "goal 5")
    ]
    assert one.stats().destinations["required"].held == 6
    one.set_legal_consent("ann", True)
    one.set_legal_consent("bob", False)
    one.flush(timeout=5)
    for rule in ("required", "given"):
        assert told[rule].short() == [("ann", "88"), ("ann", "goal 5"), ("ann", "77")]
        stats = one.stats().destinations[rule]
        assert (stats.held, stats.dropped_by_reason) == (2, {"consent": 2})
    one.close()
    assert one.stats().destinations["given"].dropped_by_reason == {"consent": 4}
    assert len(told["given"]) == 3


def test_consent_that_is_not_required(client):
    """Without a word some are told, some wait; a refusal is one for all but those who ignore it."""
    one, told = three(client)
    one.get_variation("ann", "flag")
    one.set_legal_consent("bob", False)
    one.get_variation("bob", "flag")
    one.flush(timeout=5)
    assert {rule: sorted(function.short()) for rule, function in told.items()} == {
        "required": [("ann", "77")], "given": [], "ignored": [("ann", "77"), ("bob", "77")]
    }  # fmt: skip
    one.set_legal_consent("ann", True)
    until(lambda: told["given"].short() == [("ann", "77")])


def test_a_session_that_ends_without_a_word(client):
    """What waited is dropped and counted."""
    one, told = three(client, source=ASKING, session_duration_minute=0.05 / 60)
    one.track_conversion("ann", 5)
    until(lambda: told["ignored"].short() == [("ann", "goal 5")])
    until(lambda: one.stats().destinations["required"].dropped_by_reason == {"consent": 1})
    assert one.stats().destinations["required"].held == 0


def test_what_waits_for_consent_is_bounded(client, monkeypatch):
    """The visitors who wait longest make room."""
    monkeypatch.setattr("kameleoon._runtime.forwarding.MOST_HELD", 3)
    one, told = three(client, source=ASKING)
    for number in range(5):
        one.track_conversion(f"v{number}", 5)
        one.flush(f"v{number}", timeout=5)
    for number in range(5):
        one.set_legal_consent(f"v{number}", True)
    one.flush(timeout=5)
    both = {*told["required"].short(), *told["given"].short()}
    assert ("v4", "goal 5") in both
    assert ("v0", "goal 5") not in both
    stats = one.stats().destinations
    assert sum(stats[rule].dropped_by_reason.get("consent", 0) for rule in ("required", "given")) == 8


# --- whoever is slow, broken or down ----------------------------------------------------------------------------------


def test_a_function_that_blocks_delays_nobody():
    """Evaluations, the service's tracking, another destination and the end of the client go on."""
    release, fast = threading.Event(), Told()

    def block(_events):
        release.wait(30)

    with Sink() as sink:
        client = sink.client(
            destinations=[FunctionDestination(block, name="slow"), FunctionDestination(fast, name="fast")]
        )
        client.wait_init()
        for number in range(3):
            client.track_conversion("ann", number)
            started_s = time.monotonic()
            result = client.flush(timeout=0.2)
            assert time.monotonic() - started_s < 1
            assert (result.sent, result.destinations["fast"].sent, result.is_complete) == (1, 1, False)
            assert result.destinations["slow"].pending == number + 1
        assert sink.goals() == [0, 1, 2]
        started_s = time.monotonic()
        client.close(0.3)
        assert time.monotonic() - started_s < 2
        assert client.stats().destinations["slow"].pending == 3
        release.set()


class Broken:
    """A destination of which everything fails in turn."""

    name = "broken"

    def __init__(self, where):
        self.where = where
        self.failed = threading.Event()

    @property
    def limits(self):
        if self.where == "limits" and threading.current_thread().name.startswith("kameleoon-destination"):
            self.fail()
        return Limits()

    def fail(self):
        self.failed.set()
        raise RuntimeError(self.where)

    def map(self, event):
        return self.fail() if self.where == "map" else event.plain()

    def check(self, mapped):
        return self.fail() if self.where == "check" else json.dumps(mapped).encode()

    def send(self, _batch):
        yield from ()
        return self.fail() if self.where == "send" else Result(Verdict.SENT)


@pytest.mark.parametrize("where", ["limits", "map", "check", "send"])
def test_a_destination_that_raises_harms_nobody(where):
    """The service and the other destination are told everything."""
    broken, told = Broken(where), Told()
    with Sink() as sink, sink.client(destinations=[broken, FunctionDestination(told)]) as client:
        client.wait_init()
        client.track_conversion("ann", 5)
        result = client.flush(timeout=0.5)
        assert (result.sent, result.destinations["function"].sent) == (1, 1)
        assert broken.failed.is_set()
        client.track_conversion("ann", 6)
        assert client.flush(timeout=0.5).destinations["function"].sent == 1
        assert client.stats().destinations["broken"].pending == (2 if where == "send" else 0)


def test_a_function_may_call_the_client(client):
    """Its flush and its close neither hang nor raise."""
    results = []

    def call(_events):
        results.append(made[0].flush(timeout=5))
        made[0].close(0.2)
        results.append(made[0].is_closed)

    made = [client(FunctionDestination(call))]
    made[0].track_conversion("ann", 5)
    started_s = time.monotonic()
    made[0].flush(timeout=5)
    until(lambda: len(results) == 2)
    assert results[1] is True
    assert time.monotonic() - started_s < 4


# --- without threads, forks, the end ----------------------------------------------------------------------------------


def test_without_threads(client, tmp_path):
    """Nothing is started; a flush tells them, and so does its caller's next call."""
    told = Told()
    before = threading.active_count()
    one = client(FunctionDestination(told), JsonLines(tmp_path / "events.jsonl"), multi_threading=False)
    one.track_conversion("ann", 5)
    assert one.flush(timeout=5).is_complete
    assert told.by == {threading.current_thread().name}
    one.track_conversion("ann", 6)
    one.close()
    assert told.short() == [("ann", "goal 5"), ("ann", "goal 6")]
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2
    assert threading.active_count() == before


def test_run_background(client):
    """Tasks of the loop do the work, each destination's for itself; what is left goes out with the end."""
    told = Told()
    arrived = asyncio.Event()

    def take(events):
        told(events)
        arrived.set()

    broken = FunctionDestination(lambda _: 1 / 0, name="broken")
    one = client(FunctionDestination(take), broken, multi_threading=False)

    async def work():
        task = asyncio.create_task(one.run_background())
        one.track_conversion("ann", 5)
        async with asyncio.timeout(10):
            await arrived.wait()
        one.track_conversion("ann", 6)
        await one.aclose(0.5)
        await task

    asyncio.run(work())
    assert told.short() == [("ann", "goal 5"), ("ann", "goal 6")]


def test_a_forked_child(tmp_path):
    """What was taken in before the fork is the parent's; both tell their own, each once."""
    path = tmp_path / "events.jsonl"
    with Sink() as sink:
        client = sink.client(destinations=[JsonLines(path)], source=SOURCE)
        client.wait_init()
        client.track_conversion("before", 1)
        pid = os.fork()
        if pid == 0:
            try:
                client.track_conversion("child", 2)
                sent = client.flush(timeout=5).destinations["file events.jsonl"].sent
                client.close()
                os._exit(sent)
            finally:
                os._exit(99)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 1
        client.track_conversion("parent", 3)
        client.close()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(one["visitor_code"] for one in told) == ["before", "child", "parent"]


def test_destinations_that_are_none():
    """They are refused when the client is made, and so are two of one name; nothing is left running."""
    before = threading.active_count()
    for wrong, text in [
        (["x"], "str is no destination"),
        ([JsonLines], "JsonLines is no destination"),
        ([FunctionDestination(print), FunctionDestination(print)], "another one has the name 'function'"),
        ("x", "a list of destinations"),
    ]:
        with pytest.raises(ConfigException, match=text):
            KameleoonClient("site", KameleoonClientConfig(source=BOTH, destinations=wrong))
    assert threading.active_count() == before

"""
A whole client in the situations that break SDKs of this kind: real sockets that stall, reset, trickle and answer wrongly.

What one layer alone can show is shown beside it: ``tests/transport`` (bodies, deadlines, proxies, certificates, tokens),
``tests/client/test_streaming.py`` (the stream), ``tests/client/test_parity.py`` (twins), ``tests/surface`` (settings, logging).
"""

import asyncio
import gc
import json
import logging
import sys
import threading
import time
import tracemalloc
import warnings
from pathlib import Path

import pytest

from kameleoon import CustomData, KameleoonClient, KameleoonClientConfig, KameleoonClientFactory, PageView
from kameleoon._engine.ruleset import compile_in_steps, compile_ruleset
from kameleoon._runtime.backend import Backend
from kameleoon._runtime.configuration import Configuration
from kameleoon._sources.protocol import Source
from kameleoon._transport.configuration import Fetched
from kameleoon._transport.endpoints import Endpoints
from kameleoon.events import EventType
from kameleoon.exceptions import ConfigException
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.log_level import LogLevel
from kameleoon.logging.logger import Logger

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
from scripted import Scripted, endless, hang_up, raw, reply, reset, stall, trickle

JSON = {"Content_Type": "application/json"}
FLAG = {"featureKey": "f", "environmentEnabled": True, "defaultVariationKey": "on", "rules": [], "variations": []}
ROOT = {"dateModified": 1, "featureFlags": [FLAG]}
GOOD = reply(200, json.dumps(ROOT).encode(), **JSON)
TOKEN = reply(200, b'{"access_token": "the-access-token", "expires_in": 7200}', **JSON)


def answers(**changed):
    """What a service in order answers, with some paths changed: ``v3``, ``token``, ``events``, ``map``, ``visitor``."""
    given = {
        "v3": GOOD,
        "token": TOKEN,
        "events": reply(204),
        "map": reply(200, b"{}", **JSON),
        "visitor": GOOD,
        **changed,
    }
    return {
        "/v3/site": given["v3"],
        "/oauth/token": given["token"],
        "/visit/events": given["events"],
        "/map/map": given["map"],
        "/visit/visitor": given["visitor"],
    }


def make(server, **settings):
    """Make a client of *server*."""
    given = {"default_timeout_millisecond": 2000, "top_level_domain": "localhost", **settings}
    return KameleoonClient(
        "site", KameleoonClientConfig("the-client-id", "the-client-secret", base_url=server.url, **given)
    )


def wait_until(holds, timeout_s=5.0):
    """Wait until *holds*."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def count(server, path):
    """How often *path* was asked for."""
    return sum(seen.target.partition("?")[0] == path for seen in server.seen)


NOT_A_CONFIGURATION = {
    "304": reply(304),
    "404": reply(404, b"{}", **JSON),
    "500 with a configuration": reply(500, json.dumps(ROOT).encode(), **JSON),
    "200 with text": reply(200, b"hello", Content_Type="text/plain"),
    "invalid JSON": reply(200, b"{", **JSON),
    "a list": reply(200, b"[]", **JSON),
    "no answer": stall,
    "reset": reset,
    "hung up": hang_up,
    "trickled": trickle(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"),
    "too large": endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 524288000\r\n\r\n"),
}


@pytest.mark.parametrize("answer", NOT_A_CONFIGURATION)
def test_b2_what_is_no_configuration_makes_nobody_ready(answer):
    """
    Not ready in time; the next fetch, which a failure brings forward, makes the client ready.

    The recorded cases (``tests/vectors/errors.json``) take 403 and an empty object for an empty configuration, and so do we.
    """
    with Scripted(answers(v3=NOT_A_CONFIGURATION[answer])) as server:
        client = make(server, default_timeout_millisecond=150, refresh_interval_minute=0.005)
        with client:
            started = time.monotonic()
            assert client.wait_init(1000) is False
            assert time.monotonic() - started < 1.0
            assert client.is_ready() is False
            server.answers["/v3/site"] = GOOD
            wait_until(client.is_ready)
            assert client.wait_init() is True
            assert client.is_feature_active("visitor", "f") is True


def test_b6_what_is_fetched_again_does_not_multiply():
    """Three fetches of one answer: conversions, with and without a time, and views of pages count once, beside what happens here."""

    def order(time_ms, goal_id):
        return {"data": {"goalId": goal_id, "revenue": 9.5}} | ({"time": time_ms} if time_ms else {})

    told = {
        "currentVisit": {
            "timeStarted": 1_000,
            "pageEvents": [{"time": 1_001, "data": {"href": "/a", "title": "A"}}, {"data": {"href": "/a"}}],
            "conversionEvents": [order(1_002, 7), order(1_002, 7), order(None, 8)],
        },
        "previousVisits": [{"pageEvents": [{"time": 5, "data": {"href": "/b"}}], "conversionEvents": [order(6, 7)]}],
    }
    with Scripted(answers(visitor=reply(200, json.dumps(told).encode(), **JSON))) as server, make(server) as client:
        assert client.wait_init()
        client.add_data("v", PageView("/a", "here"))
        for number in range(3):
            assert len(client.get_remote_visitor_data("v")) == 6
            client.track_conversion("v", 7, 9.5)
            record = client._core.store.peek("v").record
            assert {url: visit.views for url, visit in record.page_views.items()} == {"/a": 3, "/b": 1}
            goals = sorted(item.conversion.goal_id for item in record.conversions)
            assert goals == [7] * (4 + number) + [8]
        assert len(asyncio.run(client.get_remote_visitor_data_async("v"))) == 6
        assert len(client._core.store.peek("v").record.conversions) == 7


@pytest.mark.parametrize("timeout_ms", [100, 500, 1500])
def test_b12_the_default_timeout_is_exactly_that(timeout_ms):
    """Below a second, or with a fraction, it is neither rounded nor switched off."""
    with Scripted(answers(v3=stall)) as server, make(server, default_timeout_millisecond=timeout_ms) as client:
        started = time.monotonic()
        assert client.wait_init() is False
        assert timeout_ms / 1000 - 0.05 <= time.monotonic() - started < timeout_ms / 1000 + 0.65


@pytest.mark.parametrize("call", ["get_remote_data", "get_remote_visitor_data", "get_visitor_warehouse_audience"])
@pytest.mark.parametrize("is_async", [False, True])
def test_b13_one_deadline_for_token_and_data(call, is_async):
    """With a token endpoint and a data endpoint that do not answer, a call returns within its own timeout."""
    arguments = {"get_visitor_warehouse_audience": ("visitor", 3)}.get(call, ("visitor",))
    with Scripted(answers(token=stall, map=stall, visitor=stall)) as server, make(server) as client:
        assert client.wait_init()
        started = time.monotonic()
        if is_async:
            result = asyncio.run(getattr(client, f"{call}_async")(*arguments, timeout=1.0))
        else:
            result = getattr(client, call)(*arguments, timeout=1.0)
        assert time.monotonic() - started < 1.95
        assert not result


class Answers(Source):
    """A source that hands out flows which the test ends in the order it likes."""

    name = "test"
    interval_s = 60.0

    def fetch(self, known, ts):
        """Wait for what the test sends."""
        del known, ts
        version = yield None
        root = {"dateModified": version}
        return Fetched(json.dumps(root).encode(), root, self.name)


@pytest.mark.parametrize(("first", "second", "stays"), [(1, 2, 2), (2, 2, 2), (3, 2, 3), (0, 0, 0)])
def test_b18_the_newer_of_two_fetches_stays(first, second, stays):
    """Asked for first and answered last: the older configuration does not replace the newer one."""
    published = []
    backend = Backend(
        Answers(),
        lambda fetched: compile_in_steps(fetched.root),
        compile_ruleset({}),
        is_served=False,
        makes_requests=False,
    )
    configuration = Configuration(backend, Endpoints("site"), published.append)
    flows = [configuration.refresh(), configuration.refresh()]
    for flow in flows:
        next(flow)
    for flow, version in ((flows[1], second), (flows[0], first)):
        with pytest.raises(StopIteration):
            flow.send(version)
    assert configuration.ruleset.date_modified == stays
    assert len(published) == 1 + (first > second)


def test_c3_an_asyncio_run_for_each_call():
    """Twenty loops, each with concurrent calls: no deadlock, no connection left, no warning."""
    with Scripted(answers()) as server, make(server) as client:
        assert client.wait_init()

        async def calls():
            client.track_conversion("visitor", 1)
            return await asyncio.gather(
                *(client.get_remote_data_async(f"key {number}") for number in range(5)),
                client.get_remote_visitor_data_async("visitor"),
                client.wait_init_async(),
                client.flush_async("visitor", timeout=5.0),
            )

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(20):
                *data, visitor_data, ready, flushed = asyncio.run(calls())
                assert data == [{}] * 5
                assert (visitor_data, ready, flushed.pending) == ([], True, 0)
            gc.collect()
        assert not client._core.async_sender._lives


class Awkward:
    """A handler that calls the SDK back, takes its time, and raises."""

    def __init__(self):
        self.client = None
        self.calls = 0
        self.release = threading.Event()
        self.threads = set()

    def on_update(self, _event):
        """Do everything that a handler should not."""
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        assert self.client.wait_init(100)
        assert self.client.get_remote_data("key") == {}
        assert self.client.flush("visitor", timeout=5.0).pending == 0
        self.release.wait(10)
        raise RuntimeError("a handler of the application")


def test_c4_a_handler_may_do_anything():
    """It calls blocking methods, sleeps and raises: polling and tracking go on, and it is called again."""
    with Scripted(answers()) as server, make(server, refresh_interval_minute=0.001) as client:
        handler = Awkward()
        handler.client = client
        client.set_event_handler(EventType.DATAFILE_UPDATE, handler)
        assert client.wait_init()
        wait_until(lambda: handler.calls == 1)
        polls = count(server, "/v3/site")
        wait_until(lambda: count(server, "/v3/site") >= polls + 5)
        client.track_conversion("other", 1)
        assert client.flush("other", timeout=5.0).sent == 1
        handler.release.set()
        wait_until(lambda: handler.calls >= 2)
        assert handler.threads == {"kameleoon-events-site"}


def test_c7_making_and_forgetting_leaves_nothing():
    """After fifty clients there are as many threads, sockets and bytes as before."""
    with Scripted(answers()) as server:
        config = KameleoonClientConfig("id", "secret", base_url=server.url, top_level_domain="localhost")

        def cycle():
            client = KameleoonClientFactory.create("site", config)
            assert client.wait_init()
            client.track_conversion("visitor", 1)
            assert client.get_remote_data("key") == {}
            KameleoonClientFactory.forget("site")

        def ours():
            return [thread for thread in threading.enumerate() if thread.name.startswith("kameleoon")]

        def sockets():
            return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())

        def memory():
            # What the server keeps of its visits is the test's own.
            server.seen.clear()
            server.threads[1:] = [thread for thread in server.threads[1:] if thread.is_alive()]
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        # Other tests of this process may have clients and servers of their own.
        others, base = set(ours()), sockets()
        for _ in range(5):
            cycle()
        tracemalloc.start()
        try:
            cycle()
            wait_until(lambda: sockets() <= base)
            before = memory()
            for _ in range(50):
                cycle()
            wait_until(lambda: sockets() <= base)
            grown = memory() - before
        finally:
            tracemalloc.stop()
        wait_until(lambda: not set(ours()) - others)
        assert grown < 50 * 2048, "a client leaves less than 2 kB, and that only until the interpreter tidies up"


def test_c9_the_loop_of_the_creation_ends():
    """A client made inside an event loop works on after that loop."""
    with Scripted(answers()) as server:

        async def application():
            return make(server, refresh_interval_minute=0.001)

        with asyncio.run(application()) as client:
            assert client.wait_init()
            polls = count(server, "/v3/site")
            wait_until(lambda: count(server, "/v3/site") >= polls + 3)
            client.track_conversion("visitor", 1)
            assert client.flush("visitor", timeout=5.0).sent == 1
            assert asyncio.run(client.get_remote_data_async("key")) == {}


@pytest.mark.parametrize("status", [429, 503])
def test_d3_a_service_that_asks_to_wait_is_left_alone(status):
    """``Retry-After`` is honoured by the next poll, with a jitter of its own."""
    with Scripted(answers(v3=reply(status, Retry_After="100"))) as server, make(server) as client:
        assert client.wait_init() is False
        waits = [client._core.configuration.until_next_s() for _ in range(50)]
        assert 100 <= min(waits) < max(waits) <= 125
        assert count(server, "/v3/site") == 1


def test_d3_a_service_that_fails_is_asked_less_and_less():
    """Waits double from five seconds up to the interval, never the same for two workers; success ends them."""
    with Scripted(answers(v3=reply(500))) as server, make(server) as client:
        assert client.wait_init() is False
        configuration = client._core.configuration
        for failures, longest in ((1, 5), (2, 10), (3, 20), (100, 3600)):
            configuration._failures = failures
            waits = [configuration.until_next_s() for _ in range(50)]
            assert longest / 2 <= min(waits) < max(waits) <= longest
        server.answers["/v3/site"] = GOOD
        client._core.schedule.hasten("configuration")
        wait_until(client.is_ready)
        wait_until(lambda: configuration.until_next_s() > 3000)


def test_d6_a_broken_token_endpoint_is_asked_once():
    """Many calls from many threads, and one attempt for a token; all go out without one."""
    with Scripted(answers(token=reply(500))) as server, make(server) as client:
        assert client.wait_init()
        threads = [threading.Thread(target=client.get_remote_data, args=(f"key {number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        client.track_conversion("visitor", 1)
        assert client.flush(timeout=5.0).pending == 0
        assert asyncio.run(client.get_remote_data_async("one more")) == {}
        assert count(server, "/oauth/token") == 1
        assert count(server, "/map/map") == 9
        assert not any("authorization" in seen.headers for seen in server.seen if "/oauth" not in seen.target)


def test_d9_everything_goes_through_the_proxy(monkeypatch):
    """Configuration, token, tracking, remote data of both kinds and the stream reach a host that only the proxy knows."""

    def stream(visit):
        visit.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        visit.stall()

    streaming = json.dumps({**ROOT, "configuration": {"realTimeUpdate": True}}).encode()
    behind = {
        f"http://only.behind.test{path}": answer for path, answer in answers(v3=reply(200, streaming, **JSON)).items()
    }
    with Scripted({**behind, "http://only.behind.test/sse": stream}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        config = KameleoonClientConfig("id", "secret", base_url="http://only.behind.test")
        with KameleoonClient("site", config) as client:
            assert client.wait_init()
            assert client.get_remote_data("key") == {}
            assert asyncio.run(client.get_remote_data_async("key")) == {}
            client.track_conversion("visitor", 1)
            assert client.flush("visitor", timeout=5.0).sent == 1
            wait_until(lambda: client._core.streaming.is_open)


def test_d11_bodies_have_a_bound():
    """Endless answers to every kind of request end with nothing, not with a full memory."""
    chunks = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    without_end = endless(start + b"Transfer-Encoding: chunked\r\n\r\n", chunks * 16)
    declared = raw(start + b"Content-Length: 524288000\r\n\r\n")
    for body in (without_end, declared):
        with Scripted(answers(map=body, token=body, events=body)) as server, make(server) as client:
            assert client.wait_init()
            tracemalloc.start()
            try:
                assert client.get_remote_data("key", timeout=1.0) is None
                client.track_conversion("visitor", 1)
                # The status said that the line was taken; its body is not needed.
                assert client.flush("visitor", timeout=5.0).sent == 1
                assert tracemalloc.get_traced_memory()[1] < 256 * 1024 * 1024
            finally:
                tracemalloc.stop()


def test_f1_an_evaluation_at_the_default_level_does_no_logging_work(monkeypatch):
    """Nothing is formatted, and nothing is handed to a logger."""
    with KameleoonClient("site", KameleoonClientConfig(source=ROOT, top_level_domain="localhost")) as client:
        assert client.wait_init()
        written = []
        for name in ("log", "error", "warning", "info", "debug"):
            monkeypatch.setattr(KameleoonLogger, name, lambda *args, **_: written.append(args))
        for number in range(20):
            client.is_feature_active(f"visitor {number}", "f")
            client.get_variation(f"visitor {number}", "f")
            client.get_variations(f"visitor {number}")
        assert not [args for args in written if args]


class Kept(Logger):
    """A logger that keeps what it is told."""

    def __init__(self):
        self.lines = []

    def log(self, level, message):
        """Keep one message."""
        self.lines.append((level, message))


@pytest.mark.parametrize("failure", [reply(500), reply(401), reset, reply(200, b"{", **JSON)])
def test_f5_no_secret_and_no_visitor_in_the_log(failure):
    """Whatever fails, no level shows a secret or a token, and INFO and above nothing of a visitor."""
    kept = Kept()
    secrets = ["the-client-secret", "the-access-token", "dGhlLWNsaWVudC1pZ"]
    visitor = ["visitor-7f3a", "gold-plan", "secret-page"]
    before = KameleoonLogger._sink, KameleoonLogger._level
    with Scripted(answers(map=failure, visitor=failure, events=failure)) as server:
        try:
            client = make(server, exit_timeout_millisecond=200)
            KameleoonLogger.set_logger(kept)
            KameleoonLogger.set_log_level(LogLevel.DEBUG)
            with client:
                assert client.wait_init()
                client.add_data("visitor-7f3a", CustomData(1, "gold-plan"), PageView("https://e.com/secret-page", None))
                client.add_data("visitor-7f3a", "no data object")
                client.is_feature_active("visitor-7f3a", "f")
                client.track_conversion("visitor-7f3a", 1)
                client.flush(timeout=2.0)
                client.get_remote_data("visitor-7f3a")
                client.get_remote_visitor_data("visitor-7f3a")
                client.get_visitor_warehouse_audience("visitor-7f3a", 1)
                asyncio.run(client.get_remote_data_async("visitor-7f3a"))
        finally:
            KameleoonLogger.set_logger(before[0])
            KameleoonLogger.set_log_level(before[1])
    assert kept.lines, "failures are told"
    for level, message in kept.lines:
        assert not [secret for secret in secrets if secret in message]
        if level <= LogLevel.INFO:
            assert not [word for word in visitor if word in message], message
    shown = repr(client) + repr(client.settings) + str(client.settings) + repr(client._core.tokens)
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("goal",), TypeError),
        ((None,), TypeError),
        ((1.5,), TypeError),
        ((True,), TypeError),
        ((1, "much"), TypeError),
        ((1, float("nan")), ValueError),
        ((1, float("inf")), ValueError),
        ((1, 1.0, None, "yes"), TypeError),
        ((1, 1.0, None, False, [7]), TypeError),
    ],
)
def test_f10_a_wrong_conversion_is_refused_at_the_call(arguments, error):
    """A wrong type, NaN and infinity raise where they are given, and nothing of them is kept."""
    with KameleoonClient("site", KameleoonClientConfig(source=ROOT, top_level_domain="localhost")) as client:
        with pytest.raises(error):
            client.track_conversion("visitor", *arguments)
        with pytest.raises(TypeError):
            PageView("https://e.com", None, ["first"])
        assert client.stats().visitors == 0


def test_a_file_is_read_again_and_a_broken_one_is_refused(tmp_path, caplog):
    """Within two seconds a change is in force; a broken version keeps the old one and says where it is broken."""
    path = tmp_path / "configuration.json"
    path.write_text(json.dumps(ROOT))
    with KameleoonClient("site", KameleoonClientConfig(source=path, top_level_domain="localhost")) as client:
        assert client.wait_init()
        path.write_text(json.dumps({**ROOT, "dateModified": 22}))
        wait_until(lambda: client.get_data_file().date_modified == 22, 2.0)
        path.write_text('{"dateModified": 333,\n  oops}')
        wait_until(lambda: "line 2, column 3" in caplog.text, 2.0)
        assert client.get_data_file().date_modified == 22
        assert client.is_feature_active("visitor", "f") is True
        path.write_text(json.dumps({**ROOT, "dateModified": 4444}))
        wait_until(lambda: client.get_data_file().date_modified == 4444, 2.0)


def test_b15_another_configuration_is_refused_by_name():
    """A second client of a site with other settings is an error that names them; another environment is another client."""
    with Scripted(answers()) as server:

        def create(**settings):
            config = KameleoonClientConfig(
                "id", "secret", base_url=server.url, top_level_domain="localhost", **settings
            )
            return KameleoonClientFactory.create("site", config)

        try:
            assert create() is create()
            assert create(environment="staging") is not create()
            with pytest.raises(
                ConfigException, match=r"session_duration_s.*tracking_interval_s|tracking_interval_s.*session"
            ):
                create(session_duration_minute=7, tracking_interval_millisecond=2000)
        finally:
            KameleoonClientFactory.forget("site")


def test_f3_the_applications_logging_is_left_alone():
    """A client adds no handler that writes and changes no level; a logger that was set before stays."""
    kept = Kept()
    before = KameleoonLogger._sink
    KameleoonLogger.set_logger(kept)
    try:
        with KameleoonClient("site", KameleoonClientConfig(source=ROOT)):
            assert KameleoonLogger._sink is kept
            assert all(
                isinstance(handler, logging.NullHandler) for handler in logging.getLogger("Kameleoon SDK").handlers
            )
    finally:
        KameleoonLogger.set_logger(before)

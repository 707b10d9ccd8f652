"""A blocking method and its asynchronous twin: the same parameters, the same results, the same errors."""

import asyncio
import inspect
import json
import sys
import time
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
from scripted import Scripted, hang_up, raw, reply, reset, stall

TWINS = {name: name.removesuffix("_async") for name in vars(KameleoonClient) if name.endswith("_async")}
TWINS["aclose"] = "close"

CONFIGURATION = {"featureFlags": [], "customData": [{"index": 3, "name": "known"}]}


def test_every_network_method_has_its_twin():
    """What does network I/O can be awaited too."""
    assert set(TWINS.values()) == {
        "wait_init",
        "flush",
        "prepare",
        "close",
        "get_remote_data",
        "get_remote_visitor_data",
        "get_visitor_warehouse_audience",
    }


@pytest.mark.parametrize("name", TWINS)
def test_twins_take_the_same(name):
    """Names, order, kinds, defaults and annotations of the parameters are equal; the twin's text refers to the other."""
    twin, method = getattr(KameleoonClient, name), getattr(KameleoonClient, TWINS[name])
    ours, theirs = inspect.signature(twin), inspect.signature(method)
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    assert inspect.iscoroutinefunction(twin)
    assert f"`{TWINS[name]}`" in twin.__doc__


JSON = {"Content_Type": "application/json"}
ANSWERS = {
    "data": reply(200, json.dumps({"warehouseAudiences": {"a": 1}, "currentVisit": {}}).encode(), **JSON),
    "a number": reply(200, b"7", **JSON),
    "null": reply(200, b"null", **JSON),
    "403 with a body": reply(403, b'{"a": 1}', **JSON),
    "404 with a body": reply(404, b'{"a": 1}', **JSON),
    "500 with a body": reply(500, b'{"a": 1}', **JSON),
    "no JSON": reply(200, b"<html>", Content_Type="text/html"),
    "broken JSON": reply(200, b'{"a": ', **JSON),
    "nothing": reply(204),
    "no answer": stall,
    "reset": reset,
    "hung up": hang_up,
    "cut off": raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"),
    "not HTTP": raw(b"220 mail ready\r\n"),
}

CALLS = {
    "get_remote_data": [
        (("key",), {}),
        (("",), {}),
        (("key", 0), {}),
        (("key", -1.0), {}),
        (("key", float("nan")), {}),
        (("key", "1"), {}),
        (("half \ud800",), {}),
    ],
    "get_remote_visitor_data": [
        (("code",), {}),
        (("",), {}),
        (("code", False), {}),
        (("code",), {"timeout": True}),
        (("half \udfff",), {"add_data": False}),
    ],
    "get_visitor_warehouse_audience": [
        (("code", 3), {}),
        (("", 3), {}),
        (("c" * 256, 3), {}),
        (("code", 3, "warehouse", 0.0), {}),
        (("code", None), {}),
        (("code", 1.5), {}),
    ],
}


def outcome(call):
    """What *call* returns or raises, in a form that can be compared."""
    try:
        return call()
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("answer", ANSWERS)
def test_twins_answer_the_same_to_anything(answer):
    """Whatever the service answers, and whatever is asked, both give the same value or the same exception."""
    answers = {
        "/oauth/token": reply(404),
        "/map/map": ANSWERS[answer],
        "/visit/visitor": ANSWERS[answer],
        "/visit/events": reply(204),
    }
    with Scripted(answers) as server:
        # Calls of a service that does not answer take the whole timeout, so it is short; elsewhere it never passes.
        timeout_ms = 100 if answer == "no answer" else 5_000
        config = KameleoonClientConfig(
            "id", "secret", base_url=server.url, source=CONFIGURATION, default_timeout_millisecond=timeout_ms
        )
        with KameleoonClient("site", config) as client:
            # From a source, so that the short time is not the configuration's too.
            assert client.wait_init(5000)
            # A second token would make the requests of the two differ.
            client.get_remote_data("first", 5.0 if answer != "no answer" else 0.1)
            for name, calls in CALLS.items():
                for args, kwargs in calls:
                    blocking = outcome(lambda: getattr(client, name)(*args, **kwargs))  # noqa: B023 - called at once
                    twin = getattr(client, f"{name}_async")
                    awaited = outcome(lambda: asyncio.run(twin(*args, **kwargs)))  # noqa: B023 - called at once
                    assert awaited == blocking, (name, args, kwargs)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_no_time_is_no_answer(timeout):
    """A timeout that leaves no time gives nothing, as any failure does; one that is no number is refused."""
    with Scripted({"/v3/site": reply(404)}) as server:
        config = KameleoonClientConfig("id", "secret", base_url=server.url)
        with KameleoonClient("site", config) as client:
            assert client.get_remote_data("key", timeout) is None
            assert client.get_remote_visitor_data("code", timeout=timeout) == []
            assert client.get_visitor_warehouse_audience("code", 3, timeout=timeout) is None
            with pytest.raises(TypeError, match="timeout must be a number"):
                client.get_remote_data("key", "soon")


@pytest.mark.parametrize("code", ["", "c" * 256])
def test_flushes_refuse_the_same(code):
    """A code that no visitor can have is refused by both with the same error."""
    with KameleoonClient("site", KameleoonClientConfig(source=CONFIGURATION)) as client:
        blocking = outcome(lambda: client.flush(code))
        assert outcome(lambda: asyncio.run(client.flush_async(code))) == blocking
        assert blocking[0].__name__ == "VisitorCodeInvalid"


def test_waiting_fails_the_same(unused_port):
    """Without a service both say so, as soon as the first fetch failed."""
    config = KameleoonClientConfig("id", "secret", base_url=f"http://127.0.0.1:{unused_port}")
    for timeout in (None, -1, 0, 2000):
        with KameleoonClient("site", config) as client:
            assert client.wait_init(timeout) is False
        with KameleoonClient("site", config) as client:
            assert asyncio.run(client.wait_init_async(timeout)) is False


@pytest.fixture
def unused_port():
    """A port that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_closed_client_keeps_nobody_waiting():
    """Flushing after `close` comes back at once, and tells that nothing was sent."""
    client = KameleoonClient("site", KameleoonClientConfig(source=CONFIGURATION))
    client.close()
    started = time.monotonic()
    assert client.flush(timeout=5.0).sent == 0
    assert asyncio.run(client.flush_async(timeout=5.0)).sent == 0
    assert time.monotonic() - started < 1.0

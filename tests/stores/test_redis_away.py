"""A Redis that is not there, or there and silent: evaluations go on in bounded time, and visitors are shared again by themselves."""

import signal
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from kameleoon import CustomData
from kameleoon.stores import RedisStore

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import Sink, until
from redis_process import BINARY, RedisProcess

TIMEOUT_S = 0.1
PAUSE_S = 0.3

pytestmark = pytest.mark.skipif(BINARY is None, reason="there is no redis-server on this machine")


@pytest.fixture
def server():
    """A Redis that is not started yet."""
    server = RedisProcess()
    yield server
    server.stop()


@pytest.fixture
def make_client(server):
    """A function that makes clients whose visitors are in *server*; what waits for it waits a tenth of a second."""
    made = []
    with Sink() as sink:

        def make():
            client = sink.client(visitor_store=RedisStore(server.url, timeout_s=TIMEOUT_S))
            made.append(client)
            client.wait_init()
            return client

        yield make
        for client in made:
            client.close()


def tellings(caplog, text):
    """How often the log says *text*."""
    return sum(text in record.getMessage() for record in caplog.records)


def test_a_redis_that_comes_after_the_application(server, make_client, caplog):
    """Flags answer from the start, it is said once that visitors are not shared, and what was learnt is shared later."""
    client = make_client()
    for _ in range(20):
        assert client.get_variation("v", "flag").key == "on"
    client.add_data("v", CustomData(1, "x"))
    assert tellings(caplog, "Redis cannot be reached") == 1
    server.start()
    other = make_client()
    until(lambda: client._core.store.read("v") is not None and (seen := other._core.store.read("v")) is not None
          and 1 in seen.record.custom_data)  # fmt: skip
    assert tellings(caplog, "Redis is reached again") == 1


def test_a_silent_redis_holds_up_one_caller_at_a_time(server, make_client, caplog, monkeypatch):
    """It takes connections and answers nothing: of all threads one a while waits out the timeout, the others answer from what is known."""
    monkeypatch.setattr("kameleoon.stores.redis_trips._TRY_AGAIN_S", PAUSE_S)
    server.start()
    client = make_client()
    store = client._core.store
    client.add_data("v", CustomData(1, "x"))
    tries, waits = [], []
    exchange, is_over = store._exchange, threading.Event()

    def noted(commands):
        tries.append(time.monotonic())
        return exchange(commands)

    def evaluate():
        while not is_over.is_set():
            started = time.monotonic()
            assert client.get_variation("v", "flag").key == "on"
            waits.append(time.monotonic() - started)

    server.process.send_signal(signal.SIGSTOP)
    try:
        client.get_variation("v", "flag")  # finds out; those that ask at the same moment would wait with it
        monkeypatch.setattr(store, "_exchange", noted)
        threads = [threading.Thread(target=evaluate) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: len(tries) >= 3)
        is_over.set()
        for thread in threads:
            thread.join()
        assert set(store.read("v").record.custom_data) == {1}
    finally:
        is_over.set()
        server.process.send_signal(signal.SIGCONT)
    assert min(later - earlier for earlier, later in pairwise(tries)) >= PAUSE_S * 0.99
    assert sum(wait >= TIMEOUT_S for wait in waits) < len(waits) / 10
    assert tellings(caplog, "Redis cannot be reached") == 1
    until(lambda: store.read("v") is not None and not store._visitors.is_away)

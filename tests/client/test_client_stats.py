"""What a client says it has sent."""

import threading
import time
from pathlib import Path

import pytest

from kameleoon._runtime.forwarding import Forwarding
from kameleoon._runtime.tracker import Ready, Tracker
from kameleoon._tracking.delivery import Counters
from kameleoon._tracking.lines import Line
from kameleoon.client import KameleoonClient
from kameleoon.config import KameleoonClientConfig
from kameleoon.server.serve import LocalServer
from kameleoon.types.stats import Stats

DEMO = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"


def make_client(url, **settings):
    """Make a client of the demo project that does nothing by itself between its calls."""
    return KameleoonClient(
        "demoshop01", KameleoonClientConfig("id", "secret", base_url=url, multi_threading=False, **settings)
    )


def test_stats_follow_events_to_the_service():
    """Nothing is counted before anything is sent; then produced and sent are what the server stored, also after `close`."""
    with LocalServer(DEMO) as server:
        client = make_client(server.url)
        assert client.stats() == Stats(0, 0, 0, 0, 0, 0)
        assert client.wait_init(5000)
        client.get_variation("one", "checkout_design")
        client.track_conversion("two", 1001, revenue=5.0)
        assert client.stats().visitors == 2
        client.flush(timeout=10.0)
        stored = server.counters()["stored"]
        client.close()
        assert stored >= 2
        assert client.stats() == Stats(stored, stored, 0, 0, 0, 0)


def test_stats_of_a_service_that_is_away():
    """What cannot be sent is pending, and the failed request counts as retried."""
    with LocalServer(DEMO) as server:
        client = make_client(server.url, exit_timeout_millisecond=0)
        assert client.wait_init(5000)
    client.track_conversion("one", 1001)
    client.flush(timeout=10.0)
    stats = client.stats()
    client.close()
    assert stats.events_sent == stats.events_dropped == 0
    assert stats.events_pending == stats.events_produced > 0
    assert stats.requests_retried > 0


def test_no_count_is_lost_between_threads():
    """Events that several threads hand over at the same time are all counted."""

    class Bin:
        def put(self, lines, _events):
            return len(lines)

    class Slow(int):
        """A number that lets other threads run while it is added to."""

        def __add__(self, other):
            time.sleep(0)
            return Slow(int(self) + other)

    counters, line = Counters(Slow(), 0, Slow()), Line("visitorCode=a", "text", None)
    forwarding = Forwarding([], Bin(), None, None, None, "", None, threaded=False)
    tracker = Tracker(None, None, Bin(), None, counters, forwarding)
    threads = [threading.Thread(target=lambda: [tracker._put(Ready([line])) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counters.produced, counters.dropped) == (2_000, 2_000)


def test_stats_cannot_be_changed():
    """Stats are a value."""
    with pytest.raises(AttributeError):
        Stats(1, 1, 0, 0, 0, 0).events_sent = 2

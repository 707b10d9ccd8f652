"""Who is told of with the next round: the register of visitors, played step by step by a client without threads."""

import sys
from pathlib import Path

import pytest

from kameleoon import CustomData, KameleoonClient, KameleoonClientConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import Sink

SOURCE = {
    "customData": [{"id": 503, "index": 3, "isMappingIdentifier": True}],
    "featureFlags": [{"id": 1, "featureKey": "flag", "environmentEnabled": True, "defaultVariationKey": "off"}],
}


@pytest.fixture
def sink():
    """A service that takes everything."""
    with Sink() as running:
        yield running


@pytest.fixture
def client(sink):
    """A client that does nothing by itself."""
    config = KameleoonClientConfig("id", "secret", base_url=sink.url, source=SOURCE, multi_threading=False)
    with KameleoonClient("sink", config) as made:
        assert made.wait_init(5000)
        yield made


def play_round(client):
    """What the timer does."""
    client._core.background.hasten("tracking")


def told(sink):
    """Types of all events so far."""
    return [fields["eventType"] for fields in sink.taken()]


def test_an_instant_flush_leaves_a_registered_visitor_registered(client, sink):
    """The next round tells of him as active, once."""
    client.track_conversion("v", 5)
    client.flush("v", instant=True)
    assert told(sink) == ["conversion"]
    play_round(client)
    play_round(client)
    assert told(sink) == ["conversion", "activity"]


def test_a_flush_that_is_waited_for_is_the_end_of_it(client, sink):
    """Nothing follows."""
    client.track_conversion("v", 5)
    client.flush("v", timeout=10.0)
    play_round(client)
    assert told(sink) == ["conversion"]


@pytest.mark.parametrize("track", [True, False])
def test_data_that_maps_a_visitor_is_no_reason_for_an_event_twice(client, sink, track):
    """It is sent once even if it is not to be tracked, and then only beside other events; not when the client is closed."""
    client.add_data("anonymous", CustomData(3, "user"), track=track)
    client.flush(timeout=10.0)
    first = told(sink)
    client.close()
    assert first
    assert set(first) == {"customData"}
    assert told(sink) == first


def test_data_that_maps_a_visitor_is_sent_at_the_latest_when_the_client_is_closed(client, sink):
    """It may not be tracked, yet the service must know of it."""
    client.add_data("anonymous", CustomData(3, "user"), track=False)
    client.close()
    assert set(told(sink)) == {"customData"}

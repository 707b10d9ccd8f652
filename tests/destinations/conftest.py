"""What the tests of destinations have in common."""

import pytest
from strict_collector import Collector

from kameleoon._transport.requests_sender import RequestsSender
from kameleoon.destinations import Conversion, Exposure


@pytest.fixture
def collector():
    """A strict collector."""
    with Collector() as running:
        yield running


@pytest.fixture
def sender():
    """A real sender that does not really wait; `paused` has its pauses."""
    made = RequestsSender()
    made.paused = []
    made.pause = made.paused.append
    yield made
    made.close()


@pytest.fixture
def exposure():
    """Build an exposure, another experiment for each number."""

    def make(number=12345, **parts):
        known = {"variation_key": "on", "feature_key": "new_checkout", "event_id": f"id-{number}", **parts}
        return Exposure(
            known.pop("visitor_code", "7f3a9c1e5b2d8f60"),
            str(number),
            known.pop("variation_id", "98765"),
            1_700_000_000_000,
            **known,
        )

    return make


@pytest.fixture
def conversion():
    """Build a conversion."""

    def make(**parts):
        return Conversion(
            "7f3a9c1e5b2d8f60",
            "678",
            1_700_000_001_000,
            **{"revenue": 49.9, "assignments": (("12345", "98765"),), "event_id": "id-c", **parts},
        )

    return make

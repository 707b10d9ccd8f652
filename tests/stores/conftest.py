"""What the tests of stores need: a real Redis."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from redis_process import BINARY, RedisProcess


@pytest.fixture(scope="session")
def redis_server():
    """A Redis for the whole session."""
    if BINARY is None:
        pytest.skip("there is no redis-server on this machine")
    server = RedisProcess().start()
    yield server
    server.stop()

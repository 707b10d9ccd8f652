"""Services on the loopback and clients that do not really wait."""

import time

import pytest
from strict_service import DataService, StrictService

from kameleoon.api.access import Credentials


@pytest.fixture
def service():
    """A strict service without routes of its own."""
    with StrictService() as running:
        yield running


@pytest.fixture
def data_service():
    """The Data API."""
    with DataService() as running:
        yield running


@pytest.fixture
def credentials(service_credentials=("shop", "s3cr3t/+&")):
    """What the services accept."""
    return Credentials(*service_credentials)


@pytest.fixture
def hasty():
    """Make a client note its pauses instead of waiting; gives the list of them."""

    def make(client):
        pauses = []
        client._caller._clock = lambda: time.monotonic() + sum(pauses)
        client._sender.pause = pauses.append
        return pauses

    return make

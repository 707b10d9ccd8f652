"""Services on the loopback and clients that do not really wait."""

import time

import pytest
from strict_automation import AutomationService
from strict_service import DataService, StrictService

from kameleoon.api.access import Credentials
from kameleoon.api.automation import AutomationApi


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


@pytest.fixture
def automation_service():
    """The Automation API, which answers 403 to a token that it does not know."""
    with AutomationService(bad_token_status=403) as running:
        yield running


@pytest.fixture
def automation(automation_service, credentials):
    """A blocking client of it."""
    with AutomationApi(credentials, base_url=automation_service.url) as api:
        yield api

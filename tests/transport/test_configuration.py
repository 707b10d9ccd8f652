"""What counts as a configuration, and how it is asked for."""

import pytest
from canned import Canned, broken, json_response, timeout

from kameleoon._transport.configuration import Fetched, fetch_configuration
from kameleoon._transport.endpoints import Endpoints
from kameleoon._transport.flow import run
from kameleoon._transport.message import FetchFailed, Response

GOOD = json_response(b'{"featureFlags": []}', last_modified="Wed, 01 Jan 2025 00:00:00 GMT")
KNOWN = Fetched(b'{"a": 1}', {"a": 1}, "service", last_modified="Tue, 31 Dec 2024 00:00:00 GMT")


def fetch(sender, known=None, ts=None, timeout_s=10.0):
    """Ask *sender* for the configuration of a site."""
    return run(fetch_configuration(Endpoints("s", "production"), known, ts, timeout_s, sender.clock), sender)


def test_the_first_request_and_what_it_brings():
    """The headers name the SDK; body, decoded root and Last-Modified are handed over."""
    sender = Canned(GOOD)
    fetched = fetch(sender)
    assert (fetched.body, fetched.root, fetched.source_name) == (GOOD.body, {"featureFlags": []}, "service")
    assert fetched.last_modified == "Wed, 01 Jan 2025 00:00:00 GMT"
    request = sender.sent[0]
    assert request.url == "https://sdk-config.kameleoon.eu/v3/s?environment=production"
    assert request.headers == {"X-Kameleoon-SDK-Type": "PYTHON", "X-Kameleoon-SDK-Version": "3.22.2"}


def test_a_later_request_asks_for_what_is_newer():
    """If-Modified-Since is the Last-Modified verbatim, ts is in the query, and 304 means that nothing is newer."""
    sender = Canned(Response(304))
    assert fetch(sender, KNOWN, ts=1700000001234) is None
    assert sender.sent[0].headers["If-Modified-Since"] == KNOWN.last_modified
    assert sender.sent[0].url.endswith("?environment=production&ts=1700000001234")


def test_the_configuration_is_not_shown():
    """The text of a fetched configuration does not hold the configuration."""
    assert "secret" not in repr(Fetched(b'{"secret": 1}', {"secret": 1}, "service"))


@pytest.mark.parametrize(
    "answer",
    [
        Response(304),
        Response(200, {"content-type": "text/html"}, b"<html>"),
        Response(200, {"content-type": "text/plain"}, b'{"a": 1}'),
        Response(200, {}, b'{"a": 1}'),
        json_response(b"[1]"),
        json_response(b"null"),
        json_response(b'{"a": '),
        json_response(b""),
        Response(204),
    ],
)
def test_what_is_no_configuration_fails(answer):
    """Everything but a 403, or a 2xx with a JSON object, is a failure that names the address."""
    sender = Canned(answer)
    with pytest.raises(FetchFailed, match="https://sdk-config") as caught:
        fetch(sender)
    assert caught.value.status == answer.status


@pytest.mark.parametrize("answer", [Response(403), json_response(b'{"featureFlags": []}', 403), json_response(b"{}")])
def test_an_answer_without_a_configuration_is_an_empty_one(answer):
    """A 403 and an empty object count as an empty configuration at first, as recorded, and never replace one."""
    assert fetch(Canned(answer)).root == {}
    assert fetch(Canned(answer), KNOWN) is None


@pytest.mark.parametrize(
    "failure", [Response(500), Response(404), Response(400), json_response(b"{}", 429), broken(), timeout()]
)
def test_a_failure_is_repeated_once_at_once(failure):
    """The second attempt follows without a pause, and its answer counts."""
    sender = Canned(failure, GOOD)
    assert fetch(sender).root == {"featureFlags": []}
    assert sender.paused == []
    sender = Canned(failure, failure, GOOD)
    with pytest.raises(FetchFailed):
        fetch(sender)
    assert len(sender.sent) == 2


def test_a_service_that_asks_to_wait_is_not_asked_again_at_once():
    """Retry-After is handed to who plans the next fetch (faults D3)."""
    sender = Canned(Response(503, {"retry-after": "120"}), GOOD)
    with pytest.raises(FetchFailed) as caught:
        fetch(sender)
    assert (len(sender.sent), caught.value.status, caught.value.retry_after) == (1, 503, "120")


def test_both_attempts_share_one_timeout():
    """A hanging service holds the fetch for its timeout, not for twice that; a slow first failure leaves the rest."""
    sender = Canned((99, GOOD), GOOD)
    with pytest.raises(FetchFailed):
        fetch(sender)
    assert sender.clock.now == 1010
    sender = Canned((7, Response(500)), GOOD)
    assert fetch(sender) is not None
    assert [request.timeout_s for request in sender.sent] == [10, 3]

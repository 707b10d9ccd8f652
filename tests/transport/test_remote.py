"""Visitor data, remote data and the post of tracking lines."""

import pytest
from canned import Canned, broken, json_response

from kameleoon._transport.endpoints import Endpoints
from kameleoon._transport.flow import run
from kameleoon._transport.message import FetchFailed, Response
from kameleoon._transport.remote import fetch_map, fetch_visitor, tracking_request
from kameleoon._transport.token import TokenSource
from kameleoon.events import RequestType
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

ENDPOINTS = Endpoints("s")
GRANT = json_response(b'{"access_token": "t", "expires_in": 7200}')


def ask_map(sender, tokens, **more):
    """Ask for remote data."""
    return run(fetch_map(ENDPOINTS, tokens, "k", timeout_s=1.0, clock=sender.clock, **more), sender)


def ask_visitor(sender, tokens):
    """Ask for a visitor's data."""
    flow = fetch_visitor(
        ENDPOINTS,
        tokens,
        "v",
        RemoteVisitorDataFilter(),
        is_mapping_value=True,
        timeout_s=1.0,
        clock=sender.clock,
    )
    return run(flow, sender)


@pytest.fixture(params=[ask_map, ask_visitor])
def ask(request):
    """Ask for either kind of data."""
    return request.param


@pytest.fixture
def tokens():
    """Give a token source."""
    return TokenSource(ENDPOINTS.token(), "id", "secret")


def test_what_is_sent(tokens):
    """Both requests carry the token and their kind."""
    sender = Canned(GRANT, json_response(b"7"), json_response(b"{}"))
    assert ask_map(sender, tokens) == 7
    assert ask_visitor(sender, tokens) == {}
    _, remote, visitor = sender.sent
    assert (remote.kind, remote.url) == (RequestType.REMOTE_DATA, ENDPOINTS.map("k"))
    assert visitor.kind is RequestType.REMOTE_VISITOR_DATA
    assert "mappingValue=v&" in visitor.url
    assert {request.headers["Authorization"] for request in (remote, visitor)} == {"Bearer t"}


@pytest.mark.parametrize(("body", "value"), [(b"7", 7), (b'"text"', "text"), (b"null", None), (b"[1]", [1])])
@pytest.mark.parametrize("status", [200, 201, 403])
def test_json_of_any_type_is_data(ask, tokens, status, body, value):
    """Any JSON value is handed over, also with the 403 for bots."""
    assert ask(Canned(GRANT, json_response(body, status)), tokens) == value


@pytest.mark.parametrize(
    "answer",
    [
        Response(204),
        Response(304),
        Response(403),
        Response(200, {"content-type": "text/plain"}, b"7"),
        json_response(b""),
    ],
)
def test_no_json_is_no_data(ask, tokens, answer):
    """An empty answer, or one of another type, is None."""
    assert ask(Canned(GRANT, answer), tokens) is None


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 300])
def test_the_body_of_an_error_is_never_data(ask, tokens, status):
    """A status that says no fails, whatever the body (faults B3)."""
    sender = Canned(GRANT, json_response(b'{"error": 1}', status))
    with pytest.raises(FetchFailed) as caught:
        ask(sender, tokens)
    assert caught.value.status == status
    assert len(sender.sent) == 2


@pytest.mark.parametrize("answer", [broken(), json_response(b"{")])
def test_failures_have_one_type(ask, tokens, answer):
    """A broken connection and broken JSON fail like a status, without the visitor in the text."""
    with pytest.raises(FetchFailed) as caught:
        ask(Canned(GRANT, answer), tokens)
    assert "mappingValue" not in str(caught.value)


def test_a_slow_token_and_a_slow_service_share_the_timeout(ask, tokens):
    """One second is one second (faults B13)."""
    sender = Canned((30, GRANT), (30, json_response(b"7")))
    with pytest.raises(FetchFailed):
        ask(sender, tokens)
    assert sender.clock.now == 1001


def test_the_post_of_tracking_lines():
    """It is the request of docs/service/network.md 4.6, and its status alone counts."""
    request = tracking_request(ENDPOINTS, b"a=1\nb=2", 10.0)
    assert (request.kind, request.method, request.url) == (RequestType.TRACKING, "POST", ENDPOINTS.tracking())
    assert (request.headers, request.body) == ({"Content-Type": "*/*"}, b"a=1\nb=2")
    assert not request.needs_body

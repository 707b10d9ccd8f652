"""What messages show and what they hide."""

import pytest

from kameleoon._transport.message import FetchFailed, Request, Response, TransportError, TransportErrorKind
from kameleoon.events import RequestType


def test_a_request_hides_its_secrets():
    """Neither header, body nor query is in its text."""
    request = Request(
        RequestType.TRACKING,
        "POST",
        "https://h/visit/events?siteCode=s&visitorCode=alice",
        headers={"Authorization": "Bearer tok-123"},
        body=b"visitorCode=bob",
    )
    for text in (repr(request), str(request), str(TransportError.of(request, TransportErrorKind.TIMEOUT, "late"))):
        assert "https://h/visit/events" in text
        assert not [secret for secret in ("tok-123", "alice", "bob", "Bearer") if secret in text]


def test_a_response_hides_its_secrets():
    """Neither header nor body is in its text."""
    response = Response(200, {"set-cookie": "secret"}, b'{"access_token": "tok-123"}')
    assert repr(response) == "Response(status=200)"


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_request_needs_time(timeout_s):
    """A timeout that is not above 0 is refused when the request is built."""
    with pytest.raises(ValueError, match="timeout_s"):
        Request(RequestType.DATAFILE, "GET", "https://h/", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("content_type", "is_json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/problem+json", True),
        ("text/json", False),
        ("text/problem+json", False),
        ("text/plain", False),
        ("", False),
    ],
)
def test_json_is_told_by_content_type(content_type, is_json):
    """Only the JSON media types count."""
    assert Response(200, {"content-type": content_type}).is_json is is_json


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\xff", b"[" * 200_000])
def test_broken_json_is_a_value_error(body):
    """Whatever is wrong with a body, decoding it raises the same kind of error."""
    with pytest.raises(ValueError):  # noqa: PT011 - texts differ
        Response(200, {}, body).json()


def test_a_transport_error_keeps_kind_and_cause():
    """Kind and cause are attributes; the text says what happened."""
    cause = OSError("boom")
    error = TransportError(TransportErrorKind.CONNECTION, "no way", cause)
    assert (error.kind, error.cause, str(error)) == (TransportErrorKind.CONNECTION, cause, "no way")


def test_a_failed_fetch_carries_its_facts():
    """Status and Retry-After are there for who decides what to do next."""
    error = FetchFailed("status 503", status=503, retry_after="7")
    assert (str(error), error.reason, error.status, error.retry_after) == ("status 503", "status 503", 503, "7")

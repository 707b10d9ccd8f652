"""What both adapters share."""

import errno
import os
import socket
import ssl

import pytest

from kameleoon._transport.adapter import causes, declared_too_large, failure
from kameleoon._transport.message import Request, TransportErrorKind
from kameleoon.events import RequestType

REQUEST = Request(
    RequestType.TRACKING, "POST", "https://host/visit/events?visitorCode=secret", timeout_s=1.5, max_body_bytes=99
)


def refused_certificate():
    """The error of a certificate that is not accepted."""
    error = ssl.SSLCertVerificationError("[SSL] no")
    error.verify_message = "self-signed certificate"
    return error


def chained(outer, inner):
    """Raise *outer* from *inner*."""
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ValueError("https://host/?visitorCode=secret"), "ValueError"),
        (ConnectionError("https://host/?visitorCode=secret"), "ConnectionError"),
        (
            ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('10.0.0.1', 443)"),
            os.strerror(errno.ECONNREFUSED),
        ),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("no number"), "OSError"),
        (refused_certificate(), "certificate not accepted: self-signed certificate"),
        (chained(ValueError("secret"), chained(KeyError("secret"), OSError(28, "No space left"))), "No space left"),
        (ValueError("secret", OSError(28, "No space left")), "No space left"),
    ],
)
def test_a_failure_is_named_by_its_innermost_cause(error, detail):
    """The text says what happened, in words that hold neither the query nor what the outer errors quote."""
    told = failure(REQUEST, TransportErrorKind.CONNECTION, error)
    assert str(told) == f"POST https://host/visit/events: connection ({detail})"
    assert told.cause is error


def test_a_timeout_names_its_seconds():
    """Whatever the library raised for it, a timeout says how long was waited."""
    assert str(failure(REQUEST, TransportErrorKind.TIMEOUT, OSError(28, "x"))).endswith("timeout (1.5 s)")


def test_causes_that_go_round_end():
    """Errors that name each other are looked at once each; a cause goes before the context it was raised in."""
    first, second, context = ValueError("a"), ValueError("b"), KeyError("c")
    first.__cause__, second.__context__ = second, first
    first.__context__ = context
    assert list(causes(first)) == [first, second]
    first.__cause__ = None
    assert list(causes(first)) == [first, context]


@pytest.mark.parametrize(
    ("length", "is_too_large"),
    [
        ("99", False),
        ("100", True),
        ("0", False),
        ("9" * 19, True),
        ("9" * 5000, True),
        ("", False),
        ("²", False),
        ("-100", False),
        ("1e9", False),
    ],
)
def test_a_declared_length_is_compared_when_it_is_one(length, is_too_large):
    """A body is refused by its declared length only above the bound; a length that is none says nothing."""
    assert declared_too_large(REQUEST, {"content-length": length}) is is_too_large
    assert declared_too_large(REQUEST, {}) is False

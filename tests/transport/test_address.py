"""What counts as an address, and that no log shows more of one than the host."""

import logging

import pytest
from scripted import Scripted, reply

from kameleoon._transport.address import is_address
from kameleoon._transport.flow import exchange, run
from kameleoon._transport.message import Request
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon.events import RequestType


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://x.test", True), ("http://127.0.0.1:8000/a?b=c#d", True), ("https://[::1]:1/", True), ("https://bücher.test/é", True),
        ("x.test", False), ("ftp://x.test", False), ("https://", False), ("https:///a", False), ("https://x y", False), ("https://x\n", False),
        ("https://x:port", False), ("https://x:0", False), ("https://x:99999", False), ("https://[x", False), ("https://x/\ud800", False),
        ("", False), (None, False), (b"https://x", False), (5, False),
    ],
)  # fmt: skip
def test_addresses(value, expected):
    """Scheme, host and port can be used, and nothing is blank."""
    assert is_address(value) is expected


def test_no_log_has_more_than_the_host(caplog):
    """The HTTP library logs each request at its lowest level; path and query may hold keys and visitors."""
    caplog.set_level(logging.DEBUG)
    with Scripted({"/s3cr3t": reply(204)}) as service:
        sender = RequestsSender()
        flow = exchange(Request(RequestType.TRACKING, "POST", f"{service.url}/s3cr3t?token=s3cr3t", body=b"x"))
        assert run(flow, sender).status == 204
        sender.close()
        assert service.seen[0].target == "/s3cr3t?token=s3cr3t"
    assert "POST /..." in caplog.text
    assert "s3cr3t" not in caplog.text

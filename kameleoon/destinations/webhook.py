"""Events to an address of the application's own, signed so that the receiver knows whose they are."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kameleoon._transport.address import is_address
from kameleoon.destinations.posting import post
from kameleoon.destinations.protocol import EventRefused, Limits, compact
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event
    from kameleoon.destinations.protocol import Result

SIGNATURE = "X-Kameleoon-Signature"
TIMESTAMP = "X-Kameleoon-Timestamp"

MAX_EVENT_BYTES = 32_000
_LIMITS = Limits(batch_events=100, batch_bytes=500_000, frame_bytes=len(b'{"events":[]}'))


class Webhook:
    """
    `Destination` that posts ``{"events":[…]}``, each event as `Event.plain` has it.

    Args:
        url: Where, ``https`` or ``http``. Redirects are not followed.
        secret: Signs the body; see `verify`.
        wall_clock: Seconds since 1970.

    Raises:
        ConfigException: *url* is no HTTP address, or *secret* is empty or no text.
    """

    def __init__(self, url: str, secret: str, *, wall_clock: Callable[[], float] = time.time) -> None:
        if not is_address(url):
            raise ConfigException("Webhook: url must be an http or https address")
        try:
            self._secret = secret.encode()
        except (AttributeError, UnicodeEncodeError):
            self._secret = b""
        if not self._secret:
            raise ConfigException("Webhook: secret must be a text that is not empty")
        self.name = f"webhook {urlsplit(url).hostname}"
        self.limits = _LIMITS
        self._url = url
        self._wall_clock = wall_clock

    def map(self, event: Event) -> dict[str, Any]:
        """All events, as they are."""
        return event.plain()

    def check(self, mapped: Any) -> bytes:
        """
        The event's bytes.

        Raises:
            EventRefused: It has no JSON form, or more than 32,000 bytes.
        """
        content = compact(mapped)
        if len(content) > MAX_EVENT_BYTES:
            raise EventRefused("size", f"more than {MAX_EVENT_BYTES} bytes")
        return content

    def send(self, batch: Sequence[bytes]) -> Flow[Result]:
        """Post one batch, signed anew on each attempt."""
        body = b'{"events":[' + b",".join(batch) + b"]}"
        timestamp = str(int(self._wall_clock()))
        headers = {TIMESTAMP: timestamp, SIGNATURE: _sign(self._secret, timestamp, body)}
        _, result = yield from post(self._url, headers, body)
        return result


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """``v1=`` and the HMAC-SHA256, in hex, of the timestamp, a dot and the body."""
    return _sign(secret.encode(), timestamp, body)


def _sign(secret: bytes, timestamp: str, body: bytes) -> str:
    digest = hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"v1={digest}"


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, now_s: float, tolerance_s: float = 300.0) -> bool:
    """
    For receivers: whether a request is from who has *secret*, and not an old one sent again.

    Args:
        secret: Shared with the sender.
        headers: The request's, in any case.
        body: Its bytes as they came.
        now_s: Seconds since 1970.
        tolerance_s: How far the sender's clock may be off, either way.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    timestamp, given = fields.get(TIMESTAMP.lower(), ""), fields.get(SIGNATURE.lower(), "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    is_ours = hmac.compare_digest(sign(secret, timestamp, body).encode(), given.encode("utf-8", "replace"))
    return is_ours and abs(now_s - int(timestamp)) <= tolerance_s

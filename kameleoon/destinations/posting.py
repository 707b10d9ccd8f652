"""Posting over HTTP, for the destinations that do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kameleoon._transport.flow import exchange
from kameleoon._transport.message import Request, TransportError
from kameleoon._transport.retry import parse_retry_after
from kameleoon.destinations.protocol import SENT, Result, Verdict
from kameleoon.events import RequestType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kameleoon._transport.flow import Flow

TIMEOUT_S = 10.0
CLOSED_S = 60.0
"""So long nothing is sent to a destination that answers as if it were not meant: unknown, forbidden, moved."""

_MAX_ANSWER_BYTES = 65_536


def post(
    url: str, headers: Mapping[str, str], body: bytes, *, content_type: str = "application/json"
) -> Flow[tuple[int | None, Result]]:
    """
    Post *body*, following no redirect, and say what the answer means.

    Returns:
        ``(status or None, result)``: 2xx is ``SENT``; 400, 413 and 422 are ``SPLIT``; 408, 425, 429, 5xx and no answer are
        ``RETRY``, after the ``Retry-After`` if there is one; all else is ``CLOSED``.
    """
    request = Request(
        RequestType.TRACKING,
        "POST",
        url,
        headers={"Content-Type": content_type, **headers},
        body=body,
        timeout_s=TIMEOUT_S,
        max_body_bytes=_MAX_ANSWER_BYTES,
        needs_body=False,
        follows_redirects=False,
    )
    try:
        response = yield from exchange(request)
    except TransportError as error:
        return None, Result(Verdict.RETRY, error.kind.value)
    status = response.status
    reason = f"status {status}"
    if response.is_success:
        return status, SENT
    if status in {400, 413, 422}:
        return status, Result(Verdict.SPLIT, reason)
    if status in {408, 425, 429} or status >= 500:
        # A date in the header is a wall-clock time.
        wait_s = parse_retry_after(response.headers.get("retry-after"), time.time())
        return status, Result(Verdict.RETRY, reason, wait_s)
    return status, Result(Verdict.CLOSED, reason, CLOSED_S)

"""Following redirects, once for both adapters: where to, with what, and what must not go along."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from kameleoon._transport.deadline import Deadline
from kameleoon._transport.flow import exchange
from kameleoon._transport.message import Request, Response, TransportError, TransportErrorKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.flow import Flow

MAX_REDIRECTS = 10

_STATUSES = frozenset({301, 302, 303, 307, 308})
_URL_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"


def following_redirects(request: Request, clock: Callable[[], float]) -> Flow[Response]:
    """
    Send *request* and go where the answers point, within its ``timeout_s``.

    A ``POST`` becomes a ``GET`` without a body on 301, 302 and 303, and stays what it is on 307 and 308. ``Authorization`` goes
    to no other origin.

    Args:
        request: The request.
        clock: Monotonic seconds.

    Returns:
        The first response that points nowhere.

    Raises:
        TransportError: Of kind ``PROTOCOL`` after more than `MAX_REDIRECTS`, for a target that is no HTTP URL, and from ``https``
            to ``http``; otherwise as the driver throws it in.

    Source:
        docs/service/network.md 4.2, "redirects".
    """
    deadline = Deadline(clock, request.timeout_s)
    hop = request
    for _ in range(MAX_REDIRECTS + 1):
        response = yield from exchange(hop)
        location = response.headers.get("location") if response.status in _STATUSES else None
        if not location or not request.follows_redirects:
            return response
        hop = deadline.limit(_redirected(hop, response.status, location))
    raise TransportError.of(request, TransportErrorKind.PROTOCOL, f"more than {MAX_REDIRECTS} redirects")


def _redirected(request: Request, status: int, location: str) -> Request:
    try:
        url = urljoin(request.url, quote(location, safe=_URL_CHARACTERS, errors="surrogateescape"))
        before, after = urlsplit(request.url), urlsplit(url)
        is_http = after.scheme in {"http", "https"} and bool(after.hostname)
        same_origin = (before.scheme, before.hostname, before.port) == (after.scheme, after.hostname, after.port)
    except ValueError as error:
        raise TransportError.of(request, TransportErrorKind.PROTOCOL, "redirect to no URL", error) from error
    if not is_http:
        raise TransportError.of(request, TransportErrorKind.PROTOCOL, f"redirect to {after.scheme or 'nothing'}")
    if (before.scheme, after.scheme) == ("https", "http"):
        # The configuration decides what visitors see, and tracking lines tell of them: neither travels in the open.
        raise TransportError.of(request, TransportErrorKind.PROTOCOL, "redirect from https to http")
    becomes_get = request.method == "POST" and status in {301, 302, 303}
    dropped = {"content-type"} if becomes_get else set()
    if not same_origin:
        dropped.add("authorization")
    return replace(
        request,
        method="GET" if becomes_get else request.method,
        url=url,
        headers={name: value for name, value in request.headers.items() if name.lower() not in dropped},
        body=None if becomes_get else request.body,
    )

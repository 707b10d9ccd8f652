"""What the Data API knows and is told: visitor data, remote data, tracking lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon._transport.message import FetchFailed, Request, TransportError
from kameleoon._transport.token import authorised
from kameleoon.events import RequestType

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.endpoints import Endpoints
    from kameleoon._transport.flow import Flow
    from kameleoon._transport.token import TokenSource
    from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

# The body of a tracking answer is read only to keep the connection, so not much of it.
_TRACKING_BODY_BYTES = 64 * 1024


def fetch_visitor(
    endpoints: Endpoints,
    tokens: TokenSource,
    visitor_code: str,
    data_filter: RemoteVisitorDataFilter,
    *,
    is_mapping_value: bool,
    timeout_s: float,
    clock: Callable[[], float],
) -> Flow[Any]:
    """
    Ask for the data of earlier visits.

    Args:
        endpoints: Whose service.
        tokens: The client's token.
        visitor_code: Whose data.
        data_filter: What is wanted.
        is_mapping_value: Ask by ``mappingValue``: the visitor is known as a unique identifier.
        timeout_s: Seconds for everything, token included.
        clock: Monotonic seconds.

    Returns:
        The decoded JSON, of any type; ``None`` when the answer is empty or not JSON.

    Raises:
        FetchFailed: No answer in time, a status other than 2xx, 304 and 403, or invalid JSON.
        UnicodeEncodeError: *visitor_code* holds half of a surrogate pair.

    Source:
        docs/service/network.md 4.7 and 6.1; faults B3, B13.
    """
    url = endpoints.visitor(visitor_code, data_filter, is_mapping_value=is_mapping_value)
    return _fetch_json(Request(RequestType.REMOTE_VISITOR_DATA, "GET", url, timeout_s=timeout_s), tokens, clock)


def fetch_map(
    endpoints: Endpoints, tokens: TokenSource, key: str, *, timeout_s: float, clock: Callable[[], float]
) -> Flow[Any]:
    """
    Ask for the remote data, or the warehouse audiences, stored under *key*.

    Args:
        endpoints: Whose service.
        tokens: The client's token.
        key: Key as given; an empty one is left out of the URL.
        timeout_s: Seconds for everything, token included.
        clock: Monotonic seconds.

    Returns:
        The decoded JSON, of any type; ``None`` when the answer is empty or not JSON.

    Raises:
        FetchFailed: No answer in time, a status other than 2xx, 304 and 403, or invalid JSON.
        UnicodeEncodeError: *key* holds half of a surrogate pair.

    Source:
        docs/service/network.md 4.8 and 6.1; faults B3, B13.
    """
    return _fetch_json(Request(RequestType.REMOTE_DATA, "GET", endpoints.map(key), timeout_s=timeout_s), tokens, clock)


def tracking_request(endpoints: Endpoints, body: bytes, timeout_s: float) -> Request:
    """
    Build the post of tracking lines, for `authorised`.

    Args:
        endpoints: Whose service.
        body: Lines joined with line feeds.
        timeout_s: Seconds for everything, token included.

    Source:
        docs/service/network.md 4.6.
    """
    return Request(
        RequestType.TRACKING,
        "POST",
        endpoints.tracking(),
        headers={"Content-Type": "*/*"},
        body=body,
        timeout_s=timeout_s,
        max_body_bytes=_TRACKING_BODY_BYTES,
        needs_body=False,
    )


def _fetch_json(request: Request, tokens: TokenSource, clock: Callable[[], float]) -> Flow[Any]:
    try:
        response = yield from authorised(request, tokens, clock)
    except TransportError as error:
        raise FetchFailed(str(error)) from error
    # The service answers 403 to bots, and its body counts.
    if not (response.is_success or response.status in {304, 403}):
        raise FetchFailed(f"{request.method} {request.target}: status {response.status}", status=response.status)
    if not response.body or not response.is_json:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise FetchFailed(
            f"{request.method} {request.target}: invalid JSON ({error})", status=response.status
        ) from error

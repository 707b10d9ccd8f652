"""Fetching the configuration over HTTP: what counts as one, and what is remembered to ask only for a newer one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kameleoon._datafile.pieces import root_in_steps
from kameleoon._transport.deadline import Deadline
from kameleoon._transport.flow import at_leisure, exchange
from kameleoon._transport.message import FetchFailed, Request, TransportError
from kameleoon._transport.retry import parse_retry_after
from kameleoon.events import RequestType
from kameleoon.sdk_version import SdkVersion

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._transport.endpoints import Endpoints
    from kameleoon._transport.flow import Flow
    from kameleoon._transport.message import Response

SERVICE = "service"
"""`Fetched.source_name` of what came over HTTP."""

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Fetched:
    """
    One version of the configuration, as its source gave it.

    Attributes:
        body: The JSON text, for those who store or pass it on.
        root: The same, decoded: an object, its flags and segments as they are or as `kameleoon._datafile.pieces`. It is shared, so
            nobody may change it.
        source_name: `Source.name` of where it came from.
        last_modified: The service's ``Last-Modified``, verbatim, or ``None``.
        revision: How another source tells this version from a newer one, or ``None``.
    """

    body: bytes = field(repr=False)
    root: dict[str, Any] = field(repr=False)
    source_name: str
    last_modified: str | None = None
    revision: str | None = None


def fetch_configuration(
    endpoints: Endpoints, known: Fetched | None, ts: int | None, timeout_s: float, clock: Callable[[], float]
) -> Flow[Fetched | None]:
    """
    Ask the service for a configuration newer than *known*.

    A failure is followed by one more attempt at once, if time is left and the service did not ask to wait.

    Args:
        endpoints: Whose configuration.
        known: What the client works with, or ``None``.
        ts: The version that the stream announced, in milliseconds, or ``None``.
        timeout_s: Seconds for both attempts together.
        clock: Monotonic seconds.

    Returns:
        The new configuration, or ``None`` when *known* is still the newest. A 403, and an empty object, are answers without a
        configuration: an empty one when nothing is known, and never a reason to give up what is.

    Raises:
        FetchFailed: Nothing arrived, or something that is not a configuration: any status but 2xx and 403, other content
            than JSON, invalid JSON, no object at all, and 304 when nothing is known.

    Source:
        docs/architecture.md, "What counts as a configuration"; ``tests/vectors/errors.json``, cases ``errors-005`` and
        ``errors-046``.
    """
    deadline = Deadline(clock, timeout_s)
    headers = {"X-Kameleoon-SDK-Type": SdkVersion.NAME, "X-Kameleoon-SDK-Version": SdkVersion.VERSION}
    if known is not None and known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    request = Request(RequestType.DATAFILE, "GET", endpoints.configuration(ts), headers=headers, timeout_s=timeout_s)
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            response = yield from exchange(deadline.limit(request))
        except TransportError as error:
            if attempts_left and deadline.remaining() > 0:
                continue
            raise FetchFailed(str(error)) from error
        is_worth_repeating = (
            not response.is_success
            and response.status not in {304, 403}
            and parse_retry_after(response.headers.get("retry-after"), 0.0) is None
        )
        if not (is_worth_repeating and attempts_left and deadline.remaining() > 0):
            return (yield from _read(request, response, known))
    raise AssertionError("the last attempt returns or raises")


def _read(request: Request, response: Response, known: Fetched | None) -> Flow[Fetched | None]:
    if response.status == 304 and known is not None:
        return None
    if response.status == 403:
        return None if known is not None else Fetched(b"{}", {}, SERVICE)
    root, fault = yield from _root(response)
    if root is not None and not root and known is not None:
        return None
    if root is None:
        raise FetchFailed(
            f"{request.method} {request.target}: {fault}",
            status=response.status,
            retry_after=response.headers.get("retry-after"),
        )
    return Fetched(response.body, root, SERVICE, last_modified=response.headers.get("last-modified"))


def _root(response: Response) -> Flow[tuple[dict[str, Any] | None, str]]:
    """Give the decoded object, or ``None`` and what is wrong with the response."""
    if not response.is_success:
        return None, f"status {response.status}"
    if not response.is_json:
        return None, f"content of type {response.headers.get('content-type', 'unknown')!r} instead of JSON"
    try:
        root = yield from at_leisure(root_in_steps(response.body))
    except RecursionError:
        return None, "invalid JSON (nested too deeply)"
    except ValueError as error:
        return None, f"invalid JSON ({error})"
    if not isinstance(root, dict):
        return None, "JSON that is not an object"
    return root, ""

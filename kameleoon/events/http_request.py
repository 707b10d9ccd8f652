"""The events of requests to the service: one per attempt, retries included."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kameleoon.events.event_handler import EventHandler


class RequestType(Enum):
    """What a request was for. ``REMOTE_DATA`` includes warehouse audiences."""

    DATAFILE = "DATAFILE"
    TRACKING = "TRACKING"
    REMOTE_VISITOR_DATA = "REMOTE_VISITOR_DATA"
    REMOTE_DATA = "REMOTE_DATA"
    ACCESS_TOKEN = "ACCESS_TOKEN"  # noqa: S105  # a name, not a token


@dataclass(frozen=True, slots=True)
class HttpRequestFailure:
    """
    Why one attempt failed.

    Attributes:
        reason: The kind of failure. A timeout counts as cancelled.
        http_status: The status for ``HTTP_STATUS``, else ``None``.
        cause: The exception for ``EXCEPTION``, else ``None``.

    Source:
        docs/service/network.md 3.4.
    """

    class Reason(Enum):
        """Kinds of failures."""

        HTTP_STATUS = "HTTP_STATUS"
        EXCEPTION = "EXCEPTION"
        CANCELLED = "CANCELLED"

    reason: Reason
    http_status: int | None = None
    cause: BaseException | None = None


class HttpRequestHandler(EventHandler, Protocol):
    """Handler for ``EventType.HTTP_REQUEST``. Durations are in milliseconds; statuses 403 and 304 count as success."""

    def on_request_succeeded(self, request_type: RequestType, http_status: int, duration_millis: int) -> None:
        """Take note of an attempt that the service answered well."""

    def on_request_failed(self, request_type: RequestType, failure: HttpRequestFailure, duration_millis: int) -> None:
        """Take note of an attempt that failed; the SDK may try again."""

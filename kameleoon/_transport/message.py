"""What passes between a flow and its driver: requests, responses, pauses and failures. Values only, nothing is sent here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kameleoon.events import RequestType

MIB = 1024 * 1024

MAX_BODY_BYTES = 64 * MIB
"""Bound of a decoded response body: far above any real configuration, far below what would exhaust a host (faults D11)."""


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """
    One HTTP request, redirects included.

    Its ``repr`` shows neither headers, body nor query, so that no token, credential or visitor gets into a log.

    Attributes:
        kind: What the request is for, as ``EventType.HTTP_REQUEST`` handlers are told.
        method: ``GET`` or ``POST``.
        url: Absolute and already percent-encoded; it goes out as it is.
        headers: Header fields beside ``Host``, ``User-Agent``, ``Accept`` and ``Accept-Encoding``.
        body: Bytes to send as they are, or ``None``.
        timeout_s: Seconds for everything, from the first name lookup to the last byte of the response, above 0.
        max_body_bytes: Largest response body, decoded, that is accepted.
        needs_body: ``False`` when the status alone counts: a body that is late, broken or too large is then left out
            instead of failing a request that the service has already answered.
        follows_redirects: ``False`` when nothing of the request may go elsewhere; a redirect is then the answer.

    Raises:
        ValueError: *timeout_s* is not above 0.
    """

    kind: RequestType
    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout_s: float = 10.0
    max_body_bytes: int = MAX_BODY_BYTES
    needs_body: bool = True
    follows_redirects: bool = True

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, not {self.timeout_s!r}")

    def __repr__(self) -> str:
        return f"Request({self.kind.name}, {self.method} {self.target}, timeout_s={self.timeout_s})"

    @property
    def target(self) -> str:
        """Scheme, host and path without the query, fit for messages and logs."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Response:
    """
    A complete answer, whatever its status.

    Attributes:
        status: HTTP status, after redirects.
        headers: ``{lower-case name: value}``; repeated fields are joined with ``, ``.
        body: Decoded content (gzip and deflate undone).
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def is_success(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status <= 299

    @property
    def is_json(self) -> bool:
        """
        Whether the content type says JSON.

        Source:
            docs/service/network.md 4.2, "JSON decoding".
        """
        content_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return content_type == "application/json" or (
            content_type.startswith("application/") and content_type.endswith("+json")
        )

    def json(self) -> Any:
        """
        Decode the body, on every call anew and whatever the content type.

        Raises:
            ValueError: The body is not JSON, or nested too deeply to be read.
        """
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("JSON is nested too deeply") from None


@dataclass(frozen=True, slots=True)
class Pause:
    """A flow's wish to go on after *seconds*, 0 or more."""

    seconds: float


class TransportErrorKind(StrEnum):
    """Why no complete response came."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    TOO_LARGE = "too large"
    PROTOCOL = "protocol"


class TransportError(Exception):
    """
    A request got no complete response.

    The text names method, host, path and reason, but no query, header or body.

    Attributes:
        kind: Why, in one word.
        cause: The adapter's own exception, if there was one. Its text may hold the whole URL, so it is not for logs.
    """

    def __init__(self, kind: TransportErrorKind, message: str, cause: BaseException | None = None) -> None:
        super().__init__(kind, message, cause)
        self.kind = kind
        self.cause = cause

    def __str__(self) -> str:
        return str(self.args[1])

    @classmethod
    def of(
        cls, request: Request, kind: TransportErrorKind, detail: str = "", cause: BaseException | None = None
    ) -> TransportError:
        """Describe the failure of *request*; *detail* must be free of secrets and visitors."""
        text = f"{request.method} {request.target}: {kind.value}"
        return cls(kind, f"{text} ({detail})" if detail else text, cause)


class FetchFailed(Exception):
    """
    What was asked for did not arrive: no response, or one that is not it.

    Attributes:
        reason: For people; names what was asked and what came instead.
        status: HTTP status of the last response, or ``None`` when there was none.
        retry_after: The last response's ``Retry-After`` as it was, for `kameleoon._transport.retry.parse_retry_after`.
    """

    def __init__(self, reason: str, *, status: int | None = None, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retry_after = retry_after

"""
What goes wrong with a call to a REST API, one exception per kind.

::

    KameleoonError
    └── ApiError
        ├── Invalid              400
        ├── Unauthorized         401
        │   └── CredentialsRefused   the token endpoint refused the credentials
        ├── Forbidden            403
        ├── NotFound             404
        ├── TooLarge             413
        ├── Locked               423
        ├── RateLimited          429, or a wait longer than the caller's patience
        ├── ServerFault          5xx
        ├── NoAnswer             no complete response
        └── UnexpectedAnswer     any other status, or content that is not what was asked for

Texts and ``repr`` name method, host, path, status and what the service said, never a query, header, secret or request body.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kameleoon.exceptions import KameleoonError

if TYPE_CHECKING:
    from kameleoon._transport.message import Request, Response

_SHOWN_CHARACTERS = 300
_MAX_FIELD_ERRORS = 100


@dataclass(frozen=True, slots=True, repr=False)
class Sent:
    """
    The request an error is about. Its ``repr`` shows neither query nor body.

    Attributes:
        method: HTTP method.
        url: The whole URL, with its query.
        body: What was sent, or ``None``; always ``None`` for requests for tokens, whose bodies are secrets.
    """

    method: str
    url: str
    body: bytes | None = field(default=None)

    @property
    def target(self) -> str:
        """Scheme, host and path, fit for messages and logs."""
        return self.url.partition("?")[0]

    def __repr__(self) -> str:
        return f"Sent({self.method} {self.target})"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that the service refused. Attributes: `name` is the service's name of it, *message* what it says."""

    name: str
    message: str


class ApiError(KameleoonError):
    """
    Base of all failures of a call.

    Attributes:
        sent: The request.
        status: HTTP status, or ``None`` when there was no response.
        field_errors: Fields that the service named, often none.
        retry_after_s: Seconds after which the service, or the limiter, would take the call; ``None`` when unknown.
        retryable: Whether the same call may succeed later without a change to it.
    """

    retryable = False

    def __init__(
        self,
        text: str,
        sent: Sent,
        status: int | None = None,
        field_errors: tuple[FieldError, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text)
        self.args = (text, sent, status, field_errors, retry_after_s)
        self.sent = sent
        self.status = status
        self.field_errors = field_errors
        self.retry_after_s = retry_after_s


class Invalid(ApiError):
    """400: the query or the body is not accepted; `field_errors` may say why."""


class Unauthorized(ApiError):
    """401: no token where one is needed, or one that is not accepted even when new."""


class CredentialsRefused(Unauthorized):
    """The token endpoint refused client id, client secret, code or refresh token; `status` is its own."""


class Forbidden(ApiError):
    """403: no right on the entity or site, a revoked token, or (Data API) a user agent that is taken for a bot."""


class NotFound(ApiError):
    """404: no such entity."""


class TooLarge(ApiError):
    """413: the body is larger than the service takes."""


class Locked(ApiError):
    """423: somebody is editing the entity. Never forced; to be tried again later by the caller."""

    retryable = True


class RateLimited(ApiError):
    """429 after all tries, or the next free moment is further away than the caller's patience (`status` is then ``None``)."""

    retryable = True


class ServerFault(ApiError):
    """5xx after all tries. A request that is not safe to repeat was sent once and may have been carried out."""

    retryable = True


class NoAnswer(ApiError):
    """No complete response after all tries. A request that is not safe to repeat may have been carried out."""

    retryable = True


class UnexpectedAnswer(ApiError):
    """A status that is not part of the API, or a body that is not the JSON that was asked for."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: TooLarge,
    423: Locked,
    429: RateLimited,
}


def sent_of(request: Request, *, is_secret: bool = False) -> Sent:
    """What an error keeps of *request*; ``is_secret`` leaves the body out."""
    return Sent(request.method, request.url, None if is_secret else request.body)


def error_of(sent: Sent, response: Response, retry_after_s: float | None = None) -> ApiError:
    """
    The error for a response that is not a success.

    The form of error bodies is assumed, ``{"message": …, "errors": [{"field": …, "message": …}]}``; any other is quoted as text.

    Source:
        docs/automation-api.md, "Errors".
    """
    kind = _BY_STATUS.get(response.status)
    if kind is None:
        kind = ServerFault if 500 <= response.status <= 599 else UnexpectedAnswer
    message, field_errors = _said(response.body)
    named = "; ".join(f"{error.name}: {error.message}" for error in field_errors)
    said = " ".join(part for part in (message, f"({named})" if named else "") if part)
    text = f"{response.status} for {sent.method} {sent.target}" + (f": {said[:_SHOWN_CHARACTERS]}" if said else "")
    return kind(text, sent, response.status, field_errors, retry_after_s)


def _said(body: bytes) -> tuple[str, tuple[FieldError, ...]]:
    text = body[: 64 * 1024].decode("utf-8", "replace")
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return " ".join(text.split())[:_SHOWN_CHARACTERS], ()
    if not isinstance(read, dict):
        return " ".join(text.split())[:_SHOWN_CHARACTERS], ()
    message = next(
        (read[name] for name in ("message", "error_description", "error") if isinstance(read.get(name), str)), ""
    )
    errors = read.get("errors")
    found: list[FieldError] = []
    for item in (errors if isinstance(errors, list) else [])[:_MAX_FIELD_ERRORS]:
        if isinstance(item, dict):
            found.append(FieldError(str(item.get("field", "")), str(item.get("message", ""))))
        else:
            found.append(FieldError("", str(item)[:_SHOWN_CHARACTERS]))
    return message[:_SHOWN_CHARACTERS], tuple(found)

"""What both HTTP adapters share: header fields, where certificates come from, how an error is named, who is told."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

from kameleoon._transport.message import Request, Response, TransportError, TransportErrorKind
from kameleoon._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

Observer: TypeAlias = Callable[[Request, Response | TransportError, float], None]
"""Told of every attempt: the request, its outcome, and how long it took in seconds. Redirects are part of one attempt."""

CHUNK_BYTES = 64 * 1024


def wire_headers(request: Request) -> dict[str, str]:
    """
    Give all header fields of *request*, the library's own included; `User-Agent` names our own version.

    Source:
        docs/service/network.md 4.2, "headers on every request".
    """
    return {
        "User-Agent": f"kameleoon-sdk/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate",
        **request.headers,
    }


def certificate_path() -> str | None:
    """
    Give the file or directory of certificate authorities that the environment names, or ``None``.

    ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` are what ``requests`` reads, the other two what OpenSSL does; both adapters
    follow all (faults D9).
    """
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
    return next((path for name in names if (path := os.environ.get(name))), None)


def declared_too_large(request: Request, headers: dict[str, str]) -> bool:
    """Whether the response's own ``Content-Length`` is above the bound, so that nothing of it need be read."""
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > request.max_body_bytes)


def failure(request: Request, kind: TransportErrorKind, error: BaseException) -> TransportError:
    """Describe *error* by its innermost cause, without the URL that the outer ones print."""
    innermost = list(causes(error))[-1]
    if kind is TransportErrorKind.TIMEOUT:
        detail = f"{request.timeout_s:.3g} s"
    elif isinstance(innermost, ssl.SSLCertVerificationError):
        detail = f"certificate not accepted: {innermost.verify_message}"
    elif isinstance(innermost, ConnectionError) and innermost.errno:
        # asyncio's own text tells addresses, not what happened.
        detail = os.strerror(innermost.errno)
    elif isinstance(innermost, OSError) and innermost.strerror:
        detail = innermost.strerror
    else:
        detail = type(innermost).__name__
    return TransportError.of(request, kind, detail, error)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from *error* to what it was raised for, whether chained, kept as ``reason``, or wrapped as an argument."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        wrapped = [current.__cause__, getattr(current, "reason", None), *reversed(current.args), current.__context__]
        current = next((inner for inner in wrapped if isinstance(inner, BaseException)), None)


def tell(observer: Observer | None, request: Request, outcome: Response | TransportError, seconds: float) -> None:
    """Call *observer*, and let nothing that it raises disturb the request."""
    if observer is None:
        return
    # An observer reports its own trouble; here it would take down a request that succeeded.
    with suppress(Exception):
        observer(request, outcome, seconds)

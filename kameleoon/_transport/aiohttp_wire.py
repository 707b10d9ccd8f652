"""One request over ``aiohttp``, held to a deadline and a size."""

from __future__ import annotations

import asyncio
import io
import ssl
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from kameleoon._transport.adapter import (
    CHUNK_BYTES,
    certificate_path,
    declared_too_large,
    failure,
    wire_headers,
)
from kameleoon._transport.message import Response, TransportError, TransportErrorKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kameleoon._transport.message import Request


class Wire:
    """The connections of one running loop: an `AsyncSender` of single requests that follows no redirect."""

    def __init__(self) -> None:
        path = certificate_path()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_trusting(path) if path else True),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Content-Type",),
            # The deadline of `send` covers everything.
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def send(self, request: Request) -> Response:
        """
        Send *request*; a redirect is handed back as it is.

        Raises:
            TransportError: As `Sender.send`.
        """
        status: int | None = None
        headers: dict[str, str] = {}
        limit = asyncio.timeout(request.timeout_s)
        try:
            async with (
                limit,
                self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=wire_headers(request),
                    # aiohttp warns of large bodies given as bytes; those of a buffer it sends piece by piece.
                    data=None if request.body is None else io.BytesIO(request.body),
                    allow_redirects=False,
                    # aiohttp's own reading of the environment would also take credentials from ~/.netrc.
                    proxy=_proxy_for(request.url),
                ) as answer,
            ):
                status = answer.status
                headers = _lower_case(answer)
                body = b"".join([chunk async for chunk in _bounded_chunks(request, answer, headers)])
                return Response(status, headers, body)
        except Exception as error:
            if status is not None and not request.needs_body:
                return Response(status, headers)
            if isinstance(error, TransportError):
                raise
            kind = TransportErrorKind.TIMEOUT if limit.expired() else _kind_of(error)
            raise failure(request, kind, error) from error

    async def pause(self, seconds: float) -> None:
        """Refuse: a single request holds no pause."""
        raise NotImplementedError(seconds)

    async def aclose(self) -> None:
        """Free all connections."""
        await self._session.close()


def _kind_of(error: Exception) -> TransportErrorKind:
    if isinstance(error, TimeoutError):
        return TransportErrorKind.TIMEOUT
    if isinstance(error, aiohttp.ClientPayloadError):
        is_garbled = isinstance(error.__cause__, aiohttp.http_exceptions.ContentEncodingError)
        return TransportErrorKind.PROTOCOL if is_garbled else TransportErrorKind.CONNECTION
    # A certificate that is not accepted is also a ValueError.
    if isinstance(error, (aiohttp.ClientResponseError, ValueError)) and not isinstance(
        error, aiohttp.ClientConnectionError
    ):
        return TransportErrorKind.PROTOCOL
    return TransportErrorKind.CONNECTION


def _trusting(path: str) -> ssl.SSLContext:
    if Path(path).is_dir():
        return ssl.create_default_context(capath=path)
    return ssl.create_default_context(cafile=path)


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return None if proxy is None or proxy_bypass(parts.netloc) else proxy


def _lower_case(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): ", ".join(answer.headers.getall(name)) for name in answer.headers}


async def _bounded_chunks(
    request: Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
) -> AsyncIterator[bytes]:
    too_large = TransportError.of(request, TransportErrorKind.TOO_LARGE, f"body above {request.max_body_bytes} bytes")
    if declared_too_large(request, headers):
        raise too_large
    size_bytes = 0
    async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
        size_bytes += len(chunk)
        if size_bytes > request.max_body_bytes:
            raise too_large
        yield chunk

"""
One connection to the service's stream of events, over ``requests``.

Proxies, certificate authorities and redirects are those of every other request. Any thread may end the connection, and the one that
reads it is woken at once.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from kameleoon._transport.adapter import failure
from kameleoon._transport.deadline import EndableDeadline
from kameleoon._transport.flow import run
from kameleoon._transport.fork import importing
from kameleoon._transport.message import Request, Response, TransportError, TransportErrorKind
from kameleoon._transport.redirect import following_redirects
from kameleoon._transport.server_events import EventParser, ServerEvent
from kameleoon.events import RequestType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from kameleoon._transport.requests_wire import Wire

CONNECT_S = 10.0
"""For opening the stream, from the name lookup to the header fields."""

IDLE_S = 120.0
"""A stream on which no line was completed for so long is taken for dead, though bytes may trickle (faults C12)."""

_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity", "Cache-Control": "no-cache"}


class EventConnection:
    """
    A connection that is opened, read and ended once.

    Args:
        url: Where the events are.
        connect_s: Seconds for opening it.
        idle_s: Seconds within which each line must be complete.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        connect_s: float = CONNECT_S,
        idle_s: float = IDLE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = Request(RequestType.DATAFILE, "GET", url, headers=_HEADERS, timeout_s=connect_s)
        self._idle_s = idle_s
        self._clock = clock
        self._deadline = EndableDeadline(clock, connect_s)
        self._wire: Wire | None = None
        self._answer: requests.Response | None = None

    def events(self) -> Iterator[ServerEvent | None]:
        """
        Open the stream and read it until the service ends it, or `abort` does.

        Yields:
            ``None`` once it is open, then each event.

        Raises:
            TransportError: It could not be opened, broke, stood still, or is no stream of events.
        """
        with importing:
            from kameleoon._transport.requests_wire import Wire, kind_of  # noqa: PLC0415 - `requests` costs time and memory

        self._wire = Wire(self._clock)
        try:
            response = run(following_redirects(self._request, self._clock), self)
            self._check(response)
            self._deadline.renew(self._idle_s)
            yield None
            yield from self._read()
        except TransportError:
            raise
        except Exception as error:
            kind = TransportErrorKind.PROTOCOL if isinstance(error, ValueError) else kind_of(error)
            raise failure(self._request, kind, error) from error
        finally:
            self._close()

    def send(self, request: Request) -> Response:
        """Open the stream at one URL; a redirect is handed back as it is. For the flow that follows them."""
        assert self._wire is not None
        if self._answer is not None:
            self._answer.close()
        self._answer = self._wire.begin(request, self._deadline)
        headers = {name.lower(): value for name, value in self._answer.headers.items()}
        return Response(self._answer.status_code, headers)

    def pause(self, seconds: float) -> None:
        """Refuse: opening a stream holds no pause."""
        raise NotImplementedError(seconds)

    def close(self) -> None:
        """End the connection, as `abort`."""
        self.abort()

    def abort(self) -> None:
        """End the connection from any thread, soon if it is being opened, at once if it is open."""
        self._deadline.end()

    def _check(self, response: Response) -> None:
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status != 200 or content_type != "text/event-stream":
            detail = f"status {response.status}, content of type {content_type or 'unknown'!r}"
            raise TransportError.of(self._request, TransportErrorKind.PROTOCOL, detail)

    def _read(self) -> Iterator[ServerEvent]:
        assert self._answer is not None
        parser, lines = EventParser(), 0
        # Byte by byte: `requests` waits until it has as many as it is asked for, and events are short. Reads of the socket
        # are buffered below.
        for byte in self._answer.raw.stream(1, decode_content=True):
            yield from parser.feed(byte)
            if parser.lines > lines:
                lines = parser.lines
                self._deadline.renew(self._idle_s)

    def _close(self) -> None:
        if self._answer is not None:
            # What is left of a stream that never ends must not be read for the sake of keeping the connection.
            with suppress(Exception):
                self._answer.raw.close()
            self._answer.close()
        if self._wire is not None:
            self._wire.close()

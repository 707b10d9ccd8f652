"""
One request over ``requests``, held to a deadline and a size.

``requests`` bounds each read of the socket, not the sum of them, so a server that sends a byte now and then would hold a thread
for ever. Here every read and write of the socket gets only the time that is left, header lines and proxy tunnels included.
"""

from __future__ import annotations

import http.client
import io
import ssl
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from kameleoon._transport.adapter import (
    CHUNK_BYTES,
    causes,
    certificate_path,
    declared_too_large,
    failure,
    wire_headers,
)
from kameleoon._transport.deadline import Deadline, EndableDeadline
from kameleoon._transport.message import Response, TransportError, TransportErrorKind

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from _typeshed import WriteableBuffer

    from kameleoon._transport.message import Request

# More requests at a time than this still go out, each of the others on a connection that is not kept.
_KEPT_CONNECTIONS = 16

# What the first match says of an error, from the outermost cause to the innermost. Some types belong to two rows: a certificate
# that is not accepted is also a ValueError, a refused connection also one of urllib3's timeouts, a closed one also bad HTTP.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], TransportErrorKind], ...] = (
    (
        (
            ssl.SSLError,
            urllib3.exceptions.NewConnectionError,
            http.client.RemoteDisconnected,
            http.client.IncompleteRead,
        ),
        TransportErrorKind.CONNECTION,
    ),
    ((TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError), TransportErrorKind.TIMEOUT),
    ((http.client.HTTPException, urllib3.exceptions.DecodeError, ValueError), TransportErrorKind.PROTOCOL),
)

# A request is sent and its response begun in one thread; connections find its deadline here.
_DEADLINE: ContextVar[Deadline] = ContextVar("kameleoon_deadline")


class Wire:
    """
    A pool of connections: a `Sender` of single requests that follows no redirect.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._adapter = _DeadlineAdapter(pool_maxsize=_KEPT_CONNECTIONS)
        self._under_way: set[EndableDeadline] = set()
        self._is_closed = False

    def send(self, request: Request) -> Response:
        """
        Send *request*; a redirect is handed back as it is.

        Raises:
            TransportError: As `Sender.send`.
        """
        deadline = EndableDeadline(self._clock, request.timeout_s)
        self._under_way.add(deadline)
        if self._is_closed:
            # `close` may have looked for requests just before there was this one.
            deadline.end()
        try:
            answer = self.begin(request, deadline)
            try:
                body = _read_body(request, answer)
            finally:
                # Gives a connection back that was read to its end, and ends any other.
                deadline.release()
                answer.close()
            return Response(answer.status_code, lower_case(answer), body)
        except TransportError:
            raise
        except Exception as error:
            if deadline.is_ended:
                raise TransportError.of(
                    request, TransportErrorKind.CONNECTION, "the client was closed", error
                ) from error
            raise failure(request, kind_of(error), error) from error
        finally:
            self._under_way.discard(deadline)

    def pause(self, seconds: float) -> None:
        """Refuse: a single request holds no pause."""
        raise NotImplementedError(seconds)

    def close(self) -> None:
        """Free all connections, and end the requests under way. Later ones fail."""
        self._is_closed = True
        for deadline in list(self._under_way):
            deadline.end()
        self._adapter.close()

    def begin(self, request: Request, deadline: Deadline) -> requests.Response:
        """
        Send *request*, and hand back the answer with its body still to be read, which *deadline* goes on to bound.

        Raises:
            Exception: Whatever the HTTP library raises; see `kind_of`.
        """
        # A `requests.Session` is left out on purpose: its requests take credentials from ~/.netrc in place of our
        # Authorization, and it reads the body of a redirect whole, of whatever size.
        prepared = requests.Request(
            request.method, request.url, headers=wire_headers(request), data=request.body
        ).prepare()
        left_s = deadline.remaining()
        if left_s <= 0:
            raise TimeoutError("timed out")
        token = _DEADLINE.set(deadline)
        try:
            return self._adapter.send(
                prepared,
                stream=True,
                timeout=cast("Any", urllib3.Timeout(total=left_s)),
                verify=certificate_path() or True,
                proxies=get_environ_proxies(request.url),
            )
        finally:
            _DEADLINE.reset(token)


def lower_case(answer: requests.Response) -> dict[str, str]:
    """Give the header fields of *answer* by their lower-case names."""
    return {name.lower(): value for name, value in answer.headers.items()}


def _read_body(request: Request, answer: requests.Response) -> bytes:
    try:
        return b"".join(_bounded_chunks(request, answer))
    except Exception:
        if request.needs_body:
            raise
        return b""


def _bounded_chunks(request: Request, answer: requests.Response) -> Iterator[bytes]:
    too_large = TransportError.of(request, TransportErrorKind.TOO_LARGE, f"body above {request.max_body_bytes} bytes")
    if declared_too_large(request, lower_case(answer)):
        raise too_large
    size_bytes = 0
    for chunk in answer.raw.stream(CHUNK_BYTES, decode_content=True):
        size_bytes += len(chunk)
        if size_bytes > request.max_body_bytes:
            raise too_large
        yield chunk


def kind_of(error: Exception) -> TransportErrorKind:
    """Say what went wrong, from the outermost cause of *error* to the innermost."""
    for cause in causes(error):
        for types, kind in _KINDS:
            if isinstance(cause, types):
                return kind
    return TransportErrorKind.CONNECTION


class _DeadlineReader(io.RawIOBase):
    """The readable side of a socket, with a new, shorter timeout before each read."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        _give_time(self._sock, self._deadline)
        return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _DeadlineSocket:
    """As much of a socket as a response asks for."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._deadline))


class _DeadlineResponse(http.client.HTTPResponse):
    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        deadline = _DEADLINE.get()
        deadline.watch(sock)
        limited = _DeadlineSocket(sock, deadline)
        super().__init__(cast("socket.socket", limited), debuglevel=debuglevel, method=method, url=url)


class _Unshown(str):
    """A path and query of which a log, which shows it with ``%s``, says nothing: keys and visitors stand there."""

    __slots__ = ()

    def __str__(self) -> str:
        return "/..."


class _DeadlineConnection(HTTPConnection):
    response_class = _DeadlineResponse

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        # A slice of an `_Unshown` is an ordinary text.
        super().putrequest(method, url[:], *args, **kwargs)

    def send(self, data: Any) -> None:
        if self.sock is not None:
            _give_time(self.sock, _DEADLINE.get())
        super().send(data)


class _DeadlineTlsConnection(_DeadlineConnection, HTTPSConnection):
    pass


class _Quiet(HTTPConnectionPool):
    def _make_request(self, conn: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        # urllib3 logs each request with its address, whatever secret is in it.
        return super()._make_request(conn, method, _Unshown(url), *args, **kwargs)


class _DeadlinePool(_Quiet):
    ConnectionCls = _DeadlineConnection


class _DeadlineTlsPool(_Quiet, HTTPSConnectionPool):
    ConnectionCls = _DeadlineTlsConnection


_POOLS = {"http": _DeadlinePool, "https": _DeadlineTlsPool}


class _DeadlineAdapter(HTTPAdapter):
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        # A SOCKS proxy brings connections of its own, which are held to urllib3's timeouts only.
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS
        return manager


def _give_time(sock: socket.socket, deadline: Deadline) -> None:
    left_s = deadline.remaining()
    if left_s <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left_s)

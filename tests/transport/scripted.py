"""A server on the loopback that misbehaves as told: each path has an answer, written byte by byte by the test if need be."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CERTIFICATE = Path(__file__).with_name("loopback.pem")

PATIENCE_S = 6.0
"""After so long even an endless answer ends, so that a sender that waits for ever fails a test instead of holding it."""

REASONS = {200: "OK", 204: "No Content", 304: "Not Modified"}


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Visit:
    """One request in the hands of an answer."""

    server: Scripted
    sock: socket.socket
    seen: Seen

    def write(self, data: bytes) -> None:
        """Send *data* as it is."""
        self.sock.sendall(data)

    def stall(self) -> None:
        """Do nothing until the test is over."""
        self.server.over.wait(PATIENCE_S)


@dataclass
class Scripted:
    """Answers by path; ``{path: answer}``. An answer that returns ``True`` keeps the connection."""

    answers: dict[str, Callable[[Visit], bool | None]] = field(default_factory=dict)
    tls: bool = False
    seen: list[Seen] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        self.context = None
        if self.tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(CERTIFICATE)
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.over.set()
        # Closing a listening socket does not wake up `accept`; a connection does.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        for thread in self.threads:
            thread.join(5)
        self.listener.close()

    def _accept(self):
        number = 0
        while not self.over.is_set():
            sock, _ = self.listener.accept()
            if self.over.is_set():
                sock.close()
                return
            number += 1
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock, number):
        with contextlib.suppress(OSError), sock:
            sock.settimeout(0.05)
            if self.context is not None:
                sock.settimeout(5)
                sock = self.context.wrap_socket(sock, server_side=True)
                sock.settimeout(0.05)
            with sock:
                while (seen := self._read(sock, number)) is not None:
                    self.seen.append(seen)
                    path = seen.target.partition("?")[0]
                    sock.settimeout(5)
                    if self.answers[path](Visit(self, sock, seen)) is not True:
                        return
                    sock.settimeout(0.05)

    def _read(self, sock, number):
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._receive(sock)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self._receive(sock)
        return Seen(method, target, headers, body, number)

    def _receive(self, sock):
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                return sock.recv(65536)
        return b""


def reply(status=200, body=b"", **headers):
    """Answer completely and keep the connection; ``_`` in header names stands for ``-``."""

    def answer(visit):
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if status not in {204, 304}:
            fields.setdefault("Content-Length", str(len(body)))
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{n}: {v}" for n, v in fields.items())]
        visit.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return True

    return answer


def gzipped(body, **headers):
    """Answer with *body* compressed."""
    return reply(200, gzip.compress(body), Content_Encoding="gzip", **headers)


def stall(visit):
    """Take the request and never answer."""
    visit.stall()


def reset(visit):
    """End the connection with a reset instead of an answer."""
    visit.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visit.sock.close()


def hang_up(visit):
    """End the connection properly, without a word."""
    del visit


def raw(data, then=None):
    """Send *data* as it is, then do *then*."""

    def answer(visit):
        visit.write(data)
        if then is not None:
            then(visit)

    return answer


def trickle(start, piece=b"x"):
    """Send *start*, then *piece* every 20 ms until the client goes away."""

    def answer(visit):
        visit.write(start)
        give_up = time.monotonic() + PATIENCE_S
        while not visit.server.over.wait(0.02) and time.monotonic() < give_up:
            visit.write(piece)

    return answer


def endless(start, piece=b"x" * 65536):
    """Send *start*, then *piece* as fast as it is taken."""

    def answer(visit):
        visit.write(start)
        give_up = time.monotonic() + PATIENCE_S
        while not visit.server.over.is_set() and time.monotonic() < give_up:
            visit.write(piece)

    return answer

"""A service that takes tracking lines over a real socket, answers as a test says, and remembers what it was sent and what it took."""

from __future__ import annotations

import gzip
import json
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

from kameleoon import KameleoonClient, KameleoonClientConfig

FLAG = {
    "featureKey": "flag",
    "environmentEnabled": True,
    "defaultVariationKey": "off",
    "rules": [
        {
            "id": 1,
            "experimentId": 77,
            "type": "EXPERIMENTATION",
            "exposition": 1.0,
            "variationByExposition": [{"variationKey": "on", "variationId": 7, "exposition": 1.0}],
        }
    ],
    "variations": [{"key": "on", "variables": []}, {"key": "off", "variables": []}],
}
SOURCE = {"featureFlags": [FLAG]}


@dataclass
class Posted:
    """One tracking request: its lines, and what it was answered, ``None`` for nothing."""

    lines: list[str]
    status: int | None
    size: int
    was_compressed: bool
    headers: dict[str, str] = field(repr=False, default_factory=dict)

    @property
    def was_taken(self) -> bool:
        """Whether the sender was told that the lines are taken."""
        return self.status is not None and 200 <= self.status < 300


class Sink:
    """
    The service, while the ``with`` block lasts.

    Args:
        answer: Given the lines of a request: a status, ``(status, headers)``, or ``None`` to hang up without an answer. It may wait.

    Attributes:
        posted: All tracking requests.
        hooked: Events that a webhook brought and was told are taken.
        most_at_once: The most tracking requests that were under way at the same moment.
        over: Set when the block ends; answers that wait should wait on it.
    """

    def __init__(self, answer=lambda _lines: 204):
        self.answer = answer
        self.posted = []
        self.hooked = []
        self.most_at_once = 0
        self.over = threading.Event()
        self._at_once = 0
        self._changed = threading.Condition()

    def __enter__(self):
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                size = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(size)
                if len(body) < size:
                    # Whoever sent it died in the middle.
                    self.close_connection = True
                    return
                if self.path.startswith("/visit/events"):
                    sink._track(self, body)
                elif self.path == "/hook":
                    sink._hook(self, body)
                else:
                    self._say(404, {})

            def do_GET(self):
                self._say(404, {})

            def _say(self, status, headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                pass  # clients are killed here on purpose

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def _hook(self, handler, body):
        told = self.answer([])
        status, headers = told if isinstance(told, tuple) else (told, {})
        with self._changed:
            if status is not None and 200 <= status < 300:
                self.hooked += json.loads(body)["events"]
            self._changed.notify_all()
        self._reply(handler, status, headers)

    @staticmethod
    def _reply(handler, status, headers):
        """Answer, or hang up when there is no status."""
        if status is None:
            handler.close_connection = True
            return
        with suppress(OSError):
            handler._say(status, headers)

    def _track(self, handler, body):
        was_compressed = handler.headers.get("Content-Encoding") == "gzip"
        lines = (gzip.decompress(body) if was_compressed else body).decode().split("\n")
        with self._changed:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            told = self.answer(lines)
        finally:
            with self._changed:
                self._at_once -= 1
        status, headers = told if isinstance(told, tuple) else (told, {})
        posted = Posted(lines, status, len(body), was_compressed, dict(handler.headers))
        with self._changed:
            self.posted.append(posted)
            self._changed.notify_all()
        self._reply(handler, status, headers)

    def wait_for(self, is_enough, timeout_s=10.0):
        """Wait until ``is_enough(self)``; fails when it takes too long."""
        with self._changed:
            assert self._changed.wait_for(lambda: is_enough(self), timeout_s), (
                f"not within {timeout_s} s: {self.posted}"
            )

    def taken(self, event_type=None):
        """The fields of every line that was taken, in order: ``{name: value}``, of one type or all."""
        found = [
            dict(parse_qsl(line, keep_blank_values=True))
            for request in list(self.posted)
            if request.was_taken
            for line in request.lines
        ]
        return [fields for fields in found if event_type in (None, fields["eventType"])]

    def goals(self):
        """Goal ids of all conversions that were taken, in order; twice when they were taken twice."""
        return [int(fields["goalId"]) for fields in self.taken("conversion")]

    def client(self, site="sink", **settings):
        """A client whose events come here, with the configuration `SOURCE`."""
        return KameleoonClient(site, self.config(**settings))

    def config(self, **settings):
        """Settings for such a client."""
        given = {"default_timeout_millisecond": 5000, "top_level_domain": "localhost", "source": SOURCE, **settings}
        return KameleoonClientConfig("id", "secret", base_url=self.url, **given)


def until(is_true, timeout_s=10.0):
    """Wait for something that no event announces."""
    end = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)

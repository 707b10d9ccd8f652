"""
The service as the recorded cases saw it: one loopback HTTP server for a whole run, each case with its own site code.

The server knows nothing of the SDK. It answers what a case says, and keeps every request for the case to look at.

Source:
    The format of tests/vectors, "Services".
"""

from __future__ import annotations

import json
import re
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ORIGINAL_HOST = "X-Original-Host"

_SERVICES = {
    ("POST", "/oauth/token"): "token",
    ("POST", "/visit/events"): "tracking",
    ("GET", "/visit/visitor"): "visitor_data",
    ("GET", "/map/map"): "map",
}
_JSON_FIELDS = frozenset({"valuesCountMap", "metadata", "referrersIndices"})
_NUMBER_FIELDS = frozenset({"revenue", "latitude", "longitude", "browserVersion"})
_NONCE = re.compile(r"[0-9A-F]{16}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came in; *host* is the one that the SDK asked for, without a port."""

    service: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, with a JSON body or none."""

    status: int
    body: bytes = b""


class Exchange:
    """
    What the services answer for one site code, and what they were asked.

    Args:
        site_code: The site code of the case.
        data_file: The answer of the configuration service, as JSON.
        server: The member ``server`` of the case.
    """

    def __init__(self, site_code: str, data_file: bytes, server: dict[str, Any] | None = None) -> None:
        self.site_code = site_code
        self.token = f"token-of-{site_code}"
        self._data_file = data_file
        self._server = server or {}
        self._received: list[Received] = []
        self._changed = threading.Condition()

    def answer(self, request: Received) -> Answer:
        """Keep *request* and say what the service answers."""
        with self._changed:
            self._received.append(request)
            self._changed.notify_all()
        server = self._server
        match request.service:
            case "config":
                status = server.get("config_status")
                return Answer(200, self._data_file) if status is None else Answer(status)
            case "token":
                status = server.get("token_status")
                body = {"access_token": self.token, "expires_in": 7200}
                return _json_answer(body) if status is None else Answer(status)
            case "tracking":
                return Answer(204)
            case "visitor_data":
                query = request.query
                code = query.get("visitorCode", query.get("mappingValue", ""))
                return _stored_answer(server.get("visitor_data", {}), code)
            case _:
                return _stored_answer(server.get("map", {}), request.query.get("key", ""))

    def count(self, services: Iterable[str]) -> int:
        """How many requests of *services* are there to be taken."""
        wanted = frozenset(services)
        with self._changed:
            return sum(request.service in wanted for request in self._received)

    def count_lines(self) -> int:
        """How many tracking lines are there to be taken."""
        with self._changed:
            return sum(len(_split_lines(request.body)) for request in self._received if request.service == "tracking")

    def wait_until(self, holds: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for *holds*, looked at anew after each request; says whether it came true in time."""
        with self._changed:
            return self._changed.wait_for(holds, timeout_s)

    def take_requests(self, services: Iterable[str], *, with_host: bool = False) -> list[dict[str, Any]]:
        """Hand out the requests of *services* received since last asked for, as the action ``requests`` shows them."""
        return [self._show(request, with_host=with_host) for request in self._take(services)]

    def take_sent(self, *, with_host: bool = False) -> dict[str, Any]:
        """Hand out the tracking lines received since the last look, as the action ``sent`` shows them."""
        lines: list[dict[str, Any]] = []
        user_agents: list[dict[str, Any]] = []
        common: dict[str, Any] | None = None
        for request in self._take(["tracking"]):
            of_request, agents = read_lines(request.body)
            lines += of_request
            user_agents += agents
            shown = self._show(request, with_host=with_host)
            del shown["service"]
            common = shown if common is None else {k: v for k, v in common.items() if shown.get(k) == v}
        result: dict[str, Any] = {"lines": lines}
        if common is not None:
            result["request"] = common
        if user_agents:
            result["user_agents"] = user_agents
        return result

    def _take(self, services: Iterable[str]) -> list[Received]:
        wanted = frozenset(services)
        with self._changed:
            taken = [request for request in self._received if request.service in wanted]
            self._received = [request for request in self._received if request.service not in wanted]
        return taken

    def _show(self, request: Received, *, with_host: bool) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "service": request.service,
            "method": request.method,
            "path": request.path.replace(self.site_code, "<siteCode>"),
            "query": self._show_query(request.query),
        }
        if request.service == "token":
            shown["authorization"] = request.headers.get("authorization")
            shown["body"] = request.body
        else:
            shown["bearer"] = request.headers.get("authorization") == f"Bearer {self.token}"
        if request.service == "config":
            shown["sdk_type"] = request.headers.get("x-kameleoon-sdk-type")
        if with_host:
            shown["host"] = request.host
        return shown

    def _show_query(self, query: dict[str, str]) -> dict[str, str]:
        shown = dict(query)
        if shown.get("siteCode") == self.site_code:
            shown["siteCode"] = "<siteCode>"
        if _VERSION.fullmatch(shown.get("sdkVersion", "")):
            shown["sdkVersion"] = "<sdkVersion>"
        return shown


class Backend:
    """All services on one port of the loopback interface; a context manager."""

    def __init__(self) -> None:
        self._exchanges: dict[str, Exchange] = {}
        self._made = 0
        self._server = _Server(self.answer)
        self._thread = threading.Thread(target=self._server.serve_forever, name="conformance-backend", daemon=True)

    @property
    def url(self) -> str:
        """The base URL of all services."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def exchange(self, data_file: bytes, server: dict[str, Any] | None = None) -> Iterator[Exchange]:
        """Serve a new site code for a while."""
        self._made += 1
        exchange = Exchange(f"site{self._made:05}", data_file, server)
        self._exchanges[exchange.site_code] = exchange
        try:
            yield exchange
        finally:
            del self._exchanges[exchange.site_code]

    def answer(self, method: str, target: str, headers: dict[str, str], body: str) -> Answer:
        """Answer one request; *headers* have lower-case names. Unknown paths and site codes get 404."""
        url = urlsplit(target)
        query = read_query(url.query)
        service = _SERVICES.get((method, url.path))
        site_code = query.get("siteCode", "")
        if service is None and method == "GET" and url.path.startswith("/v3/"):
            service, site_code = "config", url.path.removeprefix("/v3/")
        exchange = self._exchanges.get(site_code)
        if service is None or exchange is None:
            return Answer(404)
        host = headers.get(ORIGINAL_HOST.lower()) or headers.get("host", "")
        return exchange.answer(
            Received(service, method, url.path, query, headers, body, re.sub(r":\d+$", "", host)),
        )


def read_query(text: str) -> dict[str, str]:
    """Read a query string: ``%XX`` is decoded, ``+`` is a plus sign."""
    pairs = (part.partition("=") for part in text.split("&") if part)
    return {unquote(name): unquote(value) for name, _, value in pairs}


def read_line(text: str) -> dict[str, Any]:
    """Read one tracking line, with its ``userAgent`` still on it."""
    line: dict[str, Any] = dict(read_query(text))
    for name, value in line.items():
        if name in _JSON_FIELDS or name in _NUMBER_FIELDS:
            with suppress(ValueError):  # what cannot be read is shown as it came, and so differs from what was expected
                line[name] = json.loads(value) if name in _JSON_FIELDS else float(value)
        elif name == "nonce" and _NONCE.fullmatch(value):
            line[name] = "<nonce>"
    return line


def read_lines(body: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read the body of one tracking request; gives its lines and its user agents."""
    lines = []
    user_agents = []
    seen: set[tuple[str, str]] = set()
    for text in _split_lines(body):
        line = read_line(text)
        visitor = next(((name, line[name]) for name in ("visitorCode", "mappingValue") if name in line), ("", ""))
        if "userAgent" in line:
            agent = {"visitor": visitor[1], "userAgent": line.pop("userAgent")}
            user_agents.append(agent | {"not_first_line": True} if visitor in seen else agent)
        seen.add(visitor)
        lines.append(line)
    return lines, user_agents


def _split_lines(body: str) -> list[str]:
    return [line for line in body.split("\n") if line]


def _json_answer(value: Any) -> Answer:
    return Answer(200, json.dumps(value, ensure_ascii=False).encode())


def _stored_answer(stored: dict[str, Any], key: str) -> Answer:
    if key not in stored:
        return Answer(404)
    value = stored[key]
    if isinstance(value, dict) and "__status__" in value:
        return Answer(value["__status__"])
    return _json_answer(value)


class _Server(ThreadingHTTPServer):
    """Connections are many and short: one thread each, none waited for."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, answer: Callable[[str, str, dict[str, str], str], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about a client that hung up; anything else is a fault of the tests."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one packet: no waiting for a delayed acknowledgement
    disable_nagle_algorithm = True
    server: _Server

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answer(self.command, self.path, headers, body)
        self.send_response_only(answer.status)
        if answer.body:
            self.send_header("Content-Type", "application/json")
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_POST = _answer  # noqa: N815 - names that the base class looks for

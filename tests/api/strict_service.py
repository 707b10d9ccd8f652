"""
A strict service on the loopback for the API clients: it knows every path and parameter, refuses what the documentation does not have, issues
tokens and checks them, keeps to the rate limits, and fails as it is told.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote

OAUTH = ("POST", "/oauth/token")


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    raw_query: str
    headers: dict[str, str]
    body: bytes
    token: str | None


class Refused(Exception):
    """An answer other than a success."""

    def __init__(self, status, body=b"", headers=None):
        super().__init__(status)
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = headers or {}


def refuse(fault):
    """Fail as told."""
    if isinstance(fault, int):
        raise Refused(fault)
    if isinstance(fault, tuple):
        raise Refused(*fault)


@dataclass
class StrictService:
    """
    Attributes: `faults` is ``{(method, path): [answer, …]}``, used up from the front; an answer is a status, ``(status, body, headers)``, ``"drop"``
    (no answer, not carried out) or ``"lose"`` (carried out, no answer). `routes` is ``{(method, path): function of Seen}``.
    """

    client_id: str = "shop"
    client_secret: str = "s3cr3t/+&"
    expires_in: int = 7200
    bad_token_status: int = 401
    limits: list = field(default_factory=list)  # (predicate of Seen, count, seconds)
    faults: dict = field(default_factory=dict)
    routes: dict = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    tokens: set = field(default_factory=set)
    granted: int = 0
    refused_for_rate: int = 0

    def __enter__(self):
        self._lock = threading.RLock()
        self._times = defaultdict(deque)
        self.routes.setdefault(OAUTH, self.grant)
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def handle_any(self):
                service.handle(self)

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        ThreadingHTTPServer.request_queue_size = 128
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.01), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def to(self, method, path):
        """Requests that arrived at *path*."""
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    def fail(self, method, path, *answers):
        """Answer the next requests so."""
        self.faults.setdefault((method, path), []).extend(answers)

    def handle(self, http):
        """Answer one request."""
        path, _, raw_query = http.path.partition("?")
        body = http.rfile.read(int(http.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in http.headers.items()}
        bearer = headers.get("authorization", "")
        token = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else None
        pairs = parse_qsl(raw_query, keep_blank_values=True, strict_parsing=bool(raw_query))
        seen = Seen(http.command, unquote(path), dict(pairs), raw_query, headers, body, token)
        with self._lock:
            self.seen.append(seen)
            faults = self.faults.get((seen.method, seen.path))
            fault = faults.pop(0) if faults else None
        try:
            if fault == "drop":
                http.close_connection = True
                http.connection.close()
                return
            refuse(fault)
            with self._lock:
                status, answer = self.answer(seen, len(pairs))
            if fault == "lose":
                http.close_connection = True
                http.connection.close()
                return
        except Refused as refusal:
            status, answer, extra = refusal.status, refusal.body, refusal.headers
        else:
            extra = {}
            answer = b"" if answer is None else json.dumps(answer).encode()
        http.send_response(status)
        for name, value in {"Content-Type": "application/json", **extra}.items():
            http.send_header(name, value)
        http.send_header("Content-Length", str(len(answer)))
        http.end_headers()
        http.wfile.write(answer)

    def answer(self, seen, pairs):
        """Check token, rates and route."""
        assert "python-requests" not in seen.headers.get("user-agent", "")
        assert len(seen.query) == pairs, "a parameter came twice"
        if (seen.method, seen.path) != OAUTH:
            if seen.token is not None and seen.token not in self.tokens:
                raise Refused(self.bad_token_status, {"message": "token not accepted"})
            now = time.monotonic()
            for number, (applies, count, seconds) in enumerate(self.limits):
                if applies(seen):
                    times = self._times[number]
                    while times and times[0] <= now - seconds:
                        times.popleft()
                    if len(times) >= count:
                        self.refused_for_rate += 1
                        raise Refused(429, headers={"Retry-After": "1"})
                    times.append(now)
        route = self.routes.get((seen.method, seen.path)) or self.routes.get((seen.method, "*"))
        if route is None:
            raise Refused(404, {"message": f"no {seen.method} {seen.path}"})
        result = route(seen)
        return result if isinstance(result, tuple) else (200 if result is not None else 204, result)

    def grant(self, seen):
        """Give out a token by client credentials."""
        assert seen.headers["content-type"] == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(seen.body.decode(), keep_blank_values=True))
        if form != {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }:
            raise Refused(401, {"error": "invalid_client"})
        return self.new_token()

    def new_token(self):
        """Make a token known."""
        self.granted += 1
        token = f"token-{self.granted}"
        self.tokens.add(token)
        return {"access_token": token, "token_type": "bearer", "expires_in": self.expires_in}


class DataService(StrictService):
    """The Data API, strict about its parameters and limits; events count once by nonce."""

    def __enter__(self):
        self.maps = {}
        self.events = {}
        self.forgotten = []
        self.bodies = []
        self.most_bytes = 3_000_000
        self.routes |= {
            ("GET", "/visit/visitor"): self.visitor,
            ("POST", "/visit/events"): self.post_events,
            ("POST", "/visit/forget"): self.forget,
            ("GET", "/map/map"): self.get_map,
            ("GET", "/map/maps"): self.get_maps,
            ("POST", "/map/maps"): self.post_maps,
            ("POST", "/product/events"): self.post_events,
            ("GET", "/product/productCounters"): self.counters,
            ("GET", "/product/productData"): self.product_data,
        }
        return super().__enter__()

    def check(self, seen, required, optional=(), most=None):
        """Refuse other parameters than the documented ones."""
        names = set(seen.query)
        if names - {"siteCode", *required, *optional} or {"siteCode", *required} - names:
            raise Refused(400, {"message": f"parameters {sorted(names)}"})
        if most is not None and len(seen.body) > most:
            raise Refused(413)

    def visitor(self, seen):
        flags = {
            "staticData", "page", "conversion", "experiment", "customData", "geolocation", "personalization",
            "targetingSegment", "activity", "all", "currentVisit", "kcs", "cbs",
        }  # fmt: skip
        self.check(seen, {"maxNumberPreviousVisits"}, flags | {"visitorCode", "mappingValue"})
        assert all(seen.query[name] == "true" for name in flags & set(seen.query))
        return self.visits

    def post_events(self, seen):
        self.check(seen, set(), {"bodyUa", "ean"}, self.most_bytes)
        self.bodies.append(seen.body)
        for line in seen.body.decode().split("\n"):
            event = dict(parse_qsl(line, keep_blank_values=True, strict_parsing=True))
            self.events.setdefault(event["nonce"], event)

    def forget(self, seen):
        self.check(seen, set(), (), 1_000_000)
        assert seen.headers["content-type"].startswith("text/plain")
        self.forgotten += seen.body.decode().split("\n")

    def get_map(self, seen):
        self.check(seen, {"key"}, {"prettyPrint"})
        return self.maps.get(seen.query["key"], {})

    def get_maps(self, seen):
        self.check(seen, {"keys"}, {"prettyPrint"})
        keys = json.loads(seen.query["keys"])
        if len(keys) > 100:
            raise Refused(400, {"message": "more than 100 keys"})
        return {key: self.maps[key] for key in keys if key in self.maps}

    def post_maps(self, seen):
        self.check(seen, set(), {"ttlHours"}, 1_000_000)
        assert seen.headers["content-type"] == "application/json"
        for key, value in json.loads(seen.body).items():
            if value:
                self.maps[key] = value
            else:
                self.maps.pop(key, None)

    def counters(self, seen):
        self.check(seen, {"eans"}, {"begin", "end"})
        return {
            ean: {"views": 3, "addToCart": 2, "transactions": 1, "returns": 9} for ean in json.loads(seen.query["eans"])
        }

    def product_data(self, seen):
        self.check(seen, {"eans"})
        return {ean: {"name": ean.upper()} for ean in json.loads(seen.query["eans"])}

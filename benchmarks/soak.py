"""
Minutes of mixed faults: a backend that stalls, resets, trickles, refuses and lies, against one busy client.

    python benchmarks/soak.py --minutes 10

Threads evaluate and track, an event loop asks for remote data, the configuration changes and is announced on a stream that breaks.
At the end the backend is in order again: every flag must answer with the newest configuration, nothing may be left to send, and
every event must have arrived. Prints counters; exits with 1 if anything of that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import random
import re
import resource
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from kameleoon import CustomData, KameleoonClient, KameleoonClientConfig, PageView

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "transport"))
from scripted import Scripted, Visit, endless, hang_up, raw, reply, reset, trickle

JSON = {"Content_Type": "application/json"}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
FLAGS = 20
SENDERS = 3
NONCE = re.compile(rb"nonce=([0-9A-F]{16})")


def _slow(visit: Visit) -> None:
    """Answer later than the client waits."""
    visit.server.over.wait(1.5)


FAULTS: dict[str, Any] = {
    "no answer": _slow,
    "reset": reset,
    "hung up": hang_up,
    "500": reply(500, b'{"a": 1}', **JSON),
    "503 with Retry-After": reply(503, Retry_After="1"),
    "429": reply(429),
    "401": reply(401),
    "404": reply(404, b"{}", **JSON),
    "not HTTP": raw(b"220 mail ready\r\n"),
    "cut off": raw(JSON_HEAD + b"Content-Length: 100\r\n\r\n{"),
    "invalid JSON": reply(200, b'{"a": ', **JSON),
    "text": reply(200, b"<html>", Content_Type="text/html"),
    "trickle": trickle(JSON_HEAD + b"\r\n"),
    "endless": endless(JSON_HEAD + b"Content-Length: 524288000\r\n\r\n"),
}
LOSES_EVENTS = {"404", "invalid JSON", "text", "trickle", "endless", "cut off"}
"""What tells the client that lines arrived, or are refused for good: no faults to track events with."""


class Backend:
    """A service with moods."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.version = 1
        self.faults: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.nonces: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self._random = random.Random(7)
        self._streams: list[Visit] = []
        self.server = Scripted(
            {
                "/v3/soak": self._serve("configuration", self._configuration),
                "/sse": self._serve("stream", self._stream),
                "/oauth/token": self._serve("token", reply(200, b'{"access_token": "t", "expires_in": 7200}', **JSON)),
                "/visit/events": self._serve("events", self._events),
                "/map/map": self._serve("map", reply(200, b'{"answer": 42}', **JSON)),
                "/visit/visitor": self._serve("visitor", reply(200, b'{"currentVisit": {}}', **JSON)),
            }
        )

    def _serve(self, kind: str, proper: Any) -> Any:
        names = [name for name in FAULTS if kind != "events" or name not in LOSES_EVENTS]

        def answer(visit: Visit) -> bool | None:
            with self._lock:
                self.requests[kind] += 1
                # What was seen is the test server's memory, not the client's.
                visit.server.seen.clear()
                name = self._random.choice(names) if self._random.random() < self.share else None
                self.faults[name or "none"] += 1
            result: bool | None = (proper if name is None else FAULTS[name])(visit)
            return result

        return answer

    def _configuration(self, visit: Visit) -> bool | None:
        flag = {"environmentEnabled": True, "defaultVariationKey": "on", "rules": [], "variations": []}
        root = {
            "dateModified": self.version,
            "configuration": {"realTimeUpdate": True},
            "featureFlags": [{**flag, "featureKey": f"flag{number}"} for number in range(FLAGS)],
        }
        result: bool | None = reply(200, json.dumps(root).encode(), **JSON)(visit)
        return result

    def _events(self, visit: Visit) -> bool | None:
        with self._lock:
            self.nonces.update(NONCE.findall(visit.seen.body))
        result: bool | None = reply(204)(visit)
        return result

    def _stream(self, visit: Visit) -> None:
        visit.write(STREAM_HEAD)
        with self._lock:
            self._streams.append(visit)
            life_s = self._random.uniform(0.5, 8.0) if self.share else 3600.0
        # Some end cleanly, some break, some only fall silent until the client goes.
        visit.server.over.wait(life_s)

    def publish(self) -> None:
        """Change the configuration and announce it on all streams that are still there."""
        with self._lock:
            self.version += 1
            streams, self._streams = self._streams[-4:], self._streams[-4:]
        for visit in streams:
            try:
                visit.write(b'event: configuration-update-event\ndata: {"ts": %d}\n\n' % self.version)
            except OSError:
                with self._lock:
                    self._streams = [other for other in self._streams if other is not visit]


def _work(client: KameleoonClient, number: int, over: threading.Event, did: Counter[str]) -> None:
    chance = random.Random(number)
    while not over.wait(0.01):
        code = f"visitor-{number}-{chance.randrange(2000)}"
        if client.is_ready():
            client.is_feature_active(code, f"flag{chance.randrange(FLAGS)}", track=False)
            did["evaluations"] += 1
        client.add_data(code, CustomData(chance.randrange(3), "value"), PageView("https://example.com/", "title"))
        client.track_conversion(code, chance.randrange(9), 1.5)
        did["conversions"] += 1
        if chance.random() < 0.01:
            client.flush(code, instant=True)
            client.get_remote_data("key")
            did["remote calls"] += 1


async def _ask(client: KameleoonClient, over: threading.Event, did: Counter[str]) -> None:
    while not over.is_set():
        await asyncio.gather(
            client.get_remote_data_async("key"),
            client.get_remote_visitor_data_async("visitor"),
            client.get_visitor_warehouse_audience_async("visitor", 3),
        )
        did["awaited calls"] += 3
        await asyncio.sleep(0.2)


def _memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def soak(minutes: float, share: float) -> bool:
    """Run for *minutes*, with that share of requests going wrong, and say whether all was well at the end."""
    backend, over, did = Backend(share), threading.Event(), Counter[str]()
    errors: list[BaseException] = []
    threading.excepthook = lambda args: errors.append(args.exc_value or RuntimeError())
    logging.getLogger("Kameleoon SDK").setLevel(logging.CRITICAL)
    before = threading.active_count()
    with backend.server as server:
        config = KameleoonClientConfig(
            "id",
            "secret",
            base_url=server.url,
            default_timeout_millisecond=1000,
            refresh_interval_minute=0.05,
            top_level_domain="localhost",
        )
        with KameleoonClient("soak", config) as client:
            workers = [
                threading.Thread(target=_work, args=(client, number, over, did), name=f"soak-{number}")
                for number in range(SENDERS)
            ]
            workers.append(threading.Thread(target=lambda: asyncio.run(_ask(client, over, did)), name="soak-loop"))
            for worker in workers:
                worker.start()
            end = time.monotonic() + 60 * minutes
            while (left_s := end - time.monotonic()) > 0:
                time.sleep(min(5.0, left_s))
                backend.publish()
                print(
                    f"{max(0.0, left_s):6.0f} s left  {_memory_mb():5.0f} MB  {threading.active_count():3d} threads  "
                    f"version {client.get_data_file().date_modified} of {backend.version}  {client.stats()}"
                )
            over.set()
            for worker in workers:
                worker.join(30)
            backend.share = 0.0
            backend.publish()
            recovered_s = _recover(client, backend)
            result = client.flush(timeout=60.0)
            active = [
                client.is_feature_active(f"last-{number}", f"flag{number}", track=False) for number in range(FLAGS)
            ]
            stats = client.stats()
    gc.collect()
    twice = sum(1 for times in backend.nonces.values() if times > 1)
    print(f"\nrequests        {dict(backend.requests)}")
    print(f"faults          {dict(backend.faults)}")
    print(f"the client did  {dict(did)}")
    print(f"stats           {stats}")
    print(f"arrived         {len(backend.nonces)} events, {twice} of them more than once")
    print(
        f"recovered in    {recovered_s:.1f} s, {_memory_mb():.0f} MB at most, {threading.active_count() - before} threads left"
    )
    checks = {
        "every flag answers": all(active) and len(active) == FLAGS,
        "with the newest configuration": recovered_s < 60,
        "nothing is left to send": result.pending == 0 and stats.events_pending == 0,
        "no event was lost": stats.events_dropped == 0 and len(backend.nonces) == stats.events_produced,
        "no thread died": not errors,
    }
    for name, holds in checks.items():
        print(f"{'yes' if holds else 'NO ':3}  {name}")
    for error in errors[:3]:
        print(repr(error))
    return all(checks.values())


def _recover(client: KameleoonClient, backend: Backend) -> float:
    started = time.monotonic()
    while client.get_data_file().date_modified != backend.version and time.monotonic() - started < 60:
        time.sleep(0.05)
    return time.monotonic() - started


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Mixed faults against one busy client.")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the faults last (default 10)")
    parser.add_argument(
        "--share", type=float, default=0.4, help="share of requests that go wrong, 0 to 1 (default 0.4)"
    )
    arguments = parser.parse_args()
    return 0 if soak(arguments.minutes, arguments.share) else 1


if __name__ == "__main__":
    sys.exit(main())

"""
What tracking and remembering cost, as ratios within one run.

    python benchmarks/tracking.py                   # all but Redis
    python benchmarks/tracking.py --redis URL       # Redis too, for example redis://127.0.0.1:6379/0
    python benchmarks/tracking.py --visitors 100000

The yardstick for events is the same number of lines joined and posted to the same loopback service by hand.
"""

# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, ANN204, PLC0415, SLF001 - a script; it is not type-checked, and looks inside

from __future__ import annotations

import argparse
import asyncio
import gc
import http.client
import statistics
import sys
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tracking"))

from event_sink import Sink

from kameleoon import CustomData
from kameleoon._tracking.lines import make_nonce
from kameleoon._visitor.facts import Told
from kameleoon.stores import MemoryStore, RedisStore

EVENTS = 50_000
CALLS = 2_000


def by_hand(sink):
    """Seconds to write, join and post the lines without the library."""
    started = time.perf_counter()
    host, _, port = sink.url.removeprefix("http://").partition(":")
    link = http.client.HTTPConnection(host, int(port))
    lines = [f"nonce={make_nonce()}&eventType=conversion&goalId=5&visitorCode=v{place}" for place in range(EVENTS)]
    for start in range(0, EVENTS, 20_000):
        link.request("POST", "/visit/events", "\n".join(lines[start : start + 20_000]))
        link.getresponse().read()
    link.close()
    return time.perf_counter() - started


def through_client(sink, **settings):
    """Seconds to track the events, to hand them over, and to have them delivered."""
    with sink.client(**settings) as client:
        client.wait_init()
        client._core.schedule._job("tracking").due_s = None
        started = time.perf_counter()
        for place in range(EVENTS):
            client.track_conversion(f"v{place}", 5)
        tracked = time.perf_counter()
        client._core.tracker.collect()
        handed = time.perf_counter()
        result = client.flush("v0", timeout=60.0)
        assert result.pending == 0, result
        return tracked - started, handed - tracked, time.perf_counter() - handed


def events():
    """Events tracked, handed over and delivered, in memory and on disk."""
    with Sink() as sink:
        through_client(sink)
        yardstick = statistics.median(by_hand(sink) for _ in range(3))
        print(f"events by hand                 {EVENTS / yardstick:10,.0f} /s   1.00")
        for name, kept in (("in memory", False), ("on disk", True)):
            runs = []
            for _ in range(3):
                with tempfile.TemporaryDirectory() as folder:
                    runs.append(through_client(sink, **({"data_dir": folder} if kept else {})))
            tracked, handed, delivered = (statistics.median(column) for column in zip(*runs, strict=True))
            for what, seconds in (
                ("tracked", tracked),
                ("made into lines", handed),
                ("delivered", delivered),
                ("all three", tracked + handed + delivered),
            ):
                print(f"{name:10} {what:18} {EVENTS / seconds:10,.0f} /s   {yardstick / seconds:.2f}")


def fill(store, number):
    """Put visitors into a store, each with one custom datum and one exposure that are sent."""
    for place in range(number):
        code = f"{place:016x}"
        visitor = store.write(code, [Told(CustomData(1, f"value {place}"), 5)], 5)
        store.assign(code, visitor, 7, 70, False, True, 5)
        store.claim([code], consent_required=False)


def memory(number):
    """Bytes for an idle visitor, his code included."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    store = MemoryStore(1800.0, max(number, 1))
    fill(store, number)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"memory for an idle visitor, {number:9,} of them   {used / number:6.0f} bytes")


def expiry(number):
    """The longest wait of an evaluation's look while the sessions of all visitors end."""
    now = [0.0]
    store = MemoryStore(1800.0, number + 10, clock=lambda: now[0])
    fill(store, number)
    now[0] = 1802.0
    store.write("alive", [], 5)
    gc.collect()
    gc.disable()
    waits = []
    is_over = threading.Event()

    def expire():
        store.expire()
        is_over.set()

    interval = sys.getswitchinterval()
    thread = threading.Thread(target=expire)
    held = []
    lock = store._lock

    class Watched:
        def __enter__(self):
            lock.acquire()
            self.since = time.thread_time()

        def __exit__(self, *_):
            held.append(time.thread_time() - self.since)
            lock.release()

    store._lock = Watched()
    thread.start()
    while not is_over.is_set():
        started = time.perf_counter()
        store.read("alive")
        store.write("alive", [], 5)
        waits.append(time.perf_counter() - started)
    thread.join()
    gc.enable()
    waits.sort()
    print(
        f"expiry of {number:,}: lock held at most {max(held) * 1000:.2f} ms of work; looks meanwhile {len(waits)}, median "
        f"{statistics.median(waits) * 1e6:.1f} us, longest {waits[-1] * 1000:.1f} ms (the interpreter switches threads every "
        f"{interval * 1000:.0f} ms)"
    )


def loop_lag(number):
    """How long a running event loop waits for its turn while many visitors are sent."""
    with Sink() as sink, sink.client() as client:
        for place in range(number):
            client.add_data(f"v{place}", CustomData(1, "x"))
        gc.collect()
        gc.freeze()
        lags = []

        async def application():
            client.flush(instant=True)
            while client.stats().events_sent < number:
                started = time.perf_counter()
                await asyncio.sleep(0.001)
                lags.append(time.perf_counter() - started - 0.001)

        asyncio.run(application())
        gc.unfreeze()
        lags.sort()
        print(
            f"event loop while {number:,} visitors are sent: {len(lags)} turns, median lag {statistics.median(lags) * 1000:.2f} ms, "
            f"99 % below {lags[int(len(lags) * 0.99)] * 1000:.2f} ms, longest {lags[-1] * 1000:.2f} ms"
        )


def redis(url):
    """Cost of an evaluation with Redis, against one in memory and against a bare round trip."""
    import redis as library

    link = library.Redis.from_url(url)

    def clocked(call):
        rounds = []
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(CALLS):
                call()
            rounds.append((time.perf_counter() - started) / CALLS)
        return statistics.median(rounds) * 1e6

    ping = clocked(link.ping)
    print(f"round trip to Redis            {ping:8.1f} us   1.00")
    with Sink() as sink:
        for name, store in (("memory", None), ("Redis", RedisStore(url, prefix="benchmark:"))):
            with sink.client(visitor_store=store, tracking_interval_millisecond=5000) as client:
                client.wait_init()
                client.add_data("v", CustomData(1, "x"))
                cost = clocked(lambda client=client: client.get_variation("v", "flag"))
                print(f"evaluation, visitors in {name:6} {cost:8.1f} us   {cost / ping:.2f}")


def main():
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description="What tracking and remembering cost.")
    parser.add_argument("--redis", help="address of a Redis; keys that begin with benchmark: are written")
    parser.add_argument("--visitors", type=int, default=1_000_000)
    given = parser.parse_args()
    events()
    loop_lag(40_000)
    memory(min(100_000, given.visitors))
    memory(given.visitors)
    expiry(given.visitors)
    if given.redis:
        redis(given.redis)


if __name__ == "__main__":
    main()

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
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "tracking"))

from event_sink import Sink

from kameleoon import CustomData
from kameleoon._tracking.lines import make_nonce
from kameleoon._visitor.facts import Told
from kameleoon._visitor.record import Assignment
from kameleoon.stores import MemoryStore, RedisStore
from kameleoon.stores.memory import MOST_AWAKE, SLEEP_AFTER_S

EVENTS = 50_000
CALLS = 2_000
SHORT_STEPS = 100
"""Steps that a thread takes before it lets others run, unless a step does so itself: each time costs it 5 ms."""


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


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        """Tell the time."""
        return self.now


def arrive(store, clock, places):
    """Visitors with one custom datum and one exposure that are sent, 2,000 a second; the store's upkeep is done each second."""
    for place in places:
        code = f"{place:016x}"
        now_ms = time.time_ns() // 1_000_000
        visitor = store.write(code, [Told(CustomData(1, f"value {place}"), now_ms)], now_ms)
        store.assign(code, visitor, Assignment(7, 70, False, 0, False), True, time.time_ns() // 1_000_000)
        store.claim([code], consent_required=False)
        clock.now += 0.0005
        if place % 2_000 == 1_999:
            yield from store.expire()
        yield


def fill(store, clock, number):
    """All visitors at once."""
    for _ in arrive(store, clock, range(number)):
        pass


def memory(number):
    """Bytes for an idle visitor, his code included."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    clock = Clock()
    store = MemoryStore(1800.0, max(number, 1), clock)
    if number <= MOST_AWAKE:
        fill(store, clock, number)
        gc.collect()
        awake = tracemalloc.get_traced_memory()[0] - before
        print(f"memory for a visitor who was just looked at, {number:9,} of them   {awake / number:6.0f} bytes")
    else:
        fill(store, clock, number)
        clock.now += SLEEP_AFTER_S + 1
        for _ in store.expire():
            pass
        gc.collect()
        idle = tracemalloc.get_traced_memory()[0] - before
        print(f"memory for an idle visitor,                  {number:9,} of them   {idle / number:6.0f} bytes")
    tracemalloc.stop()


class Pauses:
    """The garbage collector's work meanwhile, as processor time in milliseconds."""

    def __enter__(self):
        self.ms = []
        gc.callbacks.append(self._note)
        return self

    def __exit__(self, *_):
        gc.callbacks.remove(self._note)

    def _note(self, phase, _):
        if phase == "start":
            self._since = time.thread_time()
        else:
            self.ms.append((time.thread_time() - self._since) * 1000)


def looks(name, steps, stores):
    """
    How long looks wait while a thread goes through *steps*: in the store it works on, and in one that nobody works on.

    A step lets no other thread run unless it says so itself, so that its processor time is what an evaluation may wait for. The second
    store's looks wait for the interpreter and the machine alike, but never for the first store's lock.
    """
    is_over = threading.Event()
    held = array("d")

    def work():
        while True:
            since = time.thread_time()
            if next(steps, is_over) is is_over:
                break
            held.append((time.thread_time() - since) * 1000)
            if len(held) % SHORT_STEPS == 0:
                time.sleep(0)
        is_over.set()

    waits = [array("d") for _ in stores]
    thread = threading.Thread(target=work)
    gc.collect()
    with Pauses() as pauses:
        thread.start()
        while not is_over.is_set():
            for store, waited in zip(stores, waits, strict=True):
                started = time.perf_counter()
                store.read("alive")
                store.write("alive", [], 5)
                waited.append((time.perf_counter() - started) * 1000)
        thread.join()
    steps_ms = sorted(held)
    print(
        f"{name}: {len(steps_ms)} steps, 99.9 % of them at most {steps_ms[int(len(steps_ms) * 0.999)]:.2f} ms of work, the longest "
        f"{steps_ms[-1]:.2f} ms; the garbage collector's longest run {max(pauses.ms, default=0.0):.2f} ms"
    )
    for what, waited in zip(("in this store", "in another one"), waits, strict=True):
        waited_ms = sorted(waited)
        print(
            f"    {len(waited_ms)} looks {what}: median {statistics.median(waited_ms) * 1000:.1f} us, 99.9 % at most "
            f"{waited_ms[int(len(waited_ms) * 0.999)]:.2f} ms, longest {waited_ms[-1]:.1f} ms"
        )


def idle_steps(seconds):
    """A thread that has nothing to do with visitors: steps of a tenth of a millisecond."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        since = time.thread_time()
        while time.thread_time() - since < 0.0001:
            pass
        yield


def growth_and_expiry(number):
    """Waits of an evaluation's looks while all visitors come, and while the sessions of all end."""
    other = MemoryStore(10**9)
    other.write("alive", [], 5)
    clock = Clock()
    store = MemoryStore(1800.0, number + 10, clock)
    store.write("alive", [], 5)
    looks("a thread without visitors", idle_steps(10.0), (other, other))
    looks(f"{number:,} visitors arrive", arrive(store, clock, range(number)), (store, other))
    clock.now += 1802.0
    store.write("alive", [], 5)
    looks(f"{number:,} sessions end", iter(store.expire()), (store, other))
    assert len(store) == 1


def loop_lag(number):
    """How long a running event loop waits for its turn: beside a thread without visitors, and while many visitors are sent."""

    async def lags_while(is_going_on):
        lags = []
        while is_going_on():
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append((time.perf_counter() - started - 0.001) * 1000)
        return sorted(lags)

    def tell(what, lags):
        print(
            f"event loop {what}: {len(lags)} turns, median lag {statistics.median(lags):.2f} ms, 99 % below "
            f"{lags[int(len(lags) * 0.99)]:.2f} ms, longest {lags[-1]:.2f} ms"
        )

    def steps():
        for _ in idle_steps(5.0):
            time.sleep(0.0005)

    thread = threading.Thread(target=steps)
    thread.start()
    tell("beside a thread without visitors", asyncio.run(lags_while(thread.is_alive)))
    with Sink() as sink, sink.client() as client:
        for place in range(number):
            client.add_data(f"v{place}", CustomData(1, "x"))
        gc.collect()
        with Pauses() as pauses:

            async def application():
                client.flush(instant=True)
                return await lags_while(lambda: client.stats().events_sent < number)

            tell(f"while {number:,} visitors are sent", asyncio.run(application()))
        print(f"    the garbage collector's longest run meanwhile: {max(pauses.ms, default=0.0):.2f} ms")


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
    memory(min(MOST_AWAKE, given.visitors))
    memory(min(100_000, given.visitors))
    memory(given.visitors)
    growth_and_expiry(given.visitors)
    if given.redis:
        redis(given.redis)


if __name__ == "__main__":
    main()

"""
What an evaluation costs, as ratios within one run.

The yardstick is the bare cost of the one hash that an evaluation cannot avoid, and for loading that of ``json.loads``. Each figure is the
median over rounds in which yardstick and measured code take turns, so that a busy machine slows both.

    python benchmarks/evaluation.py
"""

# ruff: noqa: ANN001, ANN201, ANN202 - a script; it is not type-checked

from __future__ import annotations

import gc
import hashlib
import json
import statistics
import sys
import threading
import time
import tracemalloc
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kameleoon import CustomData, KameleoonClientConfig
from kameleoon._datafile.pieces import root_in_steps
from kameleoon._engine.hashing import limit
from kameleoon._engine.ruleset import compile_in_steps, compile_ruleset
from kameleoon.client import KameleoonClient
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.log_level import LogLevel

ROUNDS = 41
CALLS = 1_000
KNOWN = 1_000
HALF = limit(0.5)


def flag(number, segment_id=None):
    """A flag with one experiment, shared equally by two variations."""
    rule = {
        "id": 100_000 + number,
        "type": "EXPERIMENTATION",
        "exposition": 1,
        "experimentId": 200_000 + number,
        "segmentId": segment_id,
        "variationByExposition": [
            {"variationKey": "off", "variationId": 2 * number + 1, "exposition": 0.5},
            {"variationKey": "on", "variationId": 2 * number + 2, "exposition": 0.5},
        ],
    }
    variables = [{"key": "color", "type": "STRING", "value": "red"}, {"key": "size", "type": "NUMBER", "value": 3}]
    return {
        "id": number,
        "featureKey": f"flag-{number}",
        "environmentEnabled": True,
        "defaultVariationKey": "off",
        "variations": [{"key": key, "name": key, "variables": variables} for key in ("off", "on")],
        "rules": [rule],
    }


SEGMENT = {
    "id": 7,
    "conditionsData": {
        "firstLevelOrOperators": [],
        "firstLevel": [
            {
                "orOperators": [False, False],
                "conditions": [
                    {
                        "targetingType": "CUSTOM_DATUM",
                        "customDataIndex": str(index),
                        "valueMatchType": kind,
                        "value": value,
                    }
                    for index, (kind, value) in enumerate(
                        [("EXACT", "gold"), ("GREATER", "10"), ("REGULAR_EXPRESSION", r"^[a-z]+@example\.(com|org)$")]
                    )
                ],
            }
        ],
    },
}


def open_client(root):
    """A client with the configuration *root*, without network; with credentials, so that exposures are recorded for sending."""
    client = KameleoonClient(
        "benchmark",
        KameleoonClientConfig("id", "secret", source=root, multi_threading=False, top_level_domain="example.com"),
    )
    assert client.wait_init()
    return client


def seconds(function, codes):
    """Seconds for one call for each of *codes*."""
    started = time.perf_counter()
    for code in codes:
        function(code)
    return time.perf_counter() - started


def yardstick(codes):
    """Seconds for the bare hash of each of *codes* and its comparison."""
    experiment, sha256 = "200001", hashlib.sha256
    started = time.perf_counter()
    for code in codes:
        sha256((code + experiment).encode()).digest() <= HALF  # noqa: B015 - only its time counts
    return time.perf_counter() - started


def ratio(measure, make_codes):
    """Median of measured over yardstick, taking turns."""
    ratios = []
    for _ in range(ROUNDS):
        codes = make_codes()
        base = yardstick(codes)
        ratios.append(measure(codes) / ((base + yardstick(codes)) / 2))
    return statistics.median(ratios)


def evaluations():
    """Ratios of single evaluations and of `get_variations`."""
    client = open_client({"featureFlags": [flag(n) for n in range(100)] + [flag(500, 7)], "segments": [SEGMENT]})
    numbers = iter(range(10**9))
    known = [f"{n:016x}" for n in range(KNOWN)]
    for code in known:
        client.add_data(code, CustomData(0, "gold"), CustomData(1, "12"), CustomData(2, "joe@example.com"))
        client.is_feature_active(code, "flag-1")
        client.is_feature_active(code, "flag-500")
    active = client.is_feature_active
    turn = cycle(known)

    def one(codes):
        started = time.perf_counter()
        for code in codes:
            active(code, "flag-1")
        return time.perf_counter() - started

    def targeted(codes):
        started = time.perf_counter()
        for code in codes:
            active(code, "flag-500")
        return time.perf_counter() - started

    yield "new visitor", ratio(one, lambda: [f"new-{next(numbers):012x}" for _ in range(CALLS)]), "5"
    yield "known visitor", ratio(one, lambda: [next(turn) for _ in range(CALLS)]), "3"
    yield "known visitor, 3 conditions", ratio(targeted, lambda: [next(turn) for _ in range(CALLS)]), "7"
    client.close(0)

    client = open_client({"featureFlags": [flag(n) for n in range(100)]})
    for code in known[:20]:
        client.get_variations(code)
    shares = []
    for _ in range(ROUNDS):
        codes = known[:20]
        single = seconds(lambda code: client.is_feature_active(code, "flag-1"), codes * 25)
        everything = seconds(client.get_variations, codes)
        single += seconds(lambda code: client.is_feature_active(code, "flag-1"), codes * 25)
        shares.append(everything / (single / 50))
    yield "get_variations of 100 flags, in single evaluations", statistics.median(shares), "100"
    client.close(0)


def threads():
    """Throughput of four threads over that of one; and of the yardstick in their place: what the interpreter itself loses."""
    client = open_client({"featureFlags": [flag(1)]})
    known = [f"{n:016x}" for n in range(KNOWN)]

    def evaluate(rounds):
        for _ in range(rounds):
            seconds(lambda code: client.is_feature_active(code, "flag-1"), known)

    def hash_only(rounds):
        for _ in range(rounds):
            yardstick(known)

    evaluate(1)
    for name, work, rounds, target in (
        ("throughput of 4 threads over 1", evaluate, 60, "at least 1"),
        ("the same of the yardstick", hash_only, 120, "-"),
    ):
        shares = []
        for _ in range(15):
            started = time.perf_counter()
            work(rounds)
            alone = time.perf_counter() - started
            workers = [threading.Thread(target=work, args=(rounds // 4,)) for _ in range(4)]
            started = time.perf_counter()
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            shares.append(alone / (time.perf_counter() - started))
        yield name, statistics.median(shares), target
    client.close(0)


def load(body):
    """A ruleset as the client makes it of what the service answered, and the longest of the steps it was made in, in seconds."""
    longest = 0.0

    def timed(steps):
        nonlocal longest
        while True:
            started = time.perf_counter()
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value
            finally:
                longest = max(longest, time.perf_counter() - started)

    return timed(compile_in_steps(timed(root_in_steps(body)))), longest


def loading():
    """Loading 10,000 flags until the first answer, the longest it holds up other threads, and memory."""
    text = json.dumps({"featureFlags": [flag(n) for n in range(10_000)], "segments": [SEGMENT]})
    body = text.encode()
    of_bytes, of_dict, longest = [], [], []
    for _ in range(9):
        gc.collect()
        started = time.perf_counter()
        root = json.loads(text)
        bare = time.perf_counter() - started
        started = time.perf_counter()
        compile_ruleset(root).flag("flag-5000").decide(None, "visitor", 0)
        of_dict.append(1 + (time.perf_counter() - started) / bare)
        del root
        gc.collect()
        started = time.perf_counter()
        ruleset, step = load(body)
        ruleset.flag("flag-5000").decide(None, "visitor", 0)
        of_bytes.append((time.perf_counter() - started) / bare)
        longest.append(step * 1000)
        del ruleset
    yield "loading 10,000 flags to the first answer, in json.loads", statistics.median(of_bytes), "3"
    yield "the same from a source that gives a dict", statistics.median(of_dict), "3"
    yield "longest step of loading, in ms", statistics.median(longest), "5"

    tracemalloc.start()
    root = json.loads(text)
    parsed = tracemalloc.get_traced_memory()[0]
    ruleset = compile_ruleset(root)
    del root
    for key in ruleset.flag_keys:
        ruleset.flag(key).decide(None, "visitor", 0)
    of_dict = tracemalloc.get_traced_memory()[0] / parsed
    del ruleset
    gc.collect()
    empty = tracemalloc.get_traced_memory()[0]
    ruleset, _ = load(body)
    few = (tracemalloc.get_traced_memory()[0] - empty) / parsed
    for key in ruleset.flag_keys:
        ruleset.flag(key).decide(None, "visitor", 0)
    everything = (tracemalloc.get_traced_memory()[0] - empty) / parsed
    tracemalloc.stop()
    yield "memory with no flag asked for, in parsed JSON", few, "2"
    yield "memory with all flags asked for, in parsed JSON", everything, "2"
    yield "the same from a source that gives a dict", of_dict, "2"


def main():
    """Print the figures."""
    KameleoonLogger.set_log_level(LogLevel.NONE)
    print(
        f"Python {sys.version.split()[0]}, yardstick {yardstick(['0123456789abcdef'] * 10_000) / 10_000 * 1e9:.0f} ns"
    )
    for part in (evaluations, threads, loading):
        for name, value, target in part():
            print(f"{name:58s} {value:8.2f}   target {target}")


if __name__ == "__main__":
    main()

"""
The work that `beside_public_sdk.py` times, the same source for both libraries: it uses only what they have in common.

    python beside_public_sdk_work.py <port of the service> <site code>
"""

# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, PTH123 - a script; it is not type-checked

import gc
import hashlib
import json
import resource
import socket
import sys
import time

PORT, SITE_CODE = int(sys.argv[1]), sys.argv[2]
DOMAIN = "kameleoon.test"
ROUNDS, CALLS = 7, 2_000

_getaddrinfo = socket.getaddrinfo


def _to_this_machine(host, port, *arguments, **named):
    if isinstance(host, bytes):
        host = host.decode()
    if host is not None and host.endswith(DOMAIN):
        return _getaddrinfo("127.0.0.1", PORT, *arguments, **named)
    return _getaddrinfo(host, port, *arguments, **named)


socket.getaddrinfo = _to_this_machine

started = time.perf_counter()
from kameleoon import KameleoonClientConfig, KameleoonClientFactory  # noqa: E402 - timed, and after names lead here

import_ms = (time.perf_counter() - started) * 1000
from kameleoon.data import CustomData  # noqa: E402
from kameleoon.logging.kameleoon_logger import KameleoonLogger  # noqa: E402
from kameleoon.logging.log_level import LogLevel  # noqa: E402

KameleoonLogger.set_log_level(LogLevel.NONE)


def memory_bytes():
    """What of this process is in memory."""
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def per_call_us(function, batches):
    """Microseconds for one call of *function* for each of a batch, the quickest batch's."""
    best = float("inf")
    for batch in batches:
        begun = time.perf_counter()
        for item in batch:
            function(item)
        best = min(best, (time.perf_counter() - begun) / len(batch))
    return best * 1e6


def main():
    """Do everything once, and print figures and a digest of the answers."""
    config = KameleoonClientConfig("id", "secret", network_domain=DOMAIN, top_level_domain="shop.example")
    client = KameleoonClientFactory.create(SITE_CODE, config)
    assert client.wait_init(20_000), "no configuration"
    active, answers = client.is_feature_active, hashlib.sha256()
    figures = {"import, ms": import_ms}

    fresh = [[f"n{batch:03d}{number:012x}" for number in range(CALLS)] for batch in range(ROUNDS)]
    figures["a new visitor's flag, us"] = per_call_us(lambda code: active(code, "flag-1"), fresh)
    known = [f"k{number:015x}" for number in range(CALLS)]
    for code in known:
        active(code, "flag-1")
    figures["a known visitor's flag, us"] = per_call_us(lambda code: active(code, "flag-1"), [known] * ROUNDS)
    figures["data added, us"] = per_call_us(lambda code: client.add_data(code, CustomData(0, "gold")), [known] * ROUNDS)
    for code in known:
        client.add_data(code, CustomData(1, "12"), CustomData(2, "joe@example.com"))
    figures["with three conditions, us"] = per_call_us(lambda code: active(code, "flag-500"), [known] * ROUNDS)
    figures["all of 101 flags, us"] = per_call_us(client.get_variations, [known[:100]] * ROUNDS)
    for code in known:
        said = {key: variation.key for key, variation in client.get_variations(code).items()}
        answers.update(json.dumps(said, sort_keys=True).encode())

    before, many = memory_bytes(), 50_000
    for number in range(many):
        active(f"m{number:015x}", "flag-1")
    figures["memory for a visitor, bytes"] = (memory_bytes() - before) / many
    print(json.dumps({"figures": figures, "answers": answers.hexdigest()}), flush=True)
    KameleoonClientFactory.forget(SITE_CODE)


main()

"""The public SDK of the service, run as a black box in an environment of its own, against the local server."""

import asyncio
import json
import os
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from kameleoon.server.edits import switch
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PYTHONS = list(filter(None, os.environ.get("KAMELEOON_PUBLIC_SDK_PYTHON", "").split(os.pathsep)))
"""
Interpreters of environments with the package ``kameleoon-client-python``, of any versions from 3.4.0; without one the test is left out.
"""

HOSTS = [f"{name}.kameleoon.test" for name in ("sdk-config", "events", "data", "api")]
HOSTS += ["sdk-config.kameleoon.eu", "events.kameleoon.com", "data.kameleoon.io", "api.kameleoon.com"]
PROJECT = """\
project: {site_code: shop123456, streaming: true}
environments: [production, staging]
custom_data: [{name: plan, index: 1}, {name: audiences, index: 2}]
goals: [{key: purchase, id: 1001}, {key: signup, id: 1002}]
segments: {gold_phones: {all: [{custom_data: plan, is: gold}, {device: phone}]}}
flags:
  checkout: {rules: [{experiment: [off, on], key: test}]}
  gift: {rules: [{deliver: on, to: gold_phones}]}
  values:
    variations:
      off: {}
      on: {variables: {truth: true, count: 4, ratio: 1.5, words: "Grüße <b>", layout: {side: [1, null]}}}
    variables:
      truth: {type: boolean, value: false}
      count: {type: number, value: 3}
      ratio: {type: number, value: 0.5}
      words: {type: string, value: ""}
      layout: {type: json, value: {}}
  later: {default: on, environments: {production: off, staging: on}}
"""
AT_ONCE_S = 1.0
"""A change reaches a streaming client within this time."""


@contextmanager
def tls_entrance(folder, url):
    """A TLS port that passes everything on to the server; gives its number and the file of its certificate."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ",".join(f"DNS:{host}" for host in HOSTS)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kameleoon.test"]
    command += ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    target = int(url.rpartition(":")[2])
    ready, found = threading.Event(), {}

    async def copy(reader, writer):
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def passed_on(reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    async def serve():
        server = await asyncio.start_server(passed_on, "127.0.0.1", 0, ssl=context)
        found.update(port=server.sockets[0].getsockname()[1], loop=asyncio.get_running_loop(), stop=asyncio.Event())
        ready.set()
        await found["stop"].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield found["port"], certificate
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(10)


def comes_true(condition, seconds=15):
    """Whether *condition* comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return condition()


class Sdk:
    """The SDK's process: gives what each step says, and lets it go on. What it complains of is nobody's to read."""

    def __init__(self, python, port, certificate, folder):
        # The SDK's stream goes through proxies of the environment otherwise.
        trusted = {"SSL_CERT_FILE": str(certificate), "REQUESTS_CA_BUNDLE": str(certificate)}
        self._process = subprocess.Popen(
            [python, "-I", "-u", str(Path(__file__).with_name("public_sdk.py")), str(port), "shop123456"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NO_PROXY": "*", "no_proxy": "*", **trusted},
            cwd=folder,
        )
        self._killer = threading.Timer(90, self._process.kill)

    def __enter__(self):
        self._killer.start()
        return self

    def __exit__(self, *_):
        self._killer.cancel()
        with self._process:
            self._process.kill()

    def told(self):
        """What the step under way says at its end."""
        line = self._process.stdout.readline()
        assert line, "the SDK's process ended before it said anything"
        return json.loads(line)

    def go_on(self):
        """Begin the next step."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@pytest.mark.skipif(not PYTHONS, reason="KAMELEOON_PUBLIC_SDK_PYTHON names no environment with the public SDK")
@pytest.mark.parametrize("python", PYTHONS or [""])
def test_the_public_sdk_works_against_the_server(tmp_path, python):
    """It reads its environment's configuration, hears of changes within a second, and what it sends comes back as visits and results."""
    with LocalServer(parse_project(PROJECT)) as server, tls_entrance(tmp_path, server.url) as (port, certificate):
        maps = {"settings": {"size": [1, "é"]}, "visitor0": {"warehouseAudiences": {"vip": 1, "early bird": {}}}}
        stored = requests.post(f"{server.url}/map/maps?siteCode=shop123456", json=maps, timeout=10)
        assert stored.status_code == 204
        with Sdk(python, port, certificate, tmp_path) as sdk:
            first = sdk.told()
            check_configuration(first)
            # A change before the stream is open would go unheard: this SDK does not ask again when it opens.
            assert comes_true(lambda: server._running().main.changed.listeners >= 1)
            for is_on in (True, False, True, False):
                sdk.go_on()
                changed_s = time.time()
                server.publish(switch(server.project, "later", "production", is_on=is_on))
                seen = sdk.told()
                assert seen["is_on"] is is_on
                assert 0 < seen["seen_s"] - changed_s < AT_ONCE_S
            check_tracking(server, first["variations"])
            sdk.go_on()
            check_visitor_data(sdk.told())
            sdk.go_on()
            assert sdk.told() == {"ready": True, "later": True}


def check_configuration(first):
    """Flags, values of every type, and targeting are those of the project."""
    assert (first["ready"], first["gift"]) == (True, [True, False])
    assert first["flags"] == ["checkout", "gift", "later", "values"]
    assert first["values"] == {
        "off": {"truth": False, "count": 3, "ratio": 0.5, "words": "", "layout": {}},
        "on": {"truth": True, "count": 4, "ratio": 1.5, "words": "Grüße <b>", "layout": {"side": [1, None]}},
    }


def check_tracking(server, variations):
    """Every line was taken; visitors, conversions and revenue are counted for the variation that the SDK gave."""
    assert comes_true(lambda: server.results().flag("checkout").rule("test").visitors == 40)
    rule = server.results().flag("checkout").rule("test")
    assert {v.key: v.visitors for v in rule.variations} == {
        key: list(variations.values()).count(key) for key in ("off", "on")
    }
    assert len({*variations.values()}) == 2
    for variation in rule.variations:
        goal = variation.goal("purchase")
        converted = [code for number, code in enumerate(variations) if number % 2 and variations[code] == variation.key]
        assert goal.converted == len(converted)
        back = 1.5 if "visitor1" in converted else 0.0
        assert goal.revenue_total == pytest.approx(2.5 * len(converted) - back)
    events = server.events()
    # Whether a visitor's activity is told depends on when its tracking ran.
    types = {event.type for event in events} - {"activity"}
    assert types == {"staticData", "page", "conversion", "customData", "geolocation", "experiment"}
    counters = server.counters()
    assert (counters["refused"], counters["duplicates"], counters["bots"]) == (0, 0, 0)


def check_visitor_data(last):
    """The visitor's data, a map and the audiences are what was sent and stored."""
    assert last["remote"] == [
        ["Browser", "CHROME", 120.5],
        ["Conversion", 1002, 49.9, False],
        ["CustomData", ["gold", "old friend & = é"]],
        ["Device", "PHONE"],
        ["Geolocation", "France", "Bretagne", "Brest"],
        ["OperatingSystem", "ANDROID"],
        ["PageView", "https://shop.example/cart?a=1&b=2", "Cart é"],
    ]
    assert last["map"] == {"size": [1, "é"]}
    assert last["audience"] == ["early bird", "vip"]

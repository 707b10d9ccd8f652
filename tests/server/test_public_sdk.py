"""The public SDK of the service, run as a black box in an environment of its own, against the local server."""

import asyncio
import json
import os
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from kameleoon.server.edits import switch
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PYTHON = os.environ.get("KAMELEOON_PUBLIC_SDK_PYTHON")
"""Interpreter of an environment with the package ``kameleoon-client-python``; without it the test is left out."""

HOSTS = [f"{name}.kameleoon.test" for name in ("sdk-config", "events", "data", "api")]
PROJECT = """\
project: {site_code: shop123456, streaming: true}
custom_data: [{name: plan, index: 1}]
goals: [{key: purchase, id: 1001}]
segments: {gold_phones: {all: [{custom_data: plan, is: gold}, {device: phone}]}}
flags:
  checkout: {rules: [{experiment: [off, on], key: test}]}
  gift: {rules: [{deliver: on, to: gold_phones}]}
  later: {default: on, environments: {production: off}}
"""


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


@pytest.mark.skipif(PYTHON is None, reason="KAMELEOON_PUBLIC_SDK_PYTHON names no environment with the public SDK")
def test_the_public_sdk_works_against_the_server(tmp_path):
    """It reads the configuration, hears of a change by the stream, and what it sends comes back as visits and results."""
    project = parse_project(PROJECT)
    with LocalServer(project) as server, tls_entrance(tmp_path, server.url) as (port, certificate):
        # The SDK's stream goes through proxies of the environment otherwise.
        environment = {
            **os.environ,
            "NO_PROXY": "*",
            "no_proxy": "*",
            "SSL_CERT_FILE": str(certificate),
            "REQUESTS_CA_BUNDLE": str(certificate),
        }
        script = str(Path(__file__).with_name("public_sdk.py"))
        command = [PYTHON, "-I", "-u", script, str(port), "shop123456"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        ) as sdk:
            killer = threading.Timer(60, sdk.kill)
            killer.start()
            try:
                first = json.loads(sdk.stdout.readline())
                assert (first["ready"], first["gift"]) == (True, True)
                # A change before the stream is open would go unheard: this SDK does not ask again when it opens.
                assert comes_true(lambda: server._running().main.changed.listeners == 1)
                server.publish(switch(replace(project), "later", "production", is_on=True))
                sdk.stdin.write("\n")
                sdk.stdin.flush()
                assert json.loads(sdk.stdout.readline()) == {"streamed": True}
                assert comes_true(lambda: server.results().flag("checkout").rule("test").visitors == 40)
                rule = server.results().flag("checkout").rule("test")
                assert {v.key: v.visitors for v in rule.variations} == {
                    key: list(first["variations"].values()).count(key) for key in ("off", "on")
                }
                assert sum(variation.goal("purchase").converted for variation in rule.variations) == 20
                assert server.counters()["refused"] == 0
                sdk.stdin.write("\n")
                sdk.stdin.flush()
                assert json.loads(sdk.stdout.readline()) == {"remote": ["CustomData", "Device"]}
            finally:
                killer.cancel()
                sdk.kill()

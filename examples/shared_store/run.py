"""
Two gunicorn workers, one store: what is added in one decides a flag in the other.

    python examples/shared_store/run.py                                   # starts a redis-server of its own
    python examples/shared_store/run.py --redis redis://127.0.0.1:6379/0

Needs ``gunicorn``, the extra ``redis``, and ``redis-server`` unless the address of one is given. Ends with 0 when every visitor got
his answer from the worker that was told nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from kameleoon.server.serve import LocalServer

HERE = Path(__file__).parent
PROJECT = HERE.parents[1] / "sample-config" / "demo-project.yaml"
VISITORS = 5


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(stack: ExitStack, command: list[str], port: int, **settings: object) -> None:
    """Run *command* until the end of *stack*, and wait until it listens on *port*."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **settings)  # type: ignore[call-overload]  # noqa: S603 - our own
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.5).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} did not start") from None
            time.sleep(0.05)
        else:
            return


def ask(url: str, other_than: int | None = None) -> dict[str, object]:
    """Give the answer of a worker, of another one than *other_than*; each request goes to whichever is free."""
    for _ in range(500):
        with urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
            told: dict[str, object] = json.load(answer)
        if told["worker"] != other_than:
            return told
    raise SystemExit("the other worker never answered")


def main() -> int:
    """Play it; gives the exit code."""
    parser = argparse.ArgumentParser(description="Two workers, one visitor store.")
    parser.add_argument("--redis", help="address of a Redis; one of our own is started without it")
    redis_url = parser.parse_args().redis
    with ExitStack() as stack:
        if redis_url is None:
            binary = shutil.which("redis-server")
            if binary is None:
                parser.error("there is no redis-server here: give the address of one with --redis")
            port = free_port()
            start(stack, [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], port)
            redis_url = f"redis://127.0.0.1:{port}/0"
        server = stack.enter_context(LocalServer(PROJECT))
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--workers",
            "2",
            "--bind",
            f"127.0.0.1:{port}",
            "application:application",
        ]
        settings = {**os.environ, "SHOP_BACKEND": server.url, "SHOP_REDIS": redis_url}
        start(stack, command, port, cwd=HERE, env=settings, stderr=subprocess.DEVNULL)
        right = 0
        for number in range(VISITORS):
            visitor = f"visitor-{number}"
            before = ask(f"http://127.0.0.1:{port}/cart?visitor={visitor}")
            told = ask(f"http://127.0.0.1:{port}/login?visitor={visitor}")
            other = ask(f"http://127.0.0.1:{port}/cart?visitor={visitor}", other_than=int(str(told["worker"])))
            right += before["free_shipping"] is False and other["free_shipping"] is True
            shipping = "free" if other["free_shipping"] else "not free"
            print(
                f"{visitor}: worker {told['worker']} learnt that he is gold, worker {other['worker']} ships {shipping}"
            )
        print(f"{right} of {VISITORS} visitors were decided by what another worker had learnt")
        return 0 if right == VISITORS else 1


if __name__ == "__main__":
    sys.exit(main())

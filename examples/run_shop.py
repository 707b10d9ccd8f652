"""
Starts one of the shops, with the local server behind it, until Ctrl+C.

    python examples/run_shop.py django             # under gunicorn with two workers
    python examples/run_shop.py flask --preload    # the same, the application loaded before the workers start
    python examples/run_shop.py fastapi            # under uvicorn with uvloop
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from kameleoon.server.serve import LocalServer

HERE = Path(__file__).parent
PROJECT = HERE.parent / "sample-config" / "demo-project.yaml"


def command(shop: str, port: int, *, preload: bool) -> list[str]:
    """Give the command that serves *shop* on *port*; 0 takes a free one."""
    python = [sys.executable, "-m"]
    if shop == "fastapi":
        return [*python, "uvicorn", "shop:app", "--loop", "uvloop", "--port", str(port), "--no-access-log"]
    application = {"django": "shop:application", "flask": "shop:app"}[shop]
    server = [*python, "gunicorn", application, "--workers", "2", "--threads", "4", "--bind", f"127.0.0.1:{port}"]
    server += ["--keep-alive", "1"]  # seconds; a shop that is stopped waits for idle connections that long
    return [*server, "--preload"] if preload else server


def main() -> int:
    """Run until the shop ends; gives its exit code."""
    parser = argparse.ArgumentParser(description="Starts one of the shops, until Ctrl+C.")
    parser.add_argument("shop", choices=["django", "flask", "fastapi"])
    parser.add_argument("--preload", action="store_true", help="gunicorn loads the application before it forks")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--backend", help="URL of a service that runs already, in place of a local server")
    given = parser.parse_args()
    with contextlib.ExitStack() as opened:
        backend = given.backend or opened.enter_context(LocalServer(PROJECT)).url
        # Both workers of the Django shop must sign with the same key.
        environment = {**os.environ, "KAMELEOON_BASE_URL": backend, "SECRET_KEY": os.urandom(32).hex()}
        print(f"Flags and results: {backend}", flush=True)
        shop = subprocess.Popen(  # noqa: S603 - a command of our own
            command(given.shop, given.port, preload=given.preload), cwd=HERE / f"{given.shop}_shop", env=environment
        )
        signal.signal(signal.SIGTERM, lambda *_: shop.terminate())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the shop gets it too, and its end is waited for
        code = shop.wait()
    return 0 if code in (-signal.SIGTERM, -signal.SIGINT) else code


if __name__ == "__main__":
    sys.exit(main())

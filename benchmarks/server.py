"""
How much the local server holds: tracking lines per second over HTTP, and the result page over millions of stored events.

    python benchmarks/server.py lines --seconds 30
    python benchmarks/server.py page --events 10000000

`lines` starts ``kameleoon serve`` as a process of its own with a database file and sends a given number of lines each second; at the
end every line must have been stored. `page` fills a database with events as requests bring them, then asks for the pages.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

import requests
from tqdm import tqdm

from kameleoon.server.lines import parse_lines
from kameleoon.server.project_file import read_project
from kameleoon.server.storage import Storage

DEMO = Path(__file__).parents[1] / "sample-config" / "demo-project.yaml"
FLAG, RULE = "checkout_design", "spring_test"
LINES_PER_REQUEST = 100
DAY_MS = 86_400_000


def main() -> int:
    """Run one of the two; 1 when something was lost or is too slow."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    commands = parser.add_subparsers(dest="command", required=True)
    lines = commands.add_parser("lines", help="tracking lines per second over HTTP")
    lines.add_argument("--rate", type=int, default=2000, help="lines per second")
    lines.add_argument("--seconds", type=int, default=30)
    page = commands.add_parser("page", help="the result page over many stored events")
    page.add_argument("--events", type=int, default=10_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "events.sqlite"
        if arguments.command == "lines":
            return _lines(database, arguments.rate, arguments.seconds)
        return _page(database, arguments.events)


class Traffic:
    """Lines as a shop of the demo project sends them: visitors with an exposure, pages and some orders."""

    def __init__(self, seed: int = 1) -> None:
        project = read_project(DEMO)
        rule = next(flag for flag in project.flags if flag.key == FLAG).rules[0]
        self.site_code = project.site_code
        self._experiment = rule.experiment_id
        self._variations = [share.variation_id for share in rule.shares]
        self._random = random.Random(seed)
        self._visitors = 0

    def body(self, lines: int, time_ms: int | None = None) -> str:
        """A body of *lines* lines, of a fifth as many visitors; without a time it is that of arrival."""
        written: list[str] = []
        when = "" if time_ms is None else f"&time={time_ms}"
        while len(written) < lines:
            self._visitors += 1
            common = f"visitorCode=v{self._visitors:09d}{when}"
            variation = self._random.choice(self._variations)
            parts = [
                f"eventType=experiment&id={self._experiment}&variationId={variation}",
                "eventType=staticData&deviceType=PHONE&browserIndex=0",
                "eventType=customData&index=1&valuesCountMap=%7B%22gold%22%3A1%7D&overwrite=true",
                "eventType=page&href=https%3A%2F%2Fshop.example%2Fcart&title=Cart",
                f"eventType=conversion&goalId=1001&revenue={self._random.randrange(10, 90)}&negative=false"
                if self._random.random() < 0.3
                else "eventType=page&href=https%3A%2F%2Fshop.example%2F&title=Shop",
            ]
            written += [f"nonce={self._random.getrandbits(64):016X}&{part}&{common}" for part in parts]
        return "\n".join(written[:lines])


class Server:
    """``kameleoon serve`` in a process of its own."""

    def __init__(self, database: Path) -> None:
        command = [sys.executable, "-m", "kameleoon", "serve", str(DEMO), "--port", "0", "--database", str(database)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"at (http://\S+)", self.process.stdout.readline())
        assert found is not None
        self.url = found[1]
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.process.terminate()
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Processor time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


def _lines(database: Path, rate: int, seconds: int) -> int:
    traffic = Traffic()
    requests_per_second = rate // LINES_PER_REQUEST
    sent, waits = 0, []
    with Server(database) as server:
        bodies = [traffic.body(LINES_PER_REQUEST).encode() for _ in range(requests_per_second * seconds)]
        began, used = time.monotonic(), server.cpu_seconds()
        for number, body in enumerate(tqdm(bodies, unit=" requests", mininterval=1)):
            due = began + number / requests_per_second
            time.sleep(max(0.0, due - time.monotonic()))
            asked = time.monotonic()
            answer = server.session.post(
                f"{server.url}/visit/events?siteCode={traffic.site_code}&bodyUa=true", data=body, timeout=30
            )
            waits.append(time.monotonic() - asked)
            sent += LINES_PER_REQUEST if answer.status_code == 204 else 0
        took, used = time.monotonic() - began, server.cpu_seconds() - used
        stored = server.session.get(f"{server.url}/health", timeout=30).json()["counters"]["stored"]
    waits.sort()
    print(f"{sent:,} lines in {took:.1f} s: {sent / took:,.0f} lines per second; stored {stored:,}")
    print(f"answers: median {waits[len(waits) // 2] * 1000:.1f} ms, slowest {waits[-1] * 1000:.1f} ms")
    print(f"the server used {used / took:.0%} of one core")
    return 0 if stored == len(bodies) * LINES_PER_REQUEST and sent / took > 0.98 * rate else 1


def _page(database: Path, events: int) -> int:
    traffic = Traffic()
    storage = Storage(database)
    now_ms = int(time.time() * 1000)
    per_request = 5000
    began = time.monotonic()
    for done in tqdm(range(0, events, per_request), unit_scale=per_request, unit=" events", mininterval=5):
        time_ms = now_ms - int((1 - done / events) * 30 * DAY_MS)
        storage.add(traffic.site_code, parse_lines(traffic.body(per_request, time_ms)))
    took = time.monotonic() - began
    storage.close()
    print(f"{events:,} events over 30 days stored in {took:,.0f} s: {events / took:,.0f} per second")
    print(f"the database has {database.stat().st_size / 1e9:.2f} GB")
    slowest = 0.0
    with Server(database) as server:
        for path in (
            "/",
            f"/page/experiment?flag={FLAG}&rule={RULE}",
            f"/page/flag?key={FLAG}",
            "/results",
            "/page/live",
        ):
            times = []
            for _ in range(3):
                asked = time.monotonic()
                answer = server.session.get(server.url + path, timeout=60)
                times.append(time.monotonic() - asked)
                assert answer.status_code == 200, answer.text
            slowest = max(slowest, *times)
            print(f"{path}: {', '.join(f'{value * 1000:.0f}' for value in times)} ms")
    return 0 if slowest < 1 else 1


if __name__ == "__main__":
    sys.exit(main())

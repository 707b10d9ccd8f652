"""
Kill processes at random moments under load, and count what arrived: ``python tests/tracking/kill_harness.py --kills 200``.

Two processes at a time share one data directory and send to a service that is slow now and then, fails, and hangs up without an
answer. Each writes down an event once the flush it was handed to is finished. At the end every event written down must have been
taken, and none may have two nonces: an event whose first sending was answered to nobody is repeated as it was. The same holds for what a
webhook is told of them.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from event_sink import SOURCE, Sink

_TIMEOUT_MS = 500
_VISITORS = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What a run found.

    Attributes:
        kills: Processes that were killed.
        finished: Events whose flush was finished.
        missing: Those of them that the service never took.
        renamed: Events that it took with more than one nonce.
        repeated: Events that it took more than once with the same nonce, as nobody had heard the first answer.
        requests: Requests it was sent.
        pending: Events left on disk at the end.
        untold: Events of a finished flush that the webhook was never told.
        retold: Events that it was told under more than one id.
    """

    kills: int
    finished: int
    missing: int
    renamed: int
    repeated: int
    requests: int
    pending: int
    untold: int
    retold: int


class Nursery:
    """A process that has everything imported and makes the processes to be killed, each within milliseconds."""

    def __init__(self, url: str, data_dir: str) -> None:
        self.finished: set[int] = set()
        self._read, write = os.pipe()
        command = [sys.executable, __file__, "--nursery", url, data_dir, str(write)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[write]
        )
        os.close(write)
        self._rest = b""

    def start(self, what: str, first: int) -> int:
        """Start a process; gives its id."""
        self._process.stdin.write(f"{what} {first}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def listen(self, seconds: float) -> int:
        """Take down what becomes finished meanwhile; gives how many events that are."""
        before = len(self.finished)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) >= 0:
            if not select.select([self._read], [], [], left)[0]:
                break
            *whole, self._rest = (self._rest + os.read(self._read, 65536)).split(b"\n")
            self.finished.update(int(number) for number in whole)
        return len(self.finished) - before

    def close(self) -> str:
        """Have the events sent that are left; gives the process's last words."""
        self._process.stdin.write("drain 0\n")
        self._process.stdin.flush()
        self._process.stdin.close()
        words = self._process.stdout.read()
        self._process.wait()
        self._process.stdout.close()
        os.close(self._read)
        return words


def run(kills: int, seed: int) -> Outcome:
    """Kill *kills* processes, then let one live until all is sent."""
    chance = random.Random(seed)

    def answer(_lines: list[str]) -> int | None:
        dice = chance.random()
        time.sleep(chance.uniform(0, 0.02))
        return 503 if dice < 0.05 else None if dice < 0.1 else 204

    with tempfile.TemporaryDirectory() as data_dir, Sink(answer) as sink:
        nursery = Nursery(sink.url, data_dir)
        first = 0
        alive = []
        for _ in range(kills + 1):
            first += 1_000_000
            alive.append(nursery.start("work", first))
            if len(alive) == 2:
                # At any moment: before the first event, between two steps of a write, while an answer is on its way.
                nursery.listen(chance.uniform(0, 0.3))
                os.kill(alive.pop(0), signal.SIGKILL)
        os.kill(alive.pop(), signal.SIGKILL)
        nursery.listen(0.2)
        sink.answer = lambda _lines: 204
        pending = int(nursery.close().split()[-1])
        nonces = defaultdict(list)
        for fields in sink.taken("conversion"):
            nonces[int(fields["goalId"])].append(fields["nonce"])
        ids = defaultdict(set)
        for event in sink.hooked:
            if event["type"] == "conversion":
                ids[int(event["goal_id"])].add(event["event_id"])
        return Outcome(
            kills=kills + 1,
            finished=len(nursery.finished),
            missing=len(nursery.finished - set(nonces)),
            renamed=sum(len(set(found)) > 1 for found in nonces.values()),
            repeated=sum(len(found) > 1 for found in nonces.values()),
            requests=len(sink.posted),
            pending=pending,
            untold=len(nursery.finished - set(ids)),
            retold=sum(len(found) > 1 for found in ids.values()),
        )


def _nursery(url: str, data_dir: str, journal: int) -> None:
    import kameleoon._tracking.disk
    import kameleoon._tracking.queues
    import kameleoon._transport.requests_wire  # so that children need not

    kameleoon._tracking.queues.LEASE_S = 3.0  # nobody wants to wait a minute for what a dead process had

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for order in sys.stdin:
        what, first = order.split()
        if what == "drain":
            print(_drain(url, data_dir), flush=True)
            return
        pid = os.fork()
        if pid == 0:
            try:
                _work(url, data_dir, int(first), journal)
            finally:
                os._exit(1)
        print(pid, flush=True)


def _client(url: str, data_dir: str):
    from kameleoon import KameleoonClient, KameleoonClientConfig
    from kameleoon.destinations import Webhook

    config = KameleoonClientConfig(
        "id",
        "secret",
        base_url=url,
        source=SOURCE,
        data_dir=data_dir,
        default_timeout_millisecond=_TIMEOUT_MS,
        top_level_domain="localhost",
        destinations=[Webhook(f"{url}/hook", "secret")],
    )
    return KameleoonClient("sink", config)


def _work(url: str, data_dir: str, first: int, journal: int) -> None:
    client = _client(url, data_dir)

    def track(first: int) -> None:
        for number in range(first, first + 500_000):
            code = f"v{first}-{number % _VISITORS}"
            client.get_variation(code, "flag")
            client.track_conversion(code, number)
            match number % 4:
                case 0:
                    client.flush(code)
                case 1:
                    client.flush()
                case 2:
                    client.flush(code, instant=True)
                case _:
                    client.flush(timeout=0.05)
            os.write(journal, b"%d\n" % number)

    threading.Thread(target=track, args=(first + 500_000,), daemon=True).start()
    track(first)


def _drain(url: str, data_dir: str) -> int:
    client = _client(url, data_dir)
    end = time.monotonic() + 60
    while not (result := client.flush(timeout=1.0)).is_complete and time.monotonic() < end:
        time.sleep(0.1)
    client.close()
    return result.pending + sum(one.pending for one in result.destinations.values())


def main() -> None:
    """Run as asked on the command line."""
    parser = argparse.ArgumentParser(description="Kill processes under load and count what arrived.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--nursery", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.nursery:
        _nursery(given.nursery[0], given.nursery[1], int(given.nursery[2]))
    else:
        print(run(given.kills, given.seed))


if __name__ == "__main__":
    main()

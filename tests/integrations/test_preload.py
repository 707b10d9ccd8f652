"""gunicorn --preload with a client that exists, with an event of its own, before the workers are forked."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

import pytest

from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.server.serve import LocalServer

HERE = Path(__file__).parent
PROJECT = HERE.parents[1] / "sample-config" / "demo-project.yaml"
ENOUGH = 200


def ask(port, number):
    """Make a request on a connection of its own; gives the worker's id and what it said."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/", headers={"Cookie": f"{VISITOR_COOKIE}=visitor-{number}", "Connection": "close"})
    worker, said = connection.getresponse().read().decode().split(" ", 1)
    connection.close()
    return int(worker), said


@pytest.mark.parametrize("wait", ["0", "1"], ids=["not ready", "ready"])
def test_every_event_arrives_once(wait):
    """Master and workers send what is theirs, once each, and the workers have flags though the master made the client."""
    with LocalServer(PROJECT) as backend:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "preloaded_application:application", "--preload"),
                *("--workers", "2", "--bind", "127.0.0.1:0"),
            ],
            cwd=HERE,
            env={**os.environ, "BACKEND": backend.url, "WAIT": wait},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            port = next(int(found[1]) for line in process.stderr if (found := re.search(r"127\.0\.0\.1:(\d+)", line)))
            asked, number = {}, 0
            while number < ENOUGH and len(asked) < 2:
                worker, said = ask(port, number)
                assert said == "True"
                asked.setdefault(worker, []).append(number)
                number += 1
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                _, said = process.communicate(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                pytest.fail(process.communicate()[1])
        assert process.returncode == 0, said
        assert "Traceback" not in said, said
        assert len(asked) == 2
        orders = [event for event in backend.events() if event.type == "conversion"]
    expected = Counter({("master", 1.0): 1})
    expected.update((f"visitor-{number}", float(worker)) for worker, numbers in asked.items() for number in numbers)
    assert Counter((event.visitor, float(event.parameters["revenue"])) for event in orders) == expected

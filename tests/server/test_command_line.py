"""The command line, as a process: it serves until it is told to stop, and says in one line what it cannot use."""

import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from kameleoon.server.project_file import read_project
from kameleoon.server.serve import LocalServer

DEMO = str(Path(__file__).parents[2] / "sample-config" / "demo-project.yaml")


def kameleoon(*arguments):
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "kameleoon", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_until_a_signal(tmp_path, number):
    """The server announces its URL, serves, stores into its file, and ends with 0 at SIGINT and SIGTERM without a word."""
    database = tmp_path / "events.sqlite"
    command = [
        sys.executable,
        "-m",
        "kameleoon",
        "serve",
        DEMO,
        "--port",
        "0",
        "--database",
        str(database),
        "--environment",
        "staging",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        announced = process.stdout.readline()
        url = re.search(r"Serving demoshop01 at (http://127\.0\.0\.1:\d+) ", announced).group(1)
        flags = {
            flag["featureKey"]: flag for flag in requests.get(f"{url}/v3/demoshop01", timeout=10).json()["featureFlags"]
        }
        assert flags["recommendations"]["environmentEnabled"] is False
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert database.exists()


def test_export_writes_what_was_changed(tmp_path):
    """`export` gives the project of a running server and of a database, to a file and to standard output."""
    project = read_project(DEMO)
    changed = replace(project, name="Changed")
    database = str(tmp_path / "events.sqlite")
    with LocalServer(project, database=database) as server:
        server.publish(changed)
        output = tmp_path / "out.yaml"
        result = kameleoon("export", "--url", server.url, "--output", str(output))
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert read_project(output) == changed
    assert kameleoon("export", "--database", database).stdout == output.read_text(encoding="utf-8")
    for arguments in (("--url", server.url), ("--database", str(tmp_path / "none")), ("--database", str(output))):
        result = kameleoon("export", *arguments)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("kameleoon export: ")


def test_export_goes_round_proxies(monkeypatch):
    """A proxy of the machine is for the world outside, not for a server on this machine."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with LocalServer(read_project(DEMO)) as server:
        result = kameleoon("export", "--url", server.url)
    assert (result.returncode, result.stderr) == (0, "")


def test_faults_are_asked_for_on_the_command_line():
    """`--fail` and `--latency` let about as many requests of SDKs go wrong as was said, late, and never the page."""
    command = [sys.executable, "-m", "kameleoon", "serve", DEMO, "--port", "0", "--latency", "20"]
    command += ["--fail", "503:0.4", "--fail", "reset:0.3"]
    outcomes = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = re.search(r"at (http://\S+)", process.stdout.readline()).group(1)
            began = time.monotonic()
            for _ in range(60):
                try:
                    outcomes.append(requests.get(f"{url}/v3/demoshop01", timeout=10).status_code)
                except requests.ConnectionError:
                    outcomes.append("reset")
            took = time.monotonic() - began
            pages = {requests.get(url, timeout=10).status_code for _ in range(10)}
        finally:
            process.terminate()
    assert took >= 60 * 0.02
    assert pages == {200}
    counts = [outcomes.count(outcome) for outcome in (200, 503, "reset")]
    assert sum(counts) == 60
    assert all(4 <= count <= 45 for count in counts), counts


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "kameleoon: the following arguments are required: COMMAND"),
        (("play",), "kameleoon: argument COMMAND: invalid choice: 'play'"),
        (("serve",), "kameleoon serve: the following arguments are required: PROJECT.yaml"),
        (("serve", DEMO, "--port", "many"), "kameleoon serve: argument --port: 'many' is no port, expected 0 to 65535"),
        (("serve", DEMO, "--port", "65536"), "'65536' is no port"),
        (("serve", DEMO, "--environment", "prod"), "has no 'prod'; it has production, staging"),
        (("serve", "nowhere.yaml"), "kameleoon serve: nowhere.yaml: cannot be read: No such file or directory"),
        (("serve", "/"), "kameleoon serve: /: cannot be read: Is a directory"),
        (("serve", DEMO, "--database", "/nowhere/x.sqlite"), "kameleoon serve: /nowhere/x.sqlite: cannot be opened"),
        (("serve", DEMO, "--database", DEMO, "--port", "0"), "cannot be used as a database: file is not a database"),
        (("serve", DEMO, "--host", "192.0.2.1", "--port", "0", "--token", "t"), "serve: 192.0.2.1:0: cannot listen: "),
        (
            ("serve", DEMO, "--host", "0.0.0.0"),
            "kameleoon serve: 0.0.0.0: can be reached by other machines, so page and API",
        ),
        (
            ("serve", DEMO, "--fail", "200:1"),
            "kameleoon serve: --fail: '200:1' is no fault such as 500:0.2 or reset:0.1",
        ),
        (("serve", DEMO, "--fail", "500:0.7", "--fail", "reset:.7"), "--fail: the faults are more than all requests"),
        (("serve", DEMO, "--latency", "-1"), "argument --latency: "),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(arguments, message):
    """A wrong argument gives one line on standard error and exit code 2, without a traceback."""
    done = kameleoon(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_mistake_in_the_project_is_located(tmp_path):
    """A mistake in the project file is given with file, line, column and key path."""
    path = tmp_path / "shop.yaml"
    path.write_text("project: {site_code: shop123456}\nflags:\n  checkout: {default: of}\n")
    done = kameleoon("serve", str(path))
    assert done.returncode == 2
    assert done.stderr == (
        f"kameleoon serve: {path}:3:23: flags.checkout.default: this flag has no variation 'of';"
        " did you mean 'off'? expected one of off, on\n"
    )


def test_a_port_in_use_is_named():
    """A taken port gives one line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = kameleoon("serve", DEMO, "--port", str(port))
    assert done.returncode == 2
    assert (
        done.stderr
        == f"kameleoon serve: 127.0.0.1:{port}: the port is in use; choose another with --port, or 0 for a free one\n"
    )


def test_help_and_version():
    """Help and version end with 0 and need no server."""
    assert "--database FILE" in kameleoon("serve", "--help").stdout
    assert kameleoon("--version").stdout.startswith("kameleoon 1.")
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, kameleoon.__main__; print('aiohttp' in sys.modules, 'argparse' in sys.modules)",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert loaded.stdout.split()[0] == "False"


def test_nothing_that_was_answered_is_lost_by_a_kill(tmp_path):
    """Every line answered with 204 is in the database after SIGKILL in the middle of traffic, and the next server goes on with it."""
    database = tmp_path / "events.sqlite"
    command = [sys.executable, "-m", "kameleoon", "serve", DEMO, "--port", "0", "--database", str(database)]
    answered = []
    enough = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = re.search(r"at (http://\S+)", process.stdout.readline()).group(1)

        def send(sender):
            with requests.Session() as session:
                for number in range(100_000):
                    nonce = f"{sender:08X}{number:08X}"
                    line = f"nonce={nonce}&eventType=page&href=u&visitorCode=v{number % 50}"
                    try:
                        answer = session.post(f"{url}/visit/events?siteCode=demoshop01", data=line, timeout=10)
                    except requests.RequestException:
                        return
                    if answer.status_code == 204:
                        answered.append(nonce)
                    if len(answered) >= 200:
                        enough.set()

        senders = [threading.Thread(target=send, args=(sender,)) for sender in range(3)]
        for sender in senders:
            sender.start()
        assert enough.wait(30)
        process.kill()
        for sender in senders:
            sender.join(30)
    with closing(sqlite3.connect(database)) as connection:
        stored = {nonce for (nonce,) in connection.execute("SELECT nonce FROM events")}
    assert stored >= set(answered)
    with LocalServer(DEMO, database=database) as server:
        assert server.counters()["stored"] == len(stored)

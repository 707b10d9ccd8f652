"""The demo, as the process that a new user starts: it checks itself, ends by itself, and says in one line what it cannot use."""

import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from kameleoon.server.project_file import read_project
from kameleoon.server.results import build_results
from kameleoon.server.stored import GoalTotals, VariationTotals

ROOT = Path(__file__).parents[2]
PLAY = ROOT / "examples" / "demo" / "play.py"
PROJECT = ROOT / "sample-config" / "demo-project.yaml"

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("KAMELEOON_")}


def play(*arguments, **environment):
    """Run the demo to its end."""
    return subprocess.run(
        [sys.executable, str(PLAY), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=ENVIRONMENT | environment,
    )


@contextmanager
def playing(*arguments, **streams):
    """The demo while it runs; killed if the test fails meanwhile."""
    command = [sys.executable, "-u", str(PLAY), *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
    with subprocess.Popen(command, text=True, env=ENVIRONMENT, **streams) as process:
        try:
            yield process
        finally:
            process.kill()  # does nothing to a process that has ended and was waited for


def figures(out, pattern):
    """The numbers of the one line that matches *pattern*."""
    (found,) = re.findall(pattern, out, re.MULTILINE)
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]+", found)]


@pytest.fixture(scope="module")
def played():
    """A run with a few hundred visitors, in a directory of its own and behind a proxy that is not there."""
    return play("--visitors", "300", HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")


def test_it_agrees_and_ends_with_0(played):
    """The run ends with 0; standard error has the progress and nothing else."""
    assert played.returncode == 0, played.stderr
    assert played.stdout.endswith("\nEverything agrees.\n")
    assert played.stderr.splitlines() == [f"  {count} of 300 visitors are through" for count in (75, 150, 225, 300)]


def test_no_event_is_lost(played):
    """Events produced, sent and stored are as many, and none is lost."""
    (produced,) = figures(played.stdout, r"^produced by the client +([\d,]+)$")
    assert produced > 300
    assert figures(played.stdout, r"^sent, accepted by the server +([\d,]+) ") == [produced]
    assert figures(played.stdout, r"^received and stored +([\d,]+) ") == [produced]
    assert figures(played.stdout, r"^lost +([\d,]+)$") == [0]


def test_results_have_every_variation(played):
    """Each variation of each rule has visitors, buyers and revenue, and the comparisons an interval."""
    orders = played.stdout.split("\nORDERS\n")[1].split("\nNEWSLETTER\n")[0]
    rows = dict(re.findall(r"^  (\w+) +(\d.*)$", orders, re.MULTILINE))
    assert list(rows) == ["classic", "one_page", "express", "on", "off"]
    for row in rows.values():
        assert re.match(r"\d+ +\d+ +\d+ +\d+\.\d% +[\d,]+\.\d\d  ", row)
    assert rows["classic"].endswith("reference")
    assert re.search(r"[+-]\d+\.\d%  \([+-]\d+\.\d% to [+-]\d+\.\d%\)", rows["express"])
    assert "recommendations: no rule, nothing to compare; 300 saw 'on'" in orders


def test_output_fits_a_terminal(played):
    """No line is longer than 100 columns, and all is ASCII, so that it can be read anywhere."""
    assert max(map(len, played.stdout.splitlines())) <= 100
    assert played.stdout.isascii()


def test_tables_of_a_large_run_fit_too(monkeypatch):
    """Hundreds of thousands of visitors, large revenue and settled comparisons keep within 100 columns."""
    monkeypatch.syspath_prepend(PLAY.parent)
    from report import result_lines, verdict_lines

    project = read_project(PROJECT)
    (rule,) = next(flag for flag in project.flags if flag.key == "checkout_design").rules
    totals = {
        rule.experiment_id: {
            share.variation_id: VariationTotals(100_000, {1001: GoalTotals(converted, 99_999, 1e7, 1e10)})
            for share, converted in zip(rule.shares, (40_000, 99_000, 10_000), strict=True)
        }
    }
    results = build_results(project, totals)
    lines = list(result_lines(results, "purchase", people="buyers", acts="orders"))
    assert [line.split()[-1] for line in lines[3:6]] == ["reference", "better", "worse"]
    lines += verdict_lines(results, "purchase", acts="buyers")
    assert max(map(len, lines)) <= 100
    assert lines[-2].startswith("checkout_design: one_page wins with +147.5% buyers, ")


def test_a_terminal_gets_a_progress_bar():
    """On a terminal a bar of its width runs, instead of lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    with playing("--visitors", "20", stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while chunk := _read(ours):
            shown += chunk
        process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert b"playing:   0%|" in shown
    assert b"are through" not in shown
    assert max(map(len, shown.decode().split("\r"))) <= 100


def _read(terminal):
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when the other side was closed
        return b""


def test_nothing_is_left_running(played):
    """Nothing listens any more at the two addresses that were printed."""
    ports = re.findall(r"http://127\.0\.0\.1:(\d+)", played.stdout)
    assert len(ports) == 2
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), timeout=5)


def test_a_second_run_gives_the_same_results(played):
    """The visitors and what they see and do are drawn from a seed: two runs count the same."""
    tables = [
        out.split("\nORDERS\n")[1].split("\nEVENTS\n")[0] for out in (played.stdout, play("--visitors", "300").stdout)
    ]
    assert tables[0] == tables[1]


def test_one_visitor_is_enough():
    """With a single visitor nothing can be said of uplifts, and nothing breaks."""
    done = play("--visitors", "1")
    assert (done.returncode, "not yet known" in done.stdout) == (0, True), done.stderr


def test_a_difference_is_told(tmp_path):
    """When events do not arrive the demo names what differs, and ends with 1."""
    script = tmp_path / "losing.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(PLAY.parent)!r})\n"
        "import play\n"
        "from kameleoon.server.storage import Storage\n"
        "class Forgetful(Storage):\n"
        "    def add(self, site, body):\n"
        "        kept = [event for event in body.events if event.type != 'conversion']\n"
        "        super().add(site, type(body)(tuple(kept), body.refused))\n"
        "import kameleoon.server.serve\n"
        "kameleoon.server.serve.Storage = Forgetful\n"
        "sys.exit(play.main(['--visitors', '60']))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=90, check=False, env=ENVIRONMENT
    )
    assert done.returncode == 1
    assert "Everything agrees" not in done.stdout
    assert re.search(
        r"^demo: converted .*: checkout_design, rule spring_test, classic, purchase, converted:"
        r" the server counted 0, the visitors \d+$",
        done.stderr,
        re.MULTILINE,
    )
    assert re.search(r"^demo: events on their way.*: \d+ lost$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_keep_serves_until_a_signal(number):
    """With --keep both addresses answer, for browsers too, until SIGINT or SIGTERM, and the exit code is 0."""
    with playing("--visitors", "20", "--keep") as process:
        out = ""
        while "Ctrl+C" not in out:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            out += line
        server, shop = re.search(r"^Results: (\S+)    Shop: (\S+)    Ctrl\+C ends both$", line).groups()
        assert requests.get(f"{server}/health", timeout=10).json()["counters"]["refused"] == 0
        with requests.Session() as browser:
            first = browser.get(shop, timeout=10)
            assert first.status_code == 200, first.text
            cart = browser.get(f"{shop}/cart", params={"item": "lamp"}, timeout=10)
            assert 'data-flag="checkout_design"' in cart.text
            assert "You paid 68.90 EUR" in browser.post(f"{shop}/order", data={"item": "lamp"}, timeout=10).text
            assert browser.get(f"{shop}/cart", params={"item": "<yacht>"}, timeout=10).status_code == 400
            assert browser.cookies["kameleoonVisitorCode"]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    assert "Traceback" not in errors
    for url in (server, shop):
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)


def test_an_interruption_ends_the_run():
    """A signal before the end stops the visitors; one line says that nothing was compared."""
    with playing("--visitors", "100000") as process:
        while "  shop" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "demo: interrupted before its end, nothing was compared\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--visitors", "100001"), "'100001' is no number of visitors"),
        (("--visitors", "many"), "'many' is no number of visitors"),
        (("--port", "65536"), "demo: argument --port: '65536' is no port, expected 0 to 65535"),
        (("--shop-port", "-1"), "demo: argument --shop-port: "),
        (("--speed", "9"), "demo: unrecognized arguments: --speed 9"),
        (("--project", "/"), "demo: /: cannot be read: Is a directory"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(arguments, message, monkeypatch, capsys):
    """A wrong argument gives one line on standard error and exit code 2."""
    monkeypatch.syspath_prepend(PLAY.parent)
    from play import main

    assert main(arguments) == 2
    out, errors = capsys.readouterr()
    assert message in errors
    assert (out, len(errors.splitlines())) == ("", 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--visitors", "0"),
            "demo: argument --visitors: '0' is no number of visitors, expected 1 to 100000 (see --help)\n",
        ),
        (("--project", "nowhere.yaml"), "demo: nowhere.yaml: cannot be read: No such file or directory\n"),
    ],
)
def test_the_process_ends_with_2_and_one_line(arguments, message):
    """As a process too: one line, no traceback, exit code 2."""
    done = play(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


@pytest.mark.parametrize("option", ["--port", "--shop-port"])
def test_a_port_in_use_is_named(option):
    """A taken port gives one line that names it, and nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = play(option, str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"demo: 127.0.0.1:{port}: the port is in use; choose another with {option}, or 0 for a free one\n"
    )


def test_a_project_without_what_the_shop_uses_is_refused(tmp_path):
    """A project that lacks a goal, a flag or a variable of the shop is refused, a line for each."""
    path = tmp_path / "shop.yaml"
    text = PROJECT.read_text()
    path.write_text(text.replace("id: 1002", "id: 1003").replace("  new_payment:", "  old_payment:"))
    done = play("--project", str(path))
    assert done.returncode == 2
    assert done.stderr == (
        f"demo: {path}: the demo shop needs the flag 'new_payment'\n"
        f"demo: {path}: the demo shop needs the goal 'newsletter' with the id 1002\n"
    )


def test_another_project_is_played(tmp_path):
    """Other shares, a delivery before an experiment and a flag switched off are counted right as well."""
    path = tmp_path / "shop.yaml"
    text = PROJECT.read_text()
    text = text.replace("{classic: 34%, one_page: 33%, express: 33%}", "{classic: 10%, one_page: 80%, express: 10%}")
    text = text.replace("environments: {production: on, staging: off}", "environments: {production: off, staging: on}")
    text = text.replace(
        "    rules:\n      - experiment: {off: 50%",
        "    rules:\n      - deliver: on\n        to: loyal_on_the_move\n      - experiment: {off: 50%",
    )
    path.write_text(text)
    done = play("--visitors", "150", "--project", str(path))
    assert (done.returncode, done.stderr.count("\n")) == (0, 4), done.stderr
    assert "new_payment: delivery to loyal_on_the_move\n" in done.stdout
    assert "150 saw 'off'" in done.stdout


def test_a_wrong_setting_of_the_environment_is_named():
    """A wrong environment variable of the client gives one line and exit code 2."""
    done = play("--visitors", "5", KAMELEOON_MAX_VISITORS="plenty")
    assert (done.returncode, done.stdout) == (2, "")
    assert "KAMELEOON_MAX_VISITORS" in done.stderr
    assert len(done.stderr.splitlines()) == 1

"""The webhook, the file and the function; and that importing them loads no HTTP."""

import contextlib
import fcntl
import hmac
import json
import os
import signal
import subprocess
import sys

import pytest

from kameleoon._transport.flow import run
from kameleoon._transport.message import Response, TransportError, TransportErrorKind
from kameleoon.destinations import (
    EventRefused,
    Feed,
    Forwarder,
    FunctionDestination,
    JsonLines,
    Limits,
    Verdict,
    Webhook,
    post,
)
from kameleoon.destinations.webhook import sign, verify
from kameleoon.exceptions import ConfigException

NOW_S = 1_700_000_000


def test_a_webhook_is_signed(collector, sender, exposure, conversion):
    """The receiver checks the signature, and events come whole and in order."""
    forwarder = Forwarder(Webhook(f"{collector.url}/hook", collector.hook_secret, wall_clock=lambda: NOW_S))
    forwarder.offer(exposure())
    forwarder.offer(conversion())
    run(forwarder.deliver(at_once=True), sender)
    assert collector.refused == []
    assert collector.events == [exposure().plain(), conversion().plain()]
    assert collector.events[1]["experiments"] == [{"experiment_id": "12345", "variation_id": "98765"}]


def test_a_wrong_secret_closes_the_webhook(collector, sender, exposure):
    """The receiver refuses it; the events are dead letters, and nothing more is sent for a minute."""
    dead = []
    forwarder = Forwarder(
        Feed(Webhook(f"{collector.url}/hook", "another", wall_clock=lambda: NOW_S), on_dead_letter=dead.append)
    )
    forwarder.offer(exposure())
    run(forwarder.deliver(at_once=True), sender)
    assert collector.refused == ["signature"]
    assert [letter.reason for letter in dead] == ["status 401"]
    forwarder.offer(exposure(2))
    assert forwarder.due_in_s > 59


def test_a_webhook_that_is_down_gets_the_same_later(collector, sender, exposure):
    """A 503 is tried again after what it asks for, with the same ids."""
    clock = [0.0]
    collector.faults.append((503, {"Retry-After": "7"}))
    forwarder = Forwarder(
        Webhook(f"{collector.url}/hook", collector.hook_secret, wall_clock=lambda: NOW_S), clock=lambda: clock[0]
    )
    forwarder.offer(exposure())
    run(forwarder.deliver(at_once=True), sender)
    assert forwarder.due_in_s == 7
    clock[0] = 7
    run(forwarder.deliver(), sender)
    assert [event["event_id"] for event in collector.events] == ["id-12345"]


def test_verifying():
    """Body, time and secret must all be right."""
    headers = {"x-kameleoon-timestamp": str(NOW_S), "X-KAMELEOON-SIGNATURE": sign("s", str(NOW_S), b"body")}
    assert sign("s", "1", b"body") == "v1=" + hmac.new(b"s", b"1.body", "sha256").hexdigest()
    assert verify("s", headers, b"body", now_s=NOW_S + 300)
    assert not verify("s", headers, b"body", now_s=NOW_S + 301)
    assert not verify("s", headers, b"other", now_s=NOW_S)
    assert not verify("t", headers, b"body", now_s=NOW_S)
    assert not verify("s", {}, b"body", now_s=NOW_S)
    assert not verify("s", {**headers, "X-KAMELEOON-SIGNATURE": "v1=é"}, b"body", now_s=NOW_S)
    for odd in ("9" * 5000, "9" * 13, "x", "", "-5", "\u0661\u0662"):
        signed = {"x-kameleoon-timestamp": odd, "x-kameleoon-signature": sign("s", odd, b"body")}
        assert not verify("s", signed, b"body", now_s=10.0**13)
    last = {"x-kameleoon-timestamp": "9" * 12, "x-kameleoon-signature": sign("s", "9" * 12, b"body")}
    assert verify("s", last, b"body", now_s=10.0**12)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.SENT), (204, Verdict.SENT), (299, Verdict.SENT), (301, Verdict.CLOSED), (307, Verdict.CLOSED), (400, Verdict.SPLIT), (401, Verdict.CLOSED),
        (403, Verdict.CLOSED), (404, Verdict.CLOSED), (405, Verdict.CLOSED), (408, Verdict.RETRY), (409, Verdict.CLOSED), (410, Verdict.CLOSED),
        (413, Verdict.SPLIT), (422, Verdict.SPLIT), (425, Verdict.RETRY), (429, Verdict.RETRY), (430, Verdict.CLOSED), (500, Verdict.RETRY), (503, Verdict.RETRY),
    ],
)  # fmt: skip
def test_what_an_answer_means(status, verdict):
    """The table of the documentation; only a wait that is asked for, or a closed door, says how long."""
    flow = post("https://x.test/", {}, b"[]")
    assert next(flow).timeout_s == 10
    with pytest.raises(StopIteration) as stop:
        flow.send(Response(status, {"retry-after": "7"}, b"whatever"))
    found, result = stop.value.value
    assert (found, result.verdict) == (status, verdict)
    assert result.wait_s == {Verdict.RETRY: 7, Verdict.CLOSED: 60}.get(verdict)


def test_no_answer_is_tried_again():
    """Whatever the reason."""
    flow = post("https://x.test/", {}, b"[]")
    request = next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.throw(TransportError.of(request, TransportErrorKind.TIMEOUT, "10 s"))
    assert stop.value.value[0] is None
    assert stop.value.value[1].verdict is Verdict.RETRY


def test_an_event_too_large_for_the_webhook(exposure):
    """It is refused before it is queued."""
    destination = Webhook("https://x.test/", "s")
    with pytest.raises(EventRefused, match="size"):
        destination.check(destination.map(exposure(visitor_code="x" * 32_000)))
    with pytest.raises(EventRefused, match="json"):
        destination.check(destination.map(exposure(visitor_code="\ud800")))


def test_lines_in_a_file_that_is_rotated(tmp_path, sender, exposure):
    """Each event is a line; full files move on, and only so many are kept."""
    path = tmp_path / "events.jsonl"
    forwarder = Forwarder(JsonLines(path, max_bytes=500, keep=2))
    for number in range(10, 18):
        forwarder.offer(exposure(number, visitor_code="a\nb\u2028"))
        run(forwarder.deliver(at_once=True), sender)
    files = [path.with_name("events.jsonl.2"), path.with_name("events.jsonl.1"), path]
    found = [json.loads(line)["experiment_id"] for file in files for line in file.read_text("utf-8").split("\n")[:-1]]
    assert found == [str(number) for number in range(18 - len(found), 18)]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]
    assert all(one.stat().st_size <= 500 for one in files)


def test_a_full_disk_loses_and_repeats_nothing(tmp_path, sender, exposure, monkeypatch):
    """A batch that was half written is taken back and written again."""
    path = tmp_path / "events.jsonl"
    destination = JsonLines(path)
    forwarder = Forwarder(destination)
    forwarder.offer(exposure(1))

    def half(file, content):
        file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(destination, "_write", half)
        run(forwarder.deliver(at_once=True), sender)
    assert path.read_bytes() == b""
    assert (forwarder.pending, forwarder.counters["retried"]) == (1, 1)
    run(forwarder.deliver(at_once=True), sender)
    assert len(path.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("rest", "kept"),
    [
        (b'{"type":"expos', b""), (b"{", b""), (b'{"type":"exposure"}', b'{"type":"exposure"}\n'), (b"a note", b"a note\n"),
    ],
)  # fmt: skip
def test_the_rest_of_a_line_that_was_never_ended(tmp_path, sender, exposure, rest, kept):
    """What a killed process left of one of our lines is removed; what stands there for another reason stays."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"conversion"}\n' + rest)
    forwarder = Forwarder(JsonLines(path))
    forwarder.offer(exposure(1))
    run(forwarder.deliver(at_once=True), sender)
    first, *more = path.read_bytes().splitlines(keepends=True)
    assert first == b'{"type":"conversion"}\n'
    assert b"".join(more[:-1]) == kept
    assert json.loads(more[-1])["experiment_id"] == "1"


WRITER = """
import sys
from kameleoon._transport.flow import run
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon.destinations import Exposure, Forwarder, JsonLines
forwarder = Forwarder(JsonLines(sys.argv[1], max_bytes=4_000, keep=100))
for number in range(200):
    forwarder.offer(Exposure(sys.argv[2], str(number), "1", 0))
    run(forwarder.deliver(at_once=True), RequestsSender())
while forwarder.pending:
    run(forwarder.deliver(at_once=True), RequestsSender())
"""


def test_processes_may_share_a_file(tmp_path):
    """Three write to it and rename it at the same time: each line is there, whole, once, in files within the bound."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "events.jsonl")]
    writers = [subprocess.Popen([*command, name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    files = list(tmp_path.iterdir())
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    found = sorted((line["visitor_code"], int(line["experiment_id"])) for line in lines)
    assert found == [(name, number) for name in "abc" for number in range(200)]
    assert len(files) > 5
    assert all(file.stat().st_size <= 4_000 for file in files)


@pytest.mark.parametrize("is_new_one_there", [True, False])
def test_a_file_that_another_process_renames_meanwhile(tmp_path, sender, exposure, monkeypatch, is_new_one_there):
    """Between opening and locking it, say: the line goes where the name leads now, and nothing else is renamed."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"type":"full"}\n')
    lock, renamed = fcntl.flock, []

    def flock(file, how):
        if not renamed:
            renamed.append(path.replace(tmp_path / "moved"))
            if is_new_one_there:
                path.write_bytes(b'{"type":"new"}\n')
        lock(file, how)

    monkeypatch.setattr("fcntl.flock", flock)
    forwarder = Forwarder(JsonLines(path))
    forwarder.offer(exposure(1))
    run(forwarder.deliver(at_once=True), sender)
    assert (tmp_path / "moved").read_bytes() == b'{"type":"full"}\n'
    kinds = [json.loads(line)["type"] for line in path.read_text().splitlines()]
    assert kinds == ["new"] * is_new_one_there + ["exposure"]
    assert forwarder.counters["retried"] == 0


def test_a_fork_in_the_middle_of_a_line_blocks_nobody(tmp_path):
    """The lock goes when the parent is done, whatever the child has."""
    destination = JsonLines(tmp_path / "events.jsonl")
    with destination._opened() as file:
        assert file is not None
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
    try:
        with destination._opened() as file:
            assert file is not None
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_where_files_cannot_be_locked(tmp_path, sender, exposure, monkeypatch):
    """A full file is renamed while nobody has it open."""
    monkeypatch.setattr("kameleoon.destinations.json_lines.fcntl", None)
    destination = JsonLines(tmp_path / "events.jsonl", max_bytes=400, keep=9)
    opened, is_open = destination._opened, []

    @contextlib.contextmanager
    def watched():
        with opened() as file:
            is_open.append(True)
            yield file
            is_open.pop()

    rotate = destination._rotate

    def checked():
        assert not is_open
        rotate()

    monkeypatch.setattr(destination, "_opened", watched)
    monkeypatch.setattr(destination, "_rotate", checked)
    forwarder = Forwarder(destination)
    for number in range(4):
        forwarder.offer(exposure(number))
        run(forwarder.deliver(at_once=True), sender)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 1
    assert all(file.stat().st_size <= 400 for file in files)
    assert sum(len(file.read_bytes().splitlines()) for file in files) == 4


def test_a_missing_directory_is_tried_again(tmp_path, sender, exposure):
    """The file cannot be written until its directory is there."""
    forwarder = Forwarder(JsonLines(tmp_path / "later" / "events.jsonl"))
    forwarder.offer(exposure())
    run(forwarder.deliver(at_once=True), sender)
    (tmp_path / "later").mkdir()
    run(forwarder.deliver(at_once=True), sender)
    assert forwarder.counters["sent"] == 1


def test_a_function_gets_events_of_its_own(sender, exposure):
    """It may change what it gets; when it raises, it gets the same again."""
    seen = []

    def function(events):
        seen.append(events[0].pop("experiment_id"))
        if len(seen) == 1:
            raise ValueError

    forwarder = Forwarder(FunctionDestination(function))
    forwarder.offer(exposure(5))
    for _ in range(2):
        run(forwarder.deliver(at_once=True), sender)
    assert seen == ["5", "5"]
    assert forwarder.pending == 0


def test_a_function_that_fails_for_long_loses_nothing(sender, exposure):
    """What it raises passes, however long that takes; its batches are as large as it wants them."""
    seen = []

    def function(events):
        seen.append(len(events))
        if len(seen) <= 30:
            raise ValueError

    forwarder = Forwarder(FunctionDestination(function, limits=Limits(batch_events=2)))
    for number in range(3):
        forwarder.offer(exposure(number))
    for _ in range(31):
        run(forwarder.deliver(at_once=True), sender)
    assert seen == [2] * 31 + [1]
    assert (forwarder.counters["sent"], forwarder.pending) == (3, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Webhook("ftp://x", "s"), lambda: Webhook("https://", "s"), lambda: Webhook("https://x", ""),
        lambda: JsonLines("x", max_bytes=0), lambda: JsonLines("x", keep=0), lambda: FunctionDestination("x"),
    ],
)  # fmt: skip
def test_settings_that_destinations_cannot_use(make):
    """They are refused when the destination is made."""
    with pytest.raises(ConfigException):
        make()


def test_importing_loads_no_http():
    """HTTP is loaded with the first request."""
    code = "import sys, kameleoon.destinations; sys.exit(bool({'requests', 'aiohttp'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

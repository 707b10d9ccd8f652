"""The configuration kept in a directory, by one process or by several."""

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from clocks import Clock

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon._sources import KeptSource, kept
from kameleoon._transport.configuration import SERVICE, Fetched
from kameleoon._transport.message import FetchFailed, Pause
from kameleoon.types.reason import Reason

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
from scripted import Scripted, reply, stall

FLAG = {"featureKey": "f", "environmentEnabled": True, "defaultVariationKey": "on", "rules": [], "variations": []}


class Inner:
    """A source whose answer the test sets."""

    name = SERVICE
    interval_s = 3600.0

    def __init__(self):
        self.asked = []
        self.version = 1
        self.is_down = False
        self.inside = None

    def fetch(self, known, ts):
        """Give the version of the moment, or nothing when *known* is it."""
        yield from ()
        self.asked.append((known and json.loads(known.body)["dateModified"], ts))
        if self.inside is not None:
            self.inside()
        if self.is_down:
            raise FetchFailed("down")
        body = json.dumps({"dateModified": self.version, "text": "é\n"}).encode()
        if known is not None and known.body == body:
            return None
        return Fetched(body, json.loads(body), SERVICE, last_modified=f"version {self.version}")


@pytest.fixture
def inner():
    """What is asked."""
    return Inner()


@pytest.fixture
def clock():
    """The clock of all."""
    return Clock(time.time())


@pytest.fixture
def make(tmp_path, inner, clock):
    """A function that makes sources sharing one directory, as processes do."""
    return lambda **settings: KeptSource(inner, tmp_path / "data", "https://host/v3/site", 2.0, clock, **settings)


def drive(flow, on_pause=lambda: None):
    """Run a flow to its end; returns its result and how long it wished to wait."""
    waited = 0.0
    try:
        step = next(flow)
        while True:
            assert isinstance(step, Pause)
            waited += step.seconds
            on_pause()
            step = flow.send(None)
    except StopIteration as stop:
        return stop.value, waited


def test_what_was_fetched_is_kept(make, tmp_path):
    """Another process finds it as it was, its date of change too, in a directory that was made for it."""
    fetched, _ = drive(make().fetch(None, None))
    assert make().last_good() == fetched
    assert fetched.last_modified == "version 1"
    assert len(list((tmp_path / "data").iterdir())) == 1, "neither the lock nor a half written file is left"


def test_processes_that_start_together_ask_once(make, inner, clock):
    """The second takes what the first was given; one that starts later asks, with what is kept."""
    drive(make().fetch(None, None))
    fetched, _ = drive(make().fetch(None, None))
    assert fetched.root["dateModified"] == 1
    assert inner.asked == [(None, None)]
    clock.now += 60
    assert drive(make().fetch(None, None))[0].root["dateModified"] == 1
    assert inner.asked == [(None, None), (1, None)]


@pytest.mark.parametrize(
    ("interval_s", "known", "age_s", "asks"),
    [
        (3600.0, False, 9.9, False),
        (3600.0, False, 10.0, True),
        (5.0, False, 4.4, False),
        (5.0, False, 4.5, True),
        (3600.0, True, 3239.0, False),
        (3600.0, True, 3240.0, True),
        (None, False, 8.9, False),
        (None, True, 0.0, True),
        (3600.0, True, -1.0, True),
    ],
)
def test_how_long_another_ones_answer_will_do(make, inner, clock, interval_s, known, age_s, asks):
    """At the start ten seconds, later nine tenths of the interval, never more than that, and nothing from the future."""
    clock.now = 1_000_000.0
    inner.interval_s = interval_s
    fetched, _ = drive(make().fetch(None, None))
    clock.now += age_s
    drive(make().fetch(fetched if known else None, None))
    assert len(inner.asked) == 1 + asks


@pytest.mark.parametrize("lost", ["removed", "taken over"])
def test_a_lock_that_is_not_ours_any_more_is_left_alone(make, inner, tmp_path, lost):
    """Who took too long and lost the lock ends well, and takes it from nobody."""

    def lose():
        (lock,) = (tmp_path / "data").glob("*.lock")
        if lost == "removed":
            lock.unlink()
        else:
            lock.write_bytes(b"\xff another one's")

    inner.inside = lose
    assert drive(make().fetch(None, None))[0].root["dateModified"] == 1
    assert len(list((tmp_path / "data").glob("*.lock"))) == (lost == "taken over")


def test_of_two_that_take_over_one_asks(make, inner, clock, tmp_path, monkeypatch):
    """Two find the same lock of somebody who died; who replaced it first sees that the other one has it, and waits."""
    make()._lease.take()
    (lock,) = (tmp_path / "data").glob("*.lock")
    clock.now += 60
    replace = kept._replace

    def overtaken(path, *parts):
        replace(path, *parts)
        monkeypatch.setattr(kept, "_replace", replace)
        replace(path, b"another one")

    monkeypatch.setattr(kept, "_replace", overtaken)
    flow = make().fetch(None, None)
    assert isinstance(next(flow), Pause)
    assert inner.asked == []
    assert lock.read_bytes() == b"another one"
    flow.close()


def test_one_polls_for_all(make, inner, clock):
    """In each interval one asks, and the others take over what it found."""
    one, other = make(), make()
    known, _ = drive(one.fetch(None, None))
    for _ in range(3):
        clock.now += 3600
        inner.version += 1
        newer, _ = drive(one.fetch(known, None))
        assert drive(other.fetch(known, None))[0] == newer
        assert drive(other.fetch(newer, None))[0] is None
        known = newer
    assert len(inner.asked) == 4


def test_an_announced_version_is_asked_for_once(make, inner):
    """The first process to hear of a version fetches it; without a version each asks."""
    one, other = make(), make()
    known, _ = drive(one.fetch(None, None))
    inner.version = 2
    newer, _ = drive(one.fetch(known, 77))
    assert drive(other.fetch(known, 77))[0] == newer
    assert drive(other.fetch(known, 76))[0] == newer
    assert inner.asked == [(None, None), (1, 77)]
    inner.version = 3
    assert drive(other.fetch(newer, None, is_urgent=True))[0].root["dateModified"] == 3
    assert drive(one.fetch(newer, 78))[0].root["dateModified"] == 3
    assert len(inner.asked) == 4


def test_others_wait_for_the_one_that_asks(make, inner):
    """While one process asks, another waits, and then takes its answer."""
    first = make()
    results = []

    def meanwhile():
        inner.inside = None
        flow = make().fetch(None, None)
        assert isinstance(next(flow), Pause)
        results.append(flow)

    inner.inside = meanwhile
    fetched, _ = drive(first.fetch(None, None))
    with pytest.raises(StopIteration) as stopped:
        results[0].send(None)
    assert stopped.value.value == fetched
    assert len(inner.asked) == 1


def test_a_lock_left_behind_is_waited_for_and_then_ignored(make, tmp_path, clock):
    """A process died while it asked: others wait for one timeout at most, and not at all once the lease is over."""
    make()._lease.take()
    fetched, waited = drive(make().fetch(None, None))
    assert fetched.root["dateModified"] == 1
    assert 2.0 <= waited <= 2.5
    (lock,) = (tmp_path / "data").glob("*.lock")
    clock.now = lock.stat().st_mtime + 20
    assert drive(make().fetch(None, None))[1] == 0
    assert not lock.exists()


def test_a_lock_of_the_future_is_ignored(make, tmp_path, clock):
    """The clock was set back by a day: nobody waits for a day."""
    make()._lease.take()
    (lock,) = (tmp_path / "data").glob("*.lock")
    os.utime(lock, (clock.now + 86400, clock.now + 86400))
    assert drive(make().fetch(None, None))[1] == 0


def test_a_failure_keeps_the_old_one_and_gives_the_lock_back(make, inner, tmp_path):
    """What was good stays, and the next process may ask at once."""
    drive(make().fetch(None, None))
    inner.is_down = True
    with pytest.raises(FetchFailed):
        drive(make().fetch(None, 9))
    assert make().last_good().root["dateModified"] == 1
    assert not list((tmp_path / "data").glob("*.lock"))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "7",
        {"format": 1},
        {"identity": "https://host/v3/other"},
        b"[]",
        b"{",
        b"",
        b'{"a": "\xff"}',
        {"asked_s": "yesterday"},
        {"ts": float("inf")},
        {"last_modified": 7},
        {"last_modified": "a\nSet-Cookie: b"},
    ],
)
def test_a_broken_file_is_told_once_and_replaced(make, tmp_path, content, caplog):
    """Whatever is in the file, the service is asked, and its answer takes the place."""
    drive(make().fetch(None, None))
    (path,) = (tmp_path / "data").iterdir()
    header, body = path.read_bytes().split(b"\n", 1)
    if isinstance(content, dict):
        content = json.dumps(json.loads(header) | content).encode() + b"\n" + body
    elif isinstance(content, bytes):
        content = header + b"\n" + content
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = make()
    assert source.last_good() is None
    assert source.last_good() is None
    assert caplog.text.count("The kept configuration") == 1
    assert drive(source.fetch(None, None))[0].root["dateModified"] == 1
    assert make().last_good() is not None


def test_a_directory_that_cannot_be_written_costs_only_the_keeping(inner, clock, tmp_path, caplog):
    """A file is in the way: configurations are fetched all the same, and it is said once."""
    (tmp_path / "data").write_text("in the way")
    source = KeptSource(inner, tmp_path / "data", "https://host/v3/site", 2.0, clock)
    for version in (1, 2):
        inner.version = version
        assert drive(source.fetch(None, None))[0].root["dateModified"] == version
    assert caplog.text.count("cannot be kept") == 1
    assert caplog.text.count("cannot be read") <= 1


def test_environments_do_not_mix(inner, clock, tmp_path):
    """Each address has its own file."""
    for environment in ("a", "b"):
        source = KeptSource(inner, tmp_path, f"https://host/v3/site?environment={environment}", 2.0, clock)
        assert source.last_good() is None
        drive(source.fetch(None, None))
    assert len(list(tmp_path.glob("*.json"))) == 2


def answer(version):
    """A configuration service's answer."""
    root = {"dateModified": version, "featureFlags": [FLAG]}
    return reply(200, json.dumps(root).encode(), Content_Type="application/json", Last_Modified=f"v{version}")


def config(server, data_dir, **settings):
    """Settings with a data directory."""
    given = {"default_timeout_millisecond": 500, "data_dir": data_dir, **settings}
    return KameleoonClientConfig("id", "secret", base_url=server.url, **given)


@pytest.mark.parametrize("failure", [reply(500), stall], ids=["down", "silent"])
def test_a_client_starts_from_the_last_good_one(tmp_path, failure, monkeypatch):
    """With the service down, or silent, a new process answers from what the one before had; the service's next answer wins."""
    monkeypatch.setattr("kameleoon._sources.kept.STARTING_TOGETHER_S", 0.0)
    with Scripted({"/v3/site": answer(5), "/oauth/token": reply(404), "/visit/events": reply(204)}) as server:
        with KameleoonClient("site", config(server, tmp_path)) as client:
            assert client.wait_init(5000)
        server.answers["/v3/site"] = failure
        with KameleoonClient("site", config(server, tmp_path, refresh_interval_minute=0.002)) as client:
            assert client.wait_init(300) is True
            assert client.is_feature_active("visitor", "f") is True
            assert client.get_data_file().date_modified == 5
            assert client.evaluate("visitor", "f").reason is Reason.STALE
            server.answers["/v3/site"] = answer(6)
            deadline = time.monotonic() + 5
            while client.get_data_file().date_modified != 6:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert client.evaluate("visitor", "f").reason is not Reason.STALE


def test_without_anything_kept_a_client_is_not_ready(tmp_path):
    """The first process of all has nothing to start from."""
    with (
        Scripted({"/v3/site": reply(500)}) as server,
        KameleoonClient("site", config(server, tmp_path)) as client,
    ):
        assert client.wait_init(2000) is False


def test_many_processes_ask_once(tmp_path):
    """Processes that start at once and share a directory send one request for the configuration, and all are ready."""
    asked = []

    def slowly(visit):
        asked.append(visit)
        threading.Event().wait(0.3)
        return answer(5)(visit)

    script = f"""
        import sys
        from kameleoon import KameleoonClient, KameleoonClientConfig
        config = KameleoonClientConfig("id", "secret", base_url=sys.argv[1], data_dir={str(tmp_path)!r})
        with KameleoonClient("site", config) as client:
            sys.stdin.readline()
            assert client.wait_init(8000), client._core.configuration.failure
            assert client.get_data_file().date_modified == 5
    """
    with Scripted({"/v3/site": slowly}) as server:
        command = [sys.executable, "-c", textwrap.dedent(script), server.url]
        started = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
        for process in started:
            _, errors = process.communicate(b"go\n", timeout=30)
            assert process.returncode == 0, errors.decode()
    assert len(asked) == 1

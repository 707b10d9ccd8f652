"""Situations the tracking must survive, each with real processes and sockets."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from kameleoon import Browser, BrowserType, Conversion, CustomData, Device, DeviceType, Geolocation, PageView, UserAgent
from kameleoon._tracking.lines import Line
from kameleoon.exceptions import VisitorCodeInvalid

SINK = Path(__file__).parents[1] / "tracking"
sys.path.insert(0, str(SINK))
from event_sink import Sink, until  # noqa: E402 - it is found only now

NEEDS_FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def sink():
    """A service that takes everything."""
    with Sink() as running:
        yield running


def run_script(sink, body, *, timeout_s=30, settings=""):
    """Run *body* in a process of its own, with a client of *sink* as ``client``; gives the finished process and the seconds it took."""
    head = f"""
        import asyncio, logging, os, sys, threading, time
        logging.basicConfig()
        sys.path.insert(0, {str(SINK)!r})
        from event_sink import SOURCE
        from kameleoon import KameleoonClient, KameleoonClientConfig, CustomData
        def make_client():
            return KameleoonClient("sink", KameleoonClientConfig(
                "id", "secret", base_url={sink.url!r}, source=SOURCE, top_level_domain="localhost", {settings}
            ))
    """
    text = textwrap.dedent(head) + textwrap.dedent(body)
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=timeout_s, check=False)
    return done, time.monotonic() - started


# --- the end of a process ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ending", ["", "sys.exit(3)", "raise RuntimeError", "client.flush()", "client.flush(instant=True)"]
)
def test_everything_pending_is_sent_when_the_interpreter_ends(sink, ending):
    """Data that was only added, an exposure and a conversion arrive once, whatever ends the process."""
    done, _ = run_script(
        sink,
        f"""
        client = make_client()
        client.wait_init()
        client.add_data("added", CustomData(1, "x"))
        client.get_variation("exposed", "flag")
        client.track_conversion("converted", 5)
        {ending}
        """,
    )
    # An instant flush of all announces registered visitors once more, as recorded in tests/vectors/tracking.json.
    found = [
        (fields["visitorCode"], fields["eventType"]) for fields in sink.taken() if fields["eventType"] != "activity"
    ]
    assert sorted(found) == [("added", "customData"), ("converted", "conversion"), ("exposed", "experiment")], (
        done.stderr
    )


def hang(sink):
    """An answer that does not come."""

    def answer(_lines):
        sink.over.wait(20)

    return answer


@pytest.mark.parametrize("data_dir", [False, True])
def test_a_process_ends_in_time_while_the_service_hangs(data_dir, tmp_path):
    """The deadline holds, what could not be sent is said once, and with a data directory the next process sends it."""
    keep = f"data_dir={str(tmp_path)!r}, " if data_dir else ""
    with Sink() as sink:
        sink.answer = hang(sink)
        body = (
            'client = make_client()\nclient.wait_init()\nclient.track_conversion("v", 5)\nstarted = time.monotonic()\n'
        )
        settings = f"{keep}exit_timeout_millisecond=400, default_timeout_millisecond=300"
        done, _ = run_script(sink, body + "client.close()\nprint(time.monotonic() - started)\n", settings=settings)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout.split()[0]) < 0.4 + 0.5
        assert done.stderr.count("kept on disk" if data_dir else "could not be sent before") == 1
        if data_dir:
            sink.answer = lambda _lines: 204
            with sink.client(data_dir=tmp_path) as client:
                until(lambda: client.flush(timeout=1.0).pending == 0)
            assert sink.goals() == [5]
            nonces = {line.partition("&")[0] for request in sink.posted for line in request.lines}
            assert len(nonces) == 1


def test_the_end_waits_for_no_other_work():
    """A worker that is held up by the configuration does not keep events from being sent at the end."""
    import socket

    with Sink() as sink, socket.create_server(("127.0.0.1", 0)) as silent:
        body = f"""
        client = make_client()
        client._core.schedule._job("configuration").make = client._core.renew_token
        from kameleoon._transport.message import Request
        from kameleoon.events import RequestType
        def stuck():
            yield Request(RequestType.DATAFILE, "GET", "http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=20)
        client._core.schedule._job("configuration").make = stuck
        client._core.schedule.hasten("configuration")
        while client._core.schedule._job("configuration").due_s is not None:
            time.sleep(0.01)
        client.track_conversion("v", 5)
        """
        done, _ = run_script(sink, body, settings="exit_timeout_millisecond=3000")
        assert done.returncode == 0, done.stderr
        assert sink.goals() == [5]


# --- forks ------------------------------------------------------------------------------------------------------------


@NEEDS_FORK
def test_children_of_multiprocessing_send_their_own_events_once(sink):
    """With fork and with spawn, what a child tracked right before its end arrives once, and the parent's too."""
    script = f"""
import multiprocessing, sys
sys.path.insert(0, {str(SINK)!r})
from event_sink import SOURCE
from kameleoon import KameleoonClient, KameleoonClientConfig

def make_client():
    config = KameleoonClientConfig("id", "secret", base_url={sink.url!r}, source=SOURCE, top_level_domain="localhost")
    return KameleoonClient("sink", config)

def work(number):
    mine = client if multiprocessing.get_start_method() == "fork" else make_client()
    mine.track_conversion("child", number)

if __name__ == "__main__":
    client = make_client()
    client.wait_init()
    client.track_conversion("parent", 1)
    multiprocessing.set_start_method(sys.argv[1])
    children = [multiprocessing.Process(target=work, args=(number,)) for number in (2, 3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    sys.exit(sum(child.exitcode for child in children))
"""
    for method in ("fork", "spawn"):
        sink.posted.clear()
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"children-{os.getpid()}.py"
        path.write_text(script)
        try:
            done = subprocess.run(
                [sys.executable, path, method], capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            path.unlink()
        assert done.returncode == 0, done.stderr
        assert sorted(sink.goals()) == [1, 2, 3], (method, done.stderr)


@NEEDS_FORK
def test_a_pool_that_forks_its_workers_and_ends_them_at_once(sink):
    """As Celery's prefork does: workers made after the client, ended by a signal; all that was flushed arrives once."""
    done, _ = run_script(
        sink,
        """
        import signal
        client = make_client()
        client.wait_init()
        client.track_conversion("parent", 1)
        ready, say = os.pipe()
        pids = []
        for worker in range(3):
            pid = os.fork()
            if pid == 0:
                for task in range(5):
                    client.track_conversion(f"worker {worker}", 100 * (worker + 1) + task)
                client.flush(timeout=5.0)
                os.write(say, b".")
                signal.pause()
            pids.append(pid)
        done = b""
        while len(done) < 3:
            done += os.read(ready, 3)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(sink.goals()) == sorted([1, *(100 * (worker + 1) + task for worker in range(3) for task in range(5))])


@NEEDS_FORK
def test_a_child_that_never_uses_the_client_ends_quietly(sink):
    """Its end neither sends the parent's events, nor waits for its locks, nor says that anything was lost."""
    done, _ = run_script(
        sink,
        """
        client = make_client()
        client.wait_init()
        client.track_conversion("parent", 1)
        client._core.store._lock.acquire()
        client._core.closing.acquire()
        pid = os.fork()
        if pid == 0:
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        client._core.store._lock.release()
        client._core.closing.release()
        """,
        timeout_s=15,
    )
    assert done.returncode == 0, done.stderr
    assert "could not be sent" not in done.stderr
    assert sink.goals() == [1]


@NEEDS_FORK
def test_a_fork_while_events_are_on_their_way(tmp_path):
    """Forked in the middle of a request, with and without a data directory, nothing is sent by both."""
    for settings in ("", f"data_dir={str(tmp_path)!r}, "):
        with Sink() as sink:
            has_forked = tmp_path / f"forked{bool(settings)}"
            under_way = tmp_path / f"under way{bool(settings)}"

            def answer(_lines, has_forked=has_forked, under_way=under_way):
                # Held until the fork, however long the machine takes for it.
                under_way.touch()
                until(has_forked.exists, 20)
                return 204

            sink.answer = answer
            done, _ = run_script(
                sink,
                f"""
                client = make_client()
                client.wait_init()
                for number in range(50):
                    client.track_conversion(f"v{{number}}", number)
                client.flush(instant=True)
                while not os.path.exists({str(under_way)!r}):
                    time.sleep(0.001)
                pid = os.fork()
                open({str(has_forked)!r}, "w").close()
                client.track_conversion("both", 1000 if pid else 2000)
                if pid:
                    assert os.waitpid(pid, 0)[1] == 0
                """,
                settings=f"{settings}exit_timeout_millisecond=20000, default_timeout_millisecond=20000",
                timeout_s=60,
            )
            assert done.returncode == 0, done.stderr
            assert sorted(sink.goals()) == [*range(50), 1000, 2000]


@NEEDS_FORK
def test_gunicorn_with_a_preloaded_application(sink, tmp_path):
    """Two workers forked from a client with events pending: the parent's arrive once, and so do those of each request."""
    pytest.importorskip("gunicorn")
    (tmp_path / "application.py").write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(SINK)!r})
        from event_sink import SOURCE
        from kameleoon import KameleoonClient, KameleoonClientConfig

        config = KameleoonClientConfig("id", "secret", base_url={sink.url!r}, source=SOURCE, top_level_domain="localhost")
        client = KameleoonClient("sink", config)
        client.wait_init()
        client.track_conversion("master", 1)

        def application(environ, start_response):
            number = int(environ["PATH_INFO"].strip("/"))
            client.track_conversion("request", number)
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"ok"]
        """)
    )
    with Gunicorn(tmp_path, "--preload", "--workers", "2") as url:
        import urllib.request

        for number in range(10, 40):
            with urllib.request.urlopen(f"{url}/{number}", timeout=5) as answer:
                assert answer.read() == b"ok"
    assert sorted(sink.goals()) == [1, *range(10, 40)]


class Gunicorn:
    """A gunicorn serving ``application:application`` of a folder while the ``with`` block lasts."""

    def __init__(self, folder, *arguments):
        self.folder, self.arguments = folder, arguments

    def __enter__(self):
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--bind",
            f"127.0.0.1:{port}",
            *self.arguments,
            "application:application",
        ]
        self.process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.PIPE, text=True)

        def is_up():
            assert self.process.poll() is None, self.process.stderr.read()
            try:
                socket.create_connection(("127.0.0.1", port), 0.5).close()
            except OSError:
                return False
            return True

        until(is_up, 20)
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=20)


@NEEDS_FORK
def test_uvloop_starts_subprocesses(sink):
    """The vfork of libuv runs fork hooks in its parent's memory; the parent still sends its events, once."""
    pytest.importorskip("uvloop")
    done, _ = run_script(
        sink,
        """
        import uvloop
        client = make_client()
        client.wait_init()
        async def application():
            for number in range(5):
                client.track_conversion("v", number)
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
                assert await process.wait() == 0
                client._core.after_fork_in_child()  # as a hook that runs in the memory of its parent does
                client.track_conversion("v", 10 + number)
        uvloop.run(application())
        """,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(sink.goals()) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]


# --- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: CustomData(1, ["a", "b"]),
        lambda: Browser("CHROME"),
        lambda: Geolocation(5),
        lambda: PageView("half \ud800", "t"),
        lambda: UserAgent("half \ud800"),
        lambda: Conversion(1, float("nan")),
        lambda: Conversion("1"),
    ],
)
def test_what_cannot_be_sent_is_refused_where_it_is_made(make):
    """The error names the value, and nobody else is concerned."""
    with pytest.raises((TypeError, ValueError), match=r"\w+\.\w+"):
        make()


def test_a_code_that_cannot_be_sent_is_refused(sink):
    """Half of a surrogate pair has no UTF-8 form."""
    with sink.client() as client, pytest.raises(VisitorCodeInvalid, match="UTF-8"):
        client.add_data("half \ud800", CustomData(1, "x"))


def test_one_broken_item_takes_no_other_along(sink, caplog):
    """What slips through is left out and counted; the visitor's other events and everybody else's go out."""
    broken = PageView("/x", "t")
    object.__setattr__(broken, "title", "half \ud800")
    with sink.client() as client:
        client.add_data("bad", Device(DeviceType.PHONE), broken, Browser(BrowserType.CHROME))
        client.add_data("good", Device(DeviceType.TABLET))
        result = client.flush(timeout=5.0)
        assert (result.sent, result.pending, result.dropped) == (3, 0, 1)
        stats = client.stats()
        assert (stats.events_produced, stats.events_sent, stats.events_dropped) == (4, 3, 1)
    assert [fields["eventType"] for fields in sink.taken()] == ["staticData"] * 3
    assert sum("could not be written" in record.getMessage() for record in caplog.records) == 1


def test_a_session_that_ends_with_unsent_data_sends_it_and_is_forgotten(sink):
    """The data arrives, and the visitor is not announced as active afterwards."""
    with sink.client(session_duration_minute=0.002, tracking_interval_millisecond=1000) as client:
        client.add_data("gone", CustomData(1, "x"))
        client.get_variation("gone too", "flag")
        until(lambda: client.stats().visitors == 0 and client.stats().events_pending == 0 and len(sink.taken()) >= 2)
    found = sorted((fields["visitorCode"], fields["eventType"]) for fields in sink.taken())
    assert found == [("gone", "customData"), ("gone too", "experiment")]


def test_a_login_loses_nothing_of_either_visitor(sink):
    """A mapping identifier links a user id that has data of its own: both sets are sent."""
    source = {"featureFlags": [], "customData": [{"index": 3, "name": "user", "isMappingIdentifier": True}]}
    with sink.client(source=source) as client:
        client.wait_init()
        client.add_data("user", CustomData(1, "of the user"), Conversion(7))
        client.add_data("anonymous", CustomData(2, "of the visitor"))
        client.add_data("anonymous", CustomData(3, "user"))
        client.flush(timeout=5.0)
    indices = {fields["index"] for fields in sink.taken("customData")}
    assert indices == {"1", "2", "3"}
    assert sink.goals() == [7]


def test_one_object_is_tracked_for_each_visitor_it_is_added_to(sink):
    """Ten visitors with the same device: ten lines, ten nonces."""
    device = Device(DeviceType.PHONE)
    with sink.client() as client:
        for number in range(10):
            client.add_data(str(number), device)
        assert client.flush(timeout=5.0).sent == 10
    assert len({fields["nonce"] for fields in sink.taken()}) == 10


def test_nonces_and_codes_do_not_follow_the_application_s_seed(sink):
    """Two processes with the same seed get other nonces and other visitor codes."""
    body = """
        import random
        random.seed(1)
        client = make_client()
        client.wait_init()
        print(client.get_visitor_code())
        client.track_conversion("v", 5)
    """
    codes = {run_script(sink, body)[0].stdout for _ in range(2)}
    assert len(codes) == 2
    assert len({fields["nonce"] for fields in sink.taken()}) == 2


# --- flushing ---------------------------------------------------------------------------------------------------------


def test_flushing_all_again_and_again_announces_nobody_again(sink):
    """A visitor with nothing new is told as active once, and his session is not extended."""
    with sink.client() as client:
        client.add_data("v", CustomData(1, "x"))
        last_s = client._core.store.peek("v").last_s
        for _ in range(5):
            client.flush()
            client.flush(instant=True)
            client.flush(timeout=5.0)
        assert client._core.store.peek("v").last_s == last_s
        client.track_conversion("v", 5)
        client.flush(timeout=5.0)
    assert [fields["eventType"] for fields in sink.taken()] == ["customData", "conversion"]


def test_an_instant_flush_of_all_is_one_request(sink):
    """Five visitors go together."""
    with sink.client() as client:
        for number in range(5):
            client.add_data(str(number), CustomData(1, "x"))
        client.flush(instant=True)
        sink.wait_for(lambda sink: sink.posted)
        assert [len(request.lines) for request in sink.posted] == [5]


def test_timer_and_instant_flushes_race(sink):
    """Eight threads flush one visitor while the timer runs: each event is taken once, and nobody is announced in between."""
    with sink.client(tracking_interval_millisecond=1000) as client:
        client.wait_init()
        client._core.schedule._job("tracking").wait_s = lambda: 0.001
        client._core.schedule.hasten("tracking")

        def work(first):
            for number in range(first, first + 50):
                client.track_conversion("v", number)
                client.flush(instant=number % 5 == 0)

        threads = [threading.Thread(target=work, args=(100 * place,)) for place in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: client.flush(timeout=5.0).pending == 0)
    assert sorted(sink.goals()) == sorted(100 * place + offset for place in range(8) for offset in range(50))
    assert sink.most_at_once == 1


# --- a service that fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_refused_line_is_given_up_alone_and_kept_for_people(sink, tmp_path, status):
    """The others arrive; with a data directory the refused one is in the file, and it is not tried again."""
    import sqlite3

    sink.answer = lambda lines: status if any("goalId=13&" in line for line in lines) else 204
    with sink.client(data_dir=tmp_path) as client:
        for number in range(20):
            client.track_conversion(f"v{number}", number)
        assert client.flush(timeout=5.0).dropped == 1
        tried = len(sink.posted)
        assert client.flush(timeout=5.0).pending == 0
        assert all("goalId=13&" not in line for request in sink.posted[tried:] for line in request.lines)
        assert client.stats().events_dropped == 1
    assert sorted(sink.goals()) == [number for number in range(20) if number != 13]
    file = sqlite3.connect(tmp_path / "events-sink.sqlite3")
    ((line, refused_with),) = file.execute("SELECT line, status FROM refused").fetchall()
    file.close()
    assert "goalId=13&" in line
    assert refused_with == status


def test_a_service_that_refuses_everything_is_not_stormed(sink):
    """Thousands of lines do not become thousands of requests."""
    sink.answer = lambda _lines: 404
    with sink.client(exit_timeout_millisecond=0) as client:
        for number in range(3000):
            client.track_conversion(f"v{number}", 1)
        client.flush(timeout=5.0)
        assert len(sink.posted) <= 45


def test_a_bot_takes_nobody_with_it(sink):
    """403 for a batch of many visitors: the other visitors' events arrive."""
    sink.answer = lambda lines: 403 if any("visitorCode=bot" in line for line in lines) else 204
    with sink.client() as client:
        for number in range(30):
            client.track_conversion(f"v{number}", number)
        client.track_conversion("bot", 99)
        assert client.flush(timeout=5.0).pending == 0
    assert sorted(sink.goals()) == list(range(30))


def test_five_megabytes_of_one_visitor_go_in_requests_within_the_bound(sink):
    """Requests are split between lines."""
    with sink.client() as client:
        for number in range(50):
            client.add_data("big", CustomData(number, "x" * 100_000))
        assert client.flush("big", timeout=10.0).sent == 50
    assert len(sink.posted) >= 2
    assert max(request.size for request in sink.posted) <= 2_621_440


def test_a_wait_that_the_service_asks_for_is_kept(sink):
    """Retry-After holds for waiting flushes and instant ones too."""
    sink.answer = lambda _lines: (429, {"Retry-After": "60"})
    with sink.client(exit_timeout_millisecond=100) as client:
        client.track_conversion("v", 5)
        for _ in range(5):
            assert client.flush("v", timeout=1.0).pending >= 1
            client.flush("v", instant=True)
        assert len(sink.posted) == 1


def test_a_service_that_hangs_gets_one_request_at_a_time():
    """Under steady traffic one request is under way, and what was answered is not sent again."""
    with Sink() as sink:
        hangs = threading.Event()
        sink.answer = lambda _lines: None if hangs.is_set() and not sink.over.wait(1.0) else 204
        with sink.client(default_timeout_millisecond=300) as client:
            client._core.schedule._job("tracking").wait_s = lambda: 0.01
            for number in range(100):
                if number == 30:
                    hangs.set()
                client.track_conversion(f"v{number}", number)
                client.flush(instant=True)
                time.sleep(0.005)
            # What was under way when it began to hang is still held by the service.
            assert sink.most_at_once <= 2
            hangs.clear()
            until(lambda: client.flush(timeout=2.0).pending == 0)
        assert sorted(sink.goals()) == list(range(100))
        nonces = [fields["nonce"] for fields in sink.taken("conversion")]
        assert len(set(nonces)) == 100


def test_after_an_outage_one_probe_and_then_full_batches():
    """Events of 100,000 visitors waited: one line alone, then as many as a request holds, all at once."""
    with Sink(lambda _lines: 503) as sink, sink.client() as client:
        client._core.outbox.put(
            [
                Line(
                    f"visitorCode=v{number}",
                    f"nonce={number:016}&eventType=conversion&goalId={number}&visitorCode=v{number}",
                    None,
                )
                for number in range(100_000)
            ]
        )
        assert client.flush("v", timeout=10.0).pending == 100_001
        assert client.flush("v", timeout=10.0).pending == 100_002
        sink.posted.clear()
        sink.answer = lambda _lines: 204
        assert client.flush("v", timeout=30.0).pending == 0
        sizes = [len(request.lines) for request in sink.posted]
        assert (sizes[0], sum(sizes)) == (1, 100_003)
        assert len(sizes) < 6


def test_too_many_events_are_bounded_counted_and_said_once(sink, caplog):
    """The oldest go first, the number is in stats, and one line of the log tells of it."""
    from kameleoon._tracking.outbox import MemoryOutbox

    sink.answer = lambda _lines: 503
    with sink.client(exit_timeout_millisecond=0) as client:
        client._core.outbox._max_lines = 50
        assert isinstance(client._core.outbox, MemoryOutbox)
        for number in range(80):
            client.track_conversion("v", number)
            client.flush("v", instant=True)
        stats = client.stats()
        assert (stats.events_pending, stats.events_dropped) == (50, 30)
    assert sum("the oldest are given up" in record.getMessage() for record in caplog.records) == 1


def test_bodies_are_compressed_once_the_service_says_that_it_takes_gzip(sink):
    """Not before, not when it takes back its word, and after a 415 the same lines go out uncompressed."""
    with sink.client() as client:

        def send(number, headers, status=204):
            sink.answer = lambda _lines: (status, headers)
            for part in range(30):
                client.track_conversion(f"v{part}", number)
            client.flush(timeout=5.0)

        send(1, {"Accept-Encoding": "gzip, deflate"})
        send(2, {})
        send(3, {"Accept-Encoding": "identity, gzip;q=0"})
        send(4, {"Accept-Encoding": "gzip"})
        before = len(sink.posted)
        assert [request.was_compressed for request in sink.posted] == [False, True, True, False]
        told = iter([415, 204])
        sink.answer = lambda _lines: next(told)
        client.track_conversion("w", 5)
        client.add_data("w", CustomData(1, "x" * 2000))
        client.flush(timeout=5.0)
        assert [request.was_compressed for request in sink.posted[before:]] == [True, False]
        assert sink.posted[before].lines == sink.posted[before + 1].lines


# --- many visitors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threaded", [True, False])
def test_an_event_loop_is_not_held_by_many_pending_visitors(sink, threaded):
    """40,000 visitors are flushed while a loop runs: it is never held longer than a few milliseconds by our work."""
    client = sink.client(multi_threading=None if threaded else False)
    for number in range(40_000):
        client.add_data(f"v{number}", CustomData(1, "x"))
    longest = 0.0

    async def application():
        nonlocal longest
        work = None if threaded else asyncio.create_task(client.run_background())
        await asyncio.sleep(0.05)
        before = time.thread_time()
        client.flush(instant=True)
        while client.stats().events_sent < 40_000:
            longest = max(longest, time.thread_time() - before)
            before = time.thread_time()
            await asyncio.sleep(0.001)
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        await client.aclose()

    asyncio.run(asyncio.wait_for(application(), 60))
    assert longest < 0.010


def test_visitors_beyond_the_bound_leave_with_their_data_sent(sink):
    """However many come, so many are kept; what the others had arrives."""
    with sink.client(max_visitors=100) as client:
        for number in range(5_000):
            client.add_data(f"v{number}", Conversion(number))
        assert client.stats().visitors == 100
        until(lambda: client.flush(timeout=5.0).pending == 0 and client.stats().events_sent >= 5_000)
    assert sorted(sink.goals()) == list(range(5_000))
    assert not sink.taken("activity")

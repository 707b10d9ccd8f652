"""Changes that the service announces: a real server that streams, breaks, stalls and comes back."""

import functools
import json
import sys
import threading
import time
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon._runtime.streaming import Streaming
from kameleoon._transport.requests_stream import EventConnection
from kameleoon._workers import listener
from kameleoon.events import DataFileUpdateEvent, EventType
from kameleoon.server.serve import LocalServer

sys.path.insert(0, str(Path(__file__).parents[1] / "transport"))
from scripted import Scripted, reply

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Service:
    """A service whose configuration and stream the test directs."""

    def __init__(self, server):
        self.server = server
        self.version = 1
        self.streams = []
        self.changed = threading.Condition()
        self.streaming = True
        self.fails = 0
        self.on_stream = self.hold
        server.answers = {
            "/v3/site": self.configuration,
            "/sse": self.stream,
            "/oauth/token": reply(404),
            "/visit/events": reply(204),
        }

    def configuration(self, visit):
        """Answer with the version of the moment."""
        if self.fails:
            self.fails -= 1
            return reply(500)(visit)
        root = {
            "dateModified": self.version,
            "configuration": {"realTimeUpdate": self.streaming},
            "featureFlags": [
                {"featureKey": f"v{self.version}", "environmentEnabled": True, "rules": [], "variations": []}
            ],
        }
        return reply(200, json.dumps(root).encode(), Content_Type="application/json")(visit)

    def stream(self, visit):
        """Note the stream and let the test's own answer serve it."""
        with self.changed:
            self.streams.append(visit)
            self.changed.notify_all()
        return self.on_stream(visit)

    def hold(self, visit):
        """Open the stream and keep it until the test, or the client, ends it."""
        visit.write(HEAD)
        visit.done = threading.Event()
        while not visit.done.wait(0.01) and not self.server.over.is_set():
            pass

    def refuse(self, visit):
        """Answer as a service without streams does."""
        reply(404)(visit)

    def wait_for_streams(self, number):
        """Wait until the stream was opened *number* times."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.streams) >= number, 5)

    def announce(self, version):
        """Publish a version and say so on the newest stream."""
        self.version = version
        self.streams[-1].write(b'event: configuration-update-event\ndata: {"ts": %d}\n\n' % version)

    def fetches(self):
        """Targets of the configuration requests so far."""
        return [seen.target for seen in self.server.seen if seen.target.startswith("/v3/")]


@pytest.fixture
def service(monkeypatch):
    """A service, and waits that are short."""
    monkeypatch.setattr(listener, "FIRST_WAIT_S", 0.02)
    with Scripted() as server:
        yield Service(server)


@pytest.fixture
def make_client(service, monkeypatch):
    """A function that makes clients of the service which are closed afterwards."""
    made = []
    short = functools.partial(listener.Listener, first_wait_s=0.02, longest_wait_s=0.1, steady_s=0.05)
    monkeypatch.setattr("kameleoon._runtime.streaming.Listener", short)
    monkeypatch.setattr("kameleoon._runtime.streaming.FETCH_AGAIN_S", 0.02)

    def make(**settings):
        config = KameleoonClientConfig("id", "secret", base_url=service.server.url, **settings)
        client = KameleoonClient("site", config)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def wait_until(holds, timeout_s=5.0):
    """Wait until *holds*."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def wait_for_the_first_look(client):
    """Wait until what may have changed before the stream was open has been fetched, so that later fetches are the test's."""
    wait_until(lambda: client._core.schedule._job("announced configuration").runs == 1)


def has(client, version):
    """Whether *client* works with that version."""
    return f"v{version}" in client.get_data_file().feature_flags


def stream_threads():
    """The threads that listen now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("kameleoon-stream-")]


class Updates:
    """Keeps the events it hears of."""

    def __init__(self):
        self.sources = []

    def on_update(self, event):
        """Keep one."""
        self.sources.append(event.source)


def test_an_announced_version_is_fetched_and_told(service, make_client):
    """The fetch names the version; both kinds of handlers hear of it as streamed."""
    client = make_client()
    assert client.wait_init(5000)
    service.wait_for_streams(1)
    assert service.streams[0].seen.target == "/sse?siteCode=site"
    assert service.streams[0].seen.headers["accept"] == "text/event-stream"
    wait_for_the_first_look(client)
    updates, called = Updates(), threading.Event()
    client.set_event_handler(EventType.DATAFILE_UPDATE, updates)
    with pytest.warns(DeprecationWarning, match="on_update_configuration"):
        client.on_update_configuration(called.set)
    service.announce(1700000001234)
    wait_until(lambda: has(client, 1700000001234))
    assert called.wait(5)
    assert updates.sources == [DataFileUpdateEvent.Source.STREAMING]
    assert service.fetches() == ["/v3/site", "/v3/site", "/v3/site?ts=1700000001234"]


def test_the_first_look_after_opening_is_no_news_when_nothing_changed(service, make_client):
    """What is fetched after the stream was opened is told only when it is something else."""
    updates = Updates()
    client = make_client()
    client.set_event_handler(EventType.DATAFILE_UPDATE, updates)
    service.wait_for_streams(1)
    wait_for_the_first_look(client)
    service.announce(2)
    wait_until(lambda: len(updates.sources) == 2)
    assert updates.sources == [DataFileUpdateEvent.Source.POLLING, DataFileUpdateEvent.Source.STREAMING]


def test_a_change_while_the_stream_was_broken_is_known_when_it_is_back(service, make_client):
    """The stream breaks, a flag changes, the stream comes back: a fetch without a version finds the change."""
    client = make_client()
    assert client.wait_init(5000)
    service.wait_for_streams(1)
    wait_for_the_first_look(client)
    service.version = 2
    service.streams[0].done.set()
    service.wait_for_streams(2)
    wait_until(lambda: has(client, 2))
    assert service.fetches()[-1] == "/v3/site"


@pytest.mark.parametrize("ending", ["refuse", "end"])
def test_a_stream_that_cannot_be_kept_is_tried_again_and_polling_goes_on(service, make_client, ending):
    """Refused, or ended cleanly at once: the waits grow, and polling finds changes meanwhile."""
    service.on_stream = service.refuse if ending == "refuse" else lambda visit: visit.write(HEAD)
    client = make_client(refresh_interval_minute=0.001)
    assert client.wait_init(5000)
    service.wait_for_streams(4)
    service.version = 2
    wait_until(lambda: has(client, 2))
    assert client._core.streaming._listener._failures >= 3
    service.on_stream = service.hold
    service.wait_for_streams(len(service.streams) + 1)
    wait_until(lambda: client._core.streaming.is_open)


def test_waits_grow_and_are_never_in_step():
    """The wait after each failure is twice the one before, drawn from its upper half, and never above the longest."""
    made = listener.Listener("unused", None, None, None, first_wait_s=1.0, longest_wait_s=8.0)
    for failures, longest in ((1, 1.0), (2, 2.0), (4, 8.0), (50, 8.0)):
        made._failures = failures
        waits = {made._wait_s() for _ in range(50)}
        assert len(waits) > 40
        assert longest / 2 <= min(waits) <= max(waits) <= longest


def test_polling_rests_while_the_stream_is_open(service, make_client):
    """While changes are announced nobody asks for them."""
    client = make_client(refresh_interval_minute=0.0005)
    assert client.wait_init(5000)
    service.wait_for_streams(1)
    wait_until(lambda: client._core.streaming.is_open)
    wait_for_the_first_look(client)
    before, runs = len(service.fetches()), client._core.schedule._job("configuration").runs
    wait_until(lambda: client._core.schedule._job("configuration").runs >= runs + 5)
    assert len(service.fetches()) <= before + 1


def test_an_announced_version_that_cannot_be_fetched_is_fetched_again(service, make_client):
    """The service fails for a while after its announcement: the version is asked for until it is there."""
    client = make_client()
    assert client.wait_init(5000)
    service.wait_for_streams(1)
    wait_for_the_first_look(client)
    service.fails = 5
    service.announce(9)
    wait_until(lambda: has(client, 9))
    assert service.fetches()[-1] == "/v3/site?ts=9"


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"ts": "soon"}', b'{"ts": true}', b'{"ts": -1}'])
def test_an_announcement_that_cannot_be_read_is_one_all_the_same(service, make_client, data):
    """Something changed, whatever it was: it is fetched without a version, and the stream goes on."""
    client = make_client()
    assert client.wait_init(5000)
    service.wait_for_streams(1)
    wait_for_the_first_look(client)
    service.version = 3
    service.streams[0].write(b"event: something-else\ndata: 1\n\n")
    service.streams[0].write(b"event: configuration-update-event\ndata: " + data + b"\n\n")
    wait_until(lambda: has(client, 3))
    assert service.fetches()[-1] == "/v3/site"
    assert len(service.streams) == 1


def test_switching_streaming_off_ends_it_at_once(service, make_client):
    """A configuration without streaming ends the thread within a second, though the stream says nothing."""
    client = make_client()
    assert client.wait_init(5000)
    service.wait_for_streams(1)
    wait_for_the_first_look(client)
    service.streaming = False
    service.announce(2)
    wait_until(lambda: has(client, 2))
    wait_until(lambda: not stream_threads(), 1.0)
    assert not client._core.streaming.is_open


def test_closing_ends_a_silent_stream_at_once(service, make_client):
    """`close` takes less than a second and leaves no thread, though the server never says a word."""
    client = make_client()
    assert client.wait_init(5000)
    service.wait_for_streams(1)
    wait_until(lambda: client._core.streaming.is_open)
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 1.0
    assert not stream_threads()


def test_closing_does_not_wait_for_a_fetch_that_hangs(service, make_client):
    """A fetch without an answer is given up by `close`."""
    asked = threading.Event()

    def hang(visit):
        asked.set()
        visit.stall()

    service.server.answers["/v3/site"] = hang
    client = make_client()
    assert asked.wait(5)
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 1.0
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "kameleoon-site"], 1.0)


def test_without_threads_nothing_is_streamed(service, make_client):
    """multi_threading=False polls, whatever the configuration says."""
    client = make_client(multi_threading=False)
    assert client.wait_init(5000)
    assert client.get_data_file().date_modified == 1
    assert not stream_threads()
    assert not service.streams


def stalled(visit):
    """Open the stream and say nothing."""
    visit.write(HEAD)
    visit.stall()


def trickling(visit):
    """Open the stream and send bytes that never make a line."""
    visit.write(HEAD)
    while not visit.server.over.wait(0.02):
        visit.write(b"x")


def chunked_stall(visit):
    """Open the stream, complete one event, and say nothing more, in the middle of a chunk."""
    visit.write(CHUNKED + b"20\r\n: hello\n\n")
    visit.stall()


@pytest.mark.parametrize("behaviour", [stalled, trickling, chunked_stall])
def test_a_stream_that_stands_still_is_opened_anew(service, behaviour):
    """A stall, or a trickle without a line end, is noticed by the read timeout, again and again."""
    service.on_stream = behaviour
    opened = []
    heard = listener.Listener(
        "kameleoon-stream-test",
        lambda: EventConnection(f"{service.server.url}/sse", idle_s=0.15),
        lambda: opened.append(time.monotonic()),
        lambda _: None,
        first_wait_s=0.01,
        longest_wait_s=0.01,
    )
    heard.start()
    service.wait_for_streams(3)
    wait_until(lambda: len(opened) >= 3)
    assert heard.stop(1.0)


def test_a_stream_that_says_something_now_and_then_is_kept(service):
    """Each completed line, a comment too, gives the stream another while: it lives on far beyond the read timeout."""

    def keep_alive(visit):
        visit.write(HEAD)
        for _ in range(12):
            visit.server.over.wait(0.05)
            visit.write(b":\n")
        visit.write(b"data: the end\n\n")

    service.on_stream = keep_alive
    opened, event = EventConnection(f"{service.server.url}/sse", idle_s=0.3).events()
    assert opened is None
    assert event.data == "the end"


def test_a_server_that_never_answers_is_left_at_the_timeout(service):
    """Opening has its own bound."""
    service.on_stream = lambda visit: visit.stall()
    connection = EventConnection(f"{service.server.url}/sse", connect_s=0.1)
    with pytest.raises(Exception, match="timeout"):
        next(connection.events())


def test_a_stream_may_be_elsewhere(service):
    """A redirect of the stream is followed, with the headers of a stream."""

    def elsewhere(visit):
        if "there" not in visit.seen.target:
            visit.write(b"HTTP/1.1 307 Go\r\nLocation: /sse?there=1\r\nContent-Length: 0\r\n\r\n")
        else:
            visit.write(HEAD + b"data: found\n\n")

    service.on_stream = elsewhere
    assert [event and event.data for event in EventConnection(f"{service.server.url}/sse").events()] == [None, "found"]
    assert [visit.seen.headers["accept"] for visit in service.streams] == ["text/event-stream"] * 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_is_no_stream_is_refused(service, answer):
    """Another status or other content is told with both."""
    service.on_stream = lambda visit: visit.write(answer)
    with pytest.raises(Exception, match="status"):
        list(EventConnection(f"{service.server.url}/sse").events())


def test_a_stream_without_line_ends_is_refused_at_a_bound(service):
    """Endless bytes do not fill the memory."""

    def endless(visit):
        visit.write(HEAD + b"data: ")
        while not visit.server.over.is_set():
            visit.write(b"x" * 65536)

    service.on_stream = endless
    with pytest.raises(Exception, match="protocol"):
        list(EventConnection(f"{service.server.url}/sse").events())


def test_a_closed_streaming_never_starts_again():
    """After `close` no thread is started, whatever arrives late."""
    streaming = Streaming("kameleoon-stream-late", None, lambda: "http://127.0.0.1:9/sse", lambda: None)
    streaming.close(0.0)
    streaming.follow(True)
    assert streaming._listener is None


def test_the_local_server_streams_its_changes(tmp_path):
    """End to end: a project file that changes is known to the client although it polls once an hour."""
    demo = (
        (Path(__file__).parents[2] / "sample-config" / "demo-project.yaml")
        .read_text()
        .replace("project:\n", "project:\n  streaming: true\n")
    )
    path = tmp_path / "project.yaml"
    path.write_text(demo)
    from kameleoon.server.project_file import read_project

    with (
        LocalServer(path) as server,
        KameleoonClient("demoshop01", KameleoonClientConfig("id", "secret", base_url=server.url)) as client,
    ):
        assert client.wait_init(5000)
        wait_until(lambda: client._core.streaming.is_open)
        path.write_text(demo.replace("recommendations:\n", "brand_new:\n"))
        server.publish(read_project(path))
        wait_until(lambda: "brand_new" in client.get_data_file().feature_flags)

"""Both senders over the same scripted server: what holds for one holds for the other."""

import asyncio
import gc
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
import warnings

import pytest
from scripted import CERTIFICATE, Scripted, endless, gzipped, hang_up, raw, reply, reset, stall, trickle

from kameleoon._transport.adapter import certificate_path
from kameleoon._transport.aiohttp_sender import AiohttpSender
from kameleoon._transport.flow import exchange, run
from kameleoon._transport.message import MIB, Request, Response, TransportError, TransportErrorKind
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon._version import __version__
from kameleoon.events import RequestType

PROXIES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
AUTHORITIES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in [*PROXIES, *(name.upper() for name in PROXIES), *AUTHORITIES, "NETRC"]:
        monkeypatch.delenv(name, raising=False)


class Blocking:
    """The blocking sender, called from the test's thread."""

    def __init__(self, **options):
        self.sender = RequestsSender(**options)

    def send(self, request):
        return self.sender.send(request)

    def send_many(self, request, count):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.send(request))) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def close(self):
        self.sender.close()

    def end(self):
        self.sender.close()


class Asyncio:
    """The asyncio sender on one loop that lives as long as the test."""

    def __init__(self, **options):
        self.sender = AiohttpSender(**options)
        self.runner = asyncio.Runner()

    def send(self, request):
        return self.runner.run(self.sender.send(request))

    def send_many(self, request, count):
        async def together():
            return await asyncio.gather(*(self.sender.send(request) for _ in range(count)))

        return self.runner.run(together())

    def close(self):
        self.runner.run(self.sender.aclose())

    def end(self):
        self.runner.close()


@pytest.fixture(params=[Blocking, Asyncio])
def make(request):
    """Build senders of one of both kinds and free them in the end."""
    made = []

    def build(**options):
        made.append(request.param(**options))
        return made[-1]

    # The first request imports the library, which is not what these tests measure.
    with Scripted({"/": reply()}) as server:
        build().send(get(server))
    yield build
    for sender in made:
        sender.end()
    gc.collect()


def get(server, path="/", timeout_s=5.0, **more):
    """Build a GET of *path*."""
    return Request(RequestType.DATAFILE, "GET", server.url + path, timeout_s=timeout_s, **more)


def kind_of(sender, request):
    """Tell how *request* fails."""
    with pytest.raises(TransportError) as caught:
        sender.send(request)
    return caught.value.kind


def test_a_response_is_handed_over_whole(make):
    """Status, lower-case header names and the body arrive as the server gave them."""
    with Scripted({"/a": reply(418, b"tea", Content_Type="text/plain", X_Pot="short")}) as server:
        response = make().send(get(server, "/a"))
    assert (response.status, response.body) == (418, b"tea")
    assert response.headers["content-type"] == "text/plain"
    assert response.headers["x-pot"] == "short"


def test_the_header_fields_are_ours(make):
    """A GET carries our user agent, accepts anything, and has neither a content type nor a cookie."""
    with Scripted({"/": reply(200, b"", Set_Cookie="a=b; Path=/")}) as server:
        sender = make()
        for _ in range(2):
            sender.send(get(server, headers={"X-Kameleoon-SDK-Type": "PYTHON"}))
    for seen in server.seen:
        assert seen.headers["user-agent"] == f"kameleoon-sdk/{__version__}"
        assert seen.headers["accept"] == "*/*"
        assert seen.headers["accept-encoding"] == "gzip, deflate"
        assert seen.headers["x-kameleoon-sdk-type"] == "PYTHON"
        assert not {"content-type", "cookie", "authorization"} & set(seen.headers)


@pytest.mark.parametrize("content_type", ["*/*", None])
def test_a_post_has_the_content_type_given_or_none(make, content_type):
    """The body goes out as it is, and no content type is made up."""
    headers = {"Content-Type": content_type} if content_type else {}
    with Scripted({"/": reply(204)}) as server:
        make().send(Request(RequestType.TRACKING, "POST", server.url + "/", headers=headers, body=b"a=1\n\xff"))
    assert server.seen[0].body == b"a=1\n\xff"
    assert server.seen[0].headers.get("content-type") == content_type


def test_a_query_goes_out_as_given(make):
    """Escapes, apostrophes and an escaped slash are not normalised."""
    query = "?key=w%20key%2F%C3%A9!*'()~-_.%2B&b=%26"
    with Scripted({"/map/map": reply()}) as server:
        make().send(get(server, "/map/map" + query))
    assert server.seen[0].target == "/map/map" + query


def test_gzip_is_undone(make):
    """A compressed body arrives as it was before."""
    with Scripted({"/": gzipped(b"x" * 1000)}) as server:
        assert make().send(get(server)).body == b"x" * 1000


def test_a_connection_is_kept_for_the_next_request(make):
    """Requests one after the other share a connection, after answers without a body too."""
    with Scripted({"/": reply(204), "/b": reply(200, b"body"), "/c": reply(304)}) as server:
        sender = make()
        for path in ("/", "/", "/b", "/c", "/b", "/"):
            sender.send(get(server, path))
    assert {seen.connection for seen in server.seen} == {1}


def test_a_dropped_idle_connection_is_noticed(make):
    """A server that ends the kept connection between two requests costs nothing."""
    with Scripted({"/": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")}) as server:
        sender = make()
        assert sender.send(get(server)).body == b"ok"
        # The server hangs up after each answer; give the loopback a moment to tell.
        time.sleep(0.05)
        assert sender.send(get(server)).body == b"ok"


@pytest.mark.parametrize(
    "answer",
    [
        stall,
        raw(b"HTTP/1.1 200 OK\r\n", stall),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", stall),
        trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"),
        trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        trickle(b"HTTP/1.1 200 OK\r\nX-Long: "),
        trickle(b"HTTP/1.1 200 O", b"K"),
    ],
    ids=[
        "no answer",
        "half a head",
        "half a body",
        "trickled body",
        "trickled chunks",
        "trickled head",
        "trickled status",
    ],
)
def test_the_timeout_covers_everything(make, answer):
    """A server that stalls or trickles at any point is left at the timeout."""
    with Scripted({"/": answer}) as server:
        started = time.monotonic()
        assert kind_of(make(), get(server, timeout_s=0.2)) is TransportErrorKind.TIMEOUT
        assert time.monotonic() - started < 1.0


def test_a_timeout_that_is_over_before_the_first_byte(make):
    """A request with hardly any time fails as all do that had too little."""
    with Scripted({"/": reply()}) as server:
        assert kind_of(make(), get(server, timeout_s=1e-9)) is TransportErrorKind.TIMEOUT


def test_a_server_that_takes_no_bytes_is_left_at_the_timeout(make):
    """A body that is not read by the server does not hold the caller."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        started = time.monotonic()
        request = Request(RequestType.TRACKING, "POST", url, body=b"x" * (32 * MIB), timeout_s=0.2)
        assert kind_of(make(), request) is TransportErrorKind.TIMEOUT
        assert time.monotonic() - started < 1.5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reset, TransportErrorKind.CONNECTION),
        (hang_up, TransportErrorKind.CONNECTION),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), TransportErrorKind.CONNECTION),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", reset), TransportErrorKind.CONNECTION),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), TransportErrorKind.CONNECTION),
        (raw(b"SSH-2.0-OpenSSH_9\r\n\r\n"), TransportErrorKind.PROTOCOL),
        (reply(200, b"not gzip", Content_Encoding="gzip"), TransportErrorKind.PROTOCOL),
    ],
    ids=["reset", "hang up", "short body", "reset in body", "short chunk", "no HTTP", "no gzip"],
)
def test_a_broken_answer_is_told_by_kind(make, answer, kind):
    """Connections that end early and answers that are no HTTP are told apart, and never raise anything else."""
    with Scripted({"/": answer}) as server:
        assert kind_of(make(), get(server)) is kind


def test_nobody_listening_is_a_connection_error(make):
    """A refused connection fails at once, and says so without the query."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    request = Request(RequestType.DATAFILE, "GET", f"http://127.0.0.1:{port}/p?visitorCode=secret", timeout_s=5)
    with pytest.raises(TransportError) as caught:
        make().send(request)
    assert caught.value.kind is TransportErrorKind.CONNECTION
    assert "refused" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_url_without_host_is_a_protocol_error(make):
    """A request that cannot be sent fails as a TransportError like any other."""
    assert kind_of(make(), Request(RequestType.DATAFILE, "GET", "http://", timeout_s=1)) is TransportErrorKind.PROTOCOL


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        raw(HEAD + b"Content-Length: 524288000\r\n\r\n", stall),
        raw(HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", stall),
        endless(HEAD + b"\r\n"),
        endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        gzipped(b"x" * (2 * MIB)),
    ],
    ids=["declared", "declared absurdly", "endless", "endless chunks", "compressed"],
)
def test_a_body_above_the_bound_is_refused(make, answer):
    """A body is refused at its bound, by its declared, sent or decoded size."""
    with Scripted({"/": answer}) as server:
        started = time.monotonic()
        kind = kind_of(make(), get(server, timeout_s=5.0, max_body_bytes=MIB))
        assert time.monotonic() - started < 3
    # An absurd length may also be refused as no HTTP.
    assert kind in {TransportErrorKind.TOO_LARGE, TransportErrorKind.PROTOCOL}


def test_a_body_at_the_bound_is_taken(make):
    """The bound itself is allowed."""
    with Scripted({"/": reply(200, b"x" * MIB)}) as server:
        assert len(make().send(get(server, max_body_bytes=MIB)).body) == MIB


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"HTTP/1.1 204 OK\r\nContent-Length: 9\r\n\r\n", reset),
        raw(b"HTTP/1.1 202 OK\r\nContent-Length: 9\r\n\r\nabc", stall),
        raw(b"HTTP/1.1 202 OK\r\nContent-Length: 9\r\n\r\nabc", reset),
        endless(b"HTTP/1.1 202 OK\r\n\r\n"),
    ],
    ids=["reset", "stalled body", "broken body", "endless body"],
)
def test_a_status_counts_although_its_body_breaks(make, answer):
    """Where only the status is needed, an answered request is answered: nothing is sent again for a broken body."""
    with Scripted({"/": answer}) as server:
        response = make().send(get(server, timeout_s=0.3, needs_body=False, max_body_bytes=1024))
    assert response.status in {202, 204}
    assert response.body == b""


@pytest.mark.parametrize(("status", "method"), [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_a_redirected_post(make, status, method):
    """A POST becomes a GET without body on 301 to 303, and stays itself on 307 and 308."""
    with Scripted({"/a": reply(status, b"moved", Location="/b?q=%2F"), "/b": reply(200, b"there")}) as server:
        request = Request(
            RequestType.TRACKING,
            "POST",
            server.url + "/a",
            headers={"Content-Type": "*/*", "Authorization": "Bearer t"},
            body=b"lines",
        )
        assert make().send(request).body == b"there"
    seen = server.seen[1]
    assert (seen.method, seen.target) == (method, "/b?q=%2F")
    assert seen.body == (b"lines" if method == "POST" else b"")
    assert ("content-type" in seen.headers) == (method == "POST")
    assert seen.headers["authorization"] == "Bearer t"


def test_a_token_does_not_go_to_another_origin(make):
    """A redirect to another port loses the Authorization header."""
    with Scripted({"/b": reply()}) as other, Scripted({"/a": reply(307, b"", Location=other.url + "/b")}) as server:
        make().send(get(server, "/a", headers={"Authorization": "Bearer t", "X-Other": "1"}))
    assert "authorization" not in other.seen[0].headers
    assert other.seen[0].headers["x-other"] == "1"


@pytest.mark.parametrize("location", ["/a", "ftp://127.0.0.1/", "http://[", "http://"])
def test_a_redirect_to_nowhere_is_a_protocol_error(make, location):
    """Loops and targets that are no HTTP URL end, as a TransportError."""
    with Scripted({"/a": reply(302, b"", Location=location)}) as server:
        assert kind_of(make(), get(server, "/a")) is TransportErrorKind.PROTOCOL


def test_redirects_share_one_timeout(make):
    """Hops that each take most of the timeout do not add up."""

    def late(visit):
        visit.server.over.wait(0.15)
        return reply(302, b"", Location="/a")(visit)

    with Scripted({"/a": late}) as server:
        started = time.monotonic()
        assert kind_of(make(), get(server, "/a", timeout_s=0.3)) is TransportErrorKind.TIMEOUT
        assert time.monotonic() - started < 1.0


def test_a_proxy_of_the_environment_is_used(make, monkeypatch):
    """http_proxy takes the request, with its credentials, whatever the host."""
    with Scripted({"http://service.invalid/x": reply(200, b"through")}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//user:pass@"))
        request = Request(RequestType.DATAFILE, "GET", "http://service.invalid/x", timeout_s=5)
        assert make().send(request).body == b"through"
    assert proxy.seen[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"
    assert "authorization" not in proxy.seen[0].headers


def test_no_proxy_is_respected(make, monkeypatch):
    """A host listed in no_proxy is asked directly."""
    with Scripted({"/": reply(200, b"direct")}) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert make().send(get(server)).body == b"direct"


def test_a_stalled_proxy_tunnel_is_left_at_the_timeout(make, monkeypatch):
    """The answer to CONNECT is held to the deadline too."""
    with Scripted({"service.invalid:443": trickle(b"HTTP/1.1 200 O", b"K")}) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        started = time.monotonic()
        request = Request(RequestType.DATAFILE, "GET", "https://service.invalid/", timeout_s=0.2)
        assert kind_of(make(), request) is TransportErrorKind.TIMEOUT
        assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_private_authority_of_the_environment_is_trusted(make, monkeypatch, variable):
    """Each of the usual variables names the authority; without any the certificate is refused."""
    with Scripted({"/": reply(200, b"safe")}, tls=True) as server:
        assert kind_of(make(), get(server)) is TransportErrorKind.CONNECTION
        monkeypatch.setenv(variable, str(CERTIFICATE))
        assert make().send(get(server)).body == b"safe"


def test_a_directory_of_authorities_is_trusted(make, monkeypatch, tmp_path):
    """SSL_CERT_DIR names a directory, in which OpenSSL looks for a file by the hash of the subject."""
    (tmp_path / "f6d4602e.0").write_bytes(CERTIFICATE.read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with Scripted({"/": reply(200, b"safe")}, tls=True) as server:
        assert make().send(get(server)).body == b"safe"


def test_a_trickled_body_over_tls_is_left_at_the_timeout(make, monkeypatch):
    """The deadline holds inside an encrypted connection."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    answer = trickle(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
    with Scripted({"/": answer}, tls=True) as server:
        assert kind_of(make(), get(server, timeout_s=0.4)) is TransportErrorKind.TIMEOUT


def test_a_redirect_out_of_tls_is_refused(make, monkeypatch):
    """Configuration and visitors do not travel in the open because a server says so."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with (
        Scripted({"/": reply()}) as plain,
        Scripted({"/": reply(302, b"", Location=plain.url + "/")}, tls=True) as server,
    ):
        assert kind_of(make(), get(server)) is TransportErrorKind.PROTOCOL
    assert plain.seen == []


def test_the_first_authority_named_wins(monkeypatch):
    """REQUESTS_CA_BUNDLE comes before SSL_CERT_FILE, and nothing set means the library's own."""
    assert certificate_path() is None
    monkeypatch.setenv("SSL_CERT_FILE", "/b")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/a")
    assert certificate_path() == "/a"


def test_credentials_in_netrc_are_left_alone(make, monkeypatch, tmp_path):
    """A .netrc entry for the host neither replaces our token nor is sent without one."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Scripted({"/": reply()}) as server:
        sender = make()
        sender.send(get(server, headers={"Authorization": "Bearer t"}))
        sender.send(get(server))
    assert [seen.headers.get("authorization") for seen in server.seen] == ["Bearer t", None]


def test_the_observer_is_told_of_every_attempt(make):
    """It gets request, outcome and seconds; a redirect is one attempt; what it raises goes no further."""
    told = []

    def observer(request, outcome, seconds):
        told.append((request, outcome, seconds))
        raise RuntimeError

    answers = {"/a": reply(302, b"", Location="/b"), "/b": reply(500, b"{}"), "/c": hang_up}
    with Scripted(answers) as server:
        sender = make(observer=observer)
        response = sender.send(get(server, "/a"))
        with pytest.raises(TransportError) as caught:
            sender.send(get(server, "/c"))
    assert [(request.target, outcome) for request, outcome, _ in told] == [
        (server.url + "/a", response),
        (server.url + "/c", caught.value),
    ]
    assert all(0 <= seconds < 5 for *_, seconds in told)


def test_a_closed_sender_refuses_requests(make):
    """After closing, twice even, requests fail and nothing is opened."""
    with Scripted({"/": reply()}) as server:
        sender = make()
        sender.send(get(server))
        sender.close()
        sender.close()
        assert kind_of(sender, get(server)) is TransportErrorKind.CONNECTION
    assert len(server.seen) == 1


def test_a_request_that_begins_while_the_sender_is_closed_is_not_sent():
    """A thread that was given the connections just before they were closed opens no new one."""
    with Scripted({"/": reply()}) as server:
        sender = RequestsSender()
        wire = sender._wire(get(server))
        sender.close()
        with pytest.raises(TransportError, match="the client was closed"):
            wire.send(get(server))
    assert server.seen == []


def test_a_sender_closed_while_its_library_is_imported_opens_nothing(monkeypatch):
    """Closing from another thread counts, were the loop just about to have its connections."""
    from kameleoon._transport import aiohttp_wire

    sender, wires, make_wire = AiohttpSender(), [], aiohttp_wire.Wire

    def make_and_close():
        sender.close()
        wires.append(make_wire())
        return wires[-1]

    monkeypatch.setattr(aiohttp_wire, "Wire", make_and_close)
    with Scripted({"/": reply()}) as server, pytest.raises(TransportError, match="the client is closed"):
        asyncio.run(sender.send(get(server)))
    assert server.seen == []
    assert sender._lives == {}
    assert wires[0]._session.closed


def test_many_at_once(make):
    """Forty requests at a time all get their answers."""
    with Scripted({"/": reply(200, b"ok")}) as server:
        assert [response.body for response in make().send_many(get(server), 40)] == [b"ok"] * 40


def test_a_pause_ends_with_close():
    """A blocking pause is over as soon as the sender is closed."""
    sender = RequestsSender()
    started = time.monotonic()
    threading.Timer(0.05, sender.close).start()
    sender.pause(5)
    sender.pause(5)
    assert time.monotonic() - started < 2


def test_an_asyncio_run_for_each_call_leaks_nothing():
    """Twenty loops one after the other, concurrent calls in each, leave no open session and no warning (faults C3)."""
    with Scripted({"/": reply(200, b"ok")}) as server:
        sender = AiohttpSender()

        async def together():
            return await asyncio.gather(*(sender.send(get(server)) for _ in range(5)))

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(20):
                assert [response.body for response in asyncio.run(together())] == [b"ok"] * 5
                assert sender._lives == {}
            gc.collect()


def test_a_long_loop_keeps_its_connection():
    """Calls one after the other on one loop share a connection."""
    with Scripted({"/": reply(200, b"ok")}) as server:
        sender = AiohttpSender()

        async def one_after_the_other():
            for _ in range(5):
                await sender.send(get(server))

        asyncio.run(one_after_the_other())
    assert {seen.connection for seen in server.seen} == {1}


def test_loops_in_several_threads_at_once():
    """Each thread's loop has connections of its own."""
    with Scripted({"/": reply(200, b"ok")}) as server:
        sender = AiohttpSender()
        bodies = []

        def work():
            for _ in range(5):
                bodies.append(asyncio.run(sender.send(get(server))).body)  # noqa: PERF401 - a list shared by threads

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bodies == [b"ok"] * 40
        assert sender._lives == {}


def test_a_loop_closed_without_shutdown_is_forgotten():
    """A loop that was closed by hand, after aclose, does not stay in memory."""
    with Scripted({"/": reply(200, b"ok")}) as server:
        sender = AiohttpSender()
        loop = asyncio.new_event_loop()
        loop.run_until_complete(sender.send(get(server)))
        assert len(sender._lives) == 1
        loop.run_until_complete(sender.aclose())
        loop.close()
        assert sender._lives == {}


def test_close_reaches_a_loop_that_runs_elsewhere():
    """A blocking close frees the connections of a loop in another thread."""
    with Scripted({"/": reply(200, b"ok")}) as server:
        sender = AiohttpSender()
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        asyncio.run_coroutine_threadsafe(sender.send(get(server)), loop).result(5)
        wire = next(iter(sender._lives.values()))[0]
        sender.close()
        for ending in list(sender._endings):
            ending.result(5)
        assert wire._session.closed
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def test_a_cancelled_request_is_given_up():
    """Cancelling the caller cancels the request, and leaves the sender usable."""
    with Scripted({"/": stall, "/ok": reply(200, b"ok")}) as server:
        sender = AiohttpSender()

        async def scene():
            task = asyncio.create_task(sender.send(get(server, "/")))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await sender.send(get(server, "/ok"))

        assert asyncio.run(scene()).body == b"ok"


def _ask_in_child(sender, request, results):
    results.put((os.getpid(), sender.send(request).body))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connections():
    """Parent and child go on at the same time, each over its own connection, even if a lock was held at the fork."""
    context = multiprocessing.get_context("fork")
    with Scripted({"/": reply(200, b"ok")}) as server:
        sender = RequestsSender()
        sender.send(get(server))
        results = context.Queue()
        with sender._lock:
            child = context.Process(target=_ask_in_child, args=(sender, get(server), results))
            child.start()
        pid, body = results.get(timeout=10)
        child.join(10)
        assert body == b"ok"
        assert pid == child.pid
        assert sender.send(get(server)).body == b"ok"
        sender.close()
    assert [seen.connection for seen in server.seen] == [1, 2, 1]


def test_no_http_library_is_imported_before_the_first_request():
    """Making both senders loads neither requests nor aiohttp."""
    program = (
        "import sys, json\n"
        "from kameleoon._transport.requests_sender import RequestsSender\n"
        "from kameleoon._transport.aiohttp_sender import AiohttpSender\n"
        "RequestsSender().close(); AiohttpSender()\n"
        "print(json.dumps([name for name in ('requests', 'urllib3', 'aiohttp', 'yaml') if name in sys.modules]))\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == []


def test_run_drives_a_flow_over_a_real_sender():
    """A flow and the blocking sender fit together."""
    with Scripted({"/": gzipped(b'{"a": 1}', Content_Type="application/json; charset=utf-8")}) as server:
        sender = RequestsSender()
        response = run(exchange(get(server)), sender)
        sender.close()
    assert isinstance(response, Response)
    assert response.is_json
    assert response.json() == {"a": 1}

"""The ASGI middleware keeps to the protocol, and never holds up the event loop."""

import asyncio
import threading
from pathlib import Path

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.cookies import VISITOR_COOKIE, coded
from kameleoon.integrations.asgi import VISITOR_KEY, KameleoonASGIMiddleware
from kameleoon.integrations.settings import LazyClient
from kameleoon.server.serve import LocalServer

PROJECT = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"

OURS = VISITOR_COOKIE.encode()


@pytest.fixture
def client():
    """A client that needs no network."""
    with KameleoonClient("s", KameleoonClientConfig(source={"featureFlags": []}, top_level_domain="a.com")) as client:
        client.wait_init()
        yield client


def exchange(middleware, scope, messages=()):
    """Send a connection through the middleware; gives what it sent."""
    pending, sent = list(messages), []

    async def receive():
        return pending.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(middleware(scope, receive, send))
    return sent


def scope_of(kind, *cookies):
    """A scope with ``Cookie`` headers."""
    return {"type": kind, "path": "/", "headers": [(b"host", b"a"), *((b"cookie", cookie) for cookie in cookies)]}


def test_http(client):
    """The response carries the cookie beside the application's own, and its pieces pass one by one."""
    seen = []

    async def app(scope, _receive, send):
        seen.append(scope)
        await send({"type": "http.response.start", "status": 201, "headers": iter([(b"Set-Cookie", b"a=b")])})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await send({"type": "http.response.body", "body": b"2"})

    given = scope_of("http")
    start, *rest = exchange(KameleoonASGIMiddleware(app, client), given)
    assert start["status"] == 201
    names = [name for name, _ in start["headers"]]
    assert names == [b"Set-Cookie", b"set-cookie"]
    assert [message["body"] for message in rest] == [b"1", b"2"]
    (scope,) = seen
    code = scope[VISITOR_KEY].code.encode()
    assert start["headers"][1][1].startswith(OURS + b"=" + code + b"; Domain=a.com; ")
    assert scope["headers"] == [(b"host", b"a"), (b"cookie", OURS + b"=" + code)]
    assert given == scope_of("http")  # a server's scope is not changed


def test_split_cookie_headers(client):
    """Cookies that HTTP/2 split into several headers are read together."""

    async def app(scope, _receive, send):
        await send({"type": "http.response.start", "status": 200})
        seen.append((scope[VISITOR_KEY].code, scope["headers"]))

    seen = []
    scope = scope_of("http", b"a=b", OURS + b"=abc", b"c=d")
    exchange(KameleoonASGIMiddleware(app, client), scope)
    assert seen == [("abc", scope["headers"])]


def test_websocket(client):
    """A websocket has the visitor, and the cookie comes with its acceptance."""

    async def app(scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope[VISITOR_KEY].code})

    accept, told = exchange(
        KameleoonASGIMiddleware(app, client, lambda: "né"), scope_of("websocket"), [{"type": "websocket.connect"}]
    )
    assert told["text"] == "né"
    assert accept["headers"][0][1].startswith(f"{VISITOR_COOKIE}={coded('né')}; ".encode())


def test_lifespan_passes_through():
    """Anything else reaches the application untouched, and no client is asked for."""
    seen = []

    async def app(*given):
        seen.append(given)

    async def nothing(*_):
        """Neither receive nor send is used."""

    def no_client():
        raise AssertionError

    scope = {"type": "lifespan"}
    asyncio.run(KameleoonASGIMiddleware(app, no_client)(scope, nothing, nothing))
    assert seen[0][0] is scope
    assert seen[0][1:] == (nothing, nothing)


def test_an_exception_passes_through(client):
    """What the application raises reaches the server."""

    async def app(*_):
        raise LookupError("theirs")

    with pytest.raises(LookupError, match="theirs"):
        exchange(KameleoonASGIMiddleware(app, client), scope_of("http"))


def test_the_loop_is_not_held_up():
    """A client without threads, whose configuration is due, leaves the network to ``run_background``."""
    asked = []

    class Source:
        """A source that knows which thread asks."""

        name = "test"
        interval_s = 3600.0

        def fetch(self, _known, _ts):
            asked.append(threading.current_thread())
            return None
            yield

    async def app(scope, _receive, send):
        scope[VISITOR_KEY].track_conversion(1)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    with KameleoonClient("s", KameleoonClientConfig(source=Source(), multi_threading=False)) as client:
        exchange(KameleoonASGIMiddleware(app, client), scope_of("http"))
        assert asked == []
        client.get_visitor_code()
        assert asked != []


def test_a_slow_service_does_not_hold_up_the_loop():
    """Requests are answered at once while the service has not answered yet."""
    with LocalServer(PROJECT) as server:
        url = server.url
    config = KameleoonClientConfig("id", "secret", base_url=url, exit_timeout_millisecond=0)

    async def app(scope, _receive, send):
        assert scope[VISITOR_KEY].is_active("recommendations") is False
        assert scope[VISITOR_KEY].variable("checkout_design", "title", "Cart") == "Cart"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    with KameleoonClient("demoshop01", config) as client:  # nobody listens there any more
        (start,) = exchange(KameleoonASGIMiddleware(app, client), scope_of("http"))
    assert len(start["headers"]) == 1


def test_a_client_first_wanted_on_the_loop():
    """A client that is made there is not waited for; awaited, it is ready."""
    with LocalServer(PROJECT) as server:
        clients = []

        def make():
            clients.append(KameleoonClient("demoshop01", KameleoonClientConfig("i", "s", base_url=server.url)))
            return clients[-1]

        async def ask():
            at_once = LazyClient(make).get()
            awaited = await LazyClient(make).get_async()
            return at_once is clients[0], awaited.is_ready()

        assert asyncio.run(ask()) == (True, True)
        for client in clients:
            client.close()

"""The WSGI middleware keeps to the protocol whatever the application does."""

import io
import sys
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from kameleoon import KameleoonClient, KameleoonClientConfig, KameleoonWSGIMiddleware
from kameleoon.cookies import VISITOR_COOKIE


@pytest.fixture
def client():
    """A client that needs no network."""
    with KameleoonClient("s", KameleoonClientConfig(source={"featureFlags": []}, top_level_domain="a.com")) as client:
        client.wait_init()
        yield client


class Exchange:
    """One request through the middleware, both sides watched by the standard library's validator."""

    def __init__(self, app, client, **environ):
        self.environ = {"QUERY_STRING": "", **environ}
        setup_testing_defaults(self.environ)
        self.starts = []
        self.written = io.BytesIO()
        self._body = validator(KameleoonWSGIMiddleware(validator(app), client))(self.environ, self._start)

    def _start(self, status, headers, exc_info=None):
        self.starts.append((status, list(headers), exc_info))
        return self.written.write

    def __iter__(self):
        return iter(self._body)

    def close(self):
        """End it as a server does."""
        self._body.close()

    @property
    def cookies(self):
        """The ``Set-Cookie`` headers of the last start."""
        return [value for name, value in self.starts[-1][1] if name == "Set-Cookie"]


def test_a_streaming_response_passes_piece_by_piece(client):
    """Nothing is read ahead of the server, the response starts when the application says so, and it is closed."""
    log = []

    class Body:
        def __init__(self, start_response):
            self._start = start_response
            self._pieces = iter([b"a", b"b"])

        def __iter__(self):
            return self

        def __next__(self):
            log.append("asked")
            if len(log) == 1:
                self._start("200 OK", [("Content-Type", "text/plain")])
            return next(self._pieces)

        def close(self):
            log.append("closed")

    exchange = Exchange(lambda _environ, start: Body(start), client)
    assert (log, exchange.starts) == ([], [])
    pieces = iter(exchange)
    assert next(pieces) == b"a"
    assert log == ["asked"]
    assert len(exchange.cookies) == 1
    assert list(pieces) == [b"b"]
    exchange.close()
    assert log == ["asked", "asked", "asked", "closed"]


def test_starting_twice_with_an_error(client):
    """An application may start anew with exc_info; both starts carry the cookie, and the error reaches the server."""

    def app(_environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        try:
            "late".index("x")
        except ValueError:
            start("500 Oops", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]

    exchange = Exchange(app, client)
    assert list(exchange) == [b"sorry"]
    assert [status for status, _, _ in exchange.starts] == ["200 OK", "500 Oops"]
    assert exchange.starts[0][2] is None
    assert str(exchange.starts[1][2][1]) == "substring not found"
    assert len(exchange.cookies) == 1
    exchange.close()


def test_write_passes_through(client):
    """The callable that start_response gives is the server's."""

    def app(_environ, start):
        start("200 OK", [("Content-Type", "text/plain")])(b"written")
        return []

    exchange = Exchange(app, client)
    assert list(exchange) == []
    assert exchange.written.getvalue() == b"written"
    exchange.close()


def test_an_exception_passes_through(client):
    """What the application raises reaches the server."""

    def app(_environ, _start):
        raise LookupError("theirs")

    environ = {"QUERY_STRING": ""}
    setup_testing_defaults(environ)
    with pytest.raises(LookupError, match="theirs"):
        KameleoonWSGIMiddleware(app, client)(environ, lambda *_: None)


@pytest.mark.parametrize(
    "given", [{}, {"HTTP_COOKIE": f"a=b; {VISITOR_COOKIE}=; c=d"}, {"HTTP_COOKIE": f"{VISITOR_COOKIE}=x"}]
)
def test_the_code_is_readable_downstream(client, given):
    """The environment, the cookie in it and the visitor agree."""
    seen = []

    def app(environ, start):
        seen.extend([environ["kameleoon.visitor_code"], environ["kameleoon.visitor"].code, environ["HTTP_COOKIE"]])
        start("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    exchange = Exchange(app, client, **given)
    list(exchange)
    exchange.close()
    code, again, header = seen
    assert code == again
    assert header.split("; ").count(f"{VISITOR_COOKIE}={code}") == 1
    assert header.count(VISITOR_COOKIE) == 1
    assert exchange.cookies[0].startswith(f"{VISITOR_COOKIE}={code}; Domain=a.com; ")


def test_headers_of_the_application_stay_its_own(client):
    """The list of headers that the application gave is not changed."""
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=b")]

    def app(_environ, start):
        start("200 OK", headers)
        return [b""]

    exchange = Exchange(app, client)
    list(exchange)
    exchange.close()
    assert headers == [("Content-Type", "text/plain"), ("Set-Cookie", "a=b")]
    assert exchange.cookies[0] == "a=b"

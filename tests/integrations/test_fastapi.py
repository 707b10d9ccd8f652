"""FastAPI and Starlette: the client's life, and the visitor as a dependency."""

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.integrations.asgi import VISITOR_KEY, KameleoonASGIMiddleware
from kameleoon.integrations.fastapi import Kameleoon, Visitor
from kameleoon.integrations.override import override_flag
from kameleoon.server.serve import LocalServer

PROJECT = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"


@pytest.fixture(scope="module")
def backend():
    """The demo shop's flags."""
    with LocalServer(PROJECT) as server:
        yield server


@pytest.fixture
def make_client(backend):
    """Makes clients, and remembers them."""

    def make():
        made.append(KameleoonClient("demoshop01", KameleoonClientConfig("id", "secret", base_url=backend.url)))
        return made[-1]

    made = make.made = []
    return make


def test_the_client_lives_with_the_application(make_client):
    """It is ready before the first request, closed at the end, and made anew when the application starts again."""
    app = FastAPI()
    Kameleoon(app, make_client)

    @app.get("/")
    async def view(visitor: Visitor) -> bool:
        return visitor.is_active("recommendations")

    for number in (1, 2):
        with TestClient(app) as browser:
            assert len(make_client.made) == number
            assert make_client.made[-1].is_ready()
            assert browser.get("/").json() is True
        assert make_client.made[-1].is_closed


def test_the_applications_own_lifespan(make_client):
    """It runs inside of ours, with its state."""
    seen = []

    @asynccontextmanager
    async def lifespan(_app):
        seen.append(make_client.made[-1].is_ready())
        yield {"name": "state"}
        seen.append(make_client.made[-1].is_closed)

    async def view(request):
        return PlainTextResponse(request.state.name + request.scope[VISITOR_KEY].code)

    app = Starlette(routes=[Route("/", view)], lifespan=lifespan)
    Kameleoon(app, make_client, default_visitor_code="-nobody")
    with TestClient(app) as browser:
        assert browser.get("/").text == "state-nobody"
    assert seen == [True, False]


def test_put_together_by_hand(make_client):
    """An application that composes its lifespan itself adds the middleware itself."""
    kameleoon = Kameleoon(None, make_client)

    @asynccontextmanager
    async def lifespan(app):
        async with kameleoon.lifespan(app):
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(KameleoonASGIMiddleware, client=kameleoon.get_client)
    app.add_api_route("/", in_thread, methods=["GET"])
    with TestClient(app) as browser:
        assert browser.get("/", headers={"Cookie": f"{VISITOR_COOKIE}=abc"}).json() == "abc"
    assert make_client.made[0].is_closed


def in_thread(visitor: Visitor) -> str:
    """A view that FastAPI runs in a thread."""
    return visitor.code


def test_websockets(make_client):
    """The dependency serves websockets too."""
    app = FastAPI()
    Kameleoon(app, make_client)

    @app.websocket("/ws")
    async def talk(socket: WebSocket, visitor: Visitor) -> None:
        await socket.accept()
        await socket.send_text(visitor.code)

    with TestClient(app) as browser, browser.websocket_connect("/ws") as socket:
        code = socket.receive_text()
        assert dict(socket.extra_headers)[b"set-cookie"].startswith(f"{VISITOR_COOKIE}={code}; ".encode())


def test_without_the_middleware():
    """A dependency without our middleware says what is missing."""
    app = FastAPI()
    app.add_api_route("/", in_thread, methods=["GET"])
    with pytest.raises(LookupError, match=r"Kameleoon\(app"):
        TestClient(app).get("/")


def test_the_api_description_has_no_visitor(make_client):
    """The dependency adds nothing to the OpenAPI description."""
    app = FastAPI()
    Kameleoon(app, make_client)
    app.add_api_route("/", in_thread, methods=["GET"])
    assert "parameters" not in app.openapi()["paths"]["/"]["get"]


def test_override_flag(make_client):
    """A test decides a flag for the requests it makes."""
    app = FastAPI()
    Kameleoon(app, make_client)

    @app.get("/")
    async def view(visitor: Visitor, key: Annotated[str, ...] = "recommendations") -> bool:
        return visitor.is_active(key)

    with TestClient(app) as browser, override_flag("recommendations", active=False):
        assert browser.get("/").json() is False

"""The pages on web frameworks, their code run as it stands."""

import re
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.http import HttpResponse
from django.template import Context, Template
from django.test import Client, override_settings
from django.urls import path
from starlette.testclient import TestClient
from web_stacks import serve_wsgi

from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.factory import KameleoonClientFactory
from kameleoon.server.serve import LocalServer

ROOT = Path(__file__).parents[2]
TITLES = ("Your cart", "Almost yours", "Buy now")


@pytest.fixture(scope="module")
def backend():
    """The demo shop's flags."""
    with LocalServer(ROOT / "sample-config" / "demo-project.yaml") as server:
        yield server


@pytest.fixture(autouse=True)
def _forget():
    yield
    KameleoonClientFactory.forget("demoshop01")


def blocks(page, language):
    """The code of a page in a language."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@contextmanager
def running(page, backend, monkeypatch):
    """A module made of a page's Python code."""
    module = types.ModuleType(f"page_{page}")
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    code = "\n".join(blocks(page, "python")).replace("http://127.0.0.1:8085", backend.url)
    exec(compile(code, f"docs/{page}.md", "exec"), module.__dict__)
    yield module


def test_wsgi(backend, monkeypatch):
    """The WSGI page's application shows the visitor's title."""
    from http.client import HTTPConnection

    with running("wsgi", backend, monkeypatch) as module, serve_wsgi(module.application) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/")
        response = connection.getresponse()
        assert response.read().decode() in TITLES
        assert response.headers["Set-Cookie"].startswith(f"{VISITOR_COOKIE}=")
        connection.close()


def test_asgi(backend, monkeypatch):
    """The ASGI page's application shows the visitor's title, and closes its client."""
    with running("asgi", backend, monkeypatch) as module:
        with TestClient(module.application) as browser:
            response = browser.get("/")
        assert response.text in TITLES
        assert VISITOR_COOKIE in response.cookies
        assert module.client.is_closed


def test_flask(backend, monkeypatch):
    """The Flask page's application shows the page and counts the order."""
    with running("flask", backend, monkeypatch) as module:
        browser = module.app.test_client()
        text = browser.get("/").text
        assert any(f"<h1>{title}</h1>" in text for title in TITLES)
        assert "socks" in text
        assert "<script>window" in text
        browser.set_cookie(VISITOR_COOKIE, "flask-buyer")
        assert browser.post("/buy").text == "Thank you"
    assert_bought(backend, "flask-buyer")


def test_fastapi(backend, monkeypatch):
    """The FastAPI page's applications show the title and count the order."""
    with running("fastapi", backend, monkeypatch) as module:
        for app in (module.app, module.composed):
            with TestClient(app) as browser:
                response = browser.get("/")
                assert response.json()["title"] in TITLES
                assert VISITOR_COOKIE in response.cookies
        with TestClient(module.app) as browser:
            assert browser.post("/buy", headers={"Cookie": f"{VISITOR_COOKIE}=fastapi-buyer"}).json() == "Thank you"
    assert_bought(backend, "fastapi-buyer")


def test_django(backend, monkeypatch):
    """The Django page's settings, view, template and test work together."""
    (template,) = blocks("django", "html")
    with running("django", backend, monkeypatch) as module:
        module.urlpatterns = [
            path("", lambda request: HttpResponse(Template(template).render(Context({"request": request})))),
            path("buy", module.buy),
        ]
        with override_settings(KAMELEOON=module.KAMELEOON, MIDDLEWARE=module.MIDDLEWARE, ROOT_URLCONF=module.__name__):
            browser = Client()
            text = browser.get("/").content.decode()
            assert any(f"<h1>{title}</h1>" in text for title in TITLES)
            assert "socks" in text
            assert "<script>window" in text
            module.test_without_recommendations(browser)
            browser.cookies[VISITOR_COOKIE] = "django-buyer"
            assert browser.get("/buy").content == b"Thank you"
        KameleoonClientFactory.forget("demoshop01")
    assert_bought(backend, "django-buyer")


def assert_bought(backend, code):
    """Check that the visitor's order has arrived, once the client is closed."""
    KameleoonClientFactory.forget("demoshop01")
    assert [
        event.parameters["revenue"] for event in backend.events() if (event.visitor, event.type) == (code, "conversion")
    ] == ["49.9"]

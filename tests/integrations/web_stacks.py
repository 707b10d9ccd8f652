"""The same little application in every framework, each under a real server in a thread."""

import socket
import threading
from contextlib import contextmanager
from http.client import HTTPConnection
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
import uvicorn
from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.test.utils import override_settings
from django.urls import path
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from flask import Flask, Response, g, request

from kameleoon import KameleoonClient, KameleoonClientConfig, KameleoonWSGIMiddleware
from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.factory import KameleoonClientFactory
from kameleoon.integrations.asgi import KameleoonASGIMiddleware
from kameleoon.integrations.fastapi import Kameleoon as FastAPIKameleoon
from kameleoon.integrations.fastapi import Visitor
from kameleoon.integrations.flask import Kameleoon as FlaskKameleoon

SITE = "demoshop01"
CREDENTIALS = {"client_id": "id", "client_secret": "secret"}
COOKIES = ("a=1; Path=/", f"b={VISITOR_COOKIE}; Path=/")
OWN = f"{VISITOR_COOKIE}=theirs; Path=/"


def answer(visitor, where, said=""):
    """What the application answers at a path, and the cookies it sets."""
    if where == "/code":
        return visitor.code, COOKIES
    if where == "/own":
        return visitor.code, (OWN, *COOKIES)
    if where == "/title":
        return f"{visitor.variable('checkout_design', 'title', 'none')} {visitor.is_active('no_such_flag')}", ()
    if where == "/buy":
        visitor.track_conversion(1001, 9.5)
        return "bought", ()
    if where == "/consent":
        if said:
            visitor.consent = said == "yes"
        return f"{visitor.consent}", ()
    return "nothing of a visitor", COOKIES


# Django's settings are the process's, so they are set once; what differs is overridden around a test.
if not django_settings.configured:
    django_settings.configure(
        SECRET_KEY="tests",
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="web_stacks",
        INSTALLED_APPS=["kameleoon.integrations.django"],
        MIDDLEWARE=["kameleoon.integrations.django.KameleoonMiddleware"],
        KAMELEOON={"site_code": SITE, "source": {"featureFlags": []}},
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
        USE_TZ=True,
    )
    django.setup()


def _django_response(request):
    text, cookies = answer(request.kameleoon, request.path.removeprefix("/async"), request.GET.get("said"))
    response = HttpResponse(text, content_type="text/plain")
    for cookie in cookies:
        response.cookies.load(cookie)
    return response


def django_view(request):
    """A view for WSGI."""
    return _django_response(request)


async def django_async_view(request):
    """A view for ASGI."""
    return _django_response(request)


PATHS = ("code", "own", "title", "buy", "consent", "nothing")
urlpatterns = [path(name, django_view) for name in PATHS] + [path(f"async/{name}", django_async_view) for name in PATHS]


@contextmanager
def wsgi(settings, default):
    """The WSGI middleware."""
    with KameleoonClient(SITE, KameleoonClientConfig(**CREDENTIALS, **settings)) as client:
        client.wait_init()

        def app(environ, start_response):
            said = environ["QUERY_STRING"].removeprefix("said=")
            text, cookies = answer(environ["kameleoon.visitor"], environ["PATH_INFO"], said)
            start_response("200 OK", [("Content-Type", "text/plain"), *(("Set-Cookie", cookie) for cookie in cookies)])
            return [text.encode()]

        with serve_wsgi(KameleoonWSGIMiddleware(app, client, default)) as port:
            yield port


@contextmanager
def flask(settings, default):
    """Flask."""
    app = Flask("stack")
    app.config["KAMELEOON_SITE_CODE"] = SITE
    app.config["KAMELEOON_DEFAULT_VISITOR_CODE"] = default
    app.config.update({f"KAMELEOON_{name.upper()}": value for name, value in {**CREDENTIALS, **settings}.items()})
    FlaskKameleoon(app)

    @app.get("/<where>")
    def view(where):
        text, cookies = answer(g.kameleoon, f"/{where}", request.args.get("said"))
        response = Response(text)
        for cookie in cookies:
            response.headers.add("Set-Cookie", cookie)
        return response

    try:
        with serve_wsgi(app) as port:
            yield port
    finally:
        KameleoonClientFactory.forget(SITE)


@contextmanager
def django_settings_with(settings, default):
    """Django's settings with ours."""
    callable_default = None if default is None else lambda _request: default()
    values = {"site_code": SITE, "default_visitor_code": callable_default, **CREDENTIALS, **settings}
    try:
        with override_settings(KAMELEOON=values):
            yield
    finally:
        KameleoonClientFactory.forget(SITE)


@contextmanager
def django_wsgi(settings, default):
    """Django under WSGI."""
    with django_settings_with(settings, default), serve_wsgi(get_wsgi_application()) as port:
        yield port


@contextmanager
def django_asgi(settings, default):
    """Django under ASGI, with async views."""
    with django_settings_with(settings, default), serve_asgi(get_asgi_application()) as port:
        yield port


@contextmanager
def asgi(settings, default):
    """The ASGI middleware."""
    with KameleoonClient(SITE, KameleoonClientConfig(**CREDENTIALS, **settings)) as client:
        client.wait_init()

        async def app(scope, _receive, send):
            if scope["type"] != "http":
                return
            said = scope["query_string"].decode().removeprefix("said=")
            text, cookies = answer(scope["kameleoon.visitor"], scope["path"], said)
            headers = [(b"content-type", b"text/plain"), *((b"set-cookie", cookie.encode()) for cookie in cookies)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": text.encode()})

        with serve_asgi(KameleoonASGIMiddleware(app, client, default)) as port:
            yield port


@contextmanager
def fastapi(settings, default):
    """FastAPI."""
    app = FastAPI()
    FastAPIKameleoon(
        app,
        lambda: KameleoonClient(SITE, KameleoonClientConfig(**CREDENTIALS, **settings)),
        default_visitor_code=default,
    )

    @app.get("/{where}")
    async def view(where: str, visitor: Visitor, said: str = "") -> PlainTextResponse:
        text, cookies = answer(visitor, f"/{where}", said)
        response = PlainTextResponse(text)
        for cookie in cookies:
            response.headers.append("Set-Cookie", cookie)
        return response

    with serve_asgi(app) as port:
        yield port


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def serve_wsgi(app):
    """Serve in a thread; gives the port."""
    server = make_server("127.0.0.1", 0, app, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serve_asgi(app):
    """Serve in a thread; gives the port. Connections wait in the socket until the server has started."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


class Site:
    """An application that is being served."""

    def __init__(self, stack, port):
        self.stack = stack
        self._port = port
        self._prefix = "/async" if stack == "django_asgi" else ""

    def get(self, where, cookies=None):
        """Ask for a path; *cookies* is the header, text or bytes. Gives status, text and the ``Set-Cookie`` headers."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        connection.putrequest("GET", f"{self._prefix}{where}")
        if cookies is not None:
            connection.putheader("Cookie", cookies)
        connection.endheaders()
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text, response.headers.get_all("Set-Cookie", []), response.headers.get("Vary")


STACKS = {stack.__name__: stack for stack in (wsgi, flask, django_wsgi, asgi, fastapi, django_asgi)}

"""The Flask extension: settings, templates, several applications in one process."""

from pathlib import Path

import pytest
from flask import Flask, g, render_template_string

from kameleoon import KameleoonClient, KameleoonClientConfig
from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.exceptions import ConfigException
from kameleoon.factory import KameleoonClientFactory
from kameleoon.integrations.flask import Kameleoon
from kameleoon.integrations.override import override_flag
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PROJECT = (Path(__file__).parents[2] / "sample-config" / "demo-project.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def backend():
    """The demo shop's flags."""
    with LocalServer(parse_project(PROJECT)) as server:
        yield server


@pytest.fixture(autouse=True)
def _forget():
    yield
    for site_code in KameleoonClientFactory.site_codes():
        KameleoonClientFactory.forget(site_code)


def app_of(**settings):
    """An application with ``KAMELEOON_…`` settings."""
    app = Flask("app")
    given = {"site_code": "demoshop01", "client_id": "id", "client_secret": "secret", **settings}
    app.config.update({f"KAMELEOON_{name.upper()}": value for name, value in given.items()})

    @app.get("/code")
    def code():
        return g.kameleoon.code

    @app.get("/page/<path:template>")
    def page(template):
        return render_template_string(template)

    return app


def test_templates(backend):
    """The test asks for a flag, and the global is the visitor."""
    app = app_of(base_url=backend.url)
    kameleoon = Kameleoon(app)
    browser = app.test_client()
    browser.set_cookie(VISITOR_COOKIE, "visitor-1")
    ask = lambda template: browser.get(f"/page/{template}").text  # noqa: E731
    assert ask("{{ 'on' if 'recommendations' is active_flag else 'off' }}") == "on"
    assert ask("{{ 'on' if 'free_shipping' is active_flag else 'off' }}") == "off"
    with override_flag("free_shipping", active=True):
        assert ask("{{ 'on' if 'free_shipping' is active_flag else 'off' }}") == "on"
    assert ask("{{ kameleoon.code }}") == "visitor-1"
    assert ask("{{ kameleoon.tracking_script('n') }}").startswith('<script nonce="n">window.')
    with app.app_context():
        title = kameleoon.client.get_variation("visitor-1", "checkout_design").variables["title"].value
    assert ask("{{ kameleoon.variable('checkout_design', 'title') }}") == title


def test_several_applications(backend):
    """One extension object serves several applications, each with its own settings and client."""
    other = parse_project(PROJECT.replace("demoshop01", "othershop1"))
    kameleoon = Kameleoon()
    with LocalServer(other) as elsewhere:
        apps = [
            app_of(base_url=backend.url, default_visitor_code="first"),
            app_of(base_url=elsewhere.url, site_code="othershop1", default_visitor_code="second"),
        ]
        for app in apps:
            kameleoon.init_app(app)
        assert [app.test_client().get("/code").text for app in apps] == ["first", "second"]
        clients = []
        for app in apps:
            with app.app_context():
                clients.append(kameleoon.client)
        assert [client.is_ready() for client in clients] == [True, True]
        assert clients[0] is not clients[1]
        KameleoonClientFactory.forget("othershop1")


def test_no_client_before_the_first_request(backend):
    """Loading an application makes no client, so that a server may fork afterwards; nor does a page without flags."""
    before = KameleoonClientFactory.site_codes()
    app = app_of(base_url=backend.url)
    Kameleoon(app)
    assert app.test_client().get("/page/x").text == "x"
    assert KameleoonClientFactory.site_codes() == before
    app.test_client().get("/code")
    assert KameleoonClientFactory.site_codes() - before == {"demoshop01"}


def test_a_client_made_elsewhere():
    """A client that is given needs no settings."""
    with KameleoonClient("s", KameleoonClientConfig(source={"featureFlags": []})) as client:
        app = Flask("app")
        app.add_url_rule("/", view_func=lambda: g.kameleoon.code)
        kameleoon = Kameleoon(app, client=client)
        assert len(app.test_client().get("/").text) == 16
        with app.app_context():
            assert kameleoon.client is client


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"site_code": None}, "site_code is None"), ({"cookie_samesit": "Lax"}, "no such setting: cookie_samesit")],
)
def test_wrong_settings(settings, text):
    """What is wrong is told when the application is set up."""
    with pytest.raises(ConfigException, match=text):
        Kameleoon(app_of(**settings))


def test_a_request_that_fails_early():
    """An error before our part of a request is the application's own."""
    app = app_of(source={"featureFlags": []})

    @app.before_request
    def refuse():
        return "refused", 403

    Kameleoon(app)
    response = app.test_client().get("/code")
    assert (response.status_code, response.headers.get("Set-Cookie")) == (403, None)

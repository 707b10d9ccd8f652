"""The Django application: settings, tags, checks, the command, and what it leaves alone."""

import io
import json
from pathlib import Path

import pytest
import web_stacks
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.template import Context, Template, TemplateSyntaxError
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.urls import path

from kameleoon import KameleoonClientConfig
from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.factory import KameleoonClientFactory
from kameleoon.integrations.django import KameleoonMiddleware, get_client, override_flag
from kameleoon.server.serve import LocalServer

PROJECT = Path(__file__).parents[2] / "sample-config" / "demo-project.yaml"


@pytest.fixture(scope="module")
def backend():
    """The demo shop's flags."""
    with LocalServer(PROJECT) as server:
        yield server


@pytest.fixture
def shop(backend):
    """Settings for the demo shop."""
    values = {"site_code": web_stacks.SITE, **web_stacks.CREDENTIALS, "base_url": backend.url}
    with override_settings(KAMELEOON=values, ROOT_URLCONF=__name__):
        yield values
    KameleoonClientFactory.forget(web_stacks.SITE)


def page(request):
    """A page whose template is in the query."""
    return HttpResponse(Template("{% load kameleoon %}" + request.GET["t"]).render(Context({"request": request})))


async def async_page(request):
    """A view on the event loop."""
    return HttpResponse(str(request.kameleoon.is_active("recommendations")))


def user_free(request):
    """A page that uses the visitor and nothing else."""
    return HttpResponse(request.kameleoon.code)


urlpatterns = [path("page", page), path("async", async_page), path("free", user_free)]


def render(template, code="visitor-1"):
    """What a template gives in a request of a visitor."""
    client = Client()
    client.cookies[VISITOR_COOKIE] = code
    return client.get("/page", {"t": template}).content.decode()


@pytest.mark.usefixtures("shop")
class TestTags:
    """``{% load kameleoon %}``."""

    def test_flag(self):
        """What stands in the tag is shown when the flag is on, else what stands after ``else``."""
        assert render('{% flag "recommendations" %}on{% endflag %}') == "on"
        assert render('{% flag "recommendations" %}on{% else %}off{% endflag %}') == "on"
        assert render('{% flag "free_shipping" %}on{% endflag %}') == ""
        assert render('{% flag "free_shipping" %}on{% else %}off{% endflag %}') == "off"
        assert render('{% with k="recommendations" %}{% flag k %}<b>{{ k }}</b>{% endflag %}{% endwith %}') == (
            "<b>recommendations</b>"
        )

    @pytest.mark.parametrize("tag", ["{% flag %}{% endflag %}", '{% flag "a" "b" %}{% endflag %}', '{% flag "a" %}'])
    def test_a_wrong_tag(self, tag):
        """A tag without a key, with too much, or without an end is refused."""
        with pytest.raises(TemplateSyntaxError):
            render(tag)

    def test_variable(self):
        """A variable is given, escaped, or kept under a name; the default where there is none."""
        title = get_client().get_variation("visitor-1", "checkout_design").variables["title"].value
        assert render('{% variable "checkout_design" "title" %}') == title
        assert render('{% variable "checkout_design" "title" as t %}[{{ t }}]') == f"[{title}]"
        assert render('{% variable "checkout_design" "nothing" default="Cart" %}') == "Cart"
        assert render('{% variable "no_flag" "nothing" %}') == ""
        with override_flag("checkout_design", variables={"title": "<i>"}):
            assert render('{% variable "checkout_design" "title" %}') == "&lt;i&gt;"

    def test_script(self):
        """The script is not escaped, and has the nonce."""
        assert render("{% kameleoon_script %}").startswith("<script>window.kameleoonQueue=")
        assert render('{% kameleoon_script nonce="n&" %}').startswith('<script nonce="n&amp;">window.')
        request = RequestFactory().get("/")
        request.csp_nonce = "from-policy"
        KameleoonMiddleware(lambda _: HttpResponse())(request)
        template = Template("{% load kameleoon %}{% kameleoon_script %}")
        assert template.render(Context({"request": request})).startswith('<script nonce="from-policy">')

    def test_without_a_visitor(self):
        """In a template without a request, flags are off and variables have their default."""
        template = Template(
            '{% load kameleoon %}{% flag "recommendations" %}on{% else %}off{% endflag %}'
            '{% variable "checkout_design" "title" default="Cart" %}{% kameleoon_script %}'
        )
        assert template.render(Context()) == "offCart"


@pytest.mark.usefixtures("shop")
class TestMiddleware:
    """``request.kameleoon``."""

    def test_lazy(self, monkeypatch):
        """A request that does not use it makes no client."""
        monkeypatch.setattr(KameleoonClientFactory, "create", None)
        response = Client().get("/page", {"t": "nothing"})
        assert (response.content, response.cookies.output(), response.has_header("Vary")) == (b"nothing", "", False)

    def test_the_user_is_left_alone(self):
        """Neither the user nor the session is looked at."""

        class Request(type(RequestFactory().get("/"))):
            """A request that tells of it."""

            user = session = property(lambda _: pytest.fail("asked for"))

        request = RequestFactory().get("/")
        request.__class__ = Request
        response = KameleoonMiddleware(user_free)(request)
        assert response.cookies[VISITOR_COOKIE].value == response.content.decode()

    def test_the_first_asynchronous_request(self):
        """It waits for the configuration before the view runs."""
        import asyncio

        assert asyncio.run(AsyncClient().get("/async")).content == b"True"

    def test_default_code_of_a_request(self, shop):
        """The callable, given by its path too, is told the request."""
        for default in (f"{__name__}.code_of", code_of):
            with override_settings(KAMELEOON={**shop, "default_visitor_code": default}):
                assert Client().get("/free?as=me").content == b"me"
        with override_settings(KAMELEOON={**shop, "default_visitor_code": "nobody"}):
            assert Client().get("/free").content == b"nobody"


def code_of(request):
    """A default visitor code."""
    return request.GET["as"]


def problems():
    """Ids of what the checks tell."""
    return [message.id for message in run_checks(tags=["kameleoon"])]


class TestChecks:
    """``manage.py check``."""

    def test_good_settings(self, shop):
        """Nothing is told of settings that can be used, and no client is made."""
        assert problems() == []
        assert shop["site_code"] not in KameleoonClientFactory.site_codes()

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            (None, "must be a dict"),
            ({}, "site_code is None"),
            ({"site_code": "s"}, "Client ID"),
            (
                {"site_code": "s", "source": {"featureFlags": []}, "sitecode": 1},
                "no such setting: sitecode; allowed are site_code",
            ),
            ({"site_code": "s", "source": {"featureFlags": []}, "cookie_samesite": "none"}, "cookie_secure"),
            (
                {"site_code": "s", "source": {"featureFlags": []}, "wait_init_millisecond": -1},
                "wait_init_millisecond is -1",
            ),
            (
                {"site_code": "s", "source": {"featureFlags": []}, "default_visitor_code": "no.such"},
                "default_visitor_code",
            ),
            ({"site_code": "s", "config_path": "/no/such/file"}, "/no/such/file"),
            ({"site_code": "s", "config_path": "/no/such/file", "client_id": "x"}, "config_path excludes"),
        ],
    )
    def test_wrong_settings(self, settings, text):
        """What is wrong is named, by the check and at the first use."""
        with override_settings(KAMELEOON=settings):
            (message,) = run_checks(tags=["kameleoon"])
            assert message.id == "kameleoon.E001"
            assert text in message.msg
            with pytest.raises(ImproperlyConfigured):
                Client().get("/code")
        KameleoonClientFactory.forget("s")  # made before the default visitor code is asked for

    @pytest.mark.usefixtures("shop")
    def test_missing_middleware(self):
        """A project without the middleware is told so, one with a class of its own over ours is not."""
        with override_settings(MIDDLEWARE=["no.such.Thing", "django.middleware.common.CommonMiddleware"]):
            assert problems() == ["kameleoon.W001"]
        with override_settings(MIDDLEWARE=[f"{__name__}.OwnMiddleware"]):
            assert problems() == []

    def test_a_client_made_too_early(self, shop):
        """A client that the project made while it was loaded is told of; one that a request made is not."""
        given = {name: value for name, value in shop.items() if name != "site_code"}
        KameleoonClientFactory.create(shop["site_code"], KameleoonClientConfig(**given))
        assert problems() == ["kameleoon.W002"]
        get_client()
        assert problems() == []


class OwnMiddleware(KameleoonMiddleware):
    """A middleware of a project over ours."""


class TestCommand:
    """``manage.py kameleoon_flags``."""

    @staticmethod
    def run(*arguments):
        """What the command prints."""
        out = io.StringIO()
        call_command("kameleoon_flags", *arguments, stdout=out)
        return out.getvalue()

    def test_flags(self, shop, backend):
        """Each flag is shown with the visitor's variation and its variables, and nothing is tracked."""
        before = backend.events()
        variations = get_client().get_variations("visitor-1", track=False)
        lines = self.run("visitor-1").splitlines()
        assert [line.split()[:2] for line in lines] == [[key, value.key] for key, value in variations.items()]
        assert "title='" in lines[0]
        shown = json.loads(self.run("visitor-1", "--json"))
        assert {key: row["variation"] for key, row in shown.items()} == {k: v.key for k, v in variations.items()}
        KameleoonClientFactory.forget(shop["site_code"])
        assert backend.events() == before

    def test_disabled_flags(self, shop):
        """A flag that is disabled in the environment is shown as that."""
        with override_settings(KAMELEOON={**shop, "environment": "staging"}):
            assert "recommendations  disabled" in self.run("visitor-1")
            assert json.loads(self.run("visitor-1", "--json"))["recommendations"] is None

    def test_problems(self, shop):
        """A code that is none, and a service that cannot be reached, end it with a message."""
        with pytest.raises(CommandError, match="longer than 255"):
            self.run("x" * 256)
        values = {**shop, "site_code": "elsewhere", "exit_timeout_millisecond": 0}
        with override_settings(KAMELEOON=values), pytest.raises(CommandError, match="no configuration yet"):
            self.run("visitor-1")
        KameleoonClientFactory.forget("elsewhere")


@pytest.mark.usefixtures("shop")
def test_override_flag():
    """A test decides a flag for the requests it makes."""
    with override_flag("recommendations", active=False):
        assert render('{% flag "recommendations" %}on{% else %}off{% endflag %}') == "off"
    assert render('{% flag "recommendations" %}on{% else %}off{% endflag %}') == "on"

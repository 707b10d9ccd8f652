"""What holds in every framework, under a real server: one cookie, whatever the browser sends, as far as consent allows."""

import itertools
from contextlib import ExitStack
from pathlib import Path

import pytest
from web_stacks import COOKIES, STACKS, Site

from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PROJECT = (Path(__file__).parents[2] / "sample-config" / "demo-project.yaml").read_text(encoding="utf-8")
PROJECTS = {
    "free": PROJECT,
    "named": PROJECT,
    # A flag that is delivered to somebody would allow the cookie before consent.
    "asking": PROJECT.replace("  name: Demo shop", "  name: Demo shop\n  consent: required").replace(
        "deliver: on", "experiment: {on: 100%}"
    ),
}
SETTINGS = {
    "free": {},
    "named": {"top_level_domain": "example.com", "cookie_samesite": "Lax", "cookie_secure": True},
    "asking": {"cookie_removed_on_refusal": True},
}
LIFE = "; Max-Age=32832000; Path=/"


class Running(Site):
    """A site with the local server behind it."""

    backend: LocalServer


@pytest.fixture(scope="module", params=itertools.product(STACKS, PROJECTS), ids="-".join)
def running(request):
    """Each framework with each kind of settings, one after the other."""
    stack, kind = request.param
    numbers = itertools.count()
    default = (lambda: f"new-{next(numbers)}") if kind == "named" else None
    with ExitStack() as opened:
        backend = opened.enter_context(LocalServer(parse_project(PROJECTS[kind])))
        port = opened.enter_context(STACKS[stack]({"base_url": backend.url, **SETTINGS[kind]}, default))
        site = Running(stack, port)
        site.backend = backend
        yield site


def only(kind):
    """Run a test with one kind of settings."""
    return pytest.mark.parametrize("running", [(stack, kind) for stack in STACKS], indirect=True, ids=STACKS)


def ours(set_cookies):
    """The visitor cookies among ``Set-Cookie`` headers."""
    return [cookie for cookie in set_cookies if cookie.startswith(f"{VISITOR_COOKIE}=")]


@only("free")
class TestCookie:
    """The visitor cookie, without a question of consent."""

    def test_a_new_visitor_keeps_his_code(self, running):
        """A new visitor gets a code and a cookie of 380 days, and is known by it."""
        status, code, cookies, _ = running.get("/code")
        assert status == 200
        assert len(code) == 16
        (cookie,) = ours(cookies)
        assert cookie.startswith(f"{VISITOR_COOKIE}={code}; expires=")
        assert cookie.endswith(LIFE)
        assert running.get("/code", cookie.split(";")[0])[1] == code

    def test_five_cookies_and_one_answer(self, running):
        """A request with five cookies gets one visitor cookie back, and the application's own as it set them."""
        header = f"x=1; y=2; {VISITOR_COOKIE}=abc; z=3; session=4"
        _, code, cookies, _ = running.get("/code", header)
        assert code == "abc"
        assert len(ours(cookies)) == 1
        assert len(cookies) == 3
        assert {cookie.split(";")[0] for cookie in COOKIES} < {cookie.split(";")[0] for cookie in cookies}

    def test_ours_replaces_the_applications(self, running):
        """A visitor cookie that the application sets itself does not become a second one."""
        _, code, cookies, _ = running.get("/own", f"{VISITOR_COOKIE}=abc")
        assert len(cookies) == 3
        (cookie,) = ours(cookies)
        assert cookie.startswith(f"{VISITOR_COOKIE}={code}; ")

    @pytest.mark.parametrize(
        "value",
        [b"", b'""', b"x" * 10_000, b"a\x01b", rb'"a\012b"'],
        ids=["empty", "quotes", "long", "control", "coded"],
    )
    def test_an_unusable_cookie_is_absent(self, running, value):
        """An empty cookie, one of 10 kB and one with a control character are replaced by a fresh one."""
        status, code, cookies, _ = running.get("/code", b"%s=%s; x=1" % (VISITOR_COOKIE.encode(), value))
        if status == 400:
            assert b"\x01" in value  # the server itself refused the header
            return
        assert (status, len(code), len(ours(cookies))) == (200, 16, 1)

    def test_a_code_too_long(self, running):
        """A code of 256 characters is absent, but for the WSGI middleware, where the recorded case raises."""
        status, code, _, _ = running.get("/code", f"{VISITOR_COOKIE}={'x' * 256}")
        assert status == (500 if running.stack == "wsgi" else 200)
        assert "x" * 256 not in code

    @pytest.mark.parametrize("noise", [b"foo[1]=x", b"a=b; ;c", "ü=é".encode(), b"\xff=\xfe", b"=", b'"'])
    def test_malformed_cookies_beside_ours(self, running, noise):
        """Ours is read beside whatever another site put there."""
        for header in (b"%s; %s=abc", b"%s;%s=abc", b"%s=1; x; %s=abc"):
            assert running.get("/code", header % (noise, VISITOR_COOKIE.encode()))[1] == "abc"

    def test_codes_beyond_ascii(self, running):
        """A code in UTF-8 is read, written in ASCII, and read again."""
        _, code, cookies, _ = running.get("/code", f"{VISITOR_COOKIE}=日本".encode())
        assert code == "日本"
        (cookie,) = ours(cookies)
        assert cookie.isascii()
        assert running.get("/code", cookie.split(";")[0])[1] == "日本"

    def test_flags(self, running):
        """A visitor has one variation however often he asks, and an unknown flag is off."""
        titles = {running.get("/title", f"{VISITOR_COOKIE}=visitor-1")[1] for _ in range(3)}
        assert len(titles) == 1
        assert titles < {"Your cart False", "Almost yours False", "Buy now False"}

    def test_a_page_without_visitors(self, running):
        """Django and Flask set no cookie where nothing was asked of the visitor, and vary by cookie where it was."""
        lazy = running.stack in ("flask", "django_wsgi", "django_asgi")
        _, _, cookies, vary = running.get("/nothing", f"{VISITOR_COOKIE}=abc")
        assert (len(ours(cookies)), vary) == (0 if lazy else 1, None)
        assert running.get("/code")[3] == ("Cookie" if lazy else None)

    def test_consent_is_nobodys_business(self, running):
        """Where consent is not required, refusing it leaves the cookie unless the setting says otherwise."""
        assert len(ours(running.get("/consent?said=no", f"{VISITOR_COOKIE}=refuser")[2])) == 1


@only("named")
class TestSettings:
    """Cookie attributes and default codes by setting."""

    def test_attributes(self, running):
        """Domain, SameSite and Secure are as set."""
        (cookie,) = ours(running.get("/code")[2])
        assert cookie.split("; ")[1] == "Domain=example.com"
        assert cookie.split("; ")[-2:] == ["SameSite=Lax", "Secure"]

    def test_default_codes(self, running):
        """The callable for default codes is called once for each new visitor, and not for others."""
        first = int(running.get("/code")[1].removeprefix("new-"))
        running.get("/code", f"{VISITOR_COOKIE}=abc")
        running.get("/title", f"{VISITOR_COOKIE}=abc")
        assert int(running.get("/code")[1].removeprefix("new-")) == first + 1


@only("asking")
class TestConsent:
    """The cookie where consent is required and refusing it removes the cookie."""

    def test_no_cookie_before_consent(self, running):
        """A new visitor gets no cookie, but flags."""
        _, title, cookies, _ = running.get("/title")
        assert ours(cookies) == []
        assert title != "none False"

    def test_consent_brings_the_cookie(self, running):
        """The response to the request that gives consent sets the cookie."""
        _, text, cookies, _ = running.get("/consent?said=yes", f"{VISITOR_COOKIE}=giver")
        assert text == "True"
        (cookie,) = ours(cookies)
        assert cookie.startswith(f"{VISITOR_COOKIE}=giver; expires=")
        assert ours(running.get("/code", f"{VISITOR_COOKIE}=giver")[2]) != []

    def test_consent_not_told(self, running):
        """A cookie sent while nothing is known of consent stays as it is; WSGI repeats it, as recorded."""
        _, text, cookies, _ = running.get("/consent", f"{VISITOR_COOKIE}=unknown")
        assert text == "None"
        assert ours(cookies) == ([f"{VISITOR_COOKIE}=unknown"] if running.stack == "wsgi" else [])

    def test_refusal_removes_the_cookie(self, running):
        """The cookie of a visitor who takes his consent back is deleted."""
        running.get("/consent?said=yes", f"{VISITOR_COOKIE}=taker")
        (cookie,) = ours(running.get("/consent?said=no", f"{VISITOR_COOKIE}=taker")[2])
        assert cookie.startswith(f'{VISITOR_COOKIE}=""; expires=')
        assert "Max-Age=0" in cookie

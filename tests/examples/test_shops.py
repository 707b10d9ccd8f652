"""The example shops under their real servers, visited by a real browser."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from headless import headless_chromium

from kameleoon.cookies import VISITOR_COOKIE
from kameleoon.server.serve import LocalServer

ROOT = Path(__file__).parents[2]
SHOPS = {
    "django": ("django",),
    "django-preload": ("django", "--preload"),
    "flask": ("flask",),
    "flask-preload": ("flask", "--preload"),
    "fastapi": ("fastapi",),
}
TITLES = {"Your cart", "Almost yours", "Buy now"}


@contextmanager
def running(shop, backend=None):
    """Start a shop with its one command; gives its URL, the local server's URL, and stops it with SIGTERM."""
    command = [sys.executable, "examples/run_shop.py", *SHOPS[shop], "--port", "0"]
    if backend is not None:
        command += ["--backend", backend]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KAMELEOON_")}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            found = re.search(r"(?:Listening at:|running on) (http://127\.0\.0\.1:\d+)", line)
            if found:
                break
        else:
            pytest.fail("".join(said))
        yield found[1], re.search(r"http://\S+", said[0])[0]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            rest, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail("".join(said) + process.communicate()[0])
    assert process.returncode in (0, -signal.SIGTERM), "".join(said) + rest
    assert "Traceback" not in rest, rest


def get(url, path, cookie=None):
    """Ask a server; gives status, text and headers."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("GET", path, headers={} if cookie is None else {"Cookie": cookie})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text, response.headers


def test_one_command_starts_it():
    """The one command starts a shop with a local server of its own, and SIGTERM ends both."""
    with running("flask") as (url, backend):
        answers = [get(url, "/", f"{VISITOR_COOKIE}=visitor-1") for _ in range(4)]
        assert get(backend, "/health")[0] == 200
    titles = {re.search(r"<h1>(.*)</h1>", text)[1] for _, text, _ in answers}
    assert len(titles) == 1
    assert titles < TITLES
    assert all(len(headers.get_all("Set-Cookie")) == 1 for _, _, headers in answers)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One headless Chromium with a fresh profile."""
    with headless_chromium(tmp_path_factory.mktemp("profile"), "--disable-quic") as driver:
        yield driver


class Page:
    """The shop's page in the browser."""

    def __init__(self, browser):
        self._browser = browser

    def open(self, url):
        """Go there."""
        self._browser.get(url)
        return self

    def click(self, name):
        """Press a button that sends a form; the page is loaded anew when this returns."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.wait import WebDriverWait

        # A mark in the old page tells it from the new one. While the browser is between the two it may refuse any question.
        self._browser.execute_script("window.isOld = true")
        self._browser.find_element("id", name).click()
        wait = WebDriverWait(self._browser, 20, poll_frequency=0.02, ignored_exceptions=[WebDriverException])
        wait.until(lambda browser: browser.execute_script("return !window.isOld && document.readyState === 'complete'"))
        return self

    @property
    def code(self):
        """The visitor code that the page shows."""
        return self._browser.find_element("id", "code").text

    @property
    def title(self):
        """The variable that depends on the visitor's variation."""
        return self._browser.find_element("tag name", "h1").text

    @property
    def cookie(self):
        """The visitor cookie as the browser has it."""
        return self._browser.get_cookie(VISITOR_COOKIE)

    @property
    def queue(self):
        """What our script told the web engine: ``[[command, …], …]``."""
        return self._browser.execute_script("return window.kameleoonQueue")


@pytest.mark.parametrize("shop", SHOPS)
def test_a_visit(browser, shop):
    """The cookie persists, the variation stays on reload and after a restart, refusal deletes the cookie, and the order arrives."""
    browser.delete_all_cookies()
    with LocalServer(ROOT / "sample-config" / "demo-project.yaml") as backend:
        with running(shop, backend.url) as (url, _):
            page = Page(browser).open(url)
            code, title, cookie = page.code, page.title, page.cookie
            assert title in TITLES
            assert cookie["value"] == code
            assert cookie["expiry"] > 1_700_000_000
            assert [command[0] for command in page.queue[:2]] == ["Experiments.assignVariation", "Experiments.trigger"]
            for _ in range(4):  # either worker may answer
                page.open(url)
                assert (page.code, page.title, page.cookie["value"]) == (code, title, code)
            page.click("buy")
            assert page.code == code
        orders = [event for event in backend.events() if event.type == "conversion"]
        assert [(event.visitor, event.parameters["revenue"]) for event in orders] == [(code, "49.9")]
        assert {event.visitor for event in backend.events()} == {code}

        with running(shop, backend.url) as (url, _):
            page.open(url)
            assert (page.code, page.title, page.cookie["value"]) == (code, title, code)
            page.click("no")
            assert page.cookie is None
            page.click("yes")
            assert page.cookie["value"] == page.code

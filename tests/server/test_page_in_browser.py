"""The page in a real browser: it can be walked through, listens while it is seen, fits a phone and works with the keyboard."""

import time

import pytest
import requests
from headless import headless_chromium

from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PROJECT = parse_project("""\
project: {site_code: shop123456, name: A shop with a name that is as long as names of shops sometimes are}
goals: [{key: purchase, id: 1001}]
segments: {phones: {device: phone}}
flags:
  checkout:
    name: The_name_of_a_flag_without_any_place_where_a_line_could_be_broken_anew
    variables: {layout: json, a_variable_with_a_long_name: string}
    variations:
      off: {variables: {layout: {summary: right, steps: [cart, address, payment]}, a_variable_with_a_long_name: a}}
      on: {variables: {layout: {summary: top}, a_variable_with_a_long_name: b}}
    rules:
      - {deliver: on, to: phones, exposition: 10%, key: first}
      - {experiment: {off: 50%, on: 50%}, key: test, experiment_id: 12, variation_ids: {off: 13, on: 14}}
""")
OTHER = parse_project("project: {site_code: blog000001, name: Journal}")
PATHS = (
    "/",
    "/page/flag?key=checkout",
    "/page/experiment?flag=checkout&rule=test",
    "/page/visitor",
    "/page/visitor?code=v1&flag=checkout",
    "/page/live",
    "/page/history",
    "/?site=blog000001",
    "/page/live?site=blog000001",
    "/page/flag?key=none",
)


@pytest.fixture(scope="module")
def server():
    """A server with some traffic."""
    lines = []
    for number in range(300):
        lines.append(f"eventType=experiment&id=12&variationId={13 + number % 2}&visitorCode=v{number}")
        if number % (4 + number % 2) == 0:
            lines.append(f"eventType=conversion&goalId=1001&revenue=5&visitorCode=v{number}")
    lines.append(f"eventType=page&href=https://shop.example/{'x' * 400}&visitorCode=v1")
    body = "\n".join(
        f"nonce={number:016X}&time={1_700_000_000_000 + number * 60_000}&{line}" for number, line in enumerate(lines)
    )
    with LocalServer(PROJECT, OTHER) as server:
        requests.post(f"{server.url}/visit/events?siteCode=shop123456", data=body, timeout=10)
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One headless Chromium with a fresh profile."""
    with headless_chromium(tmp_path_factory.mktemp("profile"), "--no-proxy-server") as driver:
        yield driver


def comes_true(condition):
    """What *condition* gives, once it is true, within ten seconds."""
    deadline = time.monotonic() + 10
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def test_many_pages_after_one_another(server, browser):
    """A page that was left holds no connection, so that the next ones load however many were seen before."""
    for path in PATHS:
        browser.get(server.url + path)
        assert browser.find_element("tag name", "h1").text


def test_nothing_is_wider_than_a_phone(server, browser):
    """At 400 pixels no page moves sideways; what is wider moves within its own frame."""
    size = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for path in PATHS:
            browser.get(server.url + path)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= 400, path
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


CONTRASTS = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const back = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const color = rgb(getComputedStyle(e).backgroundColor);
    if (color.length < 4 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const poor = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || element.closest("svg, [hidden], .skip, option") || !element.getClientRects().length) continue;
  const [a, b] = [light(rgb(getComputedStyle(element).color)), light(back(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(element.tagName + " " + element.className + " " + element.textContent.slice(0, 20) + " " + ratio.toFixed(2));
}
return poor;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(server, browser, scheme):
    """Text stands out from what is behind it by 4.5 to 1 at least, by day and by night."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        for path in PATHS:
            browser.get(server.url + path)
            assert browser.execute_script(CONTRASTS) == [], path
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_events_show_as_they_arrive(server, browser):
    """A new event is the first row, in the project's words, its texts as texts, and leads to its visitor."""
    browser.get(f"{server.url}/page/live")
    assert comes_true(lambda: "arrive" in browser.find_element("id", "live-state").text)
    line = "nonce=AAAAAAAAAAAAAAAA&visitorCode=%3Cb%3Enew%3C/b%3E&eventType=conversion&goalId=1001&revenue=7"
    requests.post(f"{server.url}/visit/events?siteCode=shop123456", data=line, timeout=10)

    def first():
        return browser.find_element("css selector", "#live tbody tr").text

    assert comes_true(lambda: "<b>new</b>" in first())
    assert "purchase: revenue 7" in first()
    browser.find_element("css selector", "#live tbody tr a").click()
    assert comes_true(lambda: browser.find_element("tag name", "h1").text == "Visitor <b>new</b>")


def test_a_page_knows_when_it_is_old(server, browser):
    """A change elsewhere shows as a note, also when the page was left at the time and is come back to."""

    def rename(name):
        server.publish(parse_project(f"project: {{site_code: blog000001, name: {name}}}"))

    def is_told():
        return browser.find_element("id", "stale").is_displayed()

    before = server._running().sites[1].changed.listeners
    browser.get(f"{server.url}/?site=blog000001")
    assert not is_told()
    assert comes_true(lambda: server._running().sites[1].changed.listeners > before)
    rename("Newer")
    assert comes_true(is_told)
    browser.get(f"{server.url}/page/history?site=blog000001")
    browser.execute_script("window.isKept = true")
    browser.get(f"{server.url}/")
    rename("Newest")
    browser.back()
    # A page that the browser made anew shows what is now; one that it kept asks whether it is old.
    assert comes_true(lambda: "Newest" in browser.title or is_told())


def test_the_slider_works_with_the_keyboard(server, browser):
    """The arrow keys move the exposition, the number beside it follows, and Enter on the next control saves it."""
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{server.url}/page/flag?key=checkout")
    slider = browser.find_element("css selector", "input[type=range]")
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.find_element("tag name", "output").text == "12%"
    slider.send_keys(Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert comes_true(lambda: "exposition 10% → 12%" in browser.find_element("tag name", "main").text)
    assert server.project.flags[0].rules[0].exposition == 0.12


@pytest.mark.parametrize("path", ["/page/flag?key=checkout", "/page/visitor?code=v1&flag=checkout"])
def test_where_the_keyboard_is_can_be_seen(server, browser, path):
    """Tab reaches everything that can be used, in the order of the page, and each has a ring around it while it is reached."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    script = """
        const usable = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']")];
        const here = document.activeElement, style = getComputedStyle(here), box = here.getBoundingClientRect();
        const shown = usable.filter(one => one.checkVisibility());
        return [shown.indexOf(here), shown.length, style.outlineStyle !== "none" && box.width > 0 && box.height > 0];
    """
    browser.get(server.url + path)
    places = []
    for _ in range(browser.execute_script(script)[1]):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        place, usable, is_seen = browser.execute_script(script)
        assert is_seen, browser.switch_to.active_element.get_attribute("outerHTML")
        places.append(place)
    assert places == list(range(usable))

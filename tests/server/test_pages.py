"""The pages for people: complete, safe against scripts in names and against forms of other sites, and what they change holds."""

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
import requests

from kameleoon.server.forecast import forecast
from kameleoon.server.html import Html, document, h
from kameleoon.server.pages_events import event_cells
from kameleoon.server.pages_experiment import _duration
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer
from kameleoon.server.statistics import Rate, sequential_uplift

EVIL = "<img src=x onerror=alert(1)>\"'&</script>"
PROJECT = f"""\
project: {{site_code: shop123456, name: {EVIL!r}}}
environments: [production, staging]
goals: [{{key: purchase, id: 1001, name: {EVIL!r}}}]
segments: {{phones: {{name: {EVIL!r}, all: [{{device: phone}}, {{not: {{country: {EVIL!r}}}}}]}}}}
flags:
  checkout:
    name: {EVIL!r}
    variations: {{off: {{name: {EVIL!r}, variables: {{title: {EVIL!r}}}}}, on: {{}}}}
    rules:
      - {{deliver: on, to: phones, exposition: 10%, key: first}}
      - {{experiment: {{off: 50%, on: 50%}}, key: test, id: 11, experiment_id: 12, variation_ids: {{off: 13, on: 14}}}}
    environments: {{production: on, staging: {{enabled: off, rules: [{{deliver: off, key: own}}]}}}}
""".replace(repr(EVIL), "'" + EVIL.replace("'", "''") + "'")
PATHS = (
    "/",
    "/page/flag?key=checkout",
    "/page/experiment?flag=checkout&rule=test",
    "/page/experiment?flag=checkout&rule=first&goal=purchase",
    "/page/visitor",
    "/page/visitor?flag=checkout&code=" + quote(EVIL),
    "/page/live",
    "/page/history",
    "/page/flag?key=" + quote(EVIL),
    "/page/flag?key=checkout&done=" + quote(EVIL),
)


@pytest.fixture
def server():
    """A server over the project above, with events of visitors whose codes are scripts."""
    with LocalServer(parse_project(PROJECT)) as server:
        lines = []
        for number in range(600):
            code = quote(f"{EVIL}{number or ''}")
            variation = 13 + number % 2
            lines.append(
                f"eventType=experiment&id=12&variationId={variation}&visitorCode={code}&time={number * 60_000}"
            )
            if number % (7 - 4 * (variation - 13)) == variation - 13:
                lines.append(f"eventType=conversion&goalId=1001&revenue=5&visitorCode={code}&time={number * 60_000}")
        lines.append(f"eventType=page&href={quote(EVIL)}&title={quote(EVIL)}&visitorCode={quote(EVIL)}")
        lines.append(f"eventType=staticData&deviceType=PHONE&visitorCode={quote(EVIL)}")
        body = "\n".join(f"nonce={number:016X}&{line}" for number, line in enumerate(lines))
        requests.post(f"{server.url}/visit/events?siteCode=shop123456&bodyUa=true", data=body.encode(), timeout=10)
        yield server


class Elements(HTMLParser):
    """Tags and attributes of a page, and whether they are nested rightly."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "input", "br", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("path", PATHS)
def test_no_name_brings_a_script(server, path):
    """Whatever names hold, a page has only its own elements, nothing from elsewhere and nothing inline."""
    answer = requests.get(server.url + path, timeout=10)
    assert answer.status_code == (404 if "img" in path and "/flag?key=%3C" in path else 200)
    page = Elements(answer.text)
    assert page.of("img") == []
    assert page.of("script") == [{"src": "/page/page.js", "defer": None}]
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert all((attributes.get(name) or "/").startswith(("/", "#")) for name in ("src", "href", "action")), (
            attributes
        )
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("path", PATHS)
def test_pages_can_be_used_without_seeing(server, path):
    """A page has a language, one heading of the first rank and no field, image or table head without words."""
    page = Elements(requests.get(server.url + path, timeout=10).text)
    assert page.of("html")[0]["lang"] == "en"
    assert len(page.of("h1")) == 1
    assert all(attributes.get("scope") for attributes in page.of("th"))
    assert all(attributes.get("role") == "img" or attributes.get("aria-hidden") for attributes in page.of("svg"))
    labels = len(page.of("label"))
    fields = [field for field in page.of("input") if field["type"] != "hidden"] + page.of("select")
    assert labels >= len(fields)
    assert len({attributes["id"] for _, attributes in page.tags if "id" in attributes}) == sum(
        "id" in attributes for _, attributes in page.tags
    )


def test_results_are_told_in_words_and_plots(server):
    """The experiment's page has the table, both plots, the sample ratio and what can be said so far."""
    text = requests.get(f"{server.url}/page/experiment?flag=checkout&rule=test", timeout=10).text
    uplift = server.results().flag("checkout").rule("test").variation("on").goal("purchase")
    assert text.count('role="img"') == 2
    assert "The visitors are divided as planned: off 300, on 300." in text
    assert f"{uplift.uplift:+.1%}" in text
    assert "It is better: the change is " in text
    more = "\n".join(
        f"nonce={number:08X}FFFFFFFF&eventType=conversion&goalId=1001&revenue=2.5&visitorCode=many"
        for number in range(3)
    )
    more += f"\nnonce={1:016X}&eventType=experiment&id=12&variationId=14&visitorCode=many"
    requests.post(f"{server.url}/visit/events?siteCode=shop123456", data=more, timeout=10)
    text = requests.get(f"{server.url}/page/experiment?flag=checkout&rule=test", timeout=10).text
    variation = server.results().flag("checkout").rule("test").variation("on")
    told = variation.goal("purchase")
    assert told.conversions == told.converted + 2
    row = re.findall(r'<td class="n">([^<]*)', text[text.index("<code>on</code>") :])
    assert row[:6] == [
        *(f"{variation.visitors}", f"{told.converted}", f"{told.conversions}", f"{told.rate:.2%}"),
        *(f"{told.revenue_total:,.2f}", f"{told.revenue_per_visitor:,.2f}"),
    ]
    delivery = requests.get(f"{server.url}/page/experiment?flag=checkout&rule=first", timeout=10).text
    assert "A delivery compares nothing" in delivery


def test_a_visitor_is_explained(server):
    """A visitor's page has what was sent, what every flag gives and the way to one answer."""
    text = requests.get(f"{server.url}/page/visitor?code={quote(EVIL)}&flag=checkout", timeout=10).text
    assert "rule first, delivery: " in text
    assert "device is phone; found &#x27;PHONE&#x27;" in text
    assert "exposition: drawn at " in text
    assert "Visit now" in text


def browser(server):
    """A session that has opened a flag's page, and the secret of its forms."""
    session = requests.Session()
    text = session.get(f"{server.url}/page/flag?key=checkout", timeout=10).text
    return session, re.search(r'name="secret" value="([^"]+)"', text).group(1)


def send(server, session, secret, headers=None, **fields):
    """Send a form of the flag's page."""
    data = {"secret": secret, "flag": "checkout", **fields}
    return session.post(f"{server.url}/page/flag", data=data, headers=headers, timeout=10, allow_redirects=False)


def test_what_the_page_changes_holds(server):
    """Switches, sliders, pauses and shares change the project, are in the history, and reach clients at once."""
    session, secret = browser(server)
    changes = (
        ({"action": "switch", "environment": "production", "on": "false"}, "turned off in production"),
        ({"action": "exposition", "rule": "first", "exposition": "37"}, "rule first: exposition 10% → 37%"),
        ({"action": "pause", "rule": "own", "environment": "staging", "paused": "true"}, "rule own paused in staging"),
        (
            {"action": "shares", "rule": "test", "share.off": "20", "share.on": "80"},
            "off 50% / on 50% → off 20% / on 80%",
        ),
    )
    for fields, said in changes:
        answer = send(server, session, secret, **fields)
        assert answer.status_code == 303
        page = session.get(server.url + answer.headers["Location"], timeout=10).text
        assert said in page
        assert said in requests.get(f"{server.url}/page/history", timeout=10).text
    flag = server.project.flags[0]
    assert flag.enabled_in == frozenset()
    assert [share.variation_id for share in flag.rules[1].shares] == [13, 14]
    configured = requests.get(f"{server.url}/v3/shop123456", timeout=10).json()["featureFlags"][0]
    assert (configured["environmentEnabled"], configured["rules"][0]["exposition"]) == (False, 0.37)


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "exposition", "rule": "first", "exposition": "101"},
        {"action": "exposition", "rule": "first", "exposition": "nan"},
        {"action": "exposition", "rule": "none", "exposition": "5"},
        {"action": "exposition", "rule": "own", "exposition": "5"},
        {"action": "shares", "rule": "test", "share.off": "20", "share.on": "20"},
        {"action": "shares", "rule": "test", "share.off": "100"},
        {"action": "shares", "rule": "first", "share.on": "100"},
        {"action": "switch", "environment": "nowhere", "on": "true"},
        {"action": "pause", "rule": "test", "flag": "none"},
        {"action": "explode"},
    ],
)
def test_what_cannot_be_changed_is_said(server, fields):
    """A form that asks for what cannot be is answered with a reason, and nothing changes."""
    before = server.project
    session, secret = browser(server)
    answer = send(server, session, secret, **fields)
    assert answer.status_code == 400
    assert "Nothing was changed" in answer.text
    assert server.project == before


def test_forms_of_other_sites_are_refused(server):
    """A form needs its browser's secret and must come from this page; a name of another host is no way around."""
    before = server.project
    session, secret = browser(server)
    other, others_secret = browser(server)
    switch = {"action": "switch", "environment": "production", "on": "false"}
    for who, with_secret, headers in (
        (session, "", None),
        (session, others_secret, None),
        (requests.Session(), secret, None),
        (session, secret, {"Origin": "http://evil.example"}),
        (session, secret, {"Origin": "null"}),
        (session, secret, {"Sec-Fetch-Site": "cross-site"}),
        (session, secret, {"Sec-Fetch-Site": "same-site"}),
        (session, secret, {"Host": "evil.example"}),
        (session, secret, {"Host": "evillocalhost"}),
    ):
        assert send(server, who, with_secret, headers, **switch).status_code == 403
    assert requests.get(server.url, headers={"Host": "evil.example:80"}, timeout=10).status_code == 403
    assert server.project == before
    assert send(server, other, others_secret, {"Origin": server.url}, **switch).status_code == 303
    too_large = switch | {"more": "x" * 70_000}
    assert send(server, session, secret, **too_large).status_code == 413
    cookie = next(iter(session.cookies))
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Strict"


def test_events_are_told_with_names():
    """What has an id in an event is shown with the project's name for it; what the project does not know is shown as it came."""
    project = parse_project(
        "project: {site_code: a}\ncustom_data: [{name: plan, index: 1}]\ngoals: [{key: paid, id: 5, name: Paid}]\n"
        "segments: {phones: {id: 6, device: phone}}\nflags:\n  gift:\n    rules:\n"
        "      - {experiment: [off, on], key: test, experiment_id: 7, variation_ids: {off: 8, on: 9}}\n"
    )
    for kind, parameters, words in (
        ("experiment", {"id": "7", "variationId": "9"}, "gift, rule test: on"),
        ("experiment", {"id": "7", "variationId": "1"}, "gift, rule test: a variation it does not have"),
        ("experiment", {"id": "1", "variationId": "9"}, ""),
        ("conversion", {"goalId": "5", "revenue": "2.5"}, "Paid: revenue 2.5"),
        ("conversion", {"goalId": "5", "revenue": "2.5", "negative": "true"}, "Paid: taken back, revenue 2.5"),
        ("targetingSegment", {"id": "6"}, "in segment phones"),
        ("customData", {"index": "1", "valuesCountMap": '{"gold":1}'}, "plan: gold"),
        ("customData", {"index": "1", "valuesCountMap": "["}, "plan: "),
        ("page", {"href": "u"}, ""),
    ):
        cells = event_cells(project, 0, "v", kind, parameters)
        assert cells[:4] == ["1970-01-01 00:00:00", "v", kind, words]
        assert all(value in cells[4] for value in parameters.values())


def test_a_visits_events_are_told_with_names():
    """The page of a visitor tells events in the project's words too, and each of its tables can be moved with the keyboard."""
    lines = [
        "eventType=experiment&id=12&variationId=14",
        "eventType=conversion&goalId=1001&revenue=5&negative=true",
        "eventType=activity",
    ]
    body = "\n".join(f"nonce={number:016X}&visitorCode=v&{line}" for number, line in enumerate(lines))
    with LocalServer(parse_project(PROJECT)) as server:
        requests.post(f"{server.url}/visit/events?siteCode=shop123456", data=body, timeout=10)
        text = requests.get(f"{server.url}/page/visitor?code=v", timeout=10).text
    assert re.search(r"rule test: on<br><code[^>]*>\{&quot;id&quot;: 12", text)
    assert "taken back, revenue 5" in text
    assert "<td>activity</td><td></td>" in text
    for table in re.finditer(r"<table", text):
        assert 'tabindex="0" role="region" aria-label="' in text[: table.start()].rpartition("<div")[2]


def test_an_experiment_of_seconds_has_its_chart():
    """What came within seconds is plotted by the second; what came at one moment says so."""
    lines = [
        f"nonce={number:08X}{kind:08X}&visitorCode=v{number}&time={at_ms}&eventType={line}"
        for number in range(200)
        for at_ms in [1_700_000_000_000 + number * 100]
        for kind, line in enumerate(
            [
                f"experiment&id=12&variationId={13 + number % 2}",
                *(["conversion&goalId=1001&revenue=5"] if number % 5 < 2 else []),
            ]
        )
    ]
    path = "/page/experiment?flag=checkout&rule=test"
    for body, has_chart in ((lines, True), ([re.sub("&time=[0-9]+", "&time=1", line) for line in lines], False)):
        with LocalServer(parse_project(PROJECT)) as server:
            url = f"{server.url}/visit/events?siteCode=shop123456"
            assert requests.post(url, data="\n".join(body), timeout=10).status_code == 204
            text = requests.get(server.url + path, timeout=10).text
        assert ("second 5" in text) is has_chart
        assert ("All of it came within a moment" in text) is not has_chart
        assert "Not enough visitors yet" not in text


def test_durations_in_words():
    """How long still: days, hours, minutes, in whole words."""
    said = [_duration(days) for days in (1400.0, 2.0, 0.5, 1 / 12, 1 / 24, 3 / 1440, 1 / 1440, 0.0)]
    assert said == [
        *("about 1,400 days", "about 2 days", "about 12 hours", "about 2 hours", "about 60 minutes"),
        *("about 3 minutes", "a minute or two", "a minute or two"),
    ]


def test_live_events_arrive(server):
    """The page's stream tells of each tracking request as it arrives."""
    with requests.get(f"{server.url}/page/live/events", stream=True, timeout=10) as answer:
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        assert next(lines) == ": open"
        body = "nonce=00000000000000FF&eventType=page&href=u&visitorCode=newcomer"
        requests.post(f"{server.url}/visit/events?siteCode=shop123456", data=body, timeout=10)
        arrived = next(line for line in lines if line.startswith("data:"))
    assert '"newcomer", "page", "", "href=u"]' in arrived


def test_the_style_and_the_script_are_there(server):
    """Both files are given out with their types; others are not."""
    for name, kind in (("page.css", "text/css"), ("page.js", "text/javascript")):
        answer = requests.get(f"{server.url}/page/{name}", timeout=10)
        assert answer.headers["Content-Type"].startswith(kind)
        assert not re.search(r"https?://|url\(", answer.text)
    assert requests.get(f"{server.url}/page/page.py", timeout=10).status_code == 404


def test_markup_is_escaped():
    """Text and attributes are escaped, markup of our own is not."""
    assert str(h("p", "<a>", Html("<b>"), [1, None, ("&",)], class_='"', hidden=True, id=None)) == (
        '<p class="&quot;" hidden>&lt;a&gt;<b>1&amp;</p>'
    )
    assert "<title>&lt;x&gt;</title>" in document("<x>")


@pytest.mark.parametrize(("converted", "reference"), [(120, 100), (90, 100), (104, 100)])
def test_a_forecast_comes_true(converted, reference):
    """With the missing visitors at the same rates the always-valid interval leaves out 0, and not long before."""
    rates = Rate(converted, 1000), Rate(reference, 1000)
    coming = forecast(*rates, elapsed_s=86_400)
    assert coming.visitors_per_day == 2000
    assert coming.days == pytest.approx(coming.missing / 2000)

    def is_decided(visitors):
        grown = [Rate(round(rate.converted * visitors / 2000), round(visitors / 2)) for rate in rates]
        interval = sequential_uplift(*grown).interval
        return interval.low > 0 or interval.high < 0

    assert is_decided((2000 + coming.missing) * 1.01)
    assert not is_decided((2000 + coming.missing) * 0.97)
    assert forecast(Rate(300, 1000), Rate(100, 1000), elapsed_s=60).missing == 0
    assert forecast(Rate(100, 1000), Rate(100, 1000), elapsed_s=60).days is None
    assert forecast(Rate(1, 1000), Rate(100, 1000), elapsed_s=60) is None

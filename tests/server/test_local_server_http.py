"""The local server over real HTTP: configuration, tokens, tracking, visits, results and the page."""

import json
import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer, ServeError
from kameleoon.server.statistics import Rate, uplift_interval

PROJECT = """\
project: {site_code: shop123456, name: "<b>Shop</b>"}
environments: [production, staging]
goals: [{key: purchase, id: 1001}, {key: newsletter, id: 1002}]
segments:
  phones: {id: 41, device: phone}
flags:
  checkout:
    variations: {off: {}, on: {}}
    environments: {production: off, staging: on}
    rules:
      - {deliver: on, to: phones, key: phones_first, id: 1, experiment_id: 2, variation_ids: {on: 3}}
      - {experiment: {off: 50%, on: 50%}, key: test, id: 11, experiment_id: 12, variation_ids: {off: 13, on: 14}}
"""
TIMEOUT_S = 10


@pytest.fixture
def server():
    """A server over the project above."""
    with LocalServer(parse_project(PROJECT)) as server:
        yield server


def get(server, path, **more):
    """GET from the server."""
    return requests.get(server.url + path, timeout=TIMEOUT_S, **more)


def post(server, path, **more):
    """POST to the server."""
    return requests.post(server.url + path, timeout=TIMEOUT_S, **more)


def track(server, *lines, query=""):
    """Send lines; nonces are their numbers, so that sending the same lines again is a retry."""
    body = "\n".join(f"nonce={hash_of(line)}&{line}" for line in lines)
    answer = post(server, f"/visit/events?siteCode=shop123456&bodyUa=true{query}", data=body.encode())
    assert answer.status_code == 204, answer.text
    assert answer.content == b""


def hash_of(line):
    """A nonce that depends on the line alone."""
    return f"{sum(ord(letter) * 131**place for place, letter in enumerate(line)) % 2**64:016X}"


def exposure(visitor, variation, experiment=12):
    """The line of an exposure."""
    return f"eventType=experiment&id={experiment}&variationId={variation}&visitorCode={quote(visitor)}"


def conversion(visitor, revenue=0.0, goal=1001, more=""):
    """The line of a conversion."""
    return f"eventType=conversion&goalId={goal}&revenue={revenue}&negative=false{more}&visitorCode={quote(visitor)}"


def test_configuration_of_an_environment(server):
    """Clients get the environment they name, and production when they name none."""
    for query, enabled in (("", False), ("?environment=production", False), ("?environment=staging&ts=1", True)):
        answer = get(server, f"/v3/shop123456{query}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("application/json")
        flag = answer.json()["featureFlags"][0]
        assert (flag["environmentEnabled"], flag["rules"][0]["segmentId"]) == (enabled, 41)
        assert "holdout" not in answer.json()


def test_configuration_for_older_sdks_has_segments_in_rules(server):
    """The path of SDKs up to 3.4.0 gives rules with their segment inside."""
    rules = get(server, "/shop123456").json()["featureFlags"][0]["rules"]
    assert rules[0]["segment"]["conditionsData"]["firstLevel"][0]["conditions"][0]["device"] == "PHONE"
    assert rules[1]["segment"] is None


def test_unchanged_configuration_is_not_sent_again(server):
    """The client's `Last-Modified` gives 304 until a project is published, also within the same second."""
    first = get(server, "/v3/shop123456")
    stamp = first.headers["Last-Modified"]
    assert parsedate_to_datetime(stamp) == datetime.fromtimestamp(first.json()["dateModified"] / 1000, UTC)
    again = get(server, "/v3/shop123456", headers={"If-Modified-Since": stamp})
    assert (again.status_code, again.content, again.headers["Last-Modified"]) == (304, b"", stamp)
    server.publish(parse_project(PROJECT.replace("production: off", "production: on")))
    after = get(server, "/v3/shop123456", headers={"If-Modified-Since": stamp})
    assert after.status_code == 200
    assert after.json()["featureFlags"][0]["environmentEnabled"] is True
    assert after.json()["dateModified"] > first.json()["dateModified"]


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/v3/unknown", 404, "unknown_site_code"),
        ("/unknown", 404, "unknown_site_code"),
        ("/v3/shop123456?environment=test", 404, "unknown_environment"),
        ("/a/b/c", 404, "not_found"),
        ("/oauth/token", 405, "method_not_allowed"),
        ("/visit/visitor?visitorCode=a", 400, "site_code_missing"),
        ("/visit/visitor?siteCode=shop123456", 400, "visitor_missing"),
        ("/visit/visitor?siteCode=shop123456&visitorCode=a&maxNumberPreviousVisits=x", 400, "bad_number"),
        ("/map/map?siteCode=shop123456", 400, "key_missing"),
    ],
)
def test_errors_are_json(server, path, status, slug):
    """Every error has a JSON body with a word for programs and a sentence for people."""
    answer = get(server, path)
    assert (answer.status_code, answer.json()["error"]) == (status, slug)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json()["message"]


def test_tokens_for_any_credentials(server):
    """Credentials in the form and as Basic authorization give a bearer token of two hours."""
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    for more in ({"data": form}, {"data": {"grant_type": "client_credentials"}, "auth": ("a", "b")}):
        answer = post(server, "/oauth/token?siteCode=shop123456", **more)
        assert answer.status_code == 200
        assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 7200)
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert post(server, "/visit/events?siteCode=shop123456", headers=headers).status_code == 204


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "a"}, 401, "invalid_client"),
    ],
)
def test_token_errors(server, form, status, error):
    """Another grant, and missing credentials, are refused in the words of RFC 6749."""
    answer = post(server, "/oauth/token", data=form)
    assert (answer.status_code, answer.json()) == (status, {"error": error})


@pytest.mark.parametrize(
    "header", [b"Bearer nonsense", b"Bearer a.b.c", b"Basic YTpi", b"Bearer", "Bearer é".encode(), b"Bearer \xe9"]
)
def test_a_bad_token_is_worse_than_none(server, header):
    """A malformed token is refused by all of the Data API, and nothing is stored."""
    headers = {"Authorization": header}
    for answer in (
        post(server, "/visit/events?siteCode=shop123456", headers=headers, data="x"),
        get(server, "/visit/visitor?siteCode=shop123456&visitorCode=a", headers=headers),
        get(server, "/map/map?siteCode=shop123456&key=a", headers=headers),
    ):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert server.counters()["requests"] == 0


def test_what_is_acknowledged_is_counted(server):
    """Exposures and conversions appear in the results per variation as soon as they are acknowledged."""
    track(server, *(exposure(f"v{n}", 13) for n in range(50)), *(exposure(f"w{n}", 14) for n in range(60)))
    track(
        server,
        *(conversion(f"v{n}", 10.0) for n in range(5)),
        *(conversion(f"w{n}", 20.5) for n in range(9)),
        conversion("w0", 1),
    )
    rule = server.results().flag("checkout").rule("test")
    off, on = rule.variation("off"), rule.variation("on")
    assert (rule.visitors, off.visitors, on.visitors, off.is_reference, on.is_reference) == (110, 50, 60, True, False)
    bought = on.goal("purchase")
    assert (bought.converted, bought.conversions, bought.rate, bought.revenue_total) == (9, 10, 0.15, 185.5)
    assert bought.uplift == pytest.approx(0.5)
    assert bought.uplift_interval == uplift_interval(Rate(9, 60), Rate(5, 50))
    assert off.goal("purchase").uplift is None
    assert on.goal("newsletter").converted == 0
    answer = get(server, "/results").json()
    assert answer == server.results().as_json()
    (flag,) = answer["flags"]
    assert flag["rules"][1]["variations"][1]["goals"][0]["upliftInterval"] == [
        bought.uplift_interval.low,
        bought.uplift_interval.high,
    ]
    assert flag["rules"][1]["sampleRatio"]["broken"] is False
    assert flag["rules"][0]["sampleRatio"] is None


def test_broken_shares_are_reported(server):
    """Visitors divided otherwise than planned raise an alarm in results and on the page."""
    track(server, *(exposure(f"v{n}", 13) for n in range(200)), *(exposure(f"w{n}", 14) for n in range(100)))
    rule = server.results().flag("checkout").rule("test")
    assert rule.is_ratio_broken
    assert rule.sample_ratio_p < 1e-6
    assert "Find the cause before you trust any number" in get(server, "/page/experiment?flag=checkout&rule=test").text


def test_a_retried_request_counts_once(server):
    """The same lines sent again are acknowledged and counted as duplicates."""
    lines = [exposure("a", 13), conversion("a", 5.0)]
    for _ in range(3):
        track(server, *lines)
    assert server.results().flag("checkout").rule("test").variation("off").goal("purchase").revenue_total == 5.0
    assert server.counters() == {"requests": 3, "lines": 6, "stored": 2, "duplicates": 4, "refused": 0, "bots": 0}


def test_bad_lines_are_counted_and_shown(server):
    """Good lines beside bad ones are stored; the bad ones are counted, with reasons to be seen in `/health`."""
    body = f"nonsense\nnonce={'1' * 16}&{exposure('a', 13)}\nnonce=1&eventType=activity&visitorCode=a"
    assert post(server, "/visit/events?siteCode=shop123456", data=body).status_code == 204
    health = get(server, "/health").json()
    assert health["counters"]["refused"] == 2
    assert health["counters"]["stored"] == 1
    assert health["lastRefused"] == [
        {"number": 1, "reason": "not name=value pairs"},
        {"number": 3, "reason": "nonce is not 16 hexadecimal digits"},
    ]


def test_bodies_that_cannot_be_taken(server):
    """A missing site code, bytes that are no UTF-8 and a body above 3 MB are refused, and one of just 3 MB is taken."""
    path = "/visit/events?siteCode=shop123456"
    assert post(server, "/visit/events", data="x").json()["error"] == "site_code_missing"
    answer = post(server, path, data=b"nonce=\xff")
    assert (answer.status_code, answer.json()["message"]) == (400, "the body is not UTF-8 at byte 6")
    assert post(server, path, data=b"\n" * (3 * 1024 * 1024)).status_code == 204
    answer = post(server, path, data=b"\n" * (3 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["error"]) == (413, "body_too_large")
    assert post(server, f"{path}&visitorCode={'a' * 256}").json()["error"] == "bad_visitor_code"
    assert server.counters()["requests"] == 1


def test_bodies_that_are_no_bodies(server):
    """A body that is not what its encoding says, and a form with too many fields, are the client's error."""
    headers = {"Content-Encoding": "gzip"}
    answer = post(server, "/visit/events?siteCode=shop123456", data=b"\x1f\x8b not gzip", headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "broken_body")
    answer = post(server, "/oauth/token", data="&".join(["a=1"] * 50))
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})


def test_the_json_body_format(server):
    """With `json=true` the body is an array of events."""
    events = [{"nonce": "4f0a19c2d37b88e1", "eventType": "EXPERIMENT", "id": 12, "variationId": 14}]
    assert post(server, "/visit/events?siteCode=shop123456&json=true&visitorCode=a", json=events).status_code == 204
    assert server.results().flag("checkout").rule("test").variation("on").visitors == 1


def test_bots_do_not_count(server):
    """Lines of a bot, told by the body or by the request's own user agent, are stored and not counted."""
    track(server, exposure("a", 13) + "&userAgent=curl%2F8.0")
    line = f"nonce={'2' * 16}&{exposure('b', 13)}"
    post(server, "/visit/events?siteCode=shop123456", data=line, headers={"User-Agent": "NiceBot/1"})
    assert server.counters()["bots"] == 2
    assert server.results().flag("checkout").rule("test").visitors == 0


def test_an_identified_visitor_is_one_visitor(server):
    """Events sent with `mappingValue` count for the visitor who was linked to that identifier."""
    link = "eventType=customData&index=3&valuesCountMap=%7B%22user%401%22%3A1%7D&overwrite=true&mappingIdentifier=true&visitorCode=anon"
    track(server, link, exposure("anon", 13))
    track(server, conversion("x", 7.0).replace("visitorCode=x", "mappingValue=user%401"))
    assert server.results().flag("checkout").rule("test").variation("off").goal("purchase").revenue_total == 7.0
    path = "/visit/visitor?siteCode=shop123456&mappingValue=user%401&currentVisit=true&maxNumberPreviousVisits=1&conversion=true"
    visit = get(server, path).json()["currentVisit"]
    assert (visit["visitorCode"], visit["conversionEvents"][0]["data"]["goalId"]) == ("anon", 1001)


def test_another_site_code_has_its_own_results(server):
    """Tracking of a site without a project is taken and kept apart."""
    line = f"nonce={'3' * 16}&{exposure('a', 13)}"
    assert post(server, "/visit/events?siteCode=other", data=line).status_code == 204
    assert server.results().flag("checkout").rule("test").visitors == 0
    assert get(server, "/results?siteCode=other").json()["flags"][0]["rules"][1]["visitors"] == 1


def test_a_visitors_visits(server):
    """Stored events come back as visits, newest visit first, each with what was asked for."""
    hour = 3_600_000
    now = server.project and int(datetime.now(UTC).timestamp() * 1000)
    track(
        server,
        f"eventType=staticData&deviceType=TABLET&visitorCode=v&time={now - 5 * hour}",
        f"eventType=staticData&browserIndex=0&browserVersion=120.0&visitorCode=v&time={now - 5 * hour + 1}",
        f"eventType=page&href=https%3A%2F%2Fe.com&title=E&visitorCode=v&time={now - 3 * hour}",
        exposure("v", 13) + f"&time={now - 2000}",
        conversion("v", 9.5) + f"&time={now - 1000}",
        f"eventType=customData&index=1&valuesCountMap=%7B%22gold%22%3A1%7D&overwrite=true&visitorCode=v&time={now - 900}",
        f"eventType=geolocation&country=France&latitude=48.5&visitorCode=v&time={now - 800}",
    )
    path = "/visit/visitor?siteCode=shop123456&visitorCode=v&version=0"
    answer = get(server, f"{path}&maxNumberPreviousVisits=25&currentVisit=true&all=true").json()
    assert answer["currentVisit"] == {
        "visitorCode": "v",
        "timeStarted": now - 2000,
        "timeLastEvent": now - 800,
        "staticDataEvent": {"time": now - 2000, "data": {"visitNumber": 2}},
        "conversionEvents": [{"time": now - 1000, "data": {"goalId": 1001, "revenue": 9.5, "negative": False}}],
        "experimentEvents": [{"time": now - 2000, "data": {"id": 12, "variationId": 13}}],
        "customDataEvents": [
            {"time": now - 900, "data": {"index": 1, "valuesCountMap": {"gold": 1}, "overwrite": True}}
        ],
        "geolocationEvents": [{"time": now - 800, "data": {"country": "France", "latitude": 48.5}}],
    }
    assert [visit["timeStarted"] for visit in answer["previousVisits"]] == [now - 3 * hour, now - 5 * hour]
    assert answer["previousVisits"][1]["staticDataEvent"]["data"] == {
        "visitNumber": 0,
        "deviceType": "TABLET",
        "browser": "CHROME",
        "browserVersion": 120.0,
    }
    few = get(server, f"{path}&maxNumberPreviousVisits=1&page=true").json()
    assert few["currentVisit"] is None
    assert [list(visit) for visit in few["previousVisits"]] == [
        ["visitorCode", "timeStarted", "timeLastEvent", "pageEvents"]
    ]


def test_nothing_known_is_an_empty_answer(server):
    """A visitor nothing is known of has no visits, and a key nothing is stored for an empty map."""
    path = "/visit/visitor?siteCode=shop123456&visitorCode=nobody&maxNumberPreviousVisits=1&currentVisit=true"
    assert get(server, path).json() == {"currentVisit": None, "previousVisits": []}
    assert get(server, "/map/map?siteCode=shop123456&key=k").json() == {}


def test_a_file_survives_the_server(tmp_path):
    """Events in a file are there for the next server, and its configuration is that of its own project."""
    project = parse_project(PROJECT)
    with LocalServer(project, database=tmp_path / "events.sqlite") as server:
        track(server, exposure("a", 13))
        before = server.results()
    with LocalServer(project, database=tmp_path / "events.sqlite") as server:
        assert server.results() == before
        track(server, exposure("a", 13))
        assert server.counters()["duplicates"] == 1


def test_a_chosen_environment(server):
    """A server may give another environment to clients that name none; one that does not exist is refused."""
    with LocalServer(server.project, environment="staging") as other:
        assert get(other, "/v3/shop123456").json()["featureFlags"][0]["environmentEnabled"] is True
    with (
        pytest.raises(ValueError, match="there is no environment 'test'"),
        LocalServer(server.project, environment="test"),
    ):
        pass


def test_a_taken_port_is_said_clearly(server):
    """A second server on the port of the first says which port is in use."""
    port = int(server.url.rpartition(":")[2])
    with (
        pytest.raises(ServeError, match=rf"127\.0\.0\.1:{port}: the port is in use"),
        LocalServer(server.project, port=port),
    ):
        pass


def test_a_stopped_server_lets_go(server):
    """After the end of a server its port is free, its methods refuse, and it is not started twice."""
    port = int(server.url.rpartition(":")[2])
    server.stop()
    server.stop()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with pytest.raises(RuntimeError, match="not running"):
        server.results()
    with pytest.raises(RuntimeError, match="started once"):
        server.start()


def test_the_demo_project_is_served():
    """The demo project's file is given out as a configuration with unique ids."""
    with LocalServer(Path(__file__).parents[2] / "sample-config" / "demo-project.yaml") as server:
        flags = get(server, "/v3/demoshop01").json()["featureFlags"]
    layout = next(variable for variable in flags[0]["variations"][1]["variables"] if variable["key"] == "layout")
    assert json.loads(layout["value"]) == {"summary": "top", "steps": ["all"]}

"""The Data API at its bounds: who a request is for, what another site or a bad token may not do, how long things last."""

import json
import sqlite3
import time
from urllib.parse import quote

import pytest
import requests

from kameleoon.server import storage as storage_module
from kameleoon.server import tokens as tokens_module
from kameleoon.server.faults import parse_faults
from kameleoon.server.guard import is_loopback_host
from kameleoon.server.limits import Limit, RateLimits
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer
from kameleoon.server.storage import Storage
from kameleoon.server.tokens import Grant, Grants

PROJECT = parse_project(
    "project: {site_code: shop123456}\ngoals: [{key: purchase, id: 1001}]\n"
    "flags: {checkout: {rules: [{experiment: [off, on], experiment_id: 12, key: test, variation_ids: {off: 13, on: 14}}]}}"
)
SITE = "siteCode=shop123456"


@pytest.fixture(scope="module")
def server():
    """A server over the project above."""
    with LocalServer(PROJECT) as server:
        yield server


@pytest.fixture
def track(server):
    """Sends lines, each with a nonce of its own; gives the status."""

    def send(*lines, query="", headers=None):
        send.nonce += 1
        body = "\n".join(f"nonce={send.nonce:08X}{number:08X}&{line}" for number, line in enumerate(lines))
        url = f"{server.url}/visit/events?{SITE}{query}"
        return requests.post(url, data=body, headers=headers, timeout=10).status_code

    send.nonce = time.monotonic_ns() % 2**31
    return send


def visitor(server, query):
    """The answer for a visitor."""
    everything = "currentVisit=true&all=true&maxNumberPreviousVisits=25"
    return requests.get(f"{server.url}/visit/visitor?{SITE}&{everything}&{query}", timeout=10).json()


def codes(answer):
    """The codes of an answer's visits, that in progress first."""
    return [visit and visit["visitorCode"] for visit in (answer["currentVisit"], *answer["previousVisits"])]


def test_an_identifier_in_the_query_is_everybodys(server, track):
    """`mappingValue` in the query stands for the visitor linked last to it, whatever lines say; a visitor code is stronger."""
    link = "eventType=customData&index=1&mappingIdentifier=true&overwrite=true&valuesCountMap=" + quote('{"q-user":1}')
    assert track(f"{link}&visitorCode=q-phone") == 204
    for query, code in (("&mappingValue=q-user", "q-phone"), ("&mappingValue=q-user&visitorCode=q-desk", "q-desk")):
        assert track("eventType=page&href=u&visitorCode=q-other", query=query) == 204
        assert visitor(server, f"visitorCode={code}")["currentVisit"]["pageEvents"][0]["data"] == {"href": "u"}
    assert codes(visitor(server, "visitorCode=q-other")) == [None]
    for wrong in ("&mappingValue=", f"&mappingValue={'x' * 256}", "&visitorCode="):
        assert track("eventType=activity&visitorCode=a", query=wrong) == 400


def test_linked_visitors_have_one_history(server, track):
    """All codes linked to an identifier share their ended visits; in progress is that of the last link, or of the code asked for."""
    link = "eventType=customData&index=1&mappingIdentifier=true&overwrite=true&valuesCountMap=" + quote('{"h-user":1}')
    hour, now = 3_600_000, int(time.time() * 1000)
    for code, at in (("h-phone", 9), ("h-desk", 8), ("h-user", 7), ("h-phone", 6)):
        assert track(f"eventType=page&href=u&visitorCode={code}&time={now - at * hour}") == 204
    for code in ("h-desk", "h-phone", "h-desk"):
        assert track(f"{link}&visitorCode={code}") == 204
    past = ["h-phone", "h-user", "h-desk", "h-phone"]
    assert codes(visitor(server, "mappingValue=h-user")) == ["h-desk", *past]
    assert codes(visitor(server, "mappingValue=h-user&visitorCode=h-phone")) == ["h-phone", *past]
    assert codes(visitor(server, "mappingValue=h-user&visitorCode=h-tablet")) == [None, *past]
    assert codes(visitor(server, "visitorCode=h-desk")) == ["h-desk", "h-desk"]
    assert codes(visitor(server, "mappingValue=h-nobody")) == [None]
    few = visitor(server, "mappingValue=h-user&maxNumberPreviousVisits=99")
    assert few["currentVisit"]["staticDataEvent"]["data"] == {"visitNumber": 4}


def test_no_more_than_25_visits(server, track):
    """However many earlier visits are asked for, 25 are given; how many is a number."""
    hour = 3_600_000
    assert track(*(f"eventType=activity&visitorCode=many&time={number * hour}" for number in range(27))) == 204
    path = f"{server.url}/visit/visitor?{SITE}&visitorCode=many&maxNumberPreviousVisits="
    assert len(requests.get(f"{path}99999", timeout=10).json()["previousVisits"]) == 25
    for wrong in ("-1", "x", "100000", "²"):
        assert requests.get(path + wrong, timeout=10).status_code == 400


def test_whose_user_agent_counts(server, track):
    """The request's user agent is judged, unless the body has those of the visitors."""
    bots = server.counters()["bots"]
    assert track("eventType=activity&visitorCode=agent", headers={"User-Agent": "Googlebot"}) == 204
    assert server.counters()["bots"] == bots + 1
    assert (
        track("eventType=activity&visitorCode=agent", headers={"User-Agent": "Googlebot"}, query="&bodyUa=true") == 204
    )
    assert server.counters()["bots"] == bots + 1


def test_what_cannot_be_stored_is_to_be_sent_again(server, track, monkeypatch):
    """When the database refuses, the answer is 503, and nothing is counted."""
    before = server.counters()

    def fails(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(server._running().storage, "add", fails)
        assert track("eventType=activity&visitorCode=a") == 503
    assert server.counters() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/visit/events?"),
        ("GET", "/visit/visitor?visitorCode=v&"),
        ("POST", "/visit/forget?"),
        ("GET", "/map/map?key=k&"),
        ("GET", "/map/maps?keys=[]&"),
        ("POST", "/map/maps?"),
        ("POST", "/product/events?"),
        ("GET", "/product/productCounters?eans=[]&"),
        ("GET", "/product/productData?eans=[]&"),
    ],
)
def test_every_path_checks_token_and_site(server, method, path):
    """On each path a bad token is 401, a missing or endless site code 400, and a strict server refuses other sites with 403."""
    body = "{}" if method == "POST" else None
    url = f"{server.url}{path}"
    bad = {"Authorization": "Bearer a.b.c"}
    good = server._running().tokens.issue("x", time.time())
    for token in (f"bearer {good}", f"Bearer  {good} "):
        answer = requests.request(method, url + SITE, data=body, headers={"Authorization": token}, timeout=10)
        assert answer.status_code in {200, 204}
    basic = {"Authorization": f"Basic {good}"}
    assert requests.request(method, url + SITE, data=body, headers=basic, timeout=10).status_code == 401
    assert requests.request(method, url + SITE, data=body, headers=bad, timeout=10).status_code == 401
    for site in ("", f"siteCode={'x' * 65}", "siteCode="):
        answer = requests.request(method, url + site, data=body, timeout=10)
        assert (answer.status_code, answer.json()["error"]) == (400, "site_code_missing")
    assert requests.request(method, f"{url}siteCode={'x' * 64}", data=body, timeout=10).status_code in {200, 204}
    service = server._running()
    service.is_strict = True
    try:
        answer = requests.request(method, f"{url}siteCode=other", data=body, timeout=10)
        assert (answer.status_code, answer.json()["error"]) == (403, "unknown_site_code")
    finally:
        service.is_strict = False


def test_maps_last_92_days_and_are_a_sites(server):
    """Without `ttlHours` a map ends after 2208 hours; another site has none of that key; ended ones are cleared away."""
    assert requests.post(f"{server.url}/map/maps?{SITE}", json={"days": {"a": 1}}, timeout=10).status_code == 204
    connection = server._running().storage._connection
    (expires_ms,) = connection.execute("SELECT expires_ms FROM maps WHERE key = 'days'").fetchone()
    assert expires_ms / 1000 - time.time() == pytest.approx(92 * 86_400, abs=60)
    other = f"{server.url}/map/maps?siteCode=other&keys={quote(json.dumps(['days']))}"
    assert requests.get(other, timeout=10).json() == {}
    now = [0]
    storage = Storage(now_ms=lambda: now[0])
    storage.put_maps("s", {"k": {"a": 1}}, lifetime_ms=10)
    now[0] = 10
    storage.put_maps("s", {"l": {"a": 1}}, lifetime_ms=10)
    assert storage._connection.execute("SELECT key FROM maps").fetchall() == [("l",)]
    storage.close()


def test_a_forgotten_visitor_leaves_nothing(server, track):
    """Links and what was counted for a visitor are gone with the visitor; an identifier then stands for itself again."""
    link = "eventType=customData&index=1&mappingIdentifier=true&overwrite=true&valuesCountMap=" + quote('{"f-user":1}')
    seen = "eventType=experiment&id=12&variationId=14&visitorCode=f-phone"
    paid = "eventType=conversion&goalId=1001&revenue=5&visitorCode=f-phone"
    before = server.results().flag("checkout").rule("test").variation("on").goal("purchase")
    assert track(f"{link}&visitorCode=f-phone", seen, paid) == 204
    assert requests.post(f"{server.url}/visit/forget?{SITE}", data="f-phone", timeout=10).status_code == 204
    connection = server._running().storage._connection
    for table in ("events", "assignments", "visitor_goals", "links"):
        orphans = f"SELECT count(*) FROM {table} WHERE visitor NOT IN (SELECT id FROM visitors)"
        assert connection.execute(orphans).fetchone() == (0,), table
    assert track("eventType=page&href=u&mappingValue=f-user") == 204
    assert codes(visitor(server, "mappingValue=f-user")) == ["f-user"]
    assert track(seen) == 204
    assert server.results().flag("checkout").rule("test").variation("on").goal("purchase").converted == before.converted


def test_product_counts_of_a_time():
    """Events from `begin` on count, those at `end` no more."""
    now = [0]
    storage = Storage(now_ms=lambda: now[0])
    for time_ms in (10, 20, 30):
        now[0] = time_ms
        storage.add_products("s", [("1", f"{time_ms:016X}", "PRODUCTPAGE", 1, {})])
    for (begin, end), views in {(10, 30): 2, (11, 31): 2, (10, 31): 3, (20, 20): 0}.items():
        assert storage.product_counts("s", "1", begin, end).get("PRODUCTPAGE", 0) == views
    storage.close()


def test_what_is_kept_is_bounded(monkeypatch):
    """Of changes, codes and askers of limits the oldest are forgotten beyond a number."""
    monkeypatch.setattr(storage_module, "_KEPT_CHANGES", 3)
    storage = Storage()
    for number in range(5):
        storage.remember_changes("s", [(None, f"change {number}")], author="test", keep={})
    assert [change.said for change in storage.changes("s")] == ["change 4", "change 3", "change 2"]
    storage.close()
    monkeypatch.setattr(tokens_module, "_MAX_GRANTS", 2)
    grants = Grants()
    given = [grants.give(Grant("c", True, expires_s=10.0)) for _ in range(3)]
    assert [grants.take(secret, 9.9) is not None for secret in given] == [False, True, True]
    assert grants.take(grants.give(Grant("c", True, expires_s=10.0)), 10.0) is None
    monkeypatch.setattr("kameleoon.server.limits._MAX_ASKERS", 2)
    limits = RateLimits(lambda: 0.0)
    once = (Limit(1, 10.0),)
    assert [limits.wait_s((name,), once) for name in ("a", "b", "b", "c", "a")] == [0, 0, 10.0, 0, 0]


@pytest.mark.parametrize(
    ("name", "is_own"),
    [
        *((name, True) for name in ("localhost", "shop.localhost", "127.0.0.1", "127.9.9.9", "::1")),
        *((name, False) for name in ("evillocalhost", "localhost.evil.example", "128.0.0.1", "0.0.0.0", "::", "")),
    ],
)
def test_names_of_this_machine(name, is_own):
    """Loopback addresses, localhost and what is below it stand for this machine, and nothing that only looks like them."""
    assert is_loopback_host(name) is is_own
    if name and ":" not in name:
        with LocalServer(PROJECT) as own:
            status = requests.get(own.url, headers={"Host": f"{name}:80"}, timeout=10).status_code
        assert status == (200 if is_own else 403)


def test_more_faults_than_requests_are_refused():
    """Parts that are more than all requests, and what is no fault, are mistakes."""
    assert parse_faults(["500:0.5", "reset:0.5"]).reset == 0.5
    for wrong in (["500:0.6", "reset:0.5"], ["200:0.1"], ["500"], ["reset:2"], ["500:-1"]):
        with pytest.raises(ValueError, match="fault"):
            parse_faults(wrong)

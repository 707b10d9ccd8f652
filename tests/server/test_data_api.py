"""Maps, forgetting, products, tokens, limits and faults over real HTTP."""

import gzip
import json
import socket
import time
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests

from kameleoon.server.faults import Faults, parse_faults
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer, ServeError, make_guard

PROJECT = parse_project(
    "project: {site_code: shop123456}\ngoals: [{key: purchase, id: 1001}]\n"
    "flags: {checkout: {rules: [{experiment: [off, on], experiment_id: 12, key: test, variation_ids: {off: 13, on: 14}}]}}"
)
SITE = "siteCode=shop123456"


@pytest.fixture
def server():
    """A server over the project above."""
    with LocalServer(PROJECT) as server:
        yield server


def ask(server, method, path, **more):
    """One request."""
    return requests.request(method, server.url + path, timeout=10, allow_redirects=False, **more)


def track(server, *lines):
    """Send lines of events."""
    body = "\n".join(f"nonce={abs(hash(line)) % 2**64:016X}&{line}" for line in lines)
    assert ask(server, "POST", f"/visit/events?{SITE}", data=body).status_code == 204


def test_maps_are_stored(server):
    """A map is given back as it was stored, alone and among others; an empty one removes it."""
    maps = {"u-77": {"tier": "gold", "warehouseAudiences": {"vip": 1}, "n": None}, "ü/&": {"x": [1.5, "é"]}}
    assert ask(server, "POST", f"/map/maps?{SITE}&ttlHours=1", json=maps).status_code == 204
    assert ask(server, "GET", f"/map/map?{SITE}&key=u-77").json() == maps["u-77"]
    keys = quote(json.dumps(["u-77", "ü/&", "none"]))
    assert ask(server, "GET", f"/map/maps?{SITE}&keys={keys}").json() == maps
    assert ask(server, "POST", f"/map/maps?{SITE}", json={"u-77": {}}).status_code == 204
    assert ask(server, "GET", f"/map/map?{SITE}&key=u-77&prettyPrint=true").json() == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", f"/map/maps?{SITE}", b"[]", 400),
        ("POST", f"/map/maps?{SITE}", b'{"k": 5}', 400),
        ("POST", f"/map/maps?{SITE}", b'{"k": {"a": NaN}}', 400),
        ("POST", f"/map/maps?{SITE}", b'{"k": {"a": "\\ud800"}}', 400),
        ("POST", f"/map/maps?{SITE}", b"{" * 100_000, 400),
        ("POST", f"/map/maps?{SITE}", b"\xff", 400),
        ("POST", f"/map/maps?{SITE}", json.dumps({"k" * 101: {}}).encode(), 400),
        ("POST", f"/map/maps?{SITE}&ttlHours=8785", b"{}", 400),
        ("POST", f"/map/maps?{SITE}", b" " * (1024 * 1024 + 1), 413),
        ("POST", f"/visit/forget?{SITE}", b"a" * (1024 * 1024 + 1), 413),
        ("POST", f"/visit/forget?{SITE}", b"\xff", 400),
        ("POST", "/visit/forget", b"a", 400),
        ("GET", f"/map/maps?{SITE}&keys={quote(json.dumps(['k'] * 101))}", None, 400),
        ("GET", f"/map/maps?{SITE}&keys=[5]", None, 400),
        ("GET", f"/product/productData?{SITE}", None, 400),
        ("GET", f"/product/productCounters?{SITE}&eans=[]&begin=x", None, 400),
        ("POST", f"/visit/events?{SITE}", gzip.compress(b"x" * (3 * 1024 * 1024 + 1)), 413),
    ],
)
def test_nonsense_is_refused_clearly(server, method, path, body, status):
    """What cannot be taken gets a 4xx with a reason, and nothing is stored."""
    headers = {"Content-Encoding": "gzip"} if body and body[:2] == b"\x1f\x8b" else {}
    answer = ask(server, method, path, data=body, headers=headers)
    assert (answer.status_code, set(answer.json())) == (status, {"error", "message"})
    assert server.counters()["stored"] == 0


def test_a_compressed_body_is_read(server):
    """Events may come compressed."""
    body = gzip.compress(b"nonce=00000000000000AA&eventType=page&href=u&visitorCode=v")
    answer = ask(server, "POST", f"/visit/events?{SITE}", data=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, server.counters()["stored"]) == (204, 1)


def test_forgotten_visitors_are_gone(server):
    """Forgetting removes visits, maps and counts; the code starts anew with its next event."""
    for visitor in ("a", "b"):
        track(server, f"eventType=experiment&id=12&variationId=14&visitorCode={visitor}")
        track(server, f"eventType=conversion&goalId=1001&revenue=5&visitorCode={visitor}")
    ask(server, "POST", f"/map/maps?{SITE}", json={"a": {"x": 1}})
    assert ask(server, "POST", f"/visit/forget?{SITE}", data="a\nunknown\r\n").status_code == 204
    on = server.results().flag("checkout").rule("test").variation("on")
    assert (on.visitors, on.goal("purchase").converted, on.goal("purchase").revenue_total) == (1, 1, 5)
    visits = ask(server, "GET", f"/visit/visitor?{SITE}&visitorCode=a&currentVisit=true&all=true").json()
    assert visits == {"currentVisit": None, "previousVisits": []}
    assert ask(server, "GET", f"/map/map?{SITE}&key=a").json() == {}
    track(server, "eventType=experiment&id=12&variationId=13&visitorCode=a")
    assert server.results().flag("checkout").rule("test").variation("off").visitors == 1


def test_products_are_counted(server):
    """Product events count once, in both formats; the latest attributes are given back; nonsense is left out."""
    lines = [
        "nonce=0000000000000001&eventType=PRODUCTPAGE&ean=123&name=Lamp&price=19.9",
        "nonce=0000000000000002&eventType=productAddToCart&ean=123&quantity=2",
        "nonce=0000000000000003&eventType=PRODUCTBUY&ean=123",
        "nonce=0000000000000004&eventType=PRODUCTBUY&ean=123&quantity=many",
        "nonce=5&eventType=PRODUCTBUY&ean=123",
        "nonce=0000000000000006&eventType=EXPLODE&ean=123",
        "nonce=0000000000000007&eventType=PRODUCTBUY",
    ]
    for _ in range(2):
        assert ask(server, "POST", f"/product/events?{SITE}", data="\n".join(lines)).status_code == 204
    member = {
        "nonce": "00000000000000FF",
        "eventType": "PRODUCTPAGE",
        "name": "Big lamp",
        "price": 20.5,
        "available": True,
    }
    for body in ([member, 5], "nonsense"):
        assert ask(server, "POST", f"/product/events?{SITE}&json=true&ean=123", json=body).status_code == 204
    eans = quote('["123", "none"]')
    assert ask(server, "GET", f"/product/productCounters?{SITE}&eans={eans}").json() == {
        "123": {"views": 2, "addToCart": 2, "transactions": 1},
        "none": {"views": 0, "addToCart": 0, "transactions": 0},
    }
    assert ask(server, "GET", f"/product/productCounters?{SITE}&eans={eans}&end=5").json()["123"]["views"] == 0
    assert ask(server, "GET", f"/product/productData?{SITE}&eans={eans}").json() == {
        "123": {"name": "Big lamp", "price": 20.5, "available": True}
    }


def test_a_code_and_a_refresh_token_are_good_once(server):
    """The flow of RFC 6749: the browser brings a code, the code a token, the refresh token the next; none works twice."""
    path = "/oauth/authorize?client_id=app&response_type=code&redirect_uri="
    back = "http://127.0.0.1:1/back?a=b"
    sent = urlsplit(ask(server, "GET", f"{path}{quote(back)}&state=s%26t").headers["Location"])
    query = parse_qs(sent.query)
    assert (sent.netloc, sent.path, query["a"], query["state"]) == ("127.0.0.1:1", "/back", ["b"], ["s&t"])
    form = {"grant_type": "authorization_code", "code": query["code"][0], "redirect_uri": back}
    first = ask(server, "POST", "/oauth/token", data=form, auth=("app", "secret")).json()
    assert first["expires_in"] == 7200
    assert ask(server, "POST", "/oauth/token", data=form, auth=("app", "secret")).json() == {"error": "invalid_grant"}
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = ask(server, "POST", "/oauth/token", data=form, auth=("app", "secret"))
    assert second.json()["refresh_token"] != first["refresh_token"]
    assert ask(server, "POST", "/oauth/token", data=form, auth=("app", "secret")).status_code == 400
    token = {"Authorization": f"Bearer {second.json()['access_token']}"}
    assert ask(server, "GET", f"/map/map?{SITE}&key=k", headers=token).status_code == 200
    for wrong in ("javascript:alert(1)", "//evil", "http://[", ""):
        assert ask(server, "GET", path + quote(wrong, safe="")).status_code == 400


def test_a_code_is_its_clients(server):
    """A code that another client brings, or for another address, is not good."""
    for client, back in (("other", "http://a/"), ("app", "http://b/")):
        query = "client_id=app&response_type=code&redirect_uri=http%3A%2F%2Fa%2F"
        location = ask(server, "GET", f"/oauth/authorize?{query}").headers["Location"]
        form = {
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(location).query)["code"][0],
            "redirect_uri": back,
        }
        assert ask(server, "POST", "/oauth/token", data=form, auth=(client, "x")).json() == {"error": "invalid_grant"}


def test_faults_on_purpose(server):
    """Statuses, cut connections and delays hit SDKs' requests, never the page, and end when they are told to."""
    server.fail(Faults({503: 1.0}))
    assert ask(server, "GET", "/v3/shop123456").json()["error"] == "fault_on_purpose"
    assert ask(server, "GET", "/").status_code == 200
    server.fail(Faults(reset=1.0))
    with pytest.raises(requests.ConnectionError):
        ask(server, "GET", "/v3/shop123456")
    server.fail(Faults(latency_ms=150))
    began = time.monotonic()
    assert ask(server, "GET", "/v3/shop123456").status_code == 200
    assert time.monotonic() - began >= 0.15
    server.fail(Faults())
    assert ask(server, "GET", "/v3/shop123456").status_code == 200


def test_faults_as_written():
    """Parts add up in the order written, and a number decides."""
    faults = parse_faults(["500:0.2", "429:.1", "reset:0.1"], 5)
    assert faults == Faults({500: 0.2, 429: 0.1}, 0.1, 5)
    assert [faults.draw(number) for number in (0.05, 0.15, 0.29, 0.35, 0.45)] == [0, 500, 500, 429, None]


def test_other_origins_may_ask_what_sdks_ask(server):
    """Pages of other sites reach the SDKs' paths, also with errors, and neither page nor API nor tokens."""
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    for path in (f"/visit/events?{SITE}", "/ofrep/v1/evaluate/flags"):
        answer = ask(server, "OPTIONS", path, headers=preflight)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert ask(server, "GET", "/visit/visitor").headers["Access-Control-Allow-Origin"] == "*"
    for path in ("/", "/page/flag", "/project.yaml", "/results", "/oauth/token"):
        for method in ("OPTIONS", "GET"):
            assert "Access-Control-Allow-Origin" not in ask(server, method, path, headers=preflight).headers


def test_a_token_guards_page_and_api():
    """With a token SDKs go on as before; page and project need it, in the form or in the header."""
    with LocalServer(PROJECT, token="right", port=0) as server:
        for path in ("/v3/shop123456", f"/map/map?{SITE}&key=k"):
            assert ask(server, "GET", path).status_code == 200
        assert ask(server, "GET", "/health").json() == {"status": "ok"}
        for path in (
            "/",
            "/page/flag?key=checkout",
            "/page/live/events",
            "/project.yaml",
            "/results",
            "/oauth/authorize",
        ):
            assert ask(server, "GET", path).status_code == 401
            assert ask(server, "GET", path, headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert "Token" in ask(server, "GET", "/", headers={"Accept": "text/html"}).text
        bearer = {"Authorization": "Bearer right"}
        assert ask(server, "GET", "/project.yaml", headers=bearer).text.startswith("project:")
        with requests.Session() as session:
            assert session.post(f"{server.url}/page/login", data={"token": "wrong"}, timeout=10).status_code == 401
            assert session.get(server.url, timeout=10).status_code == 401
            assert session.post(f"{server.url}/page/login", data={"token": "right"}, timeout=10).status_code == 200
            assert session.get(f"{server.url}/page/flag?key=checkout", timeout=10).status_code == 200
        assert ask(server, "GET", "/", headers={"Cookie": "kameleoon_local_server=x.y"}).status_code == 401


def test_other_machines_need_a_token():
    """A server that others reach does not start without a token; one on the loopback interface does."""
    for host in ("0.0.0.0", "::", "192.0.2.1", "shop.example", ""):
        with pytest.raises(ServeError, match="need a token"):
            make_guard(host, None)
        assert make_guard(host, "t").needs_token
    for host in ("127.0.0.1", "127.0.0.5", "::1", "localhost"):
        assert not make_guard(host, None).needs_token
    with LocalServer(PROJECT, host="0.0.0.0", token="t") as server:
        port = server.url.rpartition(":")[2]
        name = f"http://127.0.0.1:{port}/project.yaml"
        headers = {"Host": f"{socket.gethostname()}:{port}", "Authorization": "Bearer t"}
        assert requests.get(name, headers=headers, timeout=10).status_code == 200

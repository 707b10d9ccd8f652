"""The service's rate limits, each with the service's figures, by a clock that the test moves."""

import pytest
import requests
from clocks import Clock

from kameleoon.server.limits import Limit, RateLimits
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PROJECT = parse_project("project: {site_code: shop123456}\nflags: {gift: {}}")
SITE = "siteCode=shop123456"
DATA_GETS = [
    "/visit/visitor?visitorCode=v",
    "/map/map?key=k",
    "/map/maps?keys=[]",
    "/product/productData?eans=[]",
    "/product/productCounters?eans=[]",
]
DATA_POSTS = ["/visit/events?", "/visit/forget?", "/map/maps?", "/product/events?"]


@pytest.fixture
def clock():
    """A clock."""
    return Clock()


@pytest.fixture
def asked(clock):
    """Asks a server that keeps the limits: gives the status of an answer, and remembers the answer."""
    with LocalServer(PROJECT, rate_limits=RateLimits(clock)) as server, requests.Session() as session:

        def ask(method, path, token=None):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            body = "{}" if method != "GET" else None
            ask.answer = session.request(method, server.url + path, data=body, headers=headers, timeout=10)
            return ask.answer.status_code

        def token(client_id):
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "b"}
            return session.post(f"{server.url}/oauth/token", data=form, timeout=10).json()["access_token"]

        ask.token = token
        ask.server = server
        yield ask


def test_windows_slide(clock):
    """A request waits until the one that fills the fullest window is old enough; each asker has windows of its own."""
    limits = RateLimits(clock)
    both = (Limit(2, 1.0), Limit(3, 10.0))
    waits = []
    for now_s in (0.0, 0.5, 0.6, 1.0, 2.0, 10.0):
        clock.now = now_s
        waits.append(limits.wait_s(("a",), both))
    assert waits == [0, 0, pytest.approx(0.4), 0, pytest.approx(8.0), 0]
    assert limits.wait_s(("b",), both) == 0


@pytest.mark.parametrize(
    ("method", "paths", "has_token", "most"),
    [
        ("GET", DATA_GETS, False, 5),
        ("GET", DATA_GETS, True, 50),
        ("POST", DATA_POSTS, False, 50),
        ("POST", DATA_POSTS, True, 1000),
    ],
)
def test_the_data_api_is_limited_by_address_and_method(asked, clock, method, paths, has_token, most):
    """So many requests of a method go in a second, whatever their path; then 429 with ``Retry-After``, until the second is over."""
    token = asked.token("a") if has_token else None
    for number in range(most):
        assert asked(method, f"{paths[number % len(paths)]}&{SITE}", token) in {200, 204}, number
    for path in paths:
        assert asked(method, f"{path}&{SITE}", token) == 429
        assert asked.answer.headers["Retry-After"] == "1"
        assert asked.answer.json()["error"] == "too_many_requests"
        assert asked.answer.headers["Access-Control-Allow-Origin"] == "*"
    clock.now += 0.999
    assert asked(method, f"{paths[0]}&{SITE}", token) == 429
    clock.now += 0.002
    assert asked(method, f"{paths[0]}&{SITE}", token) in {200, 204}


def test_limits_of_the_data_api_are_apart(asked):
    """Methods, and requests with and without a token, have windows of their own; a bad token is none."""
    token = asked.token("a")
    get, post = f"/map/map?key=k&{SITE}", f"/visit/events?{SITE}"
    assert [asked("GET", get) for _ in range(6)] == [200] * 5 + [429]
    assert asked("GET", get, token) == 200
    assert asked("POST", post) == 204
    assert asked("GET", get, "bad") == 429
    assert {asked("POST", post, token) for _ in range(50)} == {204}
    assert [asked("GET", get, token) for _ in range(50)] == [200] * 49 + [429]
    for path in ("/v3/shop123456", "/health", "/"):
        assert [asked("GET", path) for _ in range(60)] == [200] * 60


def test_the_automation_api_is_limited_by_token(asked, clock):
    """A token has 50 requests in 10 seconds, whatever their path and method; another token has its own."""
    first, second = asked.token("a"), asked.token("b")
    paths = [("GET", "/sites"), ("GET", "/v1/goals"), ("POST", "/feature-flags/search"), ("PATCH", "/sites/shop123456")]
    for number in range(50):
        method, path = paths[number % len(paths)]
        assert asked(method, path, first) == 200
    for method, path in paths:
        assert asked(method, path, first) == 429
        assert asked.answer.headers["Retry-After"] == "10"
        assert asked.answer.json() == {"code": 429, "message": "the service's rate limit is exceeded", "errors": []}
    assert asked("GET", "/results?dataCode=x", first) == 429
    assert asked("GET", "/sites", second) == 200
    assert asked("GET", f"/map/map?key=k&{SITE}", first) == 200
    clock.now += 7.5
    assert asked("GET", "/sites", first) == 429
    assert asked.answer.headers["Retry-After"] == "3"
    clock.now += 2.6
    assert asked("GET", "/sites", first) == 200


def test_the_automation_api_is_limited_by_the_hour(asked, clock):
    """A token has 1000 requests in an hour, however slowly they come."""
    token = asked.token("a")
    for _ in range(20):
        assert {asked("GET", "/goals", token) for _ in range(50)} == {200}
        clock.now += 10.5
    assert asked("GET", "/goals", token) == 429
    assert asked.answer.headers["Retry-After"] == "3390"
    clock.now += 3391
    # Tokens themselves last longer than an hour.
    assert asked("GET", "/goals", token) == 200


def test_the_servers_own_token_is_limited_too():
    """Whoever sends the server's token itself has the limits of a token."""
    limits = RateLimits(Clock())
    with LocalServer(PROJECT, token="right", rate_limits=limits) as server, requests.Session() as session:
        session.headers["Authorization"] = "Bearer right"
        answers = [session.get(f"{server.url}/goals", timeout=10).status_code for _ in range(51)]
    assert answers == [200] * 50 + [429]


def test_without_limits_nothing_is_limited():
    """They are off by default."""
    with LocalServer(PROJECT) as server, requests.Session() as session:
        assert {session.get(f"{server.url}/map/map?key=k&{SITE}", timeout=10).status_code for _ in range(60)} == {200}

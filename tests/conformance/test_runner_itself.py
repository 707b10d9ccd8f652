"""The runner can fail: its comparison tells results apart, its backend sees what is sent, its clock stands still."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import conformance_play
import pytest
import requests
from conformance_backend import Backend, read_line, read_lines, read_query
from conformance_clock import FrozenClock, time_zone
from conformance_compare import differences
from conformance_play import Case, Stage, hosts_redirected, judge


def returns(value):
    """Make the result of an action that returns *value*."""
    return {"returns": value}


class TestCompare:
    """Two results are equal by the rules of the format, and only then."""

    @pytest.mark.parametrize(
        ("op", "expected", "actual"),
        [
            ("get_remote_data", 5, 5.0),
            ("get_remote_data", {"a": 1, "b": [1, None]}, {"b": [1.0, None], "a": 1}),
            ("active_keys", ["a", "b"], ["b", "a"]),
            ("get_feature_list", ["a", "b"], ["b", "a"]),
            ("get_remote_visitor_data", [{"type": "Device"}, {"n": 1}], [{"n": 1.0}, {"type": "Device"}]),
            ("requests", [{"a": 1}, {"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}, {"a": 1}]),
            ("sent", {"lines": [1, 2], "user_agents": [3, 4]}, {"lines": [2, 1], "user_agents": [4, 3]}),
        ],
    )
    def test_equal(self, op, expected, actual):
        """Numbers by value, members in any order, some lists in any order."""
        assert differences(op, returns(expected), returns(actual)) == []

    @pytest.mark.parametrize(
        ("op", "expected", "actual"),
        [
            ("get_remote_data", 1, True),
            ("get_remote_data", False, 0),
            ("get_remote_data", [True], [1]),
            ("get_remote_data", 1, "1"),
            ("get_remote_data", None, False),
            ("get_remote_data", {"a": None}, {}),
            ("get_remote_data", {}, {"a": None}),
            ("get_remote_data", [], {}),
            ("get_remote_data", [1, 2], [2, 1]),
            ("get_remote_data", [1], (1,)),
            ("get_engine_tracking_code", "ab", "aB"),
            ("active_keys", ["a", "b"], ["a", "a", "b"]),
            ("active_keys", ["a"], ["a", "b"]),
            ("requests", [{"query": {"a": ["x", "y"]}}], [{"query": {"a": ["y", "x"]}}]),
            ("sent", {"lines": [{"referrersIndices": [1, 2]}]}, {"lines": [{"referrersIndices": [2, 1]}]}),
            ("sent", {"lines": []}, {"lines": [], "request": {}}),
        ],
    )
    def test_different(self, op, expected, actual):
        """Booleans are no numbers, absence is not null, order matters where it is not said to be free."""
        assert differences(op, returns(expected), returns(actual))

    def test_returning_is_not_raising(self):
        """A value and an exception differ, and so do two exceptions."""
        assert differences("get_variation", returns(None), {"raises": "FeatureNotFound"})
        assert differences("get_variation", {"raises": "FeatureNotFound"}, {"raises": "FeatureError"})

    def test_the_place_is_named(self):
        """A difference begins with its place."""
        found = differences("get_variations", returns({"f": {"key": "on"}}), returns({"f": {"key": "off"}}))
        assert found == ['returns.f.key: expected "on", got "off"']

    def test_free_order_is_told_as_missing_and_unexpected(self):
        """Of a list in free order only the items that have no partner are shown."""
        found = differences("active_keys", returns(["a", "b", "b"]), returns(["b", "c"]))
        assert found == ['returns: missing "a"', 'returns: missing "b"', 'returns: unexpected "c"']


class TestLines:
    """Tracking lines are read as the format shows them."""

    def test_query(self):
        """``%XX`` is decoded and ``+`` is a plus sign."""
        assert read_query("a=1+1%3D2&b=%C3%A9&empty=&c=x=y") == {"a": "1+1=2", "b": "é", "empty": "", "c": "x=y"}

    def test_fields(self):
        """JSON is shown as what it holds, some numbers as numbers, the rest as text, a good nonce by its name."""
        line = read_line(
            "nonce=0123456789ABCDEF&eventType=x&index=3&valuesCountMap=%7B%22a%22%3A1%7D&revenue=1&referrersIndices=[1]",
        )
        assert line == {
            "nonce": "<nonce>",
            "eventType": "x",
            "index": "3",
            "valuesCountMap": {"a": 1},
            "revenue": 1.0,
            "referrersIndices": [1],
        }

    @pytest.mark.parametrize("nonce", ["0123456789abcdef", "0123456789ABCDE", "0123456789ABCDEF0", ""])
    def test_bad_nonce_is_shown(self, nonce):
        """A nonce of another form stays, so that it differs from the recorded one."""
        assert read_line(f"nonce={nonce}") == {"nonce": nonce}

    def test_unreadable_fields_are_shown(self):
        """What is not JSON or not a number stays text."""
        assert read_line("metadata={&revenue=much") == {"metadata": "{", "revenue": "much"}

    def test_user_agents(self):
        """A user agent is taken off its line, and told when it is not on its visitor's first."""
        lines, agents = read_lines(
            "visitorCode=a&n=1&userAgent=X%2F1\nvisitorCode=b&n=2\nmappingValue=b&n=3&userAgent=Y\nvisitorCode=b&userAgent=Z",
        )
        assert lines == [
            {"visitorCode": "a", "n": "1"},
            {"visitorCode": "b", "n": "2"},
            {"mappingValue": "b", "n": "3"},
            {"visitorCode": "b"},
        ]
        assert agents == [
            {"visitor": "a", "userAgent": "X/1"},
            {"visitor": "b", "userAgent": "Y"},
            {"visitor": "b", "userAgent": "Z", "not_first_line": True},
        ]


@pytest.fixture(scope="module")
def backend():
    """One backend for this file."""
    with Backend() as running:
        yield running


def ask(backend, target, body=None, **headers):
    """Send a request; gives status and text."""
    request = urllib.request.Request(
        backend.url + target,
        None if body is None else body.encode(),
        {name.replace("_", "-"): value for name, value in headers.items()},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


class TestBackend:
    """The backend answers as a case says, and shows what it was asked."""

    def test_configuration(self, backend):
        """The data file, or the status in its place."""
        with backend.exchange(b'{"a":1}') as exchange:
            assert ask(backend, f"/v3/{exchange.site_code}?environment=a%20b") == (200, '{"a":1}')
            (shown,) = exchange.take_requests(["config"])
            assert shown == {
                "service": "config",
                "method": "GET",
                "path": "/v3/<siteCode>",
                "query": {"environment": "a b"},
                "bearer": False,
                "sdk_type": None,
            }
        with backend.exchange(b"{}", {"config_status": 503}) as exchange:
            assert ask(backend, f"/v3/{exchange.site_code}") == (503, "")

    def test_token(self, backend):
        """A token that requests are recognised by afterwards, or the status in its place."""
        with backend.exchange(b"{}") as exchange:
            target = f"/oauth/token?sdkVersion=1.22.333&siteCode={exchange.site_code}"
            status, text = ask(backend, target, "grant_type=x", Authorization="Basic eA==")
            token = json.loads(text)["access_token"]
            assert (status, json.loads(text)["expires_in"]) == (200, 7200)
            assert exchange.take_requests(["token"]) == [
                {
                    "service": "token",
                    "method": "POST",
                    "path": "/oauth/token",
                    "query": {"sdkVersion": "<sdkVersion>", "siteCode": "<siteCode>"},
                    "authorization": "Basic eA==",
                    "body": "grant_type=x",
                },
            ]
            ask(backend, f"/map/map?siteCode={exchange.site_code}", Authorization=f"Bearer {token}")
            ask(backend, f"/map/map?siteCode={exchange.site_code}", Authorization="Bearer other")
            assert [shown["bearer"] for shown in exchange.take_requests(["map"])] == [True, False]
        with backend.exchange(b"{}", {"token_status": 401}) as exchange:
            assert ask(backend, f"/oauth/token?siteCode={exchange.site_code}", "") == (401, "")

    def test_stored_values(self, backend):
        """Values by key, an error where one is stored, 404 for the rest."""
        server = {
            "map": {"k 1": "text", "bad": {"__status__": 500}},
            "visitor_data": {"é": {"kcs": {}}, "mapped": []},
        }
        with backend.exchange(b"{}", server) as exchange:
            site = f"siteCode={exchange.site_code}"
            assert ask(backend, f"/map/map?{site}&key=k%201") == (200, '"text"')
            assert ask(backend, f"/map/map?{site}&key=bad") == (500, "")
            assert ask(backend, f"/map/map?{site}") == (404, "")
            assert ask(backend, f"/visit/visitor?{site}&visitorCode=%C3%A9") == (200, '{"kcs": {}}')
            assert ask(backend, f"/visit/visitor?{site}&mappingValue=mapped") == (200, "[]")
            assert ask(backend, f"/visit/visitor?{site}&visitorCode=other") == (404, "")
            assert len(exchange.take_requests(["visitor_data"])) == 3
            assert len(exchange.take_requests(["map", "visitor_data"])) == 3
            assert exchange.take_requests(["map", "visitor_data"]) == []

    def test_site_codes_are_apart(self, backend):
        """An unknown site code or path gets 404, and each site code sees its own requests only."""
        with backend.exchange(b"{}") as one, backend.exchange(b"{}") as other:
            assert ask(backend, f"/visit/events?siteCode={one.site_code}", "visitorCode=a") == (204, "")
            assert other.take_sent() == {"lines": []}
            assert one.count_lines() == 1
            assert ask(backend, "/visit/events?siteCode=unknown", "") == (404, "")
            assert ask(backend, f"/sse?siteCode={one.site_code}") == (404, "")

    def test_sent(self, backend):
        """Lines of several requests are put together, with what the requests had in common."""
        with backend.exchange(b"{}") as exchange:
            target = f"/visit/events?siteCode={exchange.site_code}"
            ask(backend, target, "visitorCode=a\nvisitorCode=b", Authorization=f"Bearer {exchange.token}")
            ask(backend, target, "visitorCode=c&userAgent=X")
            assert exchange.take_sent() == {
                "lines": [{"visitorCode": "a"}, {"visitorCode": "b"}, {"visitorCode": "c"}],
                "request": {"method": "POST", "path": "/visit/events", "query": {"siteCode": "<siteCode>"}},
                "user_agents": [{"visitor": "c", "userAgent": "X"}],
            }
            assert exchange.take_sent() == {"lines": []}

    def test_waiting_ends(self, backend):
        """Waiting for what does not come ends in time and says so."""
        with backend.exchange(b"{}") as exchange:
            assert not exchange.wait_until(lambda: exchange.count(["map"]) > 0, 0.01)
            ask(backend, f"/map/map?siteCode={exchange.site_code}")
            assert exchange.wait_until(lambda: exchange.count(["map"]) > 0, 0.01)

    def test_hosts(self, backend):
        """With hosts redirected, a request to any host arrives and shows the host asked for."""
        with backend.exchange(b"{}") as exchange, hosts_redirected(backend.url), requests.Session() as session:
            response = session.get(f"https://sdk-config.kameleoon.eu/v3/{exchange.site_code}", timeout=5)
            assert response.json() == {}
            (shown,) = exchange.take_requests(["config"], with_host=True)
            assert shown["host"] == "sdk-config.kameleoon.eu"


class TestClock:
    """The wall clock stands still where it is put; everything is as before afterwards."""

    def test_frozen(self):
        """All three ways of reading it agree, half a millisecond past the mark."""
        with FrozenClock() as clock:
            clock.now_ms = 1_750_000_000_001
            assert time.time() == pytest.approx(1_750_000_000.0015, abs=1e-6)
            assert time.time_ns() == 1_750_000_000_001_500_000
            assert dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds") == "2025-06-15T15:06:40.001+00:00"
            assert isinstance(dt.datetime.now(dt.UTC), dt.datetime)
        assert abs(time.time() - time.time_ns() / 1e9) < 1
        assert time.time() != pytest.approx(1_750_000_000, abs=60)
        assert dt.datetime.__name__ == "datetime"

    def test_restored_after_an_error(self):
        """An error inside does not leave the clock frozen."""
        before = time.time
        with pytest.raises(KeyError), FrozenClock():
            raise KeyError
        assert time.time is before

    def test_time_zone(self):
        """The process lives in the zone for a while."""
        before = time.localtime(0)[:6]
        with time_zone("EST5"):
            assert time.localtime(0)[:6] == (1969, 12, 31, 19, 0, 0)
        assert time.localtime(0)[:6] == before


class FakeError(Exception):
    """Stands for ``KameleoonError``."""


class VisitorCodeInvalid(FakeError):
    """The one error that the fake raises."""


class FakeClient:
    """An SDK that does just enough to be played against, over the real backend."""

    def __init__(self, site_code, config):
        self.site_code = site_code
        self.url = config.base_url
        self.config = config
        self.seen_ms = []
        self.added = []
        self.closed = False

    def wait_init(self, timeout_milliseconds=None):
        """Ask for the configuration."""
        del timeout_milliseconds
        return ask(self, f"/v3/{self.site_code}")[0] == 200

    def is_feature_active(self, visitor_code, feature_key, track=True):
        """Answer by the flag's name; keeps the time."""
        del visitor_code, track
        self.seen_ms.append(int(time.time() * 1000))
        if feature_key == "boom":
            raise ZeroDivisionError
        return feature_key == "on"

    def add_data(self, visitor_code, *args, track=True):
        """Keep the data."""
        if not visitor_code:
            raise VisitorCodeInvalid
        self.added += [(visitor_code, track, item) for item in args]

    def flush(self, visitor_code=None, *, instant=False):
        """Send a line."""
        code = visitor_code or "everyone"
        ask(self, f"/visit/events?siteCode={self.site_code}", f"eventType=activity&visitorCode={code}")
        return f"sent, {instant}"

    def get_visitor_code(self, cookies_readonly=None, cookies=None, default_visitor_code=None):
        """Find or make a code."""
        jar = cookies_readonly or cookies or {}
        found = jar.get("kameleoonVisitorCode")
        code = getattr(found, "value", found) or default_visitor_code or "0123456789abcdef"
        if cookies is not None:
            cookies["kameleoonVisitorCode"] = code
            cookies["kameleoonVisitorCode"]["max-age"] = 7
        return code

    async def get_remote_data_async(self, key):
        """Echo the key."""
        return {"key": key}

    async def aclose(self):
        """Close."""
        self.closed = True

    def close(self):
        """Close."""
        self.closed = True


class FakeMiddleware:
    """A middleware that sets the code it finds or makes."""

    def __init__(self, app, client, default_visitor_code=None):
        self.app, self.client, self.default = app, client, default_visitor_code

    def __call__(self, environ, start_response):
        code = self.client.get_visitor_code(default_visitor_code=self.default)
        environ["HTTP_COOKIE"] = f"kameleoonVisitorCode={code}"

        def start(status, headers):
            return start_response(status, [*headers, ("Set-Cookie", f"kameleoonVisitorCode={code}; Path=/")])

        return self.app(environ, start)


class FakeFactory:
    """Keeps the clients it made."""

    def __init__(self):
        self.clients = []
        self.forgotten = []

    def create(self, site_code, config):
        """Make a client."""
        self.clients.append(FakeClient(site_code, config))
        return self.clients[-1]

    def forget(self, site_code):
        """Note that the client is no longer wanted."""
        self.forgotten.append(site_code)


class Data(SimpleNamespace):
    """A data object that shows how it was made."""

    def __init__(self, *args, **kwargs):
        super().__init__(args=args, kwargs=kwargs)


@pytest.fixture
def stage(backend):
    """A stage with the fake SDK."""
    names = ("CustomData", "Browser", "PageView", "Conversion", "UniqueIdentifier")
    sdk = SimpleNamespace(
        Config=SimpleNamespace,
        Factory=FakeFactory(),
        Middleware=FakeMiddleware,
        errors=FakeError,
        data=SimpleNamespace(BrowserType={"CHROME": "chrome"}, **{name: type(name, (Data,), {}) for name in names}),
    )
    return Stage(sdk, backend)


def make_case(*steps, **content):
    """Make a case of (action, result) pairs."""
    whole = {
        "id": "fake",
        "datafile": "d",
        "visitor_code": "v",
        "now_ms": 1000,
        "actions": [action for action, _ in steps],
        "expect": [result for _, result in steps],
        **content,
    }
    return Case("fake", whole["id"], b"{}", whole)


class TestPlay:
    """Cases are played as the format says."""

    def test_clock_and_close(self, stage):
        """The first action runs a millisecond after the mark, `advance` adds to that, the client is closed."""
        ask_flag = {"op": "is_feature_active", "feature_key": "on"}
        case = make_case(
            (ask_flag, returns(True)), ({"op": "advance", "ms": 50}, returns(None)), (ask_flag, returns(True))
        )
        assert judge(case, stage.play(case)) is None
        (client,) = stage.sdk.Factory.clients
        assert client.seen_ms == [1001, 1053]
        assert client.closed
        assert stage.sdk.Factory.forgotten == [client.site_code]

    def test_configuration(self, stage):
        """The case's settings replace the defaults of the format."""
        case = make_case(config={"environment": "staging", "tracking_interval_millisecond": 1000})
        stage.play(case)
        config = vars(stage.sdk.Factory.clients[0].config)
        assert config == {
            "client_id": "conformance-id",
            "client_secret": "conformance-secret",
            "top_level_domain": "example.com",
            "tracking_interval_millisecond": 1000,
            "default_timeout_millisecond": 5000,
            "environment": "staging",
            "base_url": stage.backend.url,
        }

    def test_wrong_results_are_reported(self, stage):
        """A wrong value, a wrong exception and an unforeseen one are each told with their action."""
        case = make_case(
            ({"op": "is_feature_active", "feature_key": "off"}, returns(True)),
            ({"op": "add_data", "data": [], "visitor_code": ""}, returns(None)),
            ({"op": "is_feature_active", "feature_key": "boom"}, {"raises": "FeatureNotFound"}),
            ({"op": "is_feature_active", "feature_key": "on"}, returns(True)),
        )
        problem = judge(case, stage.play(case))
        assert "action 0 of 4" in problem
        assert "expected true, got false" in problem
        assert "VisitorCodeInvalid" in problem
        assert "builtins.ZeroDivisionError" in problem
        assert "action 3 of 4" not in problem

    def test_client_that_is_not_ready(self, stage):
        """A client that does not become ready fails the case and says so, unless it is not waited for."""
        step = ({"op": "is_feature_active", "feature_key": "on"}, returns(True))
        server = {"config_status": 500}
        case = make_case(step, server=server)
        assert "not ready" in judge(case, stage.play(case))
        case = make_case(step, server=server, await_ready=False)
        assert judge(case, stage.play(case)) is None

    def test_data(self, stage):
        """Data objects are made with the arguments that the format names, and no others."""
        data = [
            {"type": "CustomData", "index": 3, "values": ["a", "b"], "overwrite": False},
            {"type": "CustomData", "name": "n", "values": []},
            {"type": "Browser", "browser_type": "CHROME"},
            {"type": "PageView", "url": "u"},
            {"type": "Conversion", "goal_id": 1, "metadata": [{"type": "CustomData", "index": 1, "values": ["x"]}]},
            {"type": "UniqueIdentifier", "value": True},
        ]
        case = make_case(({"op": "add_data", "data": data, "track": False}, returns(None)))
        assert judge(case, stage.play(case)) is None
        added = stage.sdk.Factory.clients[0].added
        assert {(code, track) for code, track, _ in added} == {("v", False)}
        made = [(type(item).__name__, item.args, item.kwargs) for _, _, item in added]
        metadata = made[4][2].pop("metadata")
        assert made == [
            ("CustomData", (3, "a", "b"), {"overwrite": False}),
            ("CustomData", ("n",), {}),
            ("Browser", (), {"browser_type": "chrome"}),
            ("PageView", (), {"url": "u", "title": None}),
            ("Conversion", (), {"goal_id": 1}),
            ("UniqueIdentifier", (), {"value": True}),
        ]
        assert [item.args for item in metadata] == [(1, "x")]

    def test_sent_and_requests(self, stage):
        """What was sent is seen once, and a line too few or too many is a difference."""
        line = {"eventType": "activity", "visitorCode": "v"}
        request = {"method": "POST", "path": "/visit/events", "query": {"siteCode": "<siteCode>"}, "bearer": False}
        case = make_case(
            ({"op": "flush", "instant": True}, returns(None)),
            ({"op": "flush", "all_visitors": True}, returns(None)),
            ({"op": "sent"}, returns({"lines": [line | {"visitorCode": "everyone"}, line], "request": request})),
            ({"op": "sent"}, returns({"lines": []})),
            ({"op": "requests", "services": ["map"]}, returns([])),
        )
        results = stage.play(case)
        assert judge(case, results) is None
        results[2]["returns"]["lines"].pop()
        assert "missing" in judge(case, results)

    def test_lines_that_do_not_come(self, stage, monkeypatch):
        """Waiting for a line that never comes ends, and is a difference."""
        monkeypatch.setattr(stage, "_patience_s", 0.01)
        case = make_case(({"op": "sent"}, returns({"lines": [{"visitorCode": "v"}]})))
        assert "missing" in judge(case, stage.play(case))

    def test_cookies(self, stage):
        """The jar is shown with its attributes, and a new code by its name; a code that was given is not new."""
        cookie = {"value": "<generated>", "max-age": "7"}
        case = make_case(
            (
                {"op": "get_visitor_code", "cookies": "a=1"},
                returns(
                    {"visitor_code": "<generated>", "cookies": {"a": {"value": "1"}, "kameleoonVisitorCode": cookie}}
                ),
            ),
            ({"op": "get_visitor_code"}, returns({"visitor_code": "<generated>"})),
            (
                {"op": "get_visitor_code", "default_visitor_code": "0123456789abcdef"},
                returns({"visitor_code": "0123456789abcdef"}),
            ),
            (
                {"op": "get_visitor_code", "cookies_readonly": {"kameleoonVisitorCode": "x"}},
                returns({"visitor_code": "x"}),
            ),
        )
        assert judge(case, stage.play(case)) is None

    def test_wsgi(self, stage):
        """The application's view and the cookie of the response are shown."""
        shown = {"visitor_code": "d", "set_cookie": {"value": "d", "path": "/"}, "body": "ok"}
        case = make_case(({"op": "wsgi", "cookie_header": None, "default_visitor_code": "d"}, returns(shown)))
        assert judge(case, stage.play(case)) is None

    def test_async(self, stage):
        """Coroutines are awaited on one loop, which the client is closed on."""
        case = make_case(({"op": "get_remote_data", "key": "k", "use_async": True}, returns({"key": "k"})))
        assert judge(case, stage.play(case)) is None
        assert stage.sdk.Factory.clients[0].closed

    def test_waits_are_shared(self, stage, monkeypatch):
        """Several cases that wait do so at once; each keeps its own clock and its own lines."""
        slept = []
        monkeypatch.setattr(conformance_play.time, "sleep", slept.append)
        request = {"method": "POST", "path": "/visit/events", "query": {"siteCode": "<siteCode>"}, "bearer": False}
        cases = [
            make_case(
                ({"op": "flush"}, returns(None)),
                (
                    {"op": "sent", "wait_ms": 2500},
                    returns({"lines": [{"eventType": "activity", "visitorCode": code}], "request": request}),
                ),
                ({"op": "is_feature_active", "feature_key": "on"}, returns(True)),
                visitor_code=code,
                now_ms=now_ms,
            )
            for code, now_ms in (("a", 1000), ("b", 5000))
        ]
        for case, results in zip(cases, stage.play_together(cases), strict=True):
            assert judge(case, results) is None
        assert slept == [2.5, 0]
        assert [client.seen_ms for client in stage.sdk.Factory.clients] == [[1003], [5003]]


def test_recorded_ids_can_be_selected():
    """Area and case make a name that ``pytest -k`` understands."""
    for case in conformance_play.load_cases():
        assert re.fullmatch(r"[\w-]+:[\w-]+", f"{case.area}:{case.id}")

"""Each public method of a client of a Convert project answers as documented, whatever state the project is in."""

import asyncio
import inspect
import math
import warnings
from http.cookies import SimpleCookie

import pytest
from strict_convert import StrictConvert

from kameleoon import CustomData, KameleoonClient, KameleoonClientConfig
from kameleoon.events import EventType
from kameleoon.exceptions import (
    FeatureExperimentNotFound,
    FeatureNotFound,
    FeatureVariableNotFound,
    FeatureVariationNotFound,
    VisitorCodeInvalid,
)
from kameleoon.sources import ConvertSource
from kameleoon.types.reason import Reason

KEY = "1001/2002"


class Handler:
    """Takes updates."""

    def on_update(self, event):
        """Do nothing."""


CALLS = {
    "wait_init": [((10,), {})],
    "wait_init_async": [((10,), {})],
    "is_ready": [((), {})],
    "get_visitor_code": [(({"kameleoonVisitorCode": "v"},), {}), ((), {"cookies": SimpleCookie(), "default_visitor_code": "v"})],
    "prepare": [(("v", "w"), {})],
    "prepare_async": [(("v",), {})],
    "set_legal_consent": [(("v", True), {}), (("v", False, SimpleCookie()), {})],
    "legal_consent": [(("v",), {})],
    "visitor_cookie": [(("v",), {"was_sent": True})],
    "visitor_morsel": [(("v",), {"was_sent": False})],
    "add_data": [(("v", CustomData("tier", "gold"), None), {}), (("v", object()), {"track": False})],
    "track_conversion": [
        (("v", "order"), {}), (("v", 7001, 5.0), {"metadata": [CustomData("transactionId", "t")]}), (("v", "gone"), {}), (("v", 10**30), {}),
        (("v", -5), {"negative": True}), (("v", None), {}), (("v", "order", math.nan), {}), (("v", 1, 2.0), {"is_unique_identifier": True}),
    ],
    "flush": [((), {}), (("v",), {}), ((), {"instant": True}), ((), {"timeout": 0.05}), (("v", True), {})],
    "flush_async": [(("v",), {}), ((), {"timeout": 0.05})],
    "is_feature_active": [(("v", "checkout"), {}), (("v", "exp", True), {}), (("v", "gone"), {}), (("", "checkout"), {})],
    "get_variation": [(("v", "checkout"), {}), (("v", "plain"), {"track": False}), (("v", "gone"), {}), (("x" * 256, "exp"), {})],
    "get_variations": [(("v",), {}), (("v", True, False), {})],
    "evaluate": [(("v", "checkout"), {}), (("v", "gone", "x"), {}), (("", "checkout"), {}), ((None, None), {})],
    "explain": [(("v", "checkout"), {}), (("v", "exp"), {}), (("v", "gone"), {})],
    "get_feature_variation_key": [(("v", "checkout"), {}), (("v", "gone"), {})],
    "get_feature_variable": [(("v", "checkout", "title"), {}), (("v", "checkout", "gone"), {}), (("v", "plain", "x"), {}), (("v", "gone", "x"), {})],
    "get_feature_variation_variables": [(("checkout", "on"), {}), (("exp", "on"), {}), (("checkout", "gone"), {}), (("gone", "on"), {})],
    "get_active_features": [(("v",), {})],
    "get_active_feature_list_for_visitor": [(("v",), {})],
    "get_feature_list": [((), {})],
    "get_data_file": [((), {})],
    "set_forced_variation": [(("v", 5001, "on"), {}), (("v", 5001, None), {}), (("v", 5001, "gone"), {}), (("v", 4711, "on"), {})],
    "evaluate_audiences": [(("v",), {}), (("",), {})],
    "get_engine_tracking_code": [(("v",), {})],
    "get_remote_data": [(("key", 0.1), {})],
    "get_remote_data_async": [(("key", 0.1), {})],
    "get_remote_visitor_data": [(("v", 0.1), {})],
    "get_remote_visitor_data_async": [(("v", 0.1), {})],
    "get_visitor_warehouse_audience": [(("v", 1, 0.1), {})],
    "get_visitor_warehouse_audience_async": [(("v", 1, 0.1), {})],
    "set_event_handler": [((EventType.DATAFILE_UPDATE, Handler()), {}), ((EventType.DATAFILE_UPDATE, None), {})],
    "on_update_configuration": [((lambda: None,), {})],
    "stats": [((), {})],
    "run_background": [],  # for clients without threads; below
    "close": [],  # at the end of each test
    "aclose": [],
}  # fmt: skip
"""``{method: its calls, right and wrong}``."""

DOCUMENTED = {
    "track_conversion": (TypeError, ValueError),
    "is_feature_active": (FeatureNotFound,),
    "get_variation": (FeatureNotFound,),
    "explain": (FeatureNotFound,),
    "get_feature_variation_key": (FeatureNotFound,),
    "get_feature_variable": (FeatureNotFound, FeatureVariableNotFound),
    "get_feature_variation_variables": (FeatureNotFound, FeatureVariationNotFound),
    "set_forced_variation": (FeatureExperimentNotFound, FeatureVariationNotFound),
}
"""What each may raise beside `VisitorCodeInvalid`."""


def broken(root):
    """The project with pieces that nobody knows, or can read."""
    future = {
        "rule_type": "from_the_future",
        "matching": {"match_type": "resembles", "negated": True},
        "value": {"x": []},
    }
    root["audiences"][0]["rules"] = {"OR": [{"AND": [{"OR_WHEN": [future, 5, None]}]}, "x"]}
    root["audiences"].append({"id": "82", "rules": {"OR": 5}})
    root["segments"][0]["rules"] = {"OR": [{"AND": [{"OR_WHEN": [{**future, "key": "k"}]}]}]}
    root["goals"][0]["rules"] = "none"
    root["experiences"][2].update(variations="two", type="mvt_of_the_future", locations=[{}, "71"])
    root["experiences"].insert(0, {"key": "without id"})
    root["features"] += [{"id": [1]}, {"id": "103", "key": "odd", "variables": "none"}]
    return root


def empty(root):
    """The project with nothing in it."""
    return {name: root[name] for name in ("account_id", "project")}


def as_it_is(root):
    """The project."""
    return root


def call(client, name, args, kwargs):
    """``(result, error)``; what is documented may be raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            result = getattr(client, name)(*args, **kwargs)
            return (asyncio.run(result) if inspect.iscoroutine(result) else result), None
        except (VisitorCodeInvalid, *DOCUMENTED.get(name, ())) as error:
            return None, error


def open_client(service, secret=None, **settings):
    """A client of *service*."""
    source = ConvertSource(sdk_key=KEY, secret=secret, base_url=service.url, tracking_base_url=service.url)
    config = KameleoonClientConfig(source=source, top_level_domain="localhost", **settings)
    return KameleoonClient("site", config)


def test_no_method_is_left_out():
    """The table has all of them."""
    public = {name for name, _ in inspect.getmembers(KameleoonClient, inspect.isfunction) if not name.startswith("_")}
    assert set(CALLS) == public


@pytest.mark.parametrize(
    "state", [as_it_is, broken, empty, None], ids=["a project", "a broken one", "an empty one", "no access"]
)
@pytest.mark.parametrize("threads", [None, False], ids=["threads", "no threads"])
def test_nothing_but_what_is_documented_is_raised(shop, state, threads):
    """Twice, so that what the first round left is there in the second."""
    root = shop() if state is None else state(shop())
    with StrictConvert(root, secret=None if state else "s") as service:
        with open_client(service, "wrong" if state is None else None, multi_threading=threads) as client:
            assert client.wait_init(5000) is (state is not None)
            for _ in range(2):
                for name, calls in CALLS.items():
                    for args, kwargs in calls:
                        call(client, name, args, kwargs)
        for name, calls in CALLS.items():  # closed
            for args, kwargs in calls:
                call(client, name, args, kwargs)
        assert state is None or service.refused == []


def test_what_is_out_of_service_is_alone(shop, caplog):
    """Of the broken project the good features answer, the pieces are named in the log, and conversions are told."""
    with StrictConvert(broken(shop())) as service, open_client(service) as client:
        assert client.wait_init(5000)
        assert client.get_variation("v", "checkout").key == "rest-on"
        assert not client.is_feature_active("v", "banner")
        assert client.get_variation("v", "plain").key == "off"
        assert client.get_variation("v", "odd").key == "off"
        client.track_conversion("v", "order")
        assert client.flush(timeout=5).is_complete
        assert [event["eventType"] for _, event in service.events] == ["bucketing", "conversion"]
    for place in (
        "audiences[81]",
        "experiences[0]",
        "experiences[5003].variations",
        "features[2]",
        "features[103].variables",
    ):
        assert place in caplog.text
    assert "unknown match_type 'resembles'" in caplog.text


def test_without_access_nothing_is_known(shop):
    """Evaluations say so, `evaluate` gives the default, what happens is kept, and nothing is asked of our own service."""
    with StrictConvert(shop(), secret="s") as service, open_client(service, "wrong") as client:
        assert not client.wait_init(5000)
        for name, args in [("is_feature_active", ("v", "checkout")), ("explain", ("v", "checkout"))]:
            assert isinstance(call(client, name, args, {})[1], FeatureNotFound)
        details = client.evaluate("v", "checkout", "plan B")
        assert (details.value, details.reason, type(details.error)) == ("plan B", Reason.ERROR, FeatureNotFound)
        assert (client.get_variations("v"), dict(client.get_data_file().feature_flags)) == ({}, {})
        client.track_conversion("v", "order")
        client.flush(timeout=0.2)
        assert {path for _, path, _, _ in service.seen} == {f"/config/{KEY}"}


def test_what_does_not_apply(shop):
    """Methods about our own service give nothing, at once, and ask nobody; the page says so."""
    with StrictConvert(shop()) as service, open_client(service, client_id="id", client_secret="secret") as client:
        assert client.wait_init(5000)
        asked = len(service.seen)
        for name in ("get_remote_data", "get_visitor_warehouse_audience"):
            for ending in ("", "_async"):
                for args, kwargs in CALLS[name + ending]:
                    assert call(client, name + ending, args, kwargs) == (None, None)
        for name in ("get_remote_visitor_data", "get_remote_visitor_data_async"):
            assert call(client, name, ("v", 0.1), {}) == ([], None)
        assert len(service.seen) == asked
        client.get_variation("v", "checkout")
        code = client.get_engine_tracking_code("v")
        assert "5002" in code
        assert "6010" in code


def test_run_background(shop):
    """On an event loop it fetches the project, tells Convert, and ends with the client."""
    with StrictConvert(shop()) as service:

        async def work():
            client = open_client(service, multi_threading=False)
            task = asyncio.create_task(client.run_background())
            assert await client.wait_init_async(5000)
            client.get_variation("v", "checkout")
            assert (await client.flush_async(timeout=5)).is_complete
            await client.aclose()
            await task

        asyncio.run(work())
        assert [code for code, _ in service.events] == ["v"]
        assert service.refused == []

"""The Data API's client against a strict service."""

import asyncio
import inspect
import json
import threading
import time

import pytest

from kameleoon.api import data_events
from kameleoon.api.access import Credentials
from kameleoon.api.data import AsyncDataApi, DataApi
from kameleoon.api.errors import (
    ApiError,
    CredentialsRefused,
    Forbidden,
    Invalid,
    NoAnswer,
    RateLimited,
    ServerFault,
    UnexpectedAnswer,
)

SITE = "shop123456"
VISITS = {
    "currentVisit": {
        "visitorCode": "u-77",
        "timeStarted": 1760000000000,
        "staticDataEvent": {"time": 1, "data": {"visitNumber": 2, "deviceType": "WATCH", "os": "LINUX", "screen": 7}},
        "customDataEvents": [{"time": 2, "data": {"index": 3, "valuesCountMap": {"gold": 1}}}],
        "conversionEvents": [{"time": 4, "data": {"goalId": 501}}],
        "activityEvents": [{"time": 5}],
        "pageEvents": None,
    },
    "previousVisits": [{"experimentEvents": [{"time": 6, "data": {"id": 2001, "variationId": 3002}}]}],
    "kcs": {"31": {"501": 12.5}},
    "newThing": 1,
}


def test_visits_are_typed_and_lose_nothing(data_service):
    """Known fields have their types' names, and everything that is not known is kept."""
    data_service.visits = VISITS
    with DataApi(SITE, base_url=data_service.url) as api:
        visitor = api.get_visitor("ü 77", fields=("page", "customData"), previous_visits=5, kcs=True)
    visit = visitor.current_visit
    assert (visit.time_started, visit.time_last_event) == (1760000000000, 1760000000000)
    assert visit.static_data.device_type == "WATCH"
    assert visit.static_data.extra == {"screen": 7}
    assert visit.custom_data[0].values_count_map == {"gold": 1}
    assert (visit.conversions[0].goal_id, visit.conversions[0].revenue, visit.conversions[0].negative) == (
        501,
        0.0,
        False,
    )
    assert visit.pages == ()
    assert visit.extra["activityEvents"] == [{"time": 5}]
    assert visitor.previous_visits[0].experiments[0].variation_id == 3002
    assert visitor.kcs == {"31": {"501": 12.5}}
    assert visitor.extra == {"newThing": 1}
    assert data_service.seen[0].query == {
        "siteCode": SITE,
        "visitorCode": "ü 77",
        "currentVisit": "true",
        "maxNumberPreviousVisits": "5",
        "page": "true",
        "customData": "true",
        "kcs": "true",
    }
    assert "visitorCode=%C3%BC%2077&" in data_service.seen[0].raw_query


def test_an_unknown_visitor_has_no_visits(data_service):
    """Nulls and empty lists read as nothing."""
    data_service.visits = {"currentVisit": None, "previousVisits": []}
    with DataApi(SITE, base_url=data_service.url) as api:
        visitor = api.get_visitor(mapping_value="m")
    assert (visitor.current_visit, visitor.previous_visits) == (None, ())
    assert data_service.seen[0].query["mappingValue"] == "m"


def test_events_go_out_as_lines(data_service):
    """Each event is one line with its own nonce, values encoded, the user agent once for each visitor."""
    with DataApi(SITE, base_url=data_service.url) as api:
        sent = api.send_events(
            [
                data_events.conversion(501, revenue=49.9, metadata={3: ["a&b"]}),
                data_events.page("https://shop.example/a b?x=1&y=2", title="P+9", referrers=[1, 2]),
                data_events.custom_data(3, "gold", "ünï", visitor_code="u-2", mapping_identifier=True),
                data_events.Event("somethingNew", {"level": 3}, "u-2"),
            ],
            visitor_code="u-1",
            user_agent="Shop/1.4",
        )
    assert sent == 4
    first, second, third, fourth = data_service.events.values()
    assert (first["goalId"], first["revenue"], first["negative"], json.loads(first["metadata"])) == (
        "501",
        "49.9",
        "false",
        {"3": ["a&b"]},
    )
    assert (second["href"], second["title"], second["referrersIndices"]) == (
        "https://shop.example/a b?x=1&y=2",
        "P+9",
        "[1,2]",
    )
    assert json.loads(third["valuesCountMap"]) == {"gold": 1, "ünï": 1}
    assert (third["mappingIdentifier"], third["overwrite"]) == ("true", "true")
    assert (fourth["eventType"], fourth["level"]) == ("somethingNew", "3")
    assert [event["visitorCode"] for event in data_service.events.values()] == ["u-1", "u-1", "u-2", "u-2"]
    assert ["userAgent" in event for event in data_service.events.values()] == [True, False, True, False]
    assert data_service.seen[0].query == {"siteCode": SITE, "bodyUa": "true"}
    assert b"a%20b" in data_service.bodies[0]


def test_an_event_sent_again_counts_once(data_service):
    """An event keeps its nonce, so that a resend is known."""
    event = data_events.conversion(501, visitor_code="u-1")
    with DataApi(SITE, base_url=data_service.url) as api:
        api.send_events([event])
        api.send_events([event])
    assert len(data_service.bodies) == 2
    assert len(data_service.events) == 1


def test_many_events_stay_below_the_size_limit(data_service):
    """What does not fit into one request goes out in several."""
    with DataApi(SITE, base_url=data_service.url) as api:
        api.send_events(data_events.page("x" * 9000, visitor_code=f"u-{number}") for number in range(400))
    assert len(data_service.events) == 400
    assert len(data_service.bodies) == 2


@pytest.mark.parametrize(
    "bad",
    [
        lambda: data_events.Event("a b"),
        lambda: data_events.Event("page", {"x&y": 1}),
        lambda: data_events.Event("page", {"nonce": 1}),
        lambda: data_events.Event("page", nonce="12"),
        lambda: data_events.Event("page", {"x": float("nan")}),
        lambda: data_events.Event("page", visitor_code=""),
        lambda: data_events.conversion(1, revenue=float("inf")),
        lambda: data_events.conversion(1, metadata={3: "gold"}),
    ],
)
def test_what_cannot_be_sent_is_refused_when_it_is_made(bad):
    """A mistake shows where it is made, because the service answers 204 to it."""
    with pytest.raises(ValueError, match=r".+"):
        bad()


@pytest.mark.parametrize(
    "call",
    [
        lambda api: api.get_visitor(),
        lambda api: api.get_visitor("", mapping_value=""),
        lambda api: api.get_visitor("u" * 256),
        lambda api: api.get_visitor("u", previous_visits=0),
        lambda api: api.get_visitor("u", previous_visits=26),
        lambda api: api.get_map(""),
        lambda api: api.send_events([data_events.activity(visitor_code="u"), data_events.activity()]),
        lambda api: api.send_events([data_events.activity()], visitor_code=""),
        lambda api: api.send_events([data_events.page("x" * 2_621_440, visitor_code="u")]),
        lambda api: api.send_product_events([data_events.page("x" * 2_621_440)], ean="e"),
        lambda api: api.put_maps({"k": {}}, ttl_hours=0),
        lambda api: api.put_maps({"k": {}}, ttl_hours=8785),
        lambda api: api.put_maps({"": {}}),
        lambda api: api.put_maps({"k" * 101: {}}),
        lambda api: api.put_maps({"k": {"f" * 1025: 1}}),
        lambda api: api.put_maps({"k": {5: 1}}),
        lambda api: api.put_maps({"k": {"f": object()}}),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(data_service, call):
    """What the service would refuse, or drop without a word, is refused before anything is sent."""
    with DataApi(SITE, base_url=data_service.url) as api, pytest.raises(ValueError, match=r".+"):
        call(api)
    assert data_service.seen == []


def test_arguments_at_their_bounds_are_taken(data_service):
    """The largest and smallest of everything that is bounded goes out as it is."""
    data_service.visits = {}
    with DataApi(SITE, base_url=data_service.url) as api:
        for visits in (1, 25):
            api.get_visitor("u" * 255, previous_visits=visits, kcs=True, fields=["page"], current_visit=False)
        for ttl_hours in (1, 8784):
            api.put_maps({"k" * 100: {"f" * 1024: ttl_hours}}, ttl_hours=ttl_hours)
    first, second, *_ = data_service.seen
    assert first.query == {
        "siteCode": SITE,
        "visitorCode": "u" * 255,
        "maxNumberPreviousVisits": "1",
        "page": "true",
        "kcs": "true",
    }
    assert second.query["maxNumberPreviousVisits"] == "25"
    assert data_service.maps == {"k" * 100: {"f" * 1024: 8784}}


@pytest.mark.parametrize("client", [DataApi, AsyncDataApi])
def test_a_client_needs_a_site_and_time(client):
    """A client for no site, or whose calls have no time, is refused where it is made."""
    with pytest.raises(ValueError, match="site_code"):
        client("")
    for timeout_s in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="timeout_s"):
            client(SITE, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        (data_events.experiment(5, 7), {"eventType": "experiment", "id": "5", "variationId": "7"}),
        (
            data_events.geolocation(country="France", postal_code="75001", latitude=48.5),
            {"eventType": "geolocation", "country": "France", "postalCode": "75001", "latitude": "48.5"},
        ),
        (data_events.targeting_segment(9), {"eventType": "targetingSegment", "id": "9"}),
        (
            data_events.custom_data(3, "a", overwrite=False),
            {"eventType": "customData", "index": "3", "valuesCountMap": '{"a":1}', "overwrite": "false"},
        ),
        (data_events.activity(), {"eventType": "activity"}),
    ],
)
def test_each_kind_of_event_has_its_parameters(data_service, event, sent):
    """An event goes out with what it was made of, in the service's words, and nothing else."""
    with DataApi(SITE, base_url=data_service.url) as api:
        api.send_events([event], visitor_code="m", mapping_value=True)
    assert data_service.events[event.nonce] == {"nonce": event.nonce, "mappingValue": "m", **sent}


def test_visits_of_another_shape_are_read_as_far_as_they_go(data_service):
    """What is not as documented is nothing, and spoils nothing beside it."""
    data_service.visits = {
        "currentVisit": {"pageEvents": [7, {"time": 3, "data": None}], "conversionEvents": {}, "timeStarted": 5},
        "previousVisits": [None, {"timeStarted": 2, "timeLastEvent": 4, "staticDataEvent": 1}],
        "kcs": [1],
    }
    with DataApi(SITE, base_url=data_service.url) as api:
        visitor = api.get_visitor("u")
    assert [page.time for page in visitor.current_visit.pages] == [None, 3]
    assert (visitor.current_visit.conversions, visitor.current_visit.time_last_event) == ((), 5)
    (previous,) = visitor.previous_visits
    assert (previous.time_last_event, previous.static_data.time, visitor.kcs) == (4, None, {})


def test_maps(data_service):
    """Maps are stored, read one by one and in hundreds, and deleted when empty."""
    with DataApi(SITE, base_url=data_service.url) as api:
        api.put_maps({f"k{number}": {"n": number} for number in range(250)}, ttl_hours=24)
        api.put_maps({"k3": {}})
        assert api.get_map("k7") == {"n": 7}
        assert api.get_map("nobody") == {}
        assert len(api.get_maps(f"k{number}" for number in range(250))) == 249
    assert data_service.to("POST", "/map/maps")[0].query == {"siteCode": SITE, "ttlHours": "24"}
    assert len(data_service.to("GET", "/map/maps")) == 3


def test_large_maps_are_split(data_service):
    """Posts of maps keep to 1 MB; a map that alone is larger is refused before anything is sent."""
    with DataApi(SITE, base_url=data_service.url) as api:
        api.put_maps({str(number): {"text": "x" * 90_000} for number in range(25)})
        with pytest.raises(ValueError, match="more than"):
            api.put_maps({"small": {}, "large": {"text": "x" * 1_000_000}})
    assert len(data_service.maps) == 25
    assert len(data_service.to("POST", "/map/maps")) == 3


def test_products(data_service):
    """Counters are typed and keep what is new; events need a product."""
    with DataApi(SITE, base_url=data_service.url) as api:
        api.send_product_events([data_events.Event("PRODUCTBUY", {"quantity": 2})], ean="e1")
        counters = api.get_product_counters(["e1"], begin_ms=1, end_ms=2)["e1"]
        assert api.get_product_data(["e1"]) == {"e1": {"name": "E1"}}
        with pytest.raises(ValueError, match="ean"):
            api.send_product_events([data_events.Event("PRODUCTBUY")])
    assert (counters.views, counters.add_to_cart, counters.transactions, counters.extra) == (3, 2, 1, {"returns": 9})


def test_all_clients_share_one_token(data_service, credentials):
    """Clients of the same credentials, in any thread and on any loop, fetch one token together."""
    first = DataApi(SITE, credentials, base_url=data_service.url)
    second = DataApi("other", credentials, base_url=data_service.url)

    async def third():
        async with AsyncDataApi(SITE, credentials, base_url=data_service.url) as api:
            await asyncio.gather(*(api.get_map(str(number)) for number in range(4)))

    threads = [threading.Thread(target=api.get_map, args=("k",)) for api in (first, second) for _ in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(third())
    for thread in threads:
        thread.join()
    assert data_service.granted == 1
    assert {seen.token for seen in data_service.to("GET", "/map/map")} == {"token-1"}
    first.close()
    second.close()


def test_an_expired_token_is_replaced(data_service, credentials):
    """A 401 gives the token up; the call is made again with a new one."""
    with DataApi(SITE, credentials, base_url=data_service.url) as api:
        api.get_map("k")
        data_service.tokens.clear()
        assert api.get_map("k") == {}
    assert [seen.token for seen in data_service.to("GET", "/map/map")] == ["token-1", "token-1", "token-2"]


def test_a_service_that_accepts_no_token_is_asked_without(data_service, credentials):
    """When a new token is refused too, the call is made once without one."""
    data_service.fail("GET", "/map/map", 401, 401)
    with DataApi(SITE, credentials, base_url=data_service.url) as api:
        assert api.get_map("k") == {}
    assert [seen.token for seen in data_service.to("GET", "/map/map")] == ["token-1", "token-2", None]


def test_wrong_credentials_are_said_and_nothing_is_sent(data_service):
    """Wrong credentials end the call with their own exception, and the secret is in no text."""
    with (
        DataApi(SITE, Credentials("shop", "wrong-secret"), base_url=data_service.url) as api,
        pytest.raises(CredentialsRefused, match="invalid_client") as caught,
    ):
        api.send_events([data_events.activity(visitor_code="u")])
    assert caught.value.status == 401
    assert [seen.path for seen in data_service.seen] == ["/oauth/token"]
    shown = f"{caught.value!r} {caught.value} {caught.value.sent!r} {caught.value.args} {api.__dict__} {Credentials('a', 'hush')}"
    assert "wrong-secret" not in shown
    assert "hush" not in shown


def test_a_refused_rate_is_waited_for(data_service, hasty):
    """429 is tried again after the time that the service asks for."""
    data_service.fail("POST", "/visit/events", (429, b"", {"Retry-After": "7"}), 429)
    with DataApi(SITE, base_url=data_service.url) as api:
        pauses = hasty(api)
        api.send_events([data_events.activity(visitor_code="u")])
    assert 7 <= pauses[0] <= 8.75
    assert len(data_service.events) == 1


def test_patience_ends_a_wait(data_service):
    """A call that would wait longer than its caller wants fails at once and says when to come back."""
    data_service.fail("GET", "/map/map", (429, b"", {"Retry-After": "90"}))
    with DataApi(SITE, base_url=data_service.url, patience_s=5) as api, pytest.raises(RateLimited) as caught:
        api.get_map("k")
    assert caught.value.status == 429
    assert caught.value.retry_after_s == 90


def test_patience_ends_a_wait_for_the_rates(data_service):
    """A call that the rates would hold up longer than its caller wants is not sent, and says when it could be."""
    with DataApi(SITE, base_url=data_service.url, patience_s=0.2) as api:
        for _ in range(5):
            api.get_map("k")
        with pytest.raises(RateLimited, match="not sent") as caught:
            api.get_map("k")
    assert (len(data_service.seen), caught.value.status, caught.value.retryable) == (5, None, True)
    assert 0.2 < caught.value.retry_after_s <= 1.01


@pytest.mark.parametrize(
    ("body", "said", "fields"),
    [
        (b"", "400 for GET {}", []),
        (b"  not \n so  ", "400 for GET {}: not so", []),
        (b"[1,\n2]", "400 for GET {}: [1, 2]", []),
        (b"{}", "400 for GET {}", []),
        (b'{"error_description": "d", "error": "e"}', "400 for GET {}: d", []),
        (b'{"message": 5, "error": "e"}', "400 for GET {}: e", []),
        (b'{"errors": {}}', "400 for GET {}", []),
        (b'{"message": "m", "errors": ["a", {"field": "f"}]}', "400 for GET {}: m (: a; f: )", [("", "a"), ("f", "")]),
        (b"x" * 301, "400 for GET {}: " + "x" * 300, []),
        (b"\xff", "400 for GET {}: \ufffd", []),
    ],
)
def test_an_error_says_what_the_service_said(data_service, body, said, fields):
    """Whatever form a refusal has, what can be read of it is in the text, shortened."""
    data_service.fail("GET", "/map/map", (400, body))
    with DataApi(SITE, base_url=data_service.url) as api, pytest.raises(Invalid) as caught:
        api.get_map("k")
    assert str(caught.value).endswith(said.format(f"{data_service.url}/map/map"))
    assert [(field.name, field.message) for field in caught.value.field_errors] == fields


def test_an_error_keeps_a_bounded_number_of_fields(data_service):
    """A refusal that names more fields than anybody reads is cut."""
    body = {"errors": [{"field": str(number), "message": "m"} for number in range(101)]}
    data_service.fail("GET", "/map/map", (400, body))
    with DataApi(SITE, base_url=data_service.url) as api, pytest.raises(Invalid) as caught:
        api.get_map("k")
    assert [field.name for field in caught.value.field_errors] == [str(number) for number in range(100)]


@pytest.mark.parametrize(
    ("fault", "error"), [("drop", NoAnswer), (500, ServerFault), (503, ServerFault), (429, RateLimited)]
)
def test_lasting_faults_end_after_five_tries(data_service, hasty, fault, error):
    """Failures that may pass are tried five times, ever further apart."""
    data_service.fail("POST", "/visit/events", *[fault] * 5)
    with DataApi(SITE, base_url=data_service.url) as api:
        pauses = hasty(api)
        with pytest.raises(error) as caught:
            api.send_events([data_events.activity(visitor_code="u")])
    assert caught.value.retryable
    assert len(data_service.to("POST", "/visit/events")) == 5
    assert sum(pauses) > 3


@pytest.mark.parametrize(("status", "error"), [(400, Invalid), (403, Forbidden), (302, UnexpectedAnswer)])
def test_refusals_are_not_repeated(data_service, status, error):
    """A request that is wrong is sent once; the error carries status, fields and request."""
    body = {"message": "no", "errors": [{"field": "key", "message": "too long"}]}
    data_service.fail("GET", "/map/map", (status, body))
    with DataApi(SITE, base_url=data_service.url) as api, pytest.raises(error) as caught:
        api.get_map("secret-visitor")
    assert caught.value.status == status
    assert (caught.value.field_errors[0].name, caught.value.field_errors[0].message) == ("key", "too long")
    assert "key=secret-visitor" in caught.value.sent.url
    assert "secret-visitor" not in f"{caught.value} {caught.value.sent!r}"
    assert len(data_service.seen) == 1
    assert not caught.value.retryable


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"", b"[" * 100_000])
def test_an_answer_that_is_no_object_is_an_error(data_service, body):
    """What is not the JSON that was asked for is refused by its own exception."""
    data_service.fail("GET", "/map/map", (200, body))
    with DataApi(SITE, base_url=data_service.url) as api, pytest.raises(UnexpectedAnswer):
        api.get_map("k")


def test_a_bulk_of_gets_runs_at_the_limit_and_is_never_refused(data_service):
    """Two clients and twelve calls without a token share five calls a second; none is refused, and no time is wasted."""
    data_service.limits = [(lambda seen: seen.method == "GET" and seen.token is None, 5, 1.0)]
    started = time.monotonic()
    with DataApi(SITE, base_url=data_service.url) as one, DataApi(SITE, base_url=data_service.url) as other:
        for number in range(6):
            one.get_map(str(number))
            other.get_map(str(number))
    assert data_service.refused_for_rate == 0
    assert len(data_service.seen) == 12
    assert 2.0 < time.monotonic() - started < 10


def test_a_bulk_of_posts_runs_at_the_limit_and_is_never_refused(data_service):
    """Posts without a token have fifty calls a second."""
    data_service.limits = [(lambda seen: seen.method == "POST", 50, 1.0)]

    async def many():
        async with AsyncDataApi(SITE, base_url=data_service.url) as api:
            await asyncio.gather(*(api.put_maps({str(number): {"n": 1}}) for number in range(80)))

    started = time.monotonic()
    asyncio.run(many())
    assert data_service.refused_for_rate == 0
    assert len(data_service.maps) == 80
    assert time.monotonic() - started > 1.0


def test_a_token_raises_the_rate(data_service, credentials):
    """With a token sixty calls take just over a second instead of twelve."""
    data_service.limits = [(lambda seen: seen.method == "GET", 50, 1.0)]
    started = time.monotonic()
    with DataApi(SITE, credentials, base_url=data_service.url) as api:
        for number in range(60):
            api.get_map(str(number))
    assert data_service.refused_for_rate == 0
    assert 1.0 < time.monotonic() - started < 9


def test_blocking_and_asyncio_clients_are_the_same():
    """Both have the same methods with the same parameters."""

    def public(kind):
        return {
            name: inspect.signature(getattr(kind, name))
            for name in dir(kind)
            if not name.startswith("_") and name not in {"close", "aclose"}
        }

    assert public(DataApi) == public(AsyncDataApi)
    assert set(public(DataApi)) >= {
        "get_visitor", "send_events", "get_map", "get_maps", "put_maps", "forget", "send_product_events",
        "get_product_counters", "get_product_data", "import_maps", "import_conversions",
    }  # fmt: skip


def test_the_asyncio_client_raises_the_same(data_service):
    """The awaited call fails with the same exception as the blocking one."""

    async def ask():
        async with AsyncDataApi(SITE, base_url=data_service.url) as api:
            await api.get_map("k")

    data_service.fail("GET", "/map/map", 403)
    with pytest.raises(Forbidden, match="403 for GET"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    "url", ["ftp://x", "shop.example", "https://u:p@host", "ftp://u:p@host", "http://u:p@host?x=1", "http://host?x=1"]
)
def test_a_wrong_base_url_is_refused(url):
    """A base URL that cannot be one is refused at once, without repeating a password."""
    with pytest.raises(ValueError, match="base_url") as caught:
        DataApi(SITE, base_url=url)
    assert "u:p" not in str(caught.value)


def test_regions_have_their_hosts():
    """A region chooses its host, and the token comes from the service's own."""
    with DataApi(SITE, region="na") as api:
        assert api._caller.base_url == "https://na-data.kameleoon.io"


def test_errors_survive_pickling(data_service):
    """An error keeps its facts in another process."""
    import pickle

    data_service.fail("GET", "/map/map", (403, {"message": "no"}))
    with DataApi(SITE, base_url=data_service.url) as api, pytest.raises(ApiError) as caught:
        api.get_map("k")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), copy.status, str(copy), copy.sent) == (
        Forbidden,
        403,
        str(caught.value),
        caught.value.sent,
    )

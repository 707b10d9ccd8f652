"""What Convert is told by a client: exposures and conversions in its own form, once, kept while it is away, and nobody else is told."""

import logging
import time

import pytest
from strict_convert import StrictConvert

from kameleoon import CustomData, Device, DeviceType, Geolocation, KameleoonClient, KameleoonClientConfig, PageView
from kameleoon.destinations import FunctionDestination
from kameleoon.exceptions import ConfigException
from kameleoon.sources import ConvertSource

KEY = "1001/2002"


def open_client(service, source=None, **settings):
    """A client of *service*."""
    where = {"sdk_key": KEY, "secret": "s3cr3t", "base_url": service.url, "tracking_base_url": service.url}
    given = ConvertSource(**{**where, **(source or {})})
    return KameleoonClient("site", KameleoonClientConfig(source=given, top_level_domain="localhost", **settings))


@pytest.fixture
def service(shop):
    """A strict service with the project."""
    with StrictConvert(shop(), secret="s3cr3t") as running:
        yield running


def wait_until(holds, timeout_s=5.0):
    """Wait until *holds*."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def exposure(code, experience="5002", variation="6010"):
    """An exposure as the service takes it."""
    return (code, {"eventType": "bucketing", "data": {"experienceId": experience, "variationId": variation}})


def conversion(code, bucketing=None, **goal_data):
    """A conversion as the service takes it."""
    data = {"goalId": "7001"}
    if goal_data:
        data["goalData"] = [{"key": key, "value": value} for key, value in goal_data.items()]
    return (code, {"eventType": "conversion", "data": {**data, **({"bucketingData": bucketing} if bucketing else {})}})


def by_visitor(service):
    """What the service took, one visitor after the other, each one's events in their order."""
    return sorted(service.events, key=lambda event: event[0])


def told(client):
    """Have all sent and say how many events went out."""
    return client.flush(timeout=5.0).destinations["convert"].sent


def test_an_exposure_is_told_once(service):
    """By whichever flag it came, and not again for who had it before, nor for what is not to be tracked."""
    with open_client(service) as client:
        assert client.wait_init(5000)
        client.get_variations("a")
        assert told(client) == 1
        client.is_feature_active("a", "checkout")
        client.get_variation("a", "rest")
        client.get_variation("untracked", "checkout", track=False)
        client.get_variation("untracked", "checkout")
        client.evaluate("b", "checkout")
        client.explain("b", "checkout")
        assert told(client) == 0
        client.set_forced_variation("c", 5001, "on")
        client.get_variation("c", "exp")
        assert told(client) == 1
    assert service.events == [exposure("a"), exposure("c", "5001", "6002")]
    assert service.refused == []


def test_other_destinations_are_told_the_same(service):
    """By the feature that an experience switches on, if any, with what Convert calls them."""
    told_too = []
    with open_client(service, destinations=[FunctionDestination(told_too.extend)]) as client:
        assert client.wait_init(5000)
        client.get_variation("a", "rest")
        client.add_data("a", PageView("/shop", "Shop"))
        plain = client.get_variation("a", "plain")
        client.track_conversion("a", "order", 2.5)
        assert client.flush(timeout=5).is_complete
    first, second, reached = told_too
    assert {key: first[key] for key in ("type", "experiment_id", "variation_id", "variation_key", "feature_key", "rule_type", "rule_id", "origin")} == {
        "type": "exposure", "experiment_id": "5002", "variation_id": "6010", "variation_key": "rest-on", "feature_key": "checkout",
        "rule_type": "TARGETED_DELIVERY", "rule_id": "5002", "origin": "convert",
    }  # fmt: skip
    assert (second["feature_key"], second["variation_id"]) == ("plain", str(plain.id_))
    assert (reached["goal_id"], reached["goal_key"], reached["revenue"]) == ("7001", "order", 2.5)
    assert len(service.events) == 4


def test_conversions_by_key_and_id(service):
    """Once for each goal, with its data once more and all that the visitor has had; what Convert does not know is left out."""
    with open_client(service) as client:
        assert client.wait_init(5000)
        client.get_variation("a", "checkout")
        metadata = [
            CustomData("transactionId", "t1"),
            CustomData("customDimension1", "x", "y"),
            CustomData("colour", "red"),
        ]
        client.track_conversion("a", "order", 10.5, metadata=metadata)
        client.track_conversion("a", 7001, 3.0)
        client.track_conversion("b", 7001)
        client.track_conversion("b", 4711)
        client.track_conversion("b", "no such goal")
        client.track_conversion("c", "order", 5.0, negative=True)
        told(client)
        client.track_conversion("a", 7001, 9.0)
        client.track_conversion("c", "order")
        told(client)
        assert client.stats().events_produced == 0
    mine = {"5002": "6010"}
    assert by_visitor(service) == [
        exposure("a"),
        conversion("a", mine),
        conversion("a", mine, amount=10.5, transactionId="t1", customDimension1=["x", "y"]),
        conversion("b"),
        conversion("c"),
    ]


def test_rules_of_a_goal_are_not_asked(shop, rule):
    """Convert's SDKs look at them only when they are given data to match, which nobody gives here; `experience.goals` neither."""
    root = shop()
    root["goals"][0]["rules"] = rule("colour", "equals", "red")
    root["experiences"][1]["goals"] = ["4711"]
    with StrictConvert(root, secret="s3cr3t") as service, open_client(service) as client:
        assert client.wait_init(5000)
        client.get_variation("a", "checkout")
        client.track_conversion("a", "order")
        told(client)
        assert service.events == [exposure("a"), conversion("a", {"5002": "6010"})]


def test_transactions_may_be_repeated(service):
    """If so wished each later conversion tells its data alone."""
    with open_client(service, {"repeats_transactions": True}) as client:
        assert client.wait_init(5000)
        for revenue in (1.0, 2.0, 0.0):
            client.track_conversion("a", "order", revenue)
            told(client)
    assert service.events == [conversion("a"), conversion("a", amount=1.0), conversion("a", amount=2.0)]


def test_segments_in_reports(service):
    """What Convert reports by goes along, other data stay here; many visitors go in one request."""
    import json

    with open_client(service) as client:
        assert client.wait_init(5000)
        client.add_data("a", CustomData("campaign", "spring"), CustomData("plan", "pro"), CustomData("orders", 7))
        client.add_data("a", Device(DeviceType.DESKTOP), Geolocation("de"))
        client.evaluate_audiences("a")
        for code in ("a", "b"):
            client.get_variation(code, "checkout")
            client.track_conversion(code, "order")
        told(client)
    posts = [seen for seen in service.seen if seen[0] == "POST"]
    assert len(posts) == 1
    assert posts[0][2]["user-agent"].startswith("ConvertAgent/")
    assert posts[0][1] == f"/track/{KEY}"
    visitors = {one["visitorId"]: one for one in json.loads(posts[0][3])["visitors"]}
    assert visitors["a"]["segments"] == {
        "country": "DE",
        "devices": ["DESK"],
        "campaign": "spring",
        "customSegments": ["91"],
    }
    assert "segments" not in visitors["b"]
    assert [len(one["events"]) for one in visitors.values()] == [2, 2]


def test_a_refusal_is_kept_to(service):
    """Nothing is told of who refused; who was not asked is told of."""
    with open_client(service) as client:
        assert client.wait_init(5000)
        client.set_legal_consent("a", False)
        for code in ("a", "b"):
            client.get_variation(code, "checkout")
            client.track_conversion(code, "order")
        told(client)
    assert {code for code, _ in service.events} == {"b"}


def test_nothing_is_lost_while_convert_is_away(service):
    """Events wait while it fails, in their order, those of meanwhile too; closing sends the rest."""
    with open_client(service) as client:
        assert client.wait_init(5000)
        service.faults += [(503, {}), (429, {})]
        client.get_variation("a", "checkout")
        assert told(client) == 0
        client.track_conversion("a", "order")
        client.get_variation("b", "checkout")
        client.flush(timeout=5.0)
        client.flush(timeout=5.0)
        client.track_conversion("c", "order")
    assert by_visitor(service) == [
        exposure("a"),
        conversion("a", {"5002": "6010"}),
        exposure("b"),
        conversion("c"),
    ]


def test_a_secret_that_is_wrong_is_said_once_and_loses_nothing(service, tmp_path, caplog):
    """Events are kept, the log says why without the secret, and the next process with the right one sends them."""
    caplog.set_level(logging.ERROR)
    with open_client(service, data_dir=tmp_path) as client:
        assert client.wait_init(5000)
        service.secret = "another"
        client.get_variation("a", "checkout")
        assert told(client) == 0
        assert told(client) == 0
        assert client.stats().destinations["convert"].pending == 1
        assert caplog.text.count("Convert does not take events (status 401)") == 1
        assert "s3cr3t" not in caplog.text
    with open_client(service, {"secret": "another"}, data_dir=tmp_path) as client:
        assert client.wait_init(5000)
        wait_until(lambda: service.events == [exposure("a")])


@pytest.mark.parametrize("threads", [None, False])
def test_without_a_directory_events_are_kept_while_the_client_lives(service, monkeypatch, caplog, threads):
    """They are pending meanwhile, one line says why, and they go out by themselves once the secret is right again."""
    monkeypatch.setattr("kameleoon.destinations.convert.NO_ACCESS_WAIT_S", 0.3)
    with open_client(service, multi_threading=threads) as client:
        assert client.wait_init(5000)
        service.secret = "another"
        client.get_variation("a", "checkout")
        client.track_conversion("a", "order")
        result = client.flush(timeout=0.2).destinations["convert"]
        assert (result.sent, result.pending, result.dropped) == (0, 2, 0)
        client.track_conversion("b", "order")
        client.flush(timeout=0.2)
        wait_until(lambda: client.flush(timeout=0.05) and service.refused.count("wrong secret") >= 2)
        assert client.stats().destinations["convert"].pending == 3
        assert caplog.text.count("Convert does not take events (status 401)") == 1
        service.secret = "s3cr3t"
        wait_until(lambda: client.flush(timeout=5.0).is_complete)
        assert client.stats().destinations["convert"].dropped == 0
    assert [code for code, _ in by_visitor(service)] == ["a", "a", "b"]
    assert "s3cr3t" not in caplog.text


def test_what_is_left_at_the_end_is_said(service, caplog):
    """Without a directory it is lost then: counted, and told in the log rather than silently gone."""
    with open_client(service) as client:
        assert client.wait_init(5000)
        service.secret = "another"
        client.get_variation("a", "checkout")
        client.track_conversion("a", "order")
        client.flush(timeout=0.2)
    stats = client.stats().destinations["convert"]
    assert (stats.queued, stats.sent, stats.pending) == (2, 0, 2)
    assert "2 events for destination 'convert' 'could not be sent'" in caplog.text


def test_events_outlive_the_process(service, tmp_path):
    """With `data_dir`, what could not be sent is sent by the next process."""
    with open_client(service, data_dir=tmp_path) as client:
        assert client.wait_init(5000)
        service.faults += [(503, {})] * 20
        client.get_variation("a", "checkout")
        told(client)
        assert service.events == []
    service.faults.clear()
    with open_client(service, data_dir=tmp_path) as client:
        assert client.wait_init(5000)
        wait_until(lambda: service.events == [exposure("a")])


def test_what_is_refused_alone_is_given_up(service):
    """One event that Convert refuses takes no other along."""
    take = service.knows
    service.knows = lambda event: event["data"].get("experienceId") != "5001" and take(event)
    with open_client(service) as client:
        assert client.wait_init(5000)
        client.set_forced_variation("bad", 5001, "on")
        for code in ("a", "b", "bad", "c"):
            client.get_variations(code)
        told(client)
        assert client.stats().destinations["convert"].dropped_by_reason == {"refused": 1}
    assert {code for code, _ in service.events} >= {"a", "b", "c"}


def test_what_happens_before_the_first_configuration_waits(service):
    """A goal is found by its key when the project is there."""
    service.faults += [(503, {})] * 2
    with open_client(service, {"interval_s": 0.1}) as client:
        assert not client.wait_init(5000)
        client.track_conversion("a", "order")
        assert told(client) == 0
        wait_until(client.is_ready)
        wait_until(lambda: told(client) or service.events)
    assert service.events == [conversion("a")]


def test_without_threads(service):
    """The caller does the work."""
    with open_client(service, multi_threading=False) as client:
        assert client.wait_init(5000)
        client.get_variation("a", "checkout")
        assert told(client) == 1
    assert service.events == [exposure("a")]


def test_in_a_settings_file(service, tmp_path, monkeypatch, caplog):
    """A source may stand in YAML, its secret in a variable; what is wrong is named, and no secret shown."""
    monkeypatch.setenv("CONVERT_SECRET", "s3cr3t")
    path = tmp_path / "client.yaml"
    options = f"  sdk_key: {KEY}\n  base_url: {service.url}\n  tracking_base_url: {service.url}\n"
    path.write_text(f"top_level_domain: localhost\nsource:\n  type: convert\n  secret: ${{CONVERT_SECRET}}\n{options}")
    config = KameleoonClientConfig.read_from_yaml(path)
    with KameleoonClient("site", config) as client:
        assert client.wait_init(5000)
        assert client.is_feature_active("a", "checkout")
    assert service.events == [exposure("a")]
    for broken, said in [
        ("  type: other", "client.yaml: source.type is 'other', allowed is convert"),
        ("  type: convert\n  sdkkey: k", "'sdkkey' is no option of convert"),
        ("  type: convert\n  secret: hidden-one", "client.yaml: source: ConvertSource needs sdk_key"),
        ("  type: convert\n  secret: ${NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE is not set"),
        ("  type: convert\n  sdk_key: k\n  secret: 5", "secret must be a text of the characters"),
        ("  sdk_key: k", "client.yaml: source.type is missing, allowed is convert"),
        ("  type: convert\n  sdk_key: k\n  enriches: 5", "enriches must be true or false"),
    ]:
        path.write_text(f"top_level_domain: localhost\nsource:\n{broken}\n")
        config = KameleoonClientConfig.read_from_yaml(path)
        with pytest.raises(ConfigException) as failure:
            KameleoonClient("site", config)
        assert said in str(failure.value)
        assert "hidden-one" not in str(failure.value) + repr(config)
    assert "s3cr3t" not in caplog.text

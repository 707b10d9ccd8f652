"""OpenFeature's remote evaluation: the provider for Python asks the local server, and our engine answers."""

import pytest
import requests
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import FlagNotFoundError, InvalidContextError, TargetingKeyMissingError, TypeMismatchError

from kameleoon import KameleoonClientConfig, KameleoonClientFactory
from kameleoon.data import CustomData, Device, DeviceType
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PROJECT = """\
project: {site_code: ofrep12345, consent: required, when_refused: block_all}
environments: [production, staging]
custom_data: [{name: plan, index: 1}]
segments:
  gold_phones: {all: [{custom_data: plan, is: gold}, {device: phone}]}
  everything: {all: [{browser: chrome, version: {above: 100}}, {os: linux}, {country: France, city: Brest}, {app_version: {above: 2.0}},
    {cookie: language, is: fr}, {page_url: {contains: /cart}}]}
flags:
  checkout:
    default: classic
    variations:
      classic: {variables: {title: Cart, columns: 2, ratio: 0.5, layout: {side: right}}}
      express: {variables: {title: Buy, columns: 1, ratio: 1.5, layout: {side: none}}}
    rules: [{experiment: {classic: 50%, express: 50%}}]
    environments: {production: on, staging: off}
  gift: {rules: [{deliver: on, to: gold_phones}]}
  all_of_it: {rules: [{deliver: on, to: everything}]}
"""
BULK = "/ofrep/v1/evaluate/flags"


@pytest.fixture(scope="module")
def server():
    """A server over the project above."""
    with LocalServer(parse_project(PROJECT)) as server:
        yield server


@pytest.fixture
def provider(server):
    """The provider from the package registry."""
    provider = OFREPProvider(server.url)
    yield provider
    provider.session.close()


def who(code="v", **attributes):
    """An evaluation context."""
    return EvaluationContext(code, attributes)


def test_the_provider_gets_what_our_client_gets(server, provider):
    """Over many visitors the provider and the SDK agree on variation and variables."""
    config = KameleoonClientConfig("id", "secret", base_url=server.url)
    with KameleoonClientFactory.create("ofrep12345", config) as client:
        assert client.wait_init()
        seen = set()
        for number in range(60):
            code, plan = f"visitor{number}", "gold" if number % 2 else "free"
            client.add_data(code, CustomData(1, plan), Device(DeviceType.PHONE), track=False)
            context = who(code, plan=plan, device="phone")
            ours = client.get_variation(code, "checkout", track=False)
            theirs = provider.resolve_string_details("checkout.title", "none", context)
            assert (theirs.variant, theirs.value) == (ours.key, ours.variables["title"].value)
            gift = provider.resolve_boolean_details("gift", not number % 2, context)
            assert gift.value is client.is_feature_active(code, "gift", track=False) is bool(number % 2)
            assert gift.reason == ("TARGETING_MATCH" if number % 2 else "DEFAULT")
            seen.add(ours.key)
        assert seen == {"classic", "express"}


def test_values_of_every_type(provider):
    """Variables come with their types; the flag itself is whether it is on."""
    for context, key in ((who(), "checkout."), (who(), "checkout."), (who(code="w"), "checkout.")):
        assert isinstance(provider.resolve_integer_details(f"{key}columns", 0, context).value, int)
        assert isinstance(provider.resolve_float_details(f"{key}ratio", 0.0, context).value, float)
        assert isinstance(provider.resolve_object_details(f"{key}layout", {}, context).value, dict)
        details = provider.resolve_boolean_details("checkout", False, context)
        assert details.value is True
        assert details.reason == "SPLIT"
        assert set(details.flag_metadata) == {"flag", "experimentId", "variationId"}
    assert provider.resolve_string_details("checkout", "", who(variableKey="title")).value in {"Cart", "Buy"}


def test_what_cannot_be_evaluated(provider):
    """Unknown flags and variables, missing and nonsensical contexts are OpenFeature's own errors."""
    for key in ("none", "none.title", "checkout.none", "gift.title"):
        with pytest.raises(FlagNotFoundError):
            provider.resolve_boolean_details(key, False, who())
    with pytest.raises(TargetingKeyMissingError):
        provider.resolve_boolean_details("gift", False, EvaluationContext(attributes={"plan": "gold"}))
    with pytest.raises(TypeMismatchError):
        provider.resolve_string_details("gift", "", who())
    for wrong in (
        {"device": "toaster"},
        {"device": 5},
        {"plan": {"a": 1}},
        {"consent": "yes"},
        {"cookies": 5},
        {"browser": "chrome", "browserVersion": "x"},
        {"country": 5},
        {"variableKey": 5},
    ):
        with pytest.raises(InvalidContextError):
            provider.resolve_boolean_details("gift", False, who(**wrong))
    with pytest.raises(InvalidContextError):
        provider.resolve_boolean_details("gift", False, who("x" * 256))


def test_every_member_of_a_context_counts(provider):
    """Browser, system, place, version, cookies and page of the context are what conditions see."""
    everything = {
        "browser": "Chrome",
        "browserVersion": 120,
        "os": "linux",
        "country": "France",
        "city": "Brest",
        "appVersion": "2.5.0",
        "cookies": {"language": "fr"},
        "pageUrl": "https://shop.example/cart",
        "somethingElse": [1, 2],
    }
    assert provider.resolve_boolean_details("all_of_it", False, who(**everything)).value is True
    for name in set(everything) - {"somethingElse", "city"}:
        fewer = {key: value for key, value in everything.items() if key != name}
        assert provider.resolve_boolean_details("all_of_it", True, who(**fewer)).value is False, name


def test_consent_and_environments(server, provider):
    """A refusal blocks what the project says; a query names another environment."""
    refused = provider.resolve_boolean_details("checkout", False, who(consent=False))
    assert refused.reason == "DISABLED"
    answer = requests.post(
        f"{server.url}{BULK}/checkout?environment=staging", json={"context": {"targetingKey": "v"}}, timeout=10
    ).json()
    assert (answer["reason"], answer["variant"]) == ("DISABLED", "classic")


def test_all_flags_with_an_etag(server):
    """The bulk answer has every flag and variable, is not sent again while it holds, and is when the project changes."""
    body = {"context": {"targetingKey": "v", "plan": "gold", "device": "phone"}}
    first = requests.post(server.url + BULK, json=body, timeout=10)
    keys = {answer["key"]: answer for answer in first.json()["flags"]}
    assert set(keys) == {
        *("checkout", "checkout.title", "checkout.columns", "checkout.ratio", "checkout.layout"),
        *("gift", "all_of_it"),
    }
    for key, answer in keys.items():
        assert requests.post(f"{server.url}{BULK}/{key}", json=body, timeout=10).json() == answer
    known = {"If-None-Match": first.headers["ETag"]}
    again = requests.post(server.url + BULK, json=body, headers=known, timeout=10)
    assert (again.status_code, again.content) == (304, b"")
    body["context"]["plan"] = "free"
    other = requests.post(server.url + BULK, json=body, headers=known, timeout=10)
    assert (other.status_code, other.headers["ETag"] == first.headers["ETag"]) == (200, False)


def test_all_values_of_one_variable(server):
    """With a variable key the bulk answer has the flags that have the variable, each with its value; a refusal is named."""
    body = {"context": {"targetingKey": "v", "variableKey": "columns"}}
    (answer,) = requests.post(server.url + BULK, json=body, timeout=10).json()["flags"]
    assert (answer["key"], answer["value"] in {1, 2}) == ("checkout", True)
    body = {"context": {"targetingKey": "v", "consent": False}}
    answers = requests.post(server.url + BULK, json=body, timeout=10).json()["flags"]
    refused = {answer["key"]: answer["metadata"].get("refused") for answer in answers}
    assert (refused["checkout"], refused["checkout.title"]) == ("consent", "consent")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"[1]", "PARSE_ERROR"),
        (b"{nonsense", "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        (b"[" * 100_000, "PARSE_ERROR"),
        (b'{"context": 5}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "\\ud800"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "v", "plan": "\\ud800"}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 5}}', "INVALID_CONTEXT"),
        (b"{}", "TARGETING_KEY_MISSING"),
        (b" " * 300_000, "INVALID_CONTEXT"),
    ],
)
def test_nonsense_is_refused(server, body, code):
    """A body that makes no sense gets 400 and a reason, for one flag and for all."""
    for path in (BULK, f"{BULK}/gift"):
        answer = requests.post(server.url + path, data=body, timeout=10)
        assert (answer.status_code, answer.json()["errorCode"]) == (400, code)

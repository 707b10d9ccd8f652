"""The Automation API at its bounds: pages, operators, what is in use, what a rule keeps."""

import json

import pytest
import requests

from kameleoon.server import http_api, http_asked_results
from kameleoon.server.collections_of import QueryError, from_body, from_query
from kameleoon.server.project import derive_id
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

PROJECT = """\
project: {site_code: local00001}
environments: [staging, production, test]
custom_data: [{name: plan, index: 0}, {name: cart, index: 2, mapping_identifier: true}, {name: unused, index: 3}]
goals: [{key: purchase, id: 5}, {key: unused, id: 6}]
segments:
  phones: {device: phone}
  buyers: {converted: purchase}
  phone_buyers: {all: [{segment: phones}, {segment: buyers}]}
  saw: {saw_flag: checkout}
  unused: {device: tablet}
flags:
  checkout: {bucket_by: plan, rules: [{experiment: [off, on], key: test, id: 11}, {deliver: on, to: buyers, key: second, id: 12}]}
  gift: {rules: [{deliver: on, to: saw}]}
"""
SITE = derive_id("site", "local00001")
ENTITIES = [{"id": number, "value": value} for number, value in enumerate((None, False, True, 0, 2, "", "x"))]
FIELDS = ("id", "value")


@pytest.fixture
def api():
    """Asks a server over the project above; gives the answer's JSON."""
    with LocalServer(parse_project(PROJECT)) as server, requests.Session() as session:
        form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
        token = session.post(f"{server.url}/oauth/token", data=form, timeout=10).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"

        def ask(method, path, body=None, status=200):
            answer = session.request(method, server.url + path, json=body, timeout=10)
            assert answer.status_code == status, answer.text
            return answer.json() if answer.content else None

        ask.server = server
        yield ask


def environment(flag, name):
    """One environment of a flag."""
    return next(one for one in flag["environmentConfigurations"] if one["environmentKey"] == name)


@pytest.mark.parametrize(
    ("operator", "parameters", "found"),
    [
        ("LESS_OR_EQUAL", [0], [1, 3]),
        ("LESS", [1], [1, 3]),
        ("GREATER", [0], [2, 4]),
        ("GREATER_OR_EQUAL", [2], [4]),
        ("IS_NULL", [], [0]),
        ("IS_NOT_NULL", [], [1, 2, 3, 4, 5, 6]),
        ("IS_TRUE", [], [2]),
        ("IS_FALSE", [], [1]),
        ("IS_EMPTY", [], [0, 1, 3, 5]),
        ("IS_NOT_EMPTY", [], [2, 4, 6]),
        ("LIKE", ["%"], [0, 1, 2, 3, 4, 5, 6]),
        ("LIKE", ["X"], [6]),
    ],
)
def test_operators_tell_nothing_from_false(operator, parameters, found):
    """Null, false, 0 and empty text are four things."""
    leaf = {"field": "value", "operator": operator, "parameters": parameters}
    assert [entity["id"] for entity in from_body(ENTITIES, {"filter": leaf}, FIELDS)[0]] == found


def test_pages_have_20_and_200_at_most():
    """Without a size a page has 20, with -1 as many as there may be, and 201 are refused; nesting is bounded."""
    many = [{"id": number} for number in range(300)]
    for per_page, length in ((None, 20), ("200", 200), ("-1", 200), ("1", 1)):
        query = {} if per_page is None else {"perPage": per_page}
        page, total = from_query(many, query, FIELDS)
        assert (len(page), total) == (length, 300)
    for wrong in ("201", "0", "-2", "1.5", "true", '"1"'):
        with pytest.raises(QueryError) as refused:
            from_query(many, {"perPage": wrong}, FIELDS)
        assert refused.value.field == "perPage"
    leaf = {"field": "id", "operator": "EQUAL", "parameters": [1]}
    for depth in range(10):
        leaf = {"conditionalOperator": "OR", "expressions": [leaf]}
        assert from_body(many, {"filter": leaf}, FIELDS)[1] == 1, depth
    with pytest.raises(QueryError):
        from_body(many, {"filter": {"conditionalOperator": "AND", "expressions": [leaf]}}, FIELDS)
    with pytest.raises(QueryError):
        from_query(many, {"filter": json.dumps(leaf)}, FIELDS)


def test_rules_are_ordered_by_their_index(api):
    """`orderIndex` stands above the place in the array, which decides where it is missing or the same."""
    deliver = {"type": "TARGETED_DELIVERY", "variationKey": "on"}
    rules = [
        deliver | {"name": "third", "orderIndex": 7},
        deliver | {"name": "second", "orderIndex": 1},
        deliver | {"name": "first", "orderIndex": 0.5},
        deliver | {"name": "fourth", "orderIndex": 7},
    ]
    body = {"featureKey": "gift", "rolloutRules": rules}
    flag = api("PATCH", "/feature-flags/local00001/gift/test", body)
    told = environment(flag, "test")["rolloutRules"]
    assert [(rule["name"], rule["orderIndex"]) for rule in told] == [
        *(("first", 0), ("second", 1), ("third", 2), ("fourth", 3))
    ]


def test_reallocation_draws_anew_and_nothing_else_does(api):
    """`reallocation` changes the rule's respool time each time; another change leaves it, and so every visitor's variation."""

    def times():
        project = requests.get(f"{api.server.url}/v3/local00001", timeout=10).json()
        return [rule["respoolTime"] for rule in project["featureFlags"][0]["rules"]]

    seen = [times()]
    for body in ({"exposition": 50}, {"reallocation": True}, {"reallocation": False}, {"reallocation": True}):
        api("PATCH", "/feature-flags/rules/11", body)
        seen.append(times())
    assert seen[0] == seen[1] == [None, None]
    assert seen[2] == seen[3]
    assert len({first for first, _ in seen}) == 3
    assert {second for _, second in seen} == {None}


@pytest.mark.parametrize(
    ("shares", "is_taken"),
    [
        ((50, 50), True),
        ((33.33, 66.66), True),
        ((33.34, 66.67), True),
        ((33.33, 66.65), False),
        ((33.35, 66.67), False),
        ((100,), True),
        ((), False),
    ],
)
def test_allocations_sum_to_100(api, shares, is_taken):
    """A hundredth of a percent may be missing or too much, as people round; the configuration sums to 1 exactly all the same."""
    allocations = [
        {"variationKey": key, "exposition": share} for key, share in zip(("off", "on"), shares, strict=False)
    ]
    answer = api("PATCH", "/feature-flags/rules/11", {"trafficAllocations": allocations}, 200 if is_taken else 400)
    if is_taken:
        project = requests.get(f"{api.server.url}/v3/local00001", timeout=10).json()
        drawn = [share["exposition"] for share in project["featureFlags"][0]["rules"][0]["variationByExposition"]]
        assert sum(drawn) == 1
        assert drawn[0] == pytest.approx(shares[0] / 100)
    else:
        assert answer["errors"][0]["field"] == "trafficAllocations"


@pytest.mark.parametrize(
    "change",
    [
        {"variations": [{"key": "off"}, {"key": "on"}, {"key": "on"}]},
        {"variations": [{"key": "off"}]},
        {"variations": [{"key": "off"}, {"key": "on", "variables": [{"key": "n", "value": "1"}]}, {}]},
        {"variables": [{"key": "n", "type": "NUMBER", "value": "x"}]},
        {"variables": [{"key": "n", "type": "COLOUR", "value": "x"}]},
    ],
)
def test_a_flag_that_contradicts_itself_is_refused(api, change):
    """Variation keys are there once, and those that rules need stay; nothing changes."""
    before = api.server.project
    api("PATCH", "/feature-flags/local00001/checkout", {"featureKey": "checkout", **change}, 400)
    assert api.server.project == before


def test_the_default_environment_keeps_ids_wherever_it_stands(api):
    """Not the first environment but production keeps the ids of shared rules, whichever of them is changed."""
    before = environment(api("GET", "/feature-flags/local00001/checkout"), "production")["rolloutRules"]
    body = {"featureKey": "checkout", "rolloutRules": [before[0] | {"exposition": 5}]}
    after = api("PATCH", "/feature-flags/local00001/checkout/staging", body)
    assert environment(after, "production")["rolloutRules"] == before
    (staging,) = environment(after, "staging")["rolloutRules"]
    assert staging["id"] not in {rule["id"] for rule in before}
    assert (staging["name"], staging["exposition"]) == ("test", 5)


def test_a_new_flag(api):
    """Without variations it has off and on; with others its default is the first; values of the flag stand where a variation has none."""
    plain = api("POST", "/feature-flags", {"featureKey": "a", "name": "A", "siteCode": "local00001"}, 201)
    assert [variation["key"] for variation in plain["variations"]] == ["off", "on"]
    assert {one["defaultVariationKey"] for one in plain["environmentConfigurations"]} == {"off"}
    assert {one["featureEnabled"] for one in plain["environmentConfigurations"]} == {False}
    body = {
        "featureKey": "b",
        "name": "B",
        "siteCode": "local00001",
        "variables": [{"key": "n", "type": "NUMBER", "value": "3"}],
        "variations": [{"key": "x"}, {"key": "off", "variables": [{"key": "n", "value": "4"}]}],
        "bucketingKey": {"bucketingKeyType": "CUSTOM_DATA", "customDataId": derive_id("custom data", "plan")},
    }
    made = api("POST", "/feature-flags", body, 201)
    assert {one["defaultVariationKey"] for one in made["environmentConfigurations"]} == {"off"}
    assert [variation["variables"][0]["value"] for variation in made["variations"]] == ["3", "4"]
    assert made["bucketingKey"] == body["bucketingKey"]
    others = body | {"featureKey": "c", "variations": [{"key": "y"}, {"key": "x"}]}
    made = api("POST", "/feature-flags", others, 201)
    assert {one["defaultVariationKey"] for one in made["environmentConfigurations"]} == {"y"}
    wrong = body | {"featureKey": "d", "bucketingKey": {"bucketingKeyType": "CUSTOM_DATA", "customDataId": 1}}
    assert api("POST", "/feature-flags", wrong, 400)["errors"][0]["field"] == "bucketingKey"
    patch = {"featureKey": "b", "bucketingKey": {"bucketingKeyType": "VISITOR_CODE"}}
    assert api("PATCH", "/feature-flags/local00001/b", patch)["bucketingKey"] == patch["bucketingKey"]


def test_an_archived_flag_is_gone(api):
    """Archiving takes a flag out of the configuration; SDKs know it no more."""
    api("PATCH", "/feature-flags/local00001/gift", {"featureKey": "gift", "isArchived": True}, 204)
    assert [flag["featureKey"] for flag in api("GET", "/feature-flags")] == ["checkout"]
    for body in ({"isArchived": "yes"}, {"isArchived": False, "name": "Checkout"}):
        status = 400 if body["isArchived"] else 200
        api("PATCH", "/feature-flags/local00001/checkout", {"featureKey": "checkout", **body}, status)
    assert [flag["name"] for flag in api("GET", "/feature-flags")] == ["Checkout"]


@pytest.mark.parametrize(
    ("path", "free"),
    [
        (f"/custom-datas/{derive_id('custom data', 'plan')}", False),
        (f"/custom-datas/{derive_id('custom data', 'unused')}", True),
        ("/goals/5", False),
        ("/goals/6", True),
        (f"/segments/{derive_id('segment', 'phones')}", False),
        (f"/segments/{derive_id('segment', 'buyers')}", False),
        (f"/segments/{derive_id('segment', 'saw')}", False),
        (f"/segments/{derive_id('segment', 'unused')}", True),
        ("/feature-flags/local00001/checkout", False),
        ("/feature-flags/local00001/gift", True),
    ],
)
def test_what_is_in_use_stays(api, path, free):
    """What a flag, a rule or a segment refers to is not deleted; the rest is."""
    before = api.server.project
    api("DELETE", path, status=204 if free else 400)
    assert (api.server.project == before) is not free


def test_custom_data_fill_the_lowest_free_index(api):
    """A new one takes the lowest index that is free; a second mapping identifier is refused."""
    body = {"siteId": SITE, "method": "SDK"}
    assert [api("POST", "/custom-datas", body | {"name": name}, 201)["index"] for name in "ab"] == [1, 4]
    wrong = api("POST", "/custom-datas", body | {"name": "c", "isMappingIdentifier": True}, 400)
    assert wrong["errors"][0]["field"] == "isMappingIdentifier"
    plan = f"/custom-datas/{derive_id('custom data', 'plan')}"
    assert api("PATCH", plan, {"isMappingIdentifier": True}, 400)["errors"][0]["field"] == "isMappingIdentifier"
    cart = f"/custom-datas/{derive_id('custom data', 'cart')}"
    assert api("PATCH", cart, {"isMappingIdentifier": True})["isMappingIdentifier"] is True


def test_a_sites_settings_reach_the_configuration(api):
    """Consent, what a refusal blocks and streaming are in the next configuration; a replacement needs the whole."""
    body = {"consentType": "REQUIRED", "consentOptOutBehavior": "FULLY_BLOCK", "realTimeUpdate": True}
    assert api("PATCH", "/sites/local00001", body) | body == api("GET", f"/sites/{SITE}")
    told = requests.get(f"{api.server.url}/v3/local00001", timeout=10).json()["configuration"]
    assert told == body
    assert api("PUT", "/sites/local00001", {"name": "x"}, 400)["errors"][0]["field"] == "url"
    assert api("PUT", "/sites/local00001", {"name": "x", "url": "https://x.example"})["name"] == "x"


def test_bodies_and_names_are_bounded(api, monkeypatch):
    """A body above a megabyte is refused; of results asked for the oldest are forgotten."""
    assert http_api._MAX_BODY_BYTES == 1024 * 1024
    large = {"name": "x", "siteId": SITE, "type": "CUSTOM", "description": "x" * (1024 * 1024)}
    assert "larger than 1048576 bytes" in api("POST", "/goals", large, 400)["message"]
    monkeypatch.setattr(http_asked_results, "_MAX_RESULTS", 2)
    assert api("POST", "/experiments/1/results", {}, 404)["code"] == 404
    flag = api("GET", "/feature-flags/local00001/checkout")["id"]
    codes = [api("POST", f"/feature-flags/{flag}/results", {})["dataCode"] for _ in range(3)]
    api("GET", f"/results?dataCode={codes[0]}", status=404)
    for code in codes[1:]:
        assert api("GET", f"/results?dataCode={code}")["status"] == "READY"

"""The Automation API of the local server: the chain from an empty project to results, and what it refuses."""

import json
import queue
import threading
from urllib.parse import quote

import pytest
import requests

from kameleoon.server.collections_of import QueryError, from_body, from_query
from kameleoon.server.project import derive_id
from kameleoon.server.project_file import parse_project
from kameleoon.server.project_out import write_project
from kameleoon.server.serve import LocalServer

PROJECT = "project: {site_code: local00001, streaming: true}\nenvironments: [production, staging]\n"
SHARED = PROJECT + (
    "segments: {phones: {device: phone}}\ngoals: [{key: purchase, id: 5}]\ncustom_data: [{name: plan, index: 1}]\n"
    "flags: {checkout: {rules: [{experiment: [off, on], key: test}, {deliver: on, to: phones}]}}\n"
)
SITE = derive_id("site", "local00001")


class Api:
    """A client with a token."""

    def __init__(self, server):
        self.server = server
        form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
        token = requests.post(f"{server.url}/oauth/token", data=form, timeout=10).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method, path, body=None, status=200):
        """Ask; the answer's JSON, None without a body."""
        answer = requests.request(method, self.server.url + path, json=body, headers=self.headers, timeout=10)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def flag(self, key="checkout"):
        """One flag."""
        return self("GET", f"/feature-flags/local00001/{key}")


@pytest.fixture
def api():
    """A client of a server over an empty project."""
    with LocalServer(parse_project(PROJECT)) as server:
        yield Api(server)


@pytest.fixture
def shared():
    """A client of a server whose environments share a flag's rules."""
    with LocalServer(parse_project(SHARED)) as server:
        yield Api(server)


def environment(flag, name):
    """One environment of a flag."""
    return next(one for one in flag["environmentConfigurations"] if one["environmentKey"] == name)


def test_from_nothing_to_results(api):
    """Goal, custom data, segment and flag; SDKs get the rule, send events, and the results have them. One stream event per change."""
    events = queue.Queue()
    stream = requests.get(f"{api.server.url}/sse?siteCode=local00001", stream=True, timeout=10)
    lines = stream.iter_lines(chunk_size=1, decode_unicode=True)
    assert next(lines) == ": open"
    threading.Thread(
        target=lambda: [events.put(line) for line in lines if line.startswith("event")], daemon=True
    ).start()
    (site,) = api("GET", "/sites")
    assert api("GET", "/v1/sites/byCode/local00001") == site
    goal = api("POST", "/goals", {"name": "Order paid", "siteId": site["id"], "type": "CUSTOM"}, 201)
    datum = api("POST", "/custom-datas", {"name": "plan", "siteId": site["id"], "method": "SDK"}, 201)
    assert datum["index"] == 0
    conditions = [{"targetingType": "CUSTOM_DATUM", "customDataIndex": "0", "valueMatchType": "EXACT", "value": "gold"}]
    tree = {"firstLevel": [{"conditions": conditions, "orOperators": []}], "firstLevelOrOperators": []}
    segment = api("POST", "/segments", {"name": "Gold", "siteId": site["id"], "conditionsData": tree}, 201)
    rule = {
        "type": "EXPERIMENTATION",
        "name": "A/B",
        "state": "ACTIVE",
        "segmentId": segment["id"],
        "exposition": 100,
        "trafficAllocations": [{"variationKey": "off", "exposition": 50}, {"variationKey": "on", "exposition": 50}],
    }
    flag = api(
        "POST",
        "/feature-flags",
        {
            "siteCode": "local00001",
            "featureKey": "new_checkout",
            "name": "New checkout",
            "variables": [
                {"key": "cols", "type": "NUMBER", "value": "3"},
                {"key": "o", "type": "JSON", "value": '{"a":1}'},
            ],
            "variations": [
                {"key": "off", "name": "Off", "variables": [{"key": "cols", "value": "3"}]},
                {"key": "on", "name": "On", "variables": [{"key": "cols", "value": "4"}]},
            ],
            "environmentConfigurations": [
                {
                    "environmentKey": "production",
                    "featureEnabled": True,
                    "defaultVariationKey": "off",
                    "rolloutRules": [rule],
                }
            ],
        },
        201,
    )
    for _ in range(4):
        assert events.get(timeout=5) == "event: configuration-update-event"
    made = environment(flag, "production")["rolloutRules"][0]
    assert environment(flag, "staging")["featureEnabled"] is False
    sent = requests.get(f"{api.server.url}/v3/local00001", timeout=10).json()
    assert sent["segments"][0]["conditionsData"]["firstLevel"][0]["conditions"][0]["value"] == "gold"
    configured = sent["featureFlags"][0]
    assert configured["variations"][1]["variables"] == [
        {"key": "cols", "type": "NUMBER", "value": 4},
        {"key": "o", "type": "JSON", "value": '{"a":1}'},
    ]
    assert configured["rules"][0]["experimentId"] == made["experimentId"]
    ids = [one["variationId"] for one in made["trafficAllocations"]]
    assert [one["variationId"] for one in configured["rules"][0]["variationByExposition"]] == ids
    body = [
        f"nonce={number:016X}&visitorCode=v{number // 2}&eventType=" + kind
        for number, kind in enumerate(
            (
                f"experiment&id={made['experimentId']}&variationId={ids[0]}",
                f"conversion&goalId={goal['id']}&revenue=10",
                f"experiment&id={made['experimentId']}&variationId={ids[1]}",
                f"conversion&goalId={goal['id']}&revenue=30",
                f"experiment&id={made['experimentId']}&variationId={ids[1]}",
            )
        )
    ]
    requests.post(f"{api.server.url}/visit/events?siteCode=local00001", data="\n".join(body), timeout=10)
    for path in (f"/feature-flags/{flag['id']}", f"/experiments/{made['experimentId']}"):
        code = api("POST", f"{path}/results", {"conversionType": "ALL_CONVERSION"})["dataCode"]
        results = api("GET", f"/results?dataCode={code}")
        on = results["data"]["variationData"][str(ids[1])]["breakdownData"]["_reference"]["generalData"]
        assert (results["status"], on["visitCount"]) == ("READY", 2)
        told = on["goalsData"][str(goal["id"])]
        assert told["reliability"] == pytest.approx(1 - 0.3865, abs=1e-3)
        assert {
            name: told[name] for name in ("conversionCount", "revenueCount", "conversionRate", "improvementRate")
        } == {
            "conversionCount": 1,
            "revenueCount": 30.0,
            "conversionRate": 0.5,
            "improvementRate": -0.5,
        }
    (experiment,) = api("GET", "/experiments")
    assert (experiment["type"], experiment["variations"]) == ("FEATURE_FLAG", ids)
    assert [one["id"] for one in api("GET", "/variations")] == sorted(ids)
    assert [one["key"] for one in api("GET", "/environments")] == ["production", "staging"]
    written = write_project(api.server.project)
    assert parse_project(written) == api.server.project
    assert write_project(parse_project(written)) == written


def test_patches_keep_ids(shared):
    """A patched rule keeps its ids and the other rules theirs; environments that shared rules are told apart."""
    before = shared.flag()
    rules = environment(before, "production")["rolloutRules"]
    patched = shared("PATCH", f"/feature-flags/rules/{rules[0]['id']}", {"featureKey": "checkout", "exposition": 40})
    assert [environment(patched, name)["rolloutRules"][0]["exposition"] for name in ("production", "staging")] == [
        40,
        40,
    ]
    rules = json.loads(json.dumps(environment(patched, "production")["rolloutRules"]))
    rules[0]["exposition"] = 12.5
    rules[0]["trafficAllocations"] = [
        {"variationKey": "off", "exposition": 33.33},
        {"variationKey": "on", "exposition": 66.67},
    ]
    body = {"featureKey": "checkout", "environmentKey": "staging", "rolloutRules": rules}
    after = shared("PATCH", "/feature-flags/local00001/checkout/staging", body)
    staging, production = (environment(after, name)["rolloutRules"] for name in ("staging", "production"))
    assert production == environment(patched, "production")["rolloutRules"]
    assert (staging[0]["exposition"], staging[0]["id"] != production[0]["id"]) == (12.5, True)
    body = {
        "featureKey": "checkout",
        "name": "Renamed",
        "environmentConfigurations": [
            {
                "environmentKey": "production",
                "featureEnabled": False,
                "defaultVariationKey": "on",
                "rolloutRules": [production[1] | {"state": "PAUSED"}],
            }
        ],
    }
    last = shared("PATCH", "/feature-flags/local00001/checkout", body)
    assert environment(last, "staging")["rolloutRules"] == staging
    (rule,) = environment(last, "production")["rolloutRules"]
    assert (rule["id"], rule["status"], last["name"]) == (production[1]["id"], "PAUSED", "Renamed")
    assert environment(last, "production")["defaultVariationKey"] == "on"
    assert environment(last, "production")["featureEnabled"] is False
    again = shared("PATCH", f"/feature-flags/rules/{rule['id']}", {"reallocation": True, "state": "ACTIVE"})
    assert environment(again, "production")["rolloutRules"][0]["status"] == "ACTIVE"
    assert parse_project(write_project(shared.server.project)) == shared.server.project


def test_the_default_environment_keeps_its_visitors(shared):
    """Changing production's rules gives the others copies with ids of their own, and production keeps its ids."""
    rules = environment(shared.flag(), "production")["rolloutRules"]
    body = {"featureKey": "checkout", "rolloutRules": [rules[0] | {"exposition": 1}]}
    after = shared("PATCH", "/feature-flags/local00001/checkout/production", body)
    assert environment(after, "production")["rolloutRules"][0]["experimentId"] == rules[0]["experimentId"]
    staging = environment(after, "staging")["rolloutRules"]
    assert [rule["exposition"] for rule in staging] == [100, 100]
    assert staging[0]["experimentId"] != rules[0]["experimentId"]


def test_entities_are_changed_and_removed(shared):
    """Goals, segments and custom data are renamed and removed; what is in use stays."""
    goal = shared("POST", "/goals", {"name": "Order paid", "siteId": SITE, "type": "CUSTOM"}, 201)
    assert shared("PATCH", f"/goals/{goal['id']}", {"name": "Paid"})["name"] == "Paid"
    shared("DELETE", f"/goals/{goal['id']}", status=204)
    shared("GET", f"/goals/{goal['id']}", status=404)
    (segment,), (datum,) = shared("GET", "/segments"), shared("GET", "/custom-datas")
    shared("DELETE", f"/segments/{segment['id']}", status=400)
    conditions = [{"targetingType": "CUSTOM_DATUM", "customDataIndex": "1", "valueMatchType": "TRUE", "value": ""}]
    conditions.append({"targetingType": "WEATHER", "sky": "clear", "include": False})
    tree = {"firstLevel": [{"conditions": conditions, "orOperators": [True]}]}
    changed = shared(
        "PUT",
        f"/segments/{segment['id']}",
        {"name": "P", "siteId": SITE, "conditionsData": tree, "audienceTracking": True},
    )
    assert (changed["id"], changed["audienceTracking"]) == (segment["id"], True)
    assert changed["conditionsData"]["firstLevel"][0]["orOperators"] == [True]
    shared("DELETE", f"/custom-datas/{datum['id']}", status=400)
    patched = shared("PATCH", f"/custom-datas/{datum['id']}", {"scope": "VISITOR", "isMappingIdentifier": True})
    assert (patched["scope"], patched["isMappingIdentifier"]) == ("VISITOR", True)
    shared("PATCH", "/sites/local00001", {"consentType": "REQUIRED", "realTimeUpdate": False, "name": "S"})
    assert (
        requests.get(f"{shared.server.url}/v3/local00001", timeout=10).json()["configuration"]["consentType"]
        == "REQUIRED"
    )
    shared("DELETE", "/feature-flags/local00001/checkout", status=204)
    shared("PATCH", f"/segments/{segment['id']}", {"isDeleted": True}, 204)
    assert parse_project(write_project(shared.server.project)) == shared.server.project
    history = requests.get(f"{shared.server.url}/page/history", timeout=10).text
    assert "flag removed" in history
    assert ">API<" in history


ALLOCATIONS = [{"variationKey": "off", "exposition": 50}, {"variationKey": "on", "exposition": 49}]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/feature-flags", {}, "featureKey"),
        ("POST", "/feature-flags", {"featureKey": "x", "name": "x"}, "siteCode"),
        ("POST", "/feature-flags", {"featureKey": "checkout", "name": "x", "siteCode": "local00001"}, "featureKey"),
        ("POST", "/feature-flags", {"featureKey": "x", "name": "x" * 101, "siteCode": "local00001"}, "name"),
        ("POST", "/feature-flags", {"featureKey": "\ud800", "name": "x", "siteCode": "local00001"}, "featureKey"),
        ("PATCH", "/feature-flags/local00001/checkout", {"name": "x"}, "featureKey"),
        ("PATCH", "/feature-flags/local00001/checkout", {"featureKey": "checkout", "variations": [5]}, "variations"),
        ("PATCH", "/feature-flags/local00001/checkout/none", {"featureKey": "checkout"}, "environmentKey"),
        (
            "PATCH",
            "/feature-flags/local00001/checkout/staging",
            {"featureKey": "checkout", "featureEnabled": 1},
            "featureEnabled",
        ),
        (
            "PATCH",
            "/feature-flags/local00001/checkout/staging",
            {"featureKey": "checkout", "defaultVariationKey": "x"},
            "defaultVariationKey",
        ),
        *(
            (
                "PATCH",
                "/feature-flags/local00001/checkout/staging",
                {"featureKey": "checkout", "rolloutRules": [rule]},
                field,
            )
            for rule, field in (
                ({"type": "NEW"}, "type"),
                ({"type": "EXPERIMENTATION", "trafficAllocations": ALLOCATIONS}, "trafficAllocations"),
                ({"type": "TARGETED_DELIVERY"}, "variationKey"),
                ({"type": "TARGETED_DELIVERY", "variationKey": "x"}, "variationKey"),
                ({"type": "TARGETED_DELIVERY", "variationKey": "on", "segmentId": 5}, "segmentId"),
                ({"type": "TARGETED_DELIVERY", "variationKey": "on", "exposition": 101}, "exposition"),
            )
        ),
        ("POST", "/goals", {"name": "g", "siteId": 1, "type": "CUSTOM"}, "siteId"),
        ("POST", "/goals", {"name": "g", "type": "CUSTOM"}, "siteId"),
        ("POST", "/goals", {"name": "g", "siteId": SITE}, "type"),
        ("POST", "/goals", {"name": "", "siteId": SITE, "type": "CUSTOM"}, "name"),
        ("POST", "/custom-datas", {"name": "d", "siteId": SITE}, "method"),
        ("POST", "/custom-datas", {"name": "d", "siteId": SITE, "method": "SDK", "index": 1}, "index"),
        ("POST", "/segments", {"name": "s", "siteId": SITE}, "conditionsData"),
        (
            "POST",
            "/segments",
            {"name": "s", "siteId": SITE, "conditionsData": {"firstLevel": [{"conditions": []}]}},
            "conditionsData",
        ),
        ("PATCH", "/segments/{segment}", {"conditionsData": {}}, "conditionsData"),
        ("PUT", "/segments/{segment}", {"name": "s", "siteId": SITE}, "conditionsData"),
        ("POST", "/sites", {"url": "https://x.example"}, "name"),
        ("POST", "/sites", {"name": "x"}, "url"),
        ("POST", "/sites", {"name": "x", "url": "x", "code": "local00001"}, "code"),
        ("POST", "/sites", {"name": "x", "url": "x", "code": "short"}, "code"),
        ("PUT", "/sites/local00001", {"name": "x"}, "url"),
        ("DELETE", "/sites/local00001", None, "id"),
        ("POST", "/feature-flags/local00001/checkout/duplicate", {"featureKey": "checkout"}, "featureKey"),
        (
            "POST",
            "/feature-flags",
            {
                "featureKey": "x",
                "name": "x",
                "siteCode": "local00001",
                "variations": [{"key": "a", "variables": [{"key": "n"}]}],
            },
            "variables",
        ),
        (
            "POST",
            "/segments",
            {
                "name": "s",
                "siteId": SITE,
                "conditionsData": {"firstLevel": [{"conditions": [{"targetingType": "CONVERSIONS", "goalId": 6}]}]},
            },
            "goalId",
        ),
        (
            "POST",
            "/feature-flags/search",
            {"filter": {"field": "none", "operator": "EQUAL", "parameters": [1]}},
            "filter",
        ),
        ("GET", "/goals?perPage=0", None, "perPage"),
        ("GET", "/goals?sort=5", None, "sort"),
    ],
)
def test_what_makes_no_sense_names_its_field(shared, method, path, body, field):
    """A wrong field gets 400 with its name, and nothing changes."""
    before = shared.server.project
    path = path.replace("{segment}", str(before.segments[0].id))
    answer = shared(method, path, body, 400)
    assert [error["field"] for error in answer["errors"]] == [field]
    assert shared.server.project == before


def test_flags_are_duplicated(shared):
    """A duplicate has the rules and variations, ids of its own, and is off everywhere; twice makes two."""
    body = {"featureKey": "checkout", "rolloutRules": []}
    shared("PATCH", "/feature-flags/local00001/checkout/staging", body)
    copy = shared("POST", "/feature-flags/local00001/checkout/duplicate", status=201)
    again = shared("POST", "/feature-flags/local00001/checkout/duplicate", {"featureKey": "c2", "name": "Second"}, 201)
    assert (copy["featureKey"], again["featureKey"], again["name"]) == ("checkout_copy", "c2", "Second")
    first, second = (environment(flag, "production") for flag in (shared.flag(), copy))
    assert [rule["name"] for rule in second["rolloutRules"]] == [rule["name"] for rule in first["rolloutRules"]]
    assert environment(copy, "staging")["rolloutRules"] == []
    assert (first["featureEnabled"], second["featureEnabled"]) == (True, False)
    ids = {rule["id"] for flag in (first, second) for rule in flag["rolloutRules"]}
    assert len(ids) == 2 * len(first["rolloutRules"])


def test_progressive_deliveries_are_deliveries(shared):
    """SDKs know no progressive delivery, so its rule is given out as a delivery with the exposition it has."""
    rule = {"type": "PROGRESSIVE_DELIVERY", "variationKey": "on", "exposition": 25}
    body = {"featureKey": "checkout", "rolloutRules": [rule]}
    shared("PATCH", "/feature-flags/local00001/checkout/production", body)
    (given,) = requests.get(f"{shared.server.url}/v3/local00001", timeout=10).json()["featureFlags"][0]["rules"]
    assert (given["type"], given["exposition"]) == ("TARGETED_DELIVERY", 0.25)


def test_errors_of_routing_are_the_apis(shared):
    """A wrong method, path or body size under the API's paths has the API's form of errors."""
    for method, path, status in (("DELETE", "/goals", 405), ("GET", "/feature-flags/a/b/c/d", 404)):
        answer = shared(method, path, status=status)
        assert (answer["code"], answer["errors"]) == (status, [])


def test_a_token_is_needed(shared):
    """Without a token or with something else 401, with a bad one 403; a server with a token of its own takes only that, or tokens made with it."""
    url = f"{shared.server.url}/goals"
    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, headers={"Authorization": "Basic x"}, timeout=10).status_code == 401
    assert requests.get(url, headers={"Authorization": "Bearer x"}, timeout=10).status_code == 401
    assert requests.get(url, headers={"Authorization": "Bearer e30.e30.c2ln"}, timeout=10).status_code == 403
    assert requests.get(url, headers={**shared.headers, "Host": "evil.example"}, timeout=10).status_code == 403
    with LocalServer(parse_project(SHARED), token="right") as server:
        assert requests.get(f"{server.url}/goals", headers=Api(server).headers, timeout=10).status_code == 403
        form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "right"}
        token = requests.post(f"{server.url}/oauth/token", data=form, timeout=10).json()["access_token"]
        for good in (token, "right"):
            headers = {"Authorization": f"Bearer {good}"}
            assert requests.get(f"{server.url}/goals", headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"{" * 100_000, b" " * 2_000_000])
def test_broken_bodies_are_refused(shared, body):
    """A body that is no JSON object gets 400."""
    for path in ("/goals", "/feature-flags", "/feature-flags/search"):
        answer = requests.post(shared.server.url + path, data=body, headers=shared.headers, timeout=10)
        assert (answer.status_code, answer.json()["code"]) == (400, 400)


ENTITIES = [
    {"id": number, "name": f"Flag {number}", "isOn": number % 2 == 0, "tags": ["a"] if number > 3 else []}
    for number in (3, 1, 2, 5, 4)
]
FIELDS = ("id", "name", "isOn", "tags")


@pytest.mark.parametrize(
    ("operator", "field", "parameters", "found"),
    [
        ("EQUAL", "id", [1, 5], [1, 5]),
        ("IN", "id", [1], [1]),
        ("NOT_EQUAL", "id", [1], [2, 3, 4, 5]),
        ("NOT_IN", "id", [1, 2], [3, 4, 5]),
        ("LESS", "id", [2], [1]),
        ("GREATER_OR_EQUAL", "id", [4], [4, 5]),
        ("BETWEEN", "id", [2, 4], [2, 3, 4]),
        ("LIKE", "name", ["FLAG%3"], [3]),
        ("NOT_LIKE", "name", ["3"], [1, 2, 4, 5]),
        ("CONTAINS", "tags", ["a"], [4, 5]),
        ("IS_TRUE", "isOn", [], [2, 4]),
        ("IS_EMPTY", "tags", [], [1, 2, 3]),
        ("LESS", "id", ["2"], []),
    ],
)
def test_filters(operator, field, parameters, found):
    """Every operator leaves what it says, in the order of ids."""
    leaf = {"field": field, "operator": operator, "parameters": parameters}
    page, total = from_query(ENTITIES, {"filter": json.dumps([leaf])}, FIELDS)
    assert ([entity["id"] for entity in page], total) == (found, len(found))


def test_pages_and_orders(shared):
    """Pages are counted from 1, sorts go by priority, expressions nest, and a list tells how many there are."""
    first = {
        "conditionalOperator": "OR",
        "expressions": [
            {"field": "id", "operator": "EQUAL", "parameters": [3]},
            {
                "conditionalOperator": "AND",
                "expressions": [
                    {"field": "isOn", "operator": "IS_TRUE"},
                    {"field": "id", "operator": "GREATER", "parameters": [2]},
                ],
            },
        ],
    }
    assert [entity["id"] for entity in from_body(ENTITIES, {"filter": first}, FIELDS)[0]] == [3, 4]
    sort = [{"field": "isOn", "direction": "DESC"}, {"field": "id", "direction": "DESC"}]
    assert [entity["id"] for entity in from_body(ENTITIES, {"sort": sort}, FIELDS)[0]] == [4, 2, 5, 3, 1]
    assert [entity["id"] for entity in from_query(ENTITIES, {"page": "2", "perPage": "2"}, FIELDS)[0]] == [3, 4]
    assert from_query(ENTITIES, {"page": "9", "perPage": "-1"}, FIELDS) == ([], 5)
    for wrong in (
        {"filter": 5},
        {"filter": {"field": [], "operator": "EQUAL"}},
        {"filter": {"field": "id", "operator": []}},
        {"page": True},
        {"sort": [5]},
    ):
        with pytest.raises(QueryError):
            from_body(ENTITIES, wrong, FIELDS)
    filters = quote(json.dumps([{"field": "name", "operator": "LIKE", "parameters": ["check"]}]))
    answer = requests.get(f"{shared.server.url}/v1/feature-flags?filter={filters}", headers=shared.headers, timeout=10)
    assert (answer.headers["X-Total-Count"], answer.json()[0]["featureKey"]) == ("1", "checkout")

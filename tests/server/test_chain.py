"""The whole way on the local server: made through the Automation API, used through the client, read back as visits and results."""

import pytest
import requests

from kameleoon import KameleoonClientConfig, KameleoonClientFactory
from kameleoon.data import CustomData
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer

SITE = "chain00001"


def test_from_a_new_site_to_its_results():
    """Site, goal, custom data, segment and flag are made; the client decides by them and tracks; visits and results have what it did."""
    with LocalServer(parse_project("project: {site_code: other00001}")) as server:
        made = make(server.url)
        config = KameleoonClientConfig("id", "secret", base_url=server.url)
        given = {}
        with KameleoonClientFactory.create(SITE, config) as client:
            assert client.wait_init()
            for number in range(60):
                code = f"visitor{number}"
                if number % 3:
                    client.add_data(code, CustomData(0, "gold"))
                given[code] = client.get_variation(code, "new_checkout").key
                client.track_conversion(code, made["goal"], revenue=number)
            client.flush(timeout=10)
        assert {given[f"visitor{number}"] for number in range(0, 60, 3)} == {"off"}
        drawn = {number: given[f"visitor{number}"] for number in range(60) if number % 3}
        assert {*drawn.values()} == {"off", "on"}

        visit = requests.get(
            f"{server.url}/visit/visitor?siteCode={SITE}&visitorCode=visitor1&maxNumberPreviousVisits=1&currentVisit=true&all=true",
            timeout=10,
        ).json()["currentVisit"]
        assert visit["conversionEvents"][0]["data"]["revenue"] == 1
        assert [event["data"] for event in visit["experimentEvents"]] == [
            {"id": made["experiment"], "variationId": made["variations"][drawn[1]]}
        ]

        told = made["results"](visitor_data=True)
        for key, number in made["variations"].items():
            numbers = [one for one, variation in drawn.items() if variation == key]
            general = told[str(number)]["breakdownData"]["_reference"]["generalData"]
            goal = general["goalsData"][str(made["goal"])]
            assert (general["visitorCount"], general["visitCount"]) == (len(numbers), len(numbers))
            assert (goal["conversionCount"], goal["conversionRate"]) == (len(numbers), 1.0)
            assert goal["revenueCount"] == pytest.approx(sum(numbers))


def make(url):
    """Make all of it, and give the ids; ``results`` asks for the flag's."""
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    token = requests.post(f"{url}/oauth/token", data=form, timeout=10).json()["access_token"]

    def ask(method, path, body=None):
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, url + path, json=body, headers=headers, timeout=10)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    site = ask("POST", "/sites", {"name": "Chain", "url": "https://shop.example", "code": SITE})
    goal = ask("POST", "/goals", {"name": "Paid", "siteId": site["id"], "type": "CUSTOM"})
    ask("POST", "/custom-datas", {"name": "plan", "siteId": site["id"], "method": "SDK"})
    condition = {"targetingType": "CUSTOM_DATUM", "customDataIndex": "0", "valueMatchType": "EXACT", "value": "gold"}
    tree = {"firstLevel": [{"conditions": [condition], "orOperators": []}], "firstLevelOrOperators": []}
    segment = ask("POST", "/segments", {"name": "Gold", "siteId": site["id"], "conditionsData": tree})
    rule = {
        "type": "EXPERIMENTATION",
        "segmentId": segment["id"],
        "trafficAllocations": [{"variationKey": "off", "exposition": 50}, {"variationKey": "on", "exposition": 50}],
    }
    production = {"environmentKey": "production", "featureEnabled": True, "rolloutRules": [rule]}
    flag = ask(
        "POST",
        "/feature-flags",
        {
            "siteCode": SITE,
            "featureKey": "new_checkout",
            "name": "New checkout",
            "environmentConfigurations": [production],
        },
    )
    configured = requests.get(f"{url}/v3/{SITE}", timeout=10).json()["featureFlags"][0]["rules"][0]

    def results(*, visitor_data):
        code = ask("POST", f"/feature-flags/{flag['id']}/results", {"visitorData": visitor_data})["dataCode"]
        return ask("GET", f"/results?dataCode={code}")["data"]["variationData"]

    return {
        "goal": goal["id"],
        "experiment": configured["experimentId"],
        "variations": {one["variationKey"]: one["variationId"] for one in configured["variationByExposition"]},
        "results": results,
    }

"""Several sites in one server: each with configuration, stream, events, results, page and API of its own."""

import json
import threading
import time

import pytest
import requests

from kameleoon.__main__ import main
from kameleoon.server.project_file import parse_project
from kameleoon.server.serve import LocalServer
from kameleoon.server.service import Service
from kameleoon.server.storage import Storage

SHOP = """\
project: {site_code: shop000001, name: Shop, streaming: true}
goals: [{key: purchase, id: 1001}]
flags: {checkout: {rules: [{experiment: [off, on], key: test}]}}
"""
BLOG = """\
project: {site_code: blog000001, name: Blog, streaming: true}
goals: [{key: purchase}]
flags:
  checkout: {rules: [{deliver: on, key: test}]}
  comments: {default: on}
"""
CODES = ("shop000001", "blog000001")


@pytest.fixture
def both():
    """A server of two sites that have a flag key in common."""
    with LocalServer(parse_project(SHOP), parse_project(BLOG)) as server:
        yield server


class Api:
    """A client with a token."""

    def __init__(self, server):
        self.url = server.url
        form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
        token = requests.post(f"{server.url}/oauth/token", data=form, timeout=10).json()["access_token"]
        self.headers = {"Authorization": f"Bearer {token}"}

    def __call__(self, method, path, body=None, status=200):
        """Ask; the answer's JSON, None without a body."""
        answer = requests.request(method, self.url + path, json=body, headers=self.headers, timeout=10)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None


def get(server, path, status=200, **headers):
    """An answer's JSON."""
    answer = requests.get(server.url + path, headers=headers, timeout=10)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_each_site_has_its_own_configuration(both):
    """Flags are given out by site code, in both forms; another site code is refused with those that there are."""
    for form in ("/v3/", "/"):
        assert [flag["featureKey"] for flag in get(both, f"{form}shop000001")["featureFlags"]] == ["checkout"]
        assert len(get(both, f"{form}blog000001")["featureFlags"]) == 2
    assert "'shop000001', 'blog000001'" in get(both, "/v3/none", 404)["message"]


def test_each_site_has_its_own_stream(both):
    """A change of one site is told to its listeners alone."""
    told = {}
    streams = {}
    for code in CODES:
        stream = requests.get(f"{both.url}/sse?siteCode={code}", stream=True, timeout=10)
        lines = stream.iter_lines(chunk_size=1, decode_unicode=True)
        assert next(lines) == ": open"
        streams[code], told[code] = lines, threading.Event()

    def listen(code):
        for line in streams[code]:
            if line.startswith("event"):
                told[code].set()
                return

    threads = [threading.Thread(target=listen, args=(code,), daemon=True) for code in streams]
    for thread in threads:
        thread.start()
    Api(both)("PATCH", "/sites/blog000001", {"name": "Changed"})
    assert told["blog000001"].wait(5)
    assert not told["shop000001"].is_set()
    Api(both)("PATCH", "/sites/shop000001", {"name": "Changed too"})
    assert told["shop000001"].wait(5)


def test_each_site_has_its_own_events_and_results(both):
    """Events count for the site that they were sent with, in results, visits and on the page."""
    rule = get(both, "/v3/shop000001")["featureFlags"][0]["rules"][0]
    line = f"visitorCode=v&nonce={1:016X}&eventType=experiment&id={rule['experimentId']}"
    line += f"&variationId={rule['variationByExposition'][0]['variationId']}"
    requests.post(f"{both.url}/visit/events?siteCode=shop000001", data=line, timeout=10)
    assert both.results().flag("checkout").rule("test").visitors == 1
    assert both.results("blog000001").flag("checkout").rule("test").visitors == 0
    assert get(both, "/results?siteCode=blog000001")["siteCode"] == "blog000001"
    assert get(both, "/visit/visitor?siteCode=blog000001&visitorCode=v&currentVisit=true")["currentVisit"] is None
    pages = {code: requests.get(f"{both.url}/page/live?site={code}", timeout=10).text for code in CODES}
    assert "variationId" in pages["shop000001"]
    assert "variationId" not in pages["blog000001"]


def test_the_page_shows_one_site_and_leads_to_the_others(both):
    """Every page of a site links within it; forms change it and no other; an unknown site is a page that says so."""
    first = requests.get(both.url, timeout=10).text
    assert "events stored of all sites" in first
    assert 'href="/?site=blog000001"' in first
    assert "comments" not in first
    second = requests.get(f"{both.url}/?site=blog000001", timeout=10).text
    assert "comments" in second
    for path in (
        "/",
        "/page/flag?key=comments",
        "/page/visitor",
        "/page/visitor?code=v",
        "/page/live",
        "/page/history",
    ):
        separator = "&" if "?" in path else "?"
        text = requests.get(f"{both.url}{path}{separator}site=blog000001", timeout=10).text
        links = [part.partition('"')[0] for part in text.split('href="/')[1:]]
        assert {link for link in links if "site=" not in link} <= {"page/page.css", ""}, path
    browser = requests.Session()
    page = browser.get(f"{both.url}/page/flag?key=checkout&site=blog000001", timeout=10).text
    secret = page.partition('name="secret" value="')[2].partition('"')[0]
    form = {"secret": secret, "flag": "checkout", "action": "switch", "environment": "production", "on": "false"}
    after = browser.post(f"{both.url}/page/flag", data=form | {"site": "blog000001"}, timeout=10)
    assert "site=blog000001" in after.url
    assert get(both, "/v3/blog000001")["featureFlags"][0]["environmentEnabled"] is False
    assert get(both, "/v3/shop000001")["featureFlags"][0]["environmentEnabled"] is True
    assert browser.post(f"{both.url}/page/flag", data=form | {"site": "none"}, timeout=10).status_code == 404
    unknown = requests.get(f"{both.url}/?site=%3Cscript%3E", timeout=10)
    assert (unknown.status_code, "<script>" in unknown.text) == (404, False)
    assert "turned off" in requests.get(f"{both.url}/page/history?site=blog000001", timeout=10).text
    assert "turned off" not in requests.get(f"{both.url}/page/history", timeout=10).text


def test_ofrep_and_the_project_file_take_a_site_code(both):
    """Both are of the main site unless the query names another."""
    context = {"context": {"targetingKey": "v"}}
    url = f"{both.url}/ofrep/v1/evaluate/flags/comments"
    assert requests.post(url, json=context, timeout=10).status_code == 404
    assert requests.post(f"{url}?siteCode=blog000001", json=context, timeout=10).json()["value"] is True
    assert requests.post(f"{url}?siteCode=none", json=context, timeout=10).status_code == 404
    assert "site_code: shop000001" in requests.get(f"{both.url}/project.yaml", timeout=10).text
    assert "site_code: blog000001" in requests.get(f"{both.url}/project.yaml?siteCode=blog000001", timeout=10).text
    assert get(both, "/health")["siteCodes"] == ["shop000001", "blog000001"]


def test_the_api_lists_and_tells_sites_apart(both):
    """Lists go over all sites and are filtered by site; an id that several sites have needs the site code with it."""
    api = Api(both)
    sites = {site["code"]: site["id"] for site in api("GET", "/sites")}
    assert len(api("GET", "/feature-flags")) == 3
    only = json.dumps([{"field": "siteCode", "operator": "EQUAL", "parameters": ["blog000001"]}])
    assert {flag["siteCode"] for flag in api("GET", f"/feature-flags?filter={only}")} == {"blog000001"}
    shared = api("GET", "/feature-flags/shop000001/checkout")["environmentConfigurations"][0]["rolloutRules"][0]["id"]
    answer = api("PATCH", f"/feature-flags/rules/{shared}", {"exposition": 5}, 400)
    assert "shop000001, blog000001" in answer["errors"][0]["message"]
    api("PATCH", f"/feature-flags/rules/{shared}?siteCode=blog000001", {"exposition": 5})
    assert [get(both, f"/v3/{code}")["featureFlags"][0]["rules"][0]["exposition"] for code in CODES] == [1, 0.05]
    goal = api("POST", "/goals", {"name": "Read", "siteId": sites["blog000001"], "type": "CUSTOM"}, 201)
    other = api("POST", "/goals", {"name": "Read", "siteId": sites["shop000001"], "type": "CUSTOM"}, 201)
    assert goal["id"] != other["id"]
    wrong = {"name": "Read", "siteId": sites["shop000001"], "type": "CUSTOM"}
    assert api("PUT", f"/goals/{goal['id']}", wrong, 400)["errors"][0]["field"] == "siteId"
    flag = {"siteCode": "shop000001", "featureKey": "comments", "name": "Comments"}
    assert api("POST", "/feature-flags", flag, 201)["id"] != api("GET", "/feature-flags/blog000001/comments")["id"]
    assert [one["siteCode"] for one in api("GET", "/environments")] == ["shop000001", "blog000001"]
    assert len(api("GET", "/environments?siteCode=blog000001")) == 1


def test_the_api_makes_sites_that_last(tmp_path):
    """A site made through the API works like a given one, is there at the next start, and is deleted; a given one is not."""
    database = tmp_path / "server.sqlite"
    with LocalServer(parse_project(SHOP), database=database) as server:
        api = Api(server)
        made = api("POST", "/sites", {"name": "New", "url": "https://new.example"}, 201)
        named = api("POST", "/sites", {"name": "Named", "url": "https://n.example", "code": "abcdefghi0"}, 201)
        assert (len(made["code"]), named["code"]) == (10, "abcdefghi0")
        goal = api("POST", "/goals", {"name": "Read", "siteId": made["id"], "type": "CUSTOM"}, 201)
        allocations = [{"variationKey": "off", "exposition": 50}, {"variationKey": "on", "exposition": 50}]
        flag = {
            "siteCode": made["code"],
            "featureKey": "checkout",
            "name": "Checkout",
            "environmentConfigurations": [
                {
                    "environmentKey": "production",
                    "defaultVariationKey": "off",
                    "featureEnabled": True,
                    "rolloutRules": [{"type": "EXPERIMENTATION", "name": "test", "trafficAllocations": allocations}],
                }
            ],
        }
        flag = api("POST", "/feature-flags", flag, 201)
        assert [one["environmentKey"] for one in flag["environmentConfigurations"]] == [
            "production",
            "staging",
            "development",
        ]
        rule = flag["environmentConfigurations"][0]["rolloutRules"][0]
        variation = rule["trafficAllocations"][1]["variationId"]
        lines = [
            f"visitorCode=v&nonce={1:016X}&eventType=experiment&id={rule['experimentId']}&variationId={variation}",
            f"visitorCode=v&nonce={2:016X}&eventType=conversion&goalId={goal['id']}&revenue=5",
        ]
        requests.post(f"{server.url}/visit/events?siteCode={made['code']}", data="\n".join(lines), timeout=10)
        code = api("POST", f"/experiments/{rule['experimentId']}/results", {})["dataCode"]
        results = api("GET", f"/results?dataCode={code}")["data"]["variationData"]
        assert (
            sum(
                variation["breakdownData"]["_reference"]["generalData"]["goalsData"][str(goal["id"])]["revenueCount"]
                for variation in results.values()
            )
            == 5
        )
        api("DELETE", f"/sites/{named['id']}", status=204)
        api("GET", f"/sites/{named['id']}", status=404)
        changed = api("PUT", f"/sites/{made['id']}", {"name": "Newer", "url": "https://new.example"})
        assert changed["name"] == "Newer"
    with LocalServer(parse_project(BLOG), database=database) as server:
        api = Api(server)
        assert {site["code"] for site in api("GET", "/sites")} == {"blog000001", made["code"]}
        assert get(server, f"/v3/{made['code']}")["featureFlags"][0]["id"] == flag["id"]
        assert server.results(made["code"]).flag("checkout").rule("test").visitors == 1


def test_what_is_made_has_ids_that_no_other_site_has():
    """The id of an equal key in another site is not taken again, for flags, rules, experiments and variations."""
    service = Service([parse_project(SHOP), parse_project("project: {site_code: other00001}")], Storage())
    other = service.sites[1]
    service.change(other, lambda project: parse_project(SHOP.replace("shop000001", project.site_code)), author="API")
    kept = other.published.project
    new = {number for _, _, number in kept.numbered()}
    assert new.isdisjoint(number for _, _, number in service.main.published.project.numbered())
    assert [flag.key for flag in kept.flags] == ["checkout"]
    service.change(other, lambda project: project, author="API")
    assert other.published.project == kept
    service.close()


def test_files_of_one_site_code_are_refused(tmp_path, capsys):
    """Two project files with one site code cannot be served together; the message names both."""
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(SHOP, encoding="utf-8")
    assert main(["serve", "--port", "0", *map(str, paths)]) == 2
    error = capsys.readouterr().err
    assert str(paths[0]) in error
    assert str(paths[1]) in error
    with pytest.raises(ValueError, match="site code"), LocalServer(parse_project(SHOP), parse_project(SHOP)):
        pass


def test_a_database_of_several_sites_is_exported_by_site_code(tmp_path, capsys):
    """Without the site code the export says which there are."""
    database = tmp_path / "server.sqlite"
    with LocalServer(parse_project(SHOP), parse_project(BLOG), database=database) as server:
        assert main(["export", "--url", server.url, "--site", "blog000001"]) == 0
        assert main(["export", "--url", server.url, "--site", "none"]) == 2
    told = capsys.readouterr()
    assert parse_project(told.out).name == "Blog"
    assert "no site 'none'" in told.err
    assert main(["export", "--database", str(database)]) == 2
    assert "blog000001, shop000001" in capsys.readouterr().err
    assert main(["export", "--database", str(database), "--site", "shop000001"]) == 0
    assert parse_project(capsys.readouterr().out) == parse_project(SHOP)


def test_strictness_refuses_unknown_sites_and_bots():
    """A strict server answers 403 to other site codes and to bots on every path of the Data API; else both are taken."""
    line = f"visitorCode=v&nonce={1:016X}&eventType=activity"
    for is_strict, status in ((True, 403), (False, 204)):
        with LocalServer(parse_project(SHOP), strict=is_strict) as server:
            for query, headers, body in (
                ("siteCode=other", {}, line),
                ("siteCode=shop000001", {"User-Agent": "Googlebot"}, line),
                ("siteCode=shop000001&bodyUa=true", {}, line + "&userAgent=curl%2F8.0"),
            ):
                url = f"{server.url}/visit/events?{query}"
                assert requests.post(url, data=body, headers=headers, timeout=10).status_code == status, query
            for path in ("/visit/visitor?visitorCode=v&", "/map/map?key=k&", "/product/productData?eans=[]&"):
                answer = requests.get(f"{server.url}{path}siteCode=other", timeout=10)
                assert answer.status_code == (403 if is_strict else 200), path
            good = f"{server.url}/visit/events?siteCode=shop000001&bodyUa=true"
            headers = {"User-Agent": "Googlebot"}
            assert requests.post(good, data=line + "&userAgent=Shop", headers=headers, timeout=10).status_code == 204


def test_each_file_is_read_again(tmp_path):
    """A saved file changes its own site; one that takes another site's code is not used, and only its site's page says so."""
    paths = [tmp_path / "shop.yaml", tmp_path / "blog.yaml"]
    for path, text in zip(paths, (SHOP, BLOG), strict=True):
        path.write_text(text, encoding="utf-8")
    with LocalServer(*paths, watch_file=True) as server:
        paths[1].write_text(BLOG.replace("name: Blog", "name: Journal"), encoding="utf-8")
        assert comes_true(lambda: "Journal" in requests.get(f"{server.url}/?site=blog000001", timeout=10).text)
        paths[1].write_text(BLOG.replace("blog000001", "shop000001"), encoding="utf-8")
        assert comes_true(lambda: "another site" in requests.get(f"{server.url}/?site=blog000001", timeout=10).text)
        assert "another site" not in requests.get(server.url, timeout=10).text
        assert len(get(server, "/v3/shop000001")["featureFlags"]) == 1


def comes_true(condition):
    """Whether *condition* comes true in time."""
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return condition()

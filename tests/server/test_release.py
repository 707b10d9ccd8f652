"""Windows of rules: read, written, given out while they are open, and told to streams when they open or close."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice

import pytest
import requests
from clocks import Clock
from hypothesis import given
from hypothesis import strategies as st

from kameleoon.server.differences import differences
from kameleoon.server.pages_layout import rule_sentence
from kameleoon.server.project_file import ProjectError, parse_project
from kameleoon.server.project_out import write_project
from kameleoon.server.release import Release, moment_text, read_moment
from kameleoon.server.serve import LocalServer
from kameleoon.server.service import Service
from kameleoon.server.site import Site
from kameleoon.server.storage import Storage

PROJECT = """\
project: {site_code: shop123456, streaming: true}
flags:
  sale:
    rules:
      - deliver: on
        key: winter
        id: 11
        release: {from: 2026-12-01 09:00, to: 2026-12-24, zone: Europe/Paris}
      - {deliver: off, key: always, id: 12}
"""
OPENS_S, CLOSES_S = (datetime(2026, *day, tzinfo=UTC).timestamp() for day in ((12, 1, 8), (12, 23, 23)))
RELEASE = {"releaseFrom": "2026-12-01T09:00:00", "releaseTo": "2026-12-24T00:00:00", "timeZone": "Europe/Paris"}
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(timezones=st.none() | OFFSETS)


def with_release(written):
    """The project with another window."""
    return PROJECT.replace("{from: 2026-12-01 09:00, to: 2026-12-24, zone: Europe/Paris}", written)


def window(written):
    """The window of the first rule."""
    return parse_project(with_release(written)).flags[0].rules[0].release


@pytest.fixture
def clock():
    """Stands an hour before the window opens."""
    return Clock(OPENS_S - 3600)


@pytest.fixture
def server(clock, monkeypatch):
    """A server over the project above with that clock."""
    service_of = Service.__init__

    def timed(self, *arguments, **named):
        service_of(self, *arguments, **named, now_s=clock)

    monkeypatch.setattr(Service, "__init__", timed)
    with LocalServer(parse_project(PROJECT)) as server:
        yield server


def configured(server, **headers):
    """The answer with the configuration, and the ids of its rules."""
    answer = requests.get(f"{server.url}/v3/shop123456", headers=headers, timeout=10)
    return answer, [rule["id"] for rule in answer.json()["featureFlags"][0]["rules"]] if answer.content else None


@pytest.fixture
def api(server):
    """Asks the Automation API; gives the answer's JSON."""
    form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
    token = requests.post(f"{server.url}/oauth/token", data=form, timeout=10).json()["access_token"]

    def ask(method, path, body=None, status=200):
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, server.url + path, json=body, headers=headers, timeout=10)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def rules(flag):
    """The rules of a flag of the API."""
    return flag["environmentConfigurations"][0]["rolloutRules"]


@pytest.mark.parametrize(
    ("written", "edges_s"),
    [
        ("{from: 2026-12-01 09:00, to: 2026-12-24, zone: Europe/Paris}", (OPENS_S, CLOSES_S)),
        ("{from: '2026-12-01T08:00:00.000Z'}", (OPENS_S,)),
        ("{to: '2026-12-24 00:00+01:00', zone: Asia/Tokyo}", (CLOSES_S,)),
        ("{from: 2026-12-01 08:00, to: 2026-12-23 23:00}", (OPENS_S, CLOSES_S)),
        ("{from: 2026-10-25 02:30, zone: Europe/Paris}", (datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp(),)),
    ],
)
def test_a_window_is_one_of_its_zones_clocks(written, edges_s):
    """Times are those of the zone's clocks, the first of two alike; by default of UTC; and one with an offset is that moment."""
    assert window(written).edges_ms == tuple(edge * 1000 for edge in edges_s)


@pytest.mark.parametrize(
    ("written", "key", "message"),
    [
        ("{}", "", "expected from, to or both"),
        (
            "always",
            "",
            "'always' is not understood, expected a window such as {from: 2026-12-01 09:00, to: 2026-12-24}",
        ),
        ("{form: 2026-12-01, to: 2026-12-24}", ".form", "unknown key; did you mean 'from'?"),
        ("{from: soon}", ".from", "'soon' is not understood, expected a date, or date and time, such as 2026-12-01"),
        ("{from: 2026-02-30}", ".from", "'2026-02-30' is not understood, expected a date"),
        ("{from: [1]}", ".from", "this is a list, expected a date"),
        ("{to: 20261201}", ".to", "'20261201' is not understood, expected a date"),
        (
            "{to: 2026-12-01, zone: Paris}",
            ".zone",
            "there is no time zone 'Paris', expected the name of a time zone such as",
        ),
        ("{to: 2026-12-01, zone: ../passwd}", ".zone", "there is no time zone '../passwd'"),
        ("{to: 2026-12-01, zone: Europe}", ".zone", "there is no time zone 'Europe'"),
        ("{from: 2026-12-02, to: 2026-12-02}", ".to", "expected a time after 2026-12-02"),
        ("{from: 2026-12-01 10:00, to: '2026-12-01 09:30Z', zone: Europe/Paris}", None, None),
        ("{from: 2026-12-01 10:30, to: '2026-12-01 09:30Z', zone: Europe/Paris}", ".to", "expected a time after"),
    ],
)
def test_a_window_that_makes_no_sense_is_named_with_its_place(written, key, message):
    """What is wrong with a window is reported with file, line, key and what was expected."""
    if message is None:
        parse_project(with_release(written))
        return
    with pytest.raises(ProjectError) as refused:
        parse_project(with_release(written), source="shop.yaml")
    (problem,) = refused.value.problems
    assert str(problem).startswith("shop.yaml:8:")
    assert problem.path == f"flags.sale.rules[0].release{key}"
    assert message in problem.message


@pytest.mark.parametrize(
    "written",
    [
        '{from: "2026-12-01 09:00", to: "2026-12-24 00:00", zone: Europe/Paris}',
        '{to: "2026-12-24 00:00:30"}',
        '{from: "2026-12-01 09:00+05:30"}',
        '{from: "2026-12-01 09:00Z", zone: Asia/Tokyo}',
    ],
)
def test_an_export_keeps_a_window(written):
    """A window is written as it is read back, in one form only, on a line of its own."""
    project = parse_project(with_release(written))
    exported = write_project(project)
    assert f"        release: {written}\n" in exported
    assert parse_project(exported) == project


@given(MOMENTS, st.sampled_from(" T"))
def test_a_moment_reads_back(moment, separator):
    """Whatever moment a calendar has is read back as it was, with its offset or without."""
    read = read_moment(moment_text(moment, separator))
    assert (read, read.utcoffset()) == (moment, moment.utcoffset())


def test_a_rule_is_given_out_in_its_window_only(server, clock):
    """The configuration has a rule from the moment it opens until it closes, and is another one by its date each time."""
    seen = []
    for now_s in (OPENS_S - 0.001, OPENS_S, OPENS_S + 1, CLOSES_S - 0.001, CLOSES_S):
        clock.now = now_s
        answer, ids = configured(server)
        seen.append((ids, answer.json()["dateModified"]))
        assert configured(server, **{"If-Modified-Since": answer.headers["Last-Modified"]})[0].status_code == 304
    assert [ids for ids, _ in seen] == [[12], [11, 12], [11, 12], [11, 12], [12]]
    assert [modified for _, modified in seen[1:]] == [OPENS_S * 1000] * 3 + [CLOSES_S * 1000]
    assert seen[0][1] < OPENS_S * 1000


def test_an_edge_and_a_change_in_one_second_are_two_versions(clock):
    """Each publication has a second of its own; what is changed after an edge keeps what the edge made."""
    clock.now = OPENS_S - 0.5
    storage = Storage()
    site = Site(parse_project(PROJECT), storage, now_s=clock)
    site.publish(parse_project(PROJECT.replace("site_code", "name: x, site_code")))
    dates = [site.published.modified_s]
    clock.now = OPENS_S
    assert site.edge_in_s() == CLOSES_S - OPENS_S
    dates.append(site.published.modified_s)
    site.publish(parse_project(PROJECT))
    dates.append(site.published.modified_s)
    assert dates == sorted(set(dates))
    assert site.published.at_ms == OPENS_S * 1000
    site.publish(parse_project(PROJECT.replace("key: winter", "key: winter\n        paused: true")))
    assert site.published.until_ms is None
    storage.close()


def test_a_window_that_opens_is_told_by_itself(server):
    """Nobody asks and nothing is changed: at the edge the stream has its event, and the configuration is new by then."""
    asked = []
    begun = datetime.now(UTC).timestamp()

    def running():
        asked.append(now_s := OPENS_S - 0.2 + datetime.now(UTC).timestamp() - begun)
        return now_s

    for site in server._running().sites:
        site._now_s = running
    with requests.get(f"{server.url}/sse?siteCode=shop123456", stream=True, timeout=10) as answer:
        told = islice(answer.iter_lines(chunk_size=1, decode_unicode=True), 50)
        lines = (line for line in told if line and line[0] != ":")
        assert next(lines) == "event: configuration-update-event"
        assert OPENS_S <= running() < OPENS_S + 1
        assert next(lines).startswith(f'data: {{"ts": {int(OPENS_S)}')
    assert configured(server)[1] == [11, 12]
    assert len(asked) < 50, "it waits for the edge and does not look again and again"


def test_ofrep_and_the_page_follow_the_window(server, clock):
    """OFREP and the explanation of the page decide by the same configuration, and the page says what is with the window."""
    path = f"{server.url}/ofrep/v1/evaluate/flags/sale"
    for now_s, variant, state in ((OPENS_S - 1, "off", "not yet"), (OPENS_S, "on", None), (CLOSES_S, "off", "over")):
        clock.now = now_s
        answer = requests.post(path, json={"context": {"targetingKey": "v"}}, timeout=10).json()
        assert answer["variant"] == variant
        explained = requests.get(f"{server.url}/page/visitor?code=v&flag=sale", timeout=10).text
        assert ("rule winter" in explained) is (variant == "on")
        overview = requests.get(server.url, timeout=10).text
        assert f"winter</span> 100%{f' ({state})' if state else ''}<" in overview
        flag = requests.get(f"{server.url}/page/flag?key=sale", timeout=10).text
        assert f'<span class="state{"" if state else " on"}">{state or "active"}</span>' in flag
        words = "Gives on, for all visitors, from 2026-12-01 09:00 to 2026-12-24 00:00 (Europe/Paris)."
        assert words in flag


@pytest.mark.parametrize(
    ("written", "words"),
    [("{from: 2026-12-01}", "from 2026-12-01 00:00 (UTC)"), ("{to: 2026-12-01}", "until 2026-12-01 00:00 (UTC)")],
)
def test_a_window_with_one_end_in_words(written, words):
    """A window without a beginning or an end is said so, in the rule's sentence and in the history."""
    project = parse_project(with_release(written))
    assert rule_sentence(project, project.flags[0].rules[0]) == f"Gives on, for all visitors, {words}."
    always = parse_project("\n".join(line for line in PROJECT.splitlines() if "release" not in line))
    assert differences(always, project) == [("sale", f"rule winter: always → {words}")]


def test_the_api_keeps_changes_and_clears_a_window(server, api):
    """A rule of the API has its window until another is given or null; other changes and a replacement by id leave it."""
    flag = api("GET", "/feature-flags/shop123456/sale")
    assert [rule["release"] for rule in rules(flag)] == [RELEASE, None]
    kept = {name: value for name, value in rules(flag)[0].items() if name != "release"} | {"exposition": 50}
    body = {"featureKey": "sale", "rolloutRules": [kept]}
    flag = api("PATCH", "/feature-flags/shop123456/sale/production", body)
    assert rules(flag)[0]["release"] == RELEASE
    other = {"releaseFrom": "2026-11-30T08:00:00Z", "releaseTo": None, "timeZone": "America/New_York"}
    api("PATCH", "/feature-flags/rules/11", {"release": other})
    assert rules(api("GET", "/feature-flags/shop123456/sale"))[0]["release"] == other
    assert configured(server)[1] == [11]
    assert "2026-11-30 08:00Z" in server._running().storage.kept("shop123456", "project")
    copy = api("POST", "/feature-flags/shop123456/sale/duplicate", {"featureKey": "copy"}, 201)
    assert rules(copy)[0]["release"] == other
    api("PATCH", "/feature-flags/rules/11", {"release": {"releaseTo": "2026-11-30"}})
    assert configured(server)[1] == []
    api("PATCH", "/feature-flags/rules/11", {"release": None})
    assert rules(api("GET", "/feature-flags/shop123456/sale"))[0]["release"] is None
    assert configured(server)[1] == [11]
    assert server.project.flags[0].rules[0].release is None


@pytest.mark.parametrize(
    ("release", "field", "message"),
    [
        ("2026", "release", "expected {releaseFrom, releaseTo, timeZone}, or null for always"),
        ({}, "release", "expected releaseFrom, releaseTo or both, or null for always"),
        ({"releaseFrom": 5}, "release.releaseFrom", "'5' is not understood, expected a date, or date and time"),
        ({"releaseTo": "2026-13-01"}, "release.releaseTo", "'2026-13-01' is not understood, expected a date"),
        (
            RELEASE | {"timeZone": "Moon/Base"},
            "release.timeZone",
            "there is no time zone 'Moon/Base', expected the name",
        ),
        (RELEASE | {"timeZone": 1}, "release.timeZone", "there is no time zone '1', expected the name"),
        (RELEASE | {"releaseTo": "2026-12-01"}, "release.releaseTo", "expected a time after releaseFrom"),
    ],
)
def test_the_api_refuses_what_is_no_window(server, api, release, field, message):
    """A window that makes no sense is a 400 that names the field and what was expected; nothing changes."""
    before = server.project
    (error,) = api("PATCH", "/feature-flags/rules/11", {"release": release}, 400)["errors"]
    assert error["field"] == field
    assert error["message"].startswith(message)
    assert server.project == before


def test_a_window_knows_its_bounds():
    """A window without ends, or one that closes no later than it opens, cannot be made."""
    day = datetime(2026, 1, 1, tzinfo=UTC)
    for ends in ((None, None), (day, day), (day + timedelta(1), day)):
        with pytest.raises(ValueError, match="a window"):
            Release(*ends)

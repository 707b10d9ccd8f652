"""Results of visits, as they are asked for through the Automation API: which visit and variation a conversion belongs to."""

import sqlite3
import threading
import time

import pytest
import requests
from scipy.stats import chi2_contingency

from kameleoon.server.automation_fields import FieldError
from kameleoon.server.lines import Conversion, Exposure, parse_lines
from kameleoon.server.project_file import parse_project
from kameleoon.server.project_out import write_project
from kameleoon.server.serve import LocalServer
from kameleoon.server.storage import Storage
from kameleoon.server.visit_results import Asked, VisitResults, read_asked

PROJECT = parse_project("""\
project: {site_code: local00001}
goals: [{key: purchase, id: 5}, {key: click, id: 6, multiple: true}]
flags:
  checkout:
    id: 1
    rules:
      - {experiment: [off, on], key: test, experiment_id: 7, variation_ids: {off: 70, on: 71}}
      - {deliver: on, key: rest, experiment_id: 8, variation_ids: {on: 81}}
""")
HOUR = 3_600_000
OFF, ON, REST = Exposure(7, 70), Exposure(7, 71), Exposure(8, 81)


def told(visitors, asked=None, experiments=(7,)):
    """General data by variation id, after these visitors were counted, each a list of ``(time in ms, fact)``."""
    results = VisitResults(PROJECT, frozenset(experiments), asked or Asked())
    for events in visitors:
        results.add(events)
    answer = results.as_json()
    assert answer["status"] == "READY"
    variations = answer["data"]["variationData"]
    return {int(number): data["breakdownData"]["_reference"]["generalData"] for number, data in variations.items()}


def goal(general, number=5):
    """``(conversions, converted visits, revenue)`` of a goal."""
    data = general["goalsData"][str(number)]
    return data["conversionCount"], data["convertedVisitCount"], data["revenueCount"]


def counts(general):
    """``(visits, visitors)``."""
    return general["visitCount"], general["visitorCount"]


def test_a_visit_belongs_to_the_last_variation_seen_in_it():
    """Visits end after half an hour without an event of any kind; a visitor counts once for each variation."""
    found = told(
        [
            [(0, OFF), (1, ON), (2, None)],
            [(0, ON), (HOUR, ON), (HOUR + 1, REST), (2 * HOUR, None)],
            [(0, ON), (HOUR // 2 - 1, None), (HOUR - 2, ON)],
            [(0, None), (1, Conversion(5, 9.0))],
        ]
    )
    assert {number: counts(general) for number, general in found.items()} == {70: (0, 0), 71: (4, 3)}
    assert counts(told([[(0, REST)]], experiments=(7, 8))[81]) == (1, 1)


def test_a_conversion_belongs_to_the_exposure_before_it():
    """Not one from before the exposure; of several variations to the one seen last; in a later visit to the visit of the exposure."""
    found = told(
        [
            [(0, Conversion(5, 1.0)), (1, ON), (2, Conversion(5, 2.0))],
            [(0, OFF), (1, Conversion(5, 4.0)), (2, ON)],
            [(0, ON), (5 * HOUR, Conversion(5, 8.0))],
            [(0, REST), (1, Conversion(5, 16.0))],
        ]
    )
    assert (goal(found[70]), goal(found[71])) == ((1, 1, 4.0), (2, 2, 10.0))


def test_one_conversion_of_a_visit_counts_unless_the_goal_has_many():
    """Of a goal without `multiple` the first of a visit is kept, with its revenue; what a negative one takes back counts too."""
    events = [(0, ON), (HOUR, ON)]
    for number in (5, 6):
        events += [(1, Conversion(number, 10.0)), (2, Conversion(number, -4.0)), (HOUR + 1, Conversion(number, 1.0))]
    found = told([sorted(events, key=lambda event: event[0])])
    assert (goal(found[71], 5), goal(found[71], 6)) == ((2, 2, 11.0), (3, 2, 7.0))
    assert found[71]["goalsData"]["6"]["averageCart"] == pytest.approx(7 / 3)
    assert found[71]["goalsData"]["6"]["conversionRate"] == 1.5
    one = told([sorted(events, key=lambda event: event[0])], Asked(all_conversions=False))
    assert one[71]["goalsData"]["6"]["conversionRate"] == 1.0


def test_intervals_choose_visits_by_their_exposure():
    """A visit counts if its exposure is inside an interval, both ends included; its conversions with it, whenever they came."""
    asked = read_asked(
        {
            "dateIntervals": [
                {"start": "1970-01-01T00:00:10Z", "end": "1970-01-01T00:00:20"},
                {"start": "1970-01-01T01:00:00+01:00", "end": "1970-01-01T00:00:01Z"},
            ]
        }
    )
    assert asked.intervals == ((10_000, 20_000), (0, 1000))
    visitors = [[(at, ON), (at + 60_000, Conversion(5, 1.0))] for at in (0, 1000, 1001, 9_999, 10_000, 20_000, 20_001)]
    found = told(visitors, asked)
    assert (counts(found[71]), goal(found[71])) == ((4, 4), (4, 4, 4.0))


def test_times_without_a_zone_are_utc(monkeypatch):
    """Wherever the server stands."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        asked = read_asked({"dateIntervals": [{"start": "1970-01-01", "end": "1970-01-02T00:00:00"}]})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert asked.intervals == ((0, 86_400_000),)


def test_rates_are_compared_with_the_reference():
    """Rates are of visits or of visitors; the change is against the rule's reference or the one that is named, its reliability 1 - p."""
    visitors = [[(0, OFF), *([(1, Conversion(5, 1.0))] if n < 30 else [])] for n in range(100)]
    visitors += [[(0, ON), (HOUR, ON), *([(HOUR, Conversion(5, 2.0))] if n < 45 else [])] for n in range(90)]
    found = told(visitors)
    off, on = (found[number]["goalsData"]["5"] for number in (70, 71))
    assert (off["conversionRate"], off["improvementRate"], off["reliability"]) == (0.3, 0.0, 0.0)
    assert (on["conversionRate"], on["improvementRate"]) == (0.25, pytest.approx(-1 / 6))
    p_value = chi2_contingency([[45, 135], [30, 70]], correction=False).pvalue
    assert on["reliability"] == pytest.approx(1 - p_value)
    by_visitor = told(visitors, Asked(by_visitor=True))[71]["goalsData"]["5"]
    assert (by_visitor["conversionRate"], by_visitor["improvementRate"]) == (0.5, pytest.approx(2 / 3))
    p_value = chi2_contingency([[45, 45], [30, 70]], correction=False).pvalue
    assert by_visitor["reliability"] == pytest.approx(1 - p_value)
    other = told(visitors, Asked(reference="71"))
    assert other[71]["goalsData"]["5"]["reliability"] == 0.0
    assert other[70]["goalsData"]["5"]["improvementRate"] == pytest.approx(0.2)
    nothing = told([[(0, ON), (1, Conversion(5, 1.0))]])[71]["goalsData"]["5"]
    assert (nothing["improvementRate"], nothing["reliability"]) == (None, 0.0)
    assert list(told([], Asked(goals=frozenset({6})))[70]["goalsData"]) == ["6"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"conversionType": "SOME"}, "conversionType"),
        ({"goalsIds": 5}, "goalsIds"),
        ({"goalsIds": ["5"]}, "goalsIds"),
        ({"visitorData": "yes"}, "visitorData"),
        ({"dateIntervals": 5}, "dateIntervals"),
        ({"dateIntervals": [{"start": "2026-01-01"}]}, "dateIntervals"),
        ({"dateIntervals": [{"start": "today", "end": "2026-01-01"}]}, "dateIntervals"),
        ({"dateIntervals": [{"start": 5, "end": "2026-01-01"}]}, "dateIntervals"),
    ],
)
def test_what_makes_no_sense_is_refused(body, field):
    """A field that cannot be read is named."""
    with pytest.raises(FieldError) as refused:
        read_asked(body)
    assert refused.value.field == field


def test_a_body_is_read():
    """Each field of a request says what is wanted."""
    body = {"conversionType": "CONVERTED_VISITS", "visitorData": True, "goalsIds": [5], "referenceVariationId": 71}
    assert read_asked(body) == Asked((), False, True, frozenset({5}), "71")
    assert read_asked({"goalsIds": [], "dateIntervals": []}) == Asked()


def test_visitors_are_read_some_at_a_time():
    """Every exposed visitor of the site comes once, with events in the order of time, exposures of a moment first, and none of bots."""
    storage = Storage()
    lines = [
        f"nonce={number:016X}&visitorCode={line}"
        for number, line in enumerate(
            [
                "a&time=5&eventType=conversion&goalId=5&revenue=1",
                "a&time=5&eventType=experiment&id=7&variationId=71",
                "a&time=2&eventType=page&href=u",
                "b&time=1&eventType=experiment&id=8&variationId=81",
                "bot&time=1&eventType=experiment&id=7&variationId=71&userAgent=curl%2F8.0",
                "c&time=1&eventType=experiment&id=7&variationId=70",
                "d&time=1&eventType=experiment&id=7&variationId=70",
                "e&time=1&eventType=activity",
            ]
        )
    ]
    storage.add("s", parse_lines("\n".join(lines)))
    storage.add("other", parse_lines(lines[1]))
    bot = f"nonce={99:016X}&visitorCode=c&time=9&eventType=experiment&id=7&variationId=71&userAgent=curl%2F8.0"
    storage.add("s", parse_lines(bot))
    found, after, calls = [], 0, 0
    while after is not None:
        after, visitors = storage.exposed_visitors("s", [7], after=after, most=2)
        found += visitors
        calls += 1
    assert calls == 2
    assert found == [[(2, None), (5, ON), (5, Conversion(5, 1.0))], [(1, OFF)], [(1, OFF)]]
    assert storage.exposed_visitors("s", [7, 8], after=0)[0] is None
    assert len(storage.exposed_visitors("s", [7, 8], after=0)[1]) == 4
    storage.close()


@pytest.fixture
def api():
    """Asks a server over the project above."""
    with LocalServer(PROJECT) as server, requests.Session() as session:
        form = {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}
        token = session.post(f"{server.url}/oauth/token", data=form, timeout=10).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"

        def ask(method, path, body=None):
            return session.request(method, server.url + path, json=body, timeout=10).json()

        ask.server = server
        yield ask


def test_results_wait_until_all_is_counted(api, monkeypatch):
    """While visitors are counted the answer is WAITING, and events are still taken; what arrives later does not count."""
    monkeypatch.setattr("kameleoon.server.http_asked_results._WAIT_S", 0.01)
    url = f"{api.server.url}/visit/events?siteCode=local00001"
    line = "eventType=experiment&id=7&variationId=71&visitorCode="
    assert requests.post(url, data=f"nonce={1:016X}&{line}a", timeout=10).status_code == 204
    storage, goes_on = api.server._running().storage, threading.Event()
    as_it_is = storage.exposed_visitors

    def slow(*arguments, **named):
        goes_on.wait(10)
        return as_it_is(*arguments, **named)

    monkeypatch.setattr(storage, "exposed_visitors", slow)
    code = api("POST", "/feature-flags/1/results", {})["dataCode"]
    assert api("GET", f"/results?dataCode={code}") == {"status": "WAITING"}
    goes_on.set()
    monkeypatch.setattr("kameleoon.server.http_asked_results._WAIT_S", 10)
    data = api("GET", f"/results?dataCode={code}")["data"]["variationData"]
    assert data["71"]["breakdownData"]["_reference"]["generalData"]["visitCount"] == 1
    assert set(data) == {"70", "71", "81"}
    requests.post(url, data=f"nonce={2:016X}&{line}b", timeout=10)
    assert api("GET", f"/results?dataCode={code}")["data"]["variationData"] == data
    code = api("POST", "/experiments/7/results", {})["dataCode"]
    data = api("GET", f"/results?dataCode={code}")["data"]["variationData"]
    assert data["71"]["breakdownData"]["_reference"]["generalData"]["visitCount"] == 2
    assert set(data) == {"70", "71"}


def test_results_that_cannot_be_counted(api, monkeypatch, caplog):
    """A database that cannot be read makes the answer ERROR; a server that ends meanwhile ends."""

    def broken(*_, **__):
        raise sqlite3.DatabaseError("disk image is malformed")

    monkeypatch.setattr(api.server._running().storage, "exposed_visitors", broken)
    code = api("POST", "/feature-flags/1/results", {})["dataCode"]
    assert api("GET", f"/results?dataCode={code}") == {"status": "ERROR"}
    assert "results could not be counted" in caplog.text
    goes_on = threading.Event()
    monkeypatch.setattr(
        api.server._running().storage, "exposed_visitors", lambda *_, **__: goes_on.wait(0.2) or (1, [])
    )
    api("POST", "/feature-flags/1/results", {})


def test_goals_say_what_counts(api):
    """`hasMultipleConversions` is told, set, kept and written to the project file."""
    assert [one["hasMultipleConversions"] for one in api("GET", "/goals")] == [False, True]
    assert api("PATCH", "/goals/5", {"hasMultipleConversions": True})["hasMultipleConversions"] is True
    assert api("PATCH", "/goals/5", {"name": "Paid"})["hasMultipleConversions"] is True
    assert api("PATCH", "/goals/6", {"hasMultipleConversions": False})["hasMultipleConversions"] is False
    assert api("PATCH", "/goals/6", {"hasMultipleConversions": 1})["errors"][0]["field"] == "hasMultipleConversions"
    written = write_project(api.server.project)
    assert "- {key: purchase, id: 5, name: Paid, multiple: true}\n  - {key: click, id: 6}\n" in written
    assert parse_project(written) == api.server.project

"""What the service tells of a visitor, merged into what is known here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._visitor.facts import Told
from kameleoon._visitor.record import Visitor, VisitorRecord
from kameleoon._visitor.remote import read_remote_visitor
from kameleoon.data import Browser, BrowserType, Conversion, Device, DeviceType, OperatingSystemType, PageView
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

EVERYTHING = RemoteVisitorDataFilter(
    page_views=True, device=True, browser=True, operating_system=True, conversions=True, geolocation=True
)
URLS = ["https://e.com/a", "https://e.com/b", "https://e.com/c"]

pages = st.lists(
    st.builds(
        lambda time, url: {"time": time, "data": {"href": url}},
        st.none() | st.integers(0, 9),
        st.sampled_from(URLS),
    ),
    max_size=6,
)
conversions = st.lists(
    st.builds(
        lambda time, goal: {"time": time, "data": {"goalId": goal, "revenue": 1.5}},
        st.none() | st.integers(0, 3),
        st.integers(1, 2),
    ),
    max_size=6,
)


def answer(pages, conversions):
    """Make an answer of the service."""
    return {"currentVisit": {"timeStarted": 5, "pageEvents": pages, "conversionEvents": conversions}}


def take(visitor, root, now_ms):
    """Merge one answer into *visitor*."""
    read_remote_visitor(root, EVERYTHING, frozenset(), now_ms).fact.apply(visitor)


def counts(visitor):
    """Views by URL, and the number of conversions."""
    record = visitor.record
    return {url: page.views for url, page in record.page_views.items()}, len(record.conversions)


@given(pages, conversions, st.lists(st.sampled_from(URLS), max_size=4))
def test_the_same_answer_counts_once(pages, conversions, seen_here):
    """Fetched three times, an answer changes counts as if it had been fetched once; views and conversions here are added."""
    once, thrice = (Visitor(VisitorRecord(0), 0.0) for _ in range(2))
    for visitor in (once, thrice):
        for url in seen_here:
            Told(PageView(url, None), 20).apply(visitor)
        Told(Conversion(1, 1.5), 1_000).apply(visitor)
    root = answer(pages, conversions)
    take(once, root, 2_000)
    for now_ms in (2_000, 3_000, 4_000):
        take(thrice, root, now_ms)
    assert counts(thrice) == counts(once)
    for url in URLS:
        expected = seen_here.count(url) + sum(event["data"]["href"] == url for event in pages)
        assert counts(once)[0].get(url, 0) == expected
    assert counts(once)[1] == 1 + len(conversions)


@given(pages, conversions, pages, conversions)
def test_a_later_answer_adds_what_is_new(pages, conversions, more_pages, more_conversions):
    """An answer that grew brings the difference, and a view in between stays counted."""
    visitor = Visitor(VisitorRecord(0), 0.0)
    take(visitor, answer(pages, conversions), 2_000)
    Told(PageView(URLS[0], None), 20).apply(visitor)
    take(visitor, answer(pages + more_pages, conversions + more_conversions), 3_000)
    views, number = counts(visitor)
    for url in URLS:
        remote = sum(event["data"]["href"] == url for event in pages + more_pages)
        assert views.get(url, 0) == remote + (url == URLS[0])
    assert number == len(conversions) + len(more_conversions)


def test_a_narrower_answer_takes_nothing_back():
    """A second fetch with fewer visits leaves the counts as they are, and a third with all of them too."""
    visitor = Visitor(VisitorRecord(0), 0.0)
    whole = answer([{"time": 1, "data": {"href": URLS[0]}}] * 3, [])
    narrow = answer([{"time": 1, "data": {"href": URLS[0]}}], [])
    for root in (whole, narrow, whole):
        take(visitor, root, 9)
        assert counts(visitor) == ({URLS[0]: 3}, 0)


def test_a_name_nobody_knows_costs_only_its_field():
    """An unknown device, a missing browser name and a broken event are skipped; all else is used."""
    root = {
        "currentVisit": {
            "staticDataEvent": {"data": {"deviceType": "WATCH", "browserVersion": 3, "os": "LINUX"}},
            "conversionEvents": [{"data": {"revenue": 3}}, {"data": {"goalId": 4}}, 7],
            "customDataEvents": [
                {"data": {"index": "x", "valuesCountMap": {}}},
                {"data": {"valuesCountMap": {"a": 1}}},
            ],
            "geolocationEvents": [{"data": {"region": "IDF"}}],
        },
        "previousVisits": [{"staticDataEvent": {"data": {"browser": "NETSCAPE", "deviceType": "TABLET"}}}, None],
    }
    found = read_remote_visitor(root, EVERYTHING, frozenset(), 9)
    assert found.fact.device == Device(DeviceType.TABLET)
    assert found.fact.browser is None
    assert found.fact.operating_system.os_type is OperatingSystemType.LINUX
    assert [converted.conversion.goal_id for converted in found.fact.conversions] == [4]
    assert [datum.values for datum in found.fact.custom_data] == [("a",)]
    assert found.fact.geolocation is None


def test_a_version_that_is_no_number_costs_only_the_version():
    """The browser is known although its version makes no sense."""
    root = {"currentVisit": {"staticDataEvent": {"data": {"browser": "SAFARI", "browserVersion": "new"}}}}
    found = read_remote_visitor(root, EVERYTHING, frozenset(), 9)
    assert found.fact.browser == Browser(BrowserType.SAFARI)


@pytest.mark.parametrize(
    ("last_of_current", "expected"),
    [({"data": {"country": "Spain"}}, "Spain"), ({"time": 3}, "Italy"), ({"data": {"region": "R"}}, "Italy")],
)
def test_the_place_is_the_last_of_the_first_visit_whose_last_can_be_used(last_of_current, expected):
    """A visit whose last geolocation is broken gives none, rather than an earlier one of its own."""
    visits = [[{"data": {"country": "France"}}, last_of_current], [{"data": {"country": "Italy"}}]]
    current, previous = ({"geolocationEvents": events} for events in visits)
    found = read_remote_visitor({"currentVisit": current, "previousVisits": [previous]}, EVERYTHING, frozenset(), 9)
    assert found.fact.geolocation.country == expected

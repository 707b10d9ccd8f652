"""A visitor's stored events as visits: where one ends, which is in progress, what each is told with."""

import pytest

from kameleoon.server.stored import StoredEvent
from kameleoon.server.visits import KINDS, VISIT_GAP_MS, Wanted, build_visits

MINUTE_MS = 60_000
ALL = Wanted(frozenset(KINDS), current=True, previous=25)


def event(time_ms, kind="activity", visitor="v", **parameters):
    """A stored event; ids rise with each that is made."""
    event.count += 1
    return StoredEvent(event.count, 1, visitor, time_ms, kind, parameters, False)


event.count = 0


def spans(answer):
    """The beginnings and ends of an answer's visits, that in progress first."""
    visits = [answer["currentVisit"], *answer["previousVisits"]]
    return [visit and (visit["timeStarted"], visit["timeLastEvent"]) for visit in visits]


def test_a_visit_ends_after_half_an_hour_without_an_event():
    """An event 30 minutes after the one before begins a visit, one a moment earlier belongs to it; order of arrival does not matter."""
    assert VISIT_GAP_MS == 30 * MINUTE_MS
    times = [0, VISIT_GAP_MS - 1, 2 * VISIT_GAP_MS - 2, 3 * VISIT_GAP_MS - 2]
    for order in (times, times[::-1]):
        answer = build_visits([event(time_ms) for time_ms in order], ALL, now_ms=10 * VISIT_GAP_MS)
        assert spans(answer) == [None, (times[3], times[3]), (0, times[2])]


@pytest.mark.parametrize(("now_ms", "is_current"), [(5, True), (4 + VISIT_GAP_MS, True), (5 + VISIT_GAP_MS, False)])
def test_a_visit_is_in_progress_for_half_an_hour(now_ms, is_current):
    """Until 30 minutes after its last event a visit is the current one, told only if it is asked for, and none of the earlier ones."""
    events = [event(0), event(5)]
    assert spans(build_visits(events, ALL, now_ms=now_ms)) == ([(0, 5)] if is_current else [None, (0, 5)])
    not_asked = Wanted(frozenset(), current=False, previous=25)
    assert spans(build_visits(events, not_asked, now_ms=now_ms)) == ([None] if is_current else [None, (0, 5)])


def test_visits_are_numbered_from_the_first():
    """Each visit has the number of those before it, whatever an SDK said, and whatever is left out."""
    events = [event(hour * 60 * MINUTE_MS, "staticData", visitNumber="77") for hour in range(30)]
    now_ms = events[-1].time_ms
    answer = build_visits(events, Wanted(frozenset({"staticData"}), current=True, previous=2), now_ms=now_ms)
    visits = [answer["currentVisit"], *answer["previousVisits"]]
    assert [visit["staticDataEvent"]["data"] for visit in visits] == [
        {"visitNumber": number} for number in (29, 28, 27)
    ]
    assert build_visits([], ALL, now_ms=0) == {"currentVisit": None, "previousVisits": []}


def test_only_what_was_asked_for_is_told():
    """Every kind of event is told by itself, and none that was not asked for."""
    events = [event(number, kind, id=str(number)) for number, kind in enumerate(KINDS)]
    for kind in KINDS:
        answer = build_visits(events, Wanted(frozenset({kind}), current=True, previous=0), now_ms=0)
        name = "staticDataEvent" if kind == "staticData" else f"{kind}Events"
        assert set(answer["currentVisit"]) == {"visitorCode", "timeStarted", "timeLastEvent", name}
    assert len(build_visits(events, ALL, now_ms=0)["currentVisit"]) == 3 + len(KINDS)


def test_several_codes_have_one_history():
    """Ended visits of all codes are merged, newest first; in progress is that of one code, and others' are not history yet."""
    day = 24 * 60 * MINUTE_MS
    events = [
        event(1 * day, visitor="phone"),
        event(2 * day, visitor="desk"),
        event(3 * day, visitor="phone"),
        event(9 * day, visitor="phone"),
        event(9 * day + 1, visitor="desk"),
    ]
    for code, current in (("phone", 9 * day), ("desk", 9 * day + 1), ("tablet", None)):
        answer = build_visits(events, ALL, now_ms=9 * day + 1, current_of=code)
        assert spans(answer)[0] == (current and (current, current))
        assert [(visit["visitorCode"], visit["timeStarted"] // day) for visit in answer["previousVisits"]] == [
            *(("phone", 3), ("desk", 2), ("phone", 1))
        ]
        numbers = [visit["staticDataEvent"]["data"]["visitNumber"] for visit in answer["previousVisits"]]
        assert numbers == [2, 1, 0]


def test_custom_data_that_do_not_overwrite_add():
    """The newest event of an index has all values that hold; `overwrite` begins anew, and so does another visit."""

    def told(time_ms, index, values, overwrite):
        return event(time_ms, "customData", index=str(index), valuesCountMap=values, overwrite=overwrite)

    events = [
        told(0, 1, '{"a":1}', "true"),
        told(1, 1, '{"b":2}', "false"),
        told(2, 2, '{"c":1}', "false"),
        told(3, 1, "nonsense", "false"),
        told(4, 1, '{"d":1}', "true"),
        told(5, 1, '{"e":1}', "false"),
        told(5 + VISIT_GAP_MS, 1, '{"f":1}', "false"),
    ]
    answer = build_visits(events, ALL, now_ms=5 + VISIT_GAP_MS)
    values = [
        [one["data"]["valuesCountMap"] for one in visit["customDataEvents"]]
        for visit in (answer["currentVisit"], answer["previousVisits"][0])
    ]
    assert values == [
        [{"f": 1}],
        [{"a": 1}, {"a": 1, "b": 2}, {"c": 1}, "nonsense", {"d": 1}, {"d": 1, "e": 1}],
    ]

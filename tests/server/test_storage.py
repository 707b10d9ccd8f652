"""The storage: lines are stored once, and counts kept on the way equal a slow recount of the raw events."""

import sqlite3
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kameleoon.server.counting import moment_of
from kameleoon.server.lines import Body, Conversion, Event, Exposure, Link, parse_lines
from kameleoon.server.storage import Storage, StorageError
from kameleoon.server.stored import GoalTotals, VariationTotals

SITE = "shop123456"


@pytest.fixture
def storage():
    """An empty storage in memory."""
    storage = Storage(now_ms=lambda: 1000)
    yield storage
    storage.close()


def event(number, visitor, fact, *, mapped=False, is_bot=False):
    """An event whose nonce is *number*."""
    kinds = {Exposure: "experiment", Conversion: "conversion", Link: "customData"}
    return Event(f"{number:016X}", kinds[type(fact)], visitor, mapped, {}, fact, is_bot=is_bot)


def body(*events):
    """A request of these events."""
    return Body(tuple(events), ())


def test_a_line_is_stored_once(storage):
    """A request sent again, and a line twice in one request, count once."""
    request = body(
        event(1, "a", Exposure(7, 71)), event(2, "a", Conversion(5, 10.0)), event(2, "a", Conversion(5, 10.0))
    )
    storage.add(SITE, request)
    first = storage.totals(SITE)
    storage.add(SITE, request)
    assert storage.totals(SITE) == first == {7: {71: VariationTotals(1, {5: GoalTotals(1, 1, 10.0, 100.0)})}}
    assert storage.counters() == {"requests": 2, "lines": 6, "stored": 2, "duplicates": 4, "refused": 0, "bots": 0}


def test_a_nonce_is_one_visitors_and_one_sites(storage):
    """The same nonce of another visitor, or of another site, is another line."""
    for site, visitor in ((SITE, "a"), (SITE, "b"), ("other", "a")):
        storage.add(site, body(event(1, visitor, Exposure(7, 71))))
    assert storage.totals(SITE)[7][71].visitors == 2
    assert storage.totals("other")[7][71].visitors == 1


def test_the_first_variation_counts(storage):
    """A visitor seen in a second variation stays with the first."""
    storage.add(SITE, body(event(1, "a", Exposure(7, 71)), event(2, "a", Exposure(7, 72))))
    storage.add(SITE, body(event(3, "a", Conversion(5, 1.0))))
    assert storage.totals(SITE) == {7: {71: VariationTotals(1, {5: GoalTotals(1, 1, 1.0, 1.0)})}}


def test_a_conversion_counts_for_every_experiment_of_its_visitor(storage):
    """One conversion is counted in all experiments that the visitor had been assigned in."""
    storage.add(
        SITE, body(event(1, "a", Exposure(7, 71)), event(2, "a", Exposure(8, 81)), event(3, "b", Exposure(9, 91)))
    )
    storage.add(SITE, body(event(4, "a", Conversion(5, 2.0))))
    totals = storage.totals(SITE)
    assert {
        experiment: bool(totals[experiment][variation].goals) for experiment, variation in ((7, 71), (8, 81), (9, 91))
    } == {
        7: True,
        8: True,
        9: False,
    }


def test_order_within_a_request_does_not_matter_and_between_requests_does(storage):
    """A conversion written before the exposure of its own request counts; one of an earlier request does not."""
    storage.add(SITE, body(event(1, "a", Conversion(5, 2.0))))
    storage.add(SITE, body(event(2, "a", Conversion(5, 3.0)), event(3, "a", Exposure(7, 71))))
    assert storage.totals(SITE) == {7: {71: VariationTotals(1, {5: GoalTotals(1, 1, 3.0, 9.0)})}}


def test_revenue_is_summed_per_visitor(storage):
    """Squares are of a visitor's whole revenue; a negative conversion takes revenue back but the visitor stays converted."""
    storage.add(SITE, body(event(1, "a", Exposure(7, 71)), event(2, "b", Exposure(7, 71))))
    storage.add(SITE, body(event(3, "a", Conversion(5, 2.0)), event(4, "b", Conversion(5, 10.0))))
    storage.add(SITE, body(event(5, "a", Conversion(5, 3.0)), event(6, "b", Conversion(5, -4.0))))
    assert storage.totals(SITE)[7][71].goals == {5: GoalTotals(2, 4, 11.0, 25.0 + 36.0)}


def test_bots_are_kept_and_not_counted(storage):
    """Events of bots are stored but leave results alone."""
    storage.add(SITE, body(event(1, "a", Exposure(7, 71), is_bot=True), event(2, "a", Conversion(5, 1.0), is_bot=True)))
    assert storage.totals(SITE) == {}
    assert storage.counters()["bots"] == 2
    assert [stored.is_bot for stored in storage.events(SITE)] == [True, True]


def test_an_identifier_leads_to_the_visitor_last_linked(storage):
    """Events with `mappingValue` belong to the linked visitor, and without a link to the visitor of that code."""
    storage.add(SITE, body(event(1, "user", Exposure(7, 71), mapped=True)))
    storage.add(SITE, body(event(2, "anonymous", Link("user")), event(3, "user", Exposure(8, 81), mapped=True)))
    storage.add(SITE, body(event(4, "user", Conversion(5, 1.0), mapped=True), event(5, "user", Conversion(6, 1.0))))
    visitors = [(stored.type, stored.visitor) for stored in storage.events(SITE)]
    assert visitors == [
        ("experiment", "user"),
        ("customData", "anonymous"),
        ("experiment", "anonymous"),
        ("conversion", "anonymous"),
        ("conversion", "user"),
    ]
    assert storage.linked(SITE, "user") == ["anonymous"]
    assert storage.linked(SITE, "nobody") == []


def test_an_identifier_and_a_code_of_one_text_are_two(storage):
    """A nonce of a visitor code is another one than that of an identifier with the same text."""
    storage.add(SITE, body(event(1, "user", Exposure(7, 71)), event(1, "user", Exposure(8, 81), mapped=True)))
    assert (storage.counters()["stored"], storage.counters()["duplicates"]) == (2, 0)


def test_a_retry_after_a_link_is_still_a_duplicate(storage):
    """A line sent again is known even when its identifier has been linked to another visitor in the meantime."""
    request = body(event(1, "user", Exposure(7, 71), mapped=True))
    storage.add(SITE, request)
    storage.add(SITE, body(event(2, "anonymous", Link("user"))))
    storage.add(SITE, request)
    assert storage.counters()["duplicates"] == 1
    assert storage.totals(SITE)[7][71].visitors == 1


def test_a_file_keeps_everything(tmp_path):
    """Counts, counters and known nonces are there after the file is opened again, and the file is in WAL mode."""
    request = body(event(1, "a", Exposure(7, 71)), event(2, "a", Conversion(5, 2.5)))
    first = Storage(tmp_path / "events.sqlite")
    first.add(SITE, request)
    expected = first.totals(SITE)
    first.close()
    again = Storage(tmp_path / "events.sqlite")
    again.add(SITE, request)
    assert again.totals(SITE) == expected
    assert again.counters() == {"requests": 2, "lines": 4, "stored": 2, "duplicates": 2, "refused": 0, "bots": 0}
    again.close()
    connection = sqlite3.connect(tmp_path / "events.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_failed_request_leaves_nothing_behind(storage):
    """When storing fails in the middle, nothing of the request is stored or counted."""
    too_large = event(2, "a", Exposure(7, 2**70))
    with pytest.raises(OverflowError):
        storage.add(SITE, body(event(1, "a", Exposure(8, 81)), too_large))
    assert storage.totals(SITE) == {}
    assert storage.counters()["lines"] == 0
    storage.add(SITE, body(event(1, "a", Exposure(8, 81))))
    assert storage.totals(SITE)[8][81].visitors == 1


def test_other_files_are_left_alone(tmp_path):
    """A file that is no database, another's database, or of another version is refused and not touched."""
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to look at " * 50)
    with pytest.raises(StorageError, match=r"notes\.txt: cannot be used as a database"):
        Storage(text)
    assert text.read_text().startswith("not a database")
    for name, statement, message in (
        ("other.sqlite", "CREATE TABLE mine (x)", "not of this server"),
        ("newer.sqlite", "PRAGMA user_version = 99", "another version"),
    ):
        connection = sqlite3.connect(tmp_path / name)
        connection.execute(statement)
        connection.commit()
        connection.close()
        with pytest.raises(StorageError, match=message):
            Storage(tmp_path / name)
    with pytest.raises(StorageError, match="cannot be opened"):
        Storage(tmp_path / "nowhere" / "events.sqlite")


def recount(requests):
    """Counts from raw requests, the slow and obvious way: who was first seen where, then each conversion."""
    seen, assigned, revenue, conversions = set(), {}, {}, {}
    for request in requests:
        fresh = []
        for one in request:
            if (one.visitor, one.nonce) not in seen:
                seen.add((one.visitor, one.nonce))
                fresh.append(one)
        for one in fresh:
            if isinstance(one.fact, Exposure) and not one.is_bot:
                assigned.setdefault((one.visitor, one.fact.experiment_id), one.fact.variation_id)
        for one in fresh:
            if isinstance(one.fact, Conversion) and not one.is_bot:
                for (visitor, experiment), variation in assigned.items():
                    if visitor == one.visitor:
                        key = (experiment, variation, one.fact.goal_id, visitor)
                        revenue[key] = revenue.get(key, 0.0) + one.fact.revenue
                        conversions[key] = conversions.get(key, 0) + 1
    found = {}
    for (_, experiment), variation in assigned.items():
        visitors, goals = found.setdefault(experiment, {}).setdefault(variation, [0, {}])
        found[experiment][variation][0] = visitors + 1
        for key, total in revenue.items():
            if key[:2] == (experiment, variation):
                mine = goals.setdefault(key[2], {})
                mine[key[3]] = (conversions[key], total)
    return {
        experiment: {
            variation: VariationTotals(
                visitors,
                {
                    goal: GoalTotals(
                        len(people),
                        sum(count for count, _ in people.values()),
                        sum(total for _, total in people.values()),
                        sum(total**2 for _, total in people.values()),
                    )
                    for goal, people in goals.items()
                },
            )
            for variation, (visitors, goals) in variations.items()
        }
        for experiment, variations in found.items()
    }


EVENTS = st.builds(
    event,
    st.integers(0, 30),
    st.sampled_from("abcd"),
    st.builds(Exposure, st.integers(1, 2), st.integers(1, 2))
    | st.builds(Conversion, st.integers(1, 2), st.integers(-50, 50).map(lambda quarters: quarters / 4)),
    is_bot=st.integers(0, 9).map(lambda number: number == 0),
)


@settings(deadline=None)
@given(st.lists(st.lists(EVENTS, max_size=8), max_size=8))
def test_counts_equal_a_recount_of_the_raw_events(requests):
    """Counts kept as events arrive are exactly those of a slow recount; revenues are quarters, so sums are exact."""
    storage = Storage()
    try:
        for request in requests:
            storage.add(SITE, body(*request))
        assert storage.totals(SITE) == recount(requests)
        counters = storage.counters()
        assert counters["lines"] == sum(map(len, requests)) == counters["stored"] + counters["duplicates"]
        assert counters["stored"] == len(storage.events(SITE))
    finally:
        storage.close()


def _random_lines(seed):
    """Requests of a few visitors in a random order: exposures, conversions, links and bots, spread over an hour."""
    random = Random(seed)
    for _ in range(40):
        lines = []
        for _ in range(random.randrange(1, 4)):
            visitor, nonce = random.choice("abc"), f"{random.randrange(2**64):016X}"
            common = f"nonce={nonce}&visitorCode={visitor}&time={random.randrange(3_600_000)}"
            if random.random() < 0.2:
                common += "&userAgent=curl/8.0"
            lines.append(
                common
                + random.choice(
                    [
                        f"&eventType=experiment&id={random.choice((1, 2))}&variationId={random.choice((11, 12))}",
                        f"&eventType=conversion&goalId={random.choice((5, 6))}&revenue={random.randrange(9)}",
                        f"&eventType=conversion&goalId=5&revenue={random.randrange(9)}&negative=true",
                        "&eventType=activity",
                    ]
                )
            )
        yield lines


@pytest.mark.parametrize("seed", range(8))
def test_a_forgotten_visitor_was_never_there(seed):
    """After `forget` totals are those of the others alone; maps and links of the code are gone; unknown codes do no harm."""
    full, others = Storage(), Storage()
    for lines in _random_lines(seed):
        full.add(SITE, parse_lines("\n".join(lines)))
        others.add(SITE, parse_lines("\n".join(line for line in lines if "visitorCode=a" not in line)))
    full.put_maps(SITE, {"a": {"x": 1}, "b": {"x": 2}}, lifetime_ms=1000)
    full.forget(SITE, ["a", "nobody"])
    full.forget(SITE, ["a"])
    assert _without_nothing(full.totals(SITE)) == _without_nothing(others.totals(SITE))
    for experiment in (1, 2):
        totals = full.totals(SITE).get(experiment, {})
        moments = full.moments(SITE, experiment, most=7)
        assert len(moments) <= 7
        assert [moment.time_ms for moment in moments] == sorted(moment.time_ms for moment in moments)
        if moments:
            assert _without_nothing({experiment: moments[-1].variations}) == _without_nothing({experiment: totals})
    assert full.maps(SITE, ["a", "b"]) == {"b": {"x": 2}}
    assert full.events(SITE, "a") == []
    full.close()
    others.close()


def _without_nothing(totals):
    """Totals without those that are zero; `revenue` sums are whole numbers here, so nothing is lost to rounding."""
    return {
        (experiment, variation, goal): counted
        for experiment, variations in totals.items()
        for variation, of_variation in variations.items()
        for goal, counted in [(None, of_variation.visitors), *of_variation.goals.items()]
        if counted not in (0, GoalTotals())
    }


def grown(times_s, most=200):
    """Moments of an experiment whose visitors came at these times, in seconds: ``(seconds, visitors)``."""
    storage = Storage()
    for number, time_s in enumerate(times_s):
        line = f"nonce={number:016X}&visitorCode={number}&eventType=experiment&id=1&variationId=2&time={time_s * 1000}"
        storage.add(SITE, parse_lines(line))
    try:
        return [
            (moment.time_ms / 1000, moment.variations[2].visitors) for moment in storage.moments(SITE, 1, most=most)
        ]
    finally:
        storage.close()


def test_totals_grow_over_time():
    """Moments are cumulative and carry their end: a second, a minute when it takes nine minutes or more, and longer for a long time."""
    assert grown([]) == []
    assert grown([185, 185, 301]) == [(186, 2), (302, 3)]
    assert grown([185, 724]) == [(188, 1), (725, 2)]
    assert grown([185, 239, 240, 785, 839]) == [(240, 2), (300, 3), (840, 5)]
    assert grown([0, 59, 60, 86_399], most=4) == [(21_600, 3), (86_400, 4)]
    assert grown([185, 100]) == [(61, 1), (186, 2)]


def test_later_moments_are_minutes():
    """Beyond the first ten minutes all of a minute is one row, so that what is kept does not grow with the traffic."""
    assert [moment_of(second, 100) for second in (99, 100, 699, 700, 719, 720)] == [60, 100, 699, 660, 660, 720]


def test_the_first_visitor_of_an_experiment():
    """It is known when an experiment began."""
    storage = Storage()
    assert storage.started_ms(SITE, 1) is None
    storage.add(
        SITE,
        parse_lines(
            "nonce=0000000000000001&visitorCode=a&eventType=page&href=u&time=1000\n"
            "nonce=0000000000000002&visitorCode=a&eventType=experiment&id=1&variationId=2&time=5000\n"
            "nonce=0000000000000003&visitorCode=b&eventType=experiment&id=1&variationId=2&time=9000"
        ),
    )
    assert storage.started_ms(SITE, 1) == 5000
    assert storage.started_ms("other", 1) is None
    storage.close()


def test_maps_end():
    """A map is replaced as a whole, ends with its lifetime, and an empty one is removed."""
    now = [0]
    storage = Storage(now_ms=lambda: now[0])
    storage.put_maps(SITE, {"k": {"a": 1, "b": 2}, "l": {"a": 1}, "m": {"a": 1}}, lifetime_ms=10)
    storage.put_maps(SITE, {"k": {"c": 3}, "l": {}}, lifetime_ms=20)
    assert storage.maps(SITE, ["k", "l", "m"]) == {"k": {"c": 3}, "m": {"a": 1}}
    now[0] = 10
    assert storage.maps(SITE, ["k", "l", "m"]) == {"k": {"c": 3}}
    storage.close()

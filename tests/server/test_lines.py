"""Tracking lines: what SDKs send is read, and nonsense is refused with a reason and never crashes."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kameleoon.server import lines
from kameleoon.server.lines import Conversion, Exposure, Link, parse_json, parse_lines

CAPTURED = """\
nonce=7001813A3C89F3E0&eventType=staticData&deviceType=DESKTOP&visitorCode=c0ffee1234567890&userAgent=Mozilla%2F5.0%20(X11%3B%20Linux)
nonce=4778F0DC6B8A9A8B&eventType=geolocation&country=France&region=%C3%8Ele-de-France&latitude=48.8566&visitorCode=c0ffee1234567890
nonce=E00BAC6FFE4ECEB8&eventType=customData&index=4&valuesCountMap=%7B%22%5Cu65e5%5Cu672c%22%3A1%7D&overwrite=true&visitorCode=c0ffee1234567890
nonce=41A8AEE319D034DF&eventType=page&href=https%3A%2F%2Fexample.com%2Fp%3Fx%3D1%26y%3D%C3%BC%23top&title=Hello%2C%20world!&referrersIndices=%5B0%2C3%5D&visitorCode=c0ffee1234567890
nonce=68DBD17F744EFC84&eventType=experiment&id=5001&variationId=7001&visitorCode=c0ffee1234567890
nonce=76B63C358D7AA509&eventType=targetingSegment&id=901&visitorCode=c0ffee1234567890
nonce=9EB31A920C281D55&eventType=conversion&goalId=83023&revenue=19.99&negative=false&visitorCode=c0ffee1234567890
nonce=4A4B209CE9C0267E&eventType=conversion&goalId=83025&revenue=5&negative=true&visitorCode=c0ffee1234567890
nonce=09B180A65C1757A5&eventType=activity&visitorCode=unknown-visitor
nonce=55F05C29C64629AB&eventType=customData&index=3&valuesCountMap=%7B%22user%401%22%3A1%7D&overwrite=true&mappingIdentifier=true&mappingValue=user%401
nonce=6D8A2DC3E982F137&eventType=customData&index=1&valuesCountMap=%7B%22l1%5Cnl2%22%3A1%7D&overwrite=true&visitorCode=nl%0Ax"""


def reason(line):
    """Why a line is refused."""
    body = parse_lines(line)
    assert body.events == ()
    (refused,) = body.refused
    return refused.reason


def test_captured_lines_are_read():
    """Lines as captured from an SDK give their facts, visitors and parameters."""
    body = parse_lines(CAPTURED)
    assert body.refused == ()
    facts = [event.fact for event in body.events]
    assert facts == [
        *(None, None, None, None, Exposure(5001, 7001), None),
        *(Conversion(83023, 19.99), Conversion(83025, -5.0), None, Link("user@1"), None),
    ]
    assert body.events[1].parameters == {"country": "France", "region": "Île-de-France", "latitude": "48.8566"}
    assert json.loads(body.events[2].parameters["valuesCountMap"]) == {"日本": 1}
    assert body.events[3].parameters["href"] == "https://example.com/p?x=1&y=ü#top"
    assert [(event.visitor, event.mapped) for event in body.events[-3:]] == [
        ("unknown-visitor", False),
        ("user@1", True),
        ("nl\nx", False),
    ]


def test_the_user_agent_holds_for_all_lines_of_its_visitor():
    """The agent of a visitor's first line marks all of that visitor's lines, and no other's."""
    body = parse_lines(
        "nonce=0000000000000001&eventType=activity&visitorCode=a&userAgent=curl%2F8.0\n"
        "nonce=0000000000000002&eventType=activity&visitorCode=b\n"
        "nonce=0000000000000003&eventType=activity&visitorCode=a\n"
        "nonce=0000000000000004&eventType=activity&visitorCode=c&userAgent=GoogleBot\n"
    )
    assert [event.is_bot for event in body.events] == [True, False, True, True]
    twice = "\n".join(
        f"nonce={number:016X}&eventType=activity&visitorCode=a&userAgent={agent}"
        for number, agent in enumerate(("Shop", "spider"))
    )
    assert [(event.user_agent, event.is_bot) for event in parse_lines(twice).events] == [("Shop", False)] * 2
    assert parse_lines("nonce=0000000000000001&eventType=activity&visitorCode=a", user_agent="spider").events[0].is_bot


def test_line_ends_blank_lines_and_case():
    """CRLF, blank lines and event types and nonces in any case are understood."""
    body = parse_lines("nonce=abcdefabcdefabcd&eventType=EXPERIMENT&id=1&variationId=2&visitorCode=a\r\n\r\n\n")
    (event,) = body.events
    assert (event.type, event.nonce, event.fact) == ("experiment", "ABCDEFABCDEFABCD", Exposure(1, 2))
    assert body.received == 1


def test_a_place_is_a_place_whatever_it_comes_as():
    """SDKs up to 3.4.0 tell of a place as static data."""
    events = parse_lines(
        "nonce=0000000000000001&eventType=staticData&city=Brest&visitorCode=a\n"
        "nonce=0000000000000002&eventType=staticData&os=IOS&visitorCode=a"
    ).events
    assert [(event.type, event.parameters) for event in events] == [
        ("geolocation", {"city": "Brest"}),
        ("staticData", {"os": "IOS"}),
    ]


def test_a_visitor_of_the_whole_request_wins():
    """A visitor code in the query stands above those of the lines."""
    (event,) = parse_lines("nonce=0000000000000001&eventType=activity&visitorCode=a", visitor_code="q").events
    assert (event.visitor, event.mapped) == ("q", False)


def test_an_identifier_of_the_whole_request_wins():
    """So does a mapping value in the query, unless there is a visitor code too; in a line the visitor code comes first."""
    line = "nonce=0000000000000001&eventType=activity&visitorCode=a&mappingValue=m"
    member = {"nonce": "0000000000000001", "eventType": "activity", "visitorCode": "a", "mappingValue": "m"}
    for read, body in ((parse_lines, line), (parse_json, json.dumps([member]))):
        for more, visitor in (
            ({}, ("a", False)),
            ({"mapping_value": "q"}, ("q", True)),
            ({"visitor_code": "v", "mapping_value": "q"}, ("v", False)),
        ):
            (event,) = read(body, **more).events
            assert (event.visitor, event.mapped) == visitor


def test_bounds_of_what_is_taken(monkeypatch):
    """Events beyond the most of a body are refused; so is an impossible revenue; an identifier that is too long links nobody."""
    monkeypatch.setattr(lines, "MAX_EVENTS", 2)
    written = [f"nonce={number:016X}&eventType=activity&visitorCode=a" for number in range(4)]
    body = parse_lines("\n".join(written))
    assert (len(body.events), [refused.number for refused in body.refused]) == (2, [3, 4])
    start = "nonce=0000000000000001&visitorCode=a&eventType="
    assert parse_lines(f"{start}conversion&goalId=1&revenue=1e15").events[0].fact == Conversion(1, 1e15)
    assert reason(f"{start}conversion&goalId=1&revenue=1.01e15") == "revenue is no number up to 1e+15"
    for length, fact in ((255, Link("x" * 255)), (256, None)):
        values = quote(json.dumps({"x" * length: 1}))
        (event,) = parse_lines(f"{start}customData&index=1&mappingIdentifier=true&valuesCountMap={values}").events
        assert event.fact == fact


def test_null_in_json_is_not_there():
    """A member that is null counts as one that was left out."""
    member = {"nonce": "0000000000000001", "eventType": "conversion", "goalId": 1, "revenue": None, "visitorCode": "a"}
    (event,) = parse_json(json.dumps([member])).events
    assert (event.fact, event.parameters) == (Conversion(1, 0.0), {"goalId": "1"})


def test_the_json_format_says_the_same():
    """An array of objects, typed or as text, gives the same events as lines."""
    body = parse_json(
        json.dumps(
            [
                {
                    "nonce": "4f0a19c2d37b88e1",
                    "eventType": "EXPERIMENT",
                    "id": 2001,
                    "variationId": "3002",
                    "visitorCode": "u",
                },
                {
                    "nonce": "07d2c9f8e13b6a54",
                    "eventType": "CONVERSION",
                    "goalId": 501,
                    "revenue": 49.9,
                    "negative": True,
                    "visitorCode": "u",
                },
                {
                    "nonce": "07d2c9f8e13b6a55",
                    "eventType": "customData",
                    "index": 1,
                    "valuesCountMap": {"a": 1},
                    "visitorCode": "u",
                },
                7,
            ]
        )
    )
    assert [event.fact for event in body.events] == [Exposure(2001, 3002), Conversion(501, -49.9), None]
    assert [(line.number, line.reason) for line in body.refused] == [(4, "not an object with parameters")]
    assert parse_json("{").refused[0].reason.startswith("not JSON")
    assert parse_json("{}").refused[0].reason == "not a JSON array"


GOOD = "nonce=0000000000000001&visitorCode=a&eventType="


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "not name=value pairs"),
        ("eventType=activity&visitorCode=a", "nonce is missing"),
        ("nonce=12&eventType=activity&visitorCode=a", "nonce is not 16 hexadecimal digits"),
        ("nonce=0000000000000001&eventType=activity", "neither visitorCode nor mappingValue"),
        ("nonce=0000000000000001&visitorCode=a", "eventType is missing"),
        (
            f"nonce=0000000000000001&eventType=activity&visitorCode={'a' * 256}",
            "visitor code longer than 255 characters",
        ),
        (f"{GOOD}activity&x=%zz", "x has a broken percent sequence"),
        (f"{GOOD}activity&x=%ff", "x is not UTF-8"),
        (f"{GOOD}activity&x=1&x=2", "x is there twice"),
        (f"{GOOD}activity&{'&'.join(f'x{n}=1' for n in range(80))}", "more than 64 parameters"),
        (f"{GOOD}activity&x={'a' * 70_000}", "longer than 65536 characters"),
        (f"{GOOD}experiment&variationId=1", "id is missing"),
        (f"{GOOD}experiment&id=1&variationId=x", "variationId is no whole number"),
        (f"{GOOD}experiment&id=%D9%A1&variationId=1", "id is no whole number"),
        (f"{GOOD}conversion&revenue=1", "goalId is missing"),
        (f"{GOOD}conversion&goalId=1&revenue=None", "revenue is no number up to 1e+15"),
        (f"{GOOD}conversion&goalId=1&revenue=nan", "revenue is no number up to 1e+15"),
        (f"{GOOD}conversion&goalId=1&revenue=1e400", "revenue is no number up to 1e+15"),
        (f"{GOOD}conversion&goalId=1&negative=perhaps", "negative is neither true nor false"),
        (f"{GOOD}customData&index=1&valuesCountMap=[]", "valuesCountMap is no JSON object"),
        (f"{GOOD}customData&index=one&valuesCountMap=%7B%7D", "index is no whole number"),
    ],
)
def test_nonsense_is_refused_with_a_reason(line, why):
    """A line that makes no sense is refused and says why."""
    assert reason(line) == why


def test_good_lines_beside_bad_ones_are_kept():
    """A refused line, named by its number, takes no other with it."""
    body = parse_lines(f"bad\n{GOOD}activity\nworse")
    assert [line.number for line in body.refused] == [1, 3]
    assert len(body.events) == 1


@settings(deadline=None)
@given(st.text())
def test_no_body_crashes_the_readers(text):
    """Whatever text comes, every line of it is taken or refused."""
    body = parse_lines(text)
    assert body.received == sum(1 for line in text.split("\n") if line.rstrip("\r"))
    parse_json(text)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text() | st.sampled_from(["goalId", "revenue", "negative", "metadata", "mappingValue", "userAgent", "time"]),
        st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=5),
        max_size=5,
    )
)
def test_no_json_object_crashes_the_reader(member):
    """Whatever JSON object comes, it is taken or refused."""
    assert (
        parse_json(json.dumps([member | {"nonce": "0" * 16, "eventType": "conversion", "visitorCode": "v"}])).received
        == 1
    )

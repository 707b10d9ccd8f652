"""What Convert is told, down to the byte."""

import json

import pytest
from strict_convert import StrictConvert

from kameleoon._convert.access import TRACKING_BASE, USER_AGENT, headers, key_path
from kameleoon._convert.payload import (
    Converted,
    Exposed,
    check_goal_data,
    conversions,
    report_segments,
    tracking_body,
    tracking_url,
    visitor,
)
from kameleoon._convert.ruleset import VisitorState
from kameleoon._transport.message import Response
from kameleoon.destinations import Verdict
from kameleoon.destinations.convert import ConvertTracking
from kameleoon.sources import ConvertSource

EXAMPLE = (
    '{"accountId":"1001","projectId":"2002","enrichData":true,"source":"js5.0.1","visitors":[{"visitorId":"visitor-1",'
    '"segments":{"country":"FR","browser":"CH","source":"search","customSegments":["8001"]},"events":['
    '{"eventType":"bucketing","data":{"experienceId":"5001","variationId":"6001"}},'
    '{"eventType":"conversion","data":{"goalId":"7001","bucketingData":{"5001":"6001"}}},'
    '{"eventType":"conversion","data":{"goalId":"7001","goalData":[{"key":"amount","value":10.3},{"key":"transactionId","value":"t1"}],'
    '"bucketingData":{"5001":"6001"}}}]}]}'
)
STATE = VisitorState(
    bucketing={"5001": "6001"},
    segments={"country": "FR", "browser": "CH", "source": "search", "favourite": "tea"},
    custom_segments=frozenset({"8001"}),
)


def test_the_documented_body():
    """Exposure and conversion with goal data make the example of the documentation, byte for byte."""
    segments = report_segments(STATE)
    converted = Converted("visitor-1", "7001", STATE.bucketing, {"amount": 10.3, "transactionId": "t1"}, segments)
    told = (Exposed("visitor-1", "5001", "6001", segments), *conversions(converted, is_repeated=False))
    assert tracking_body("1001", "2002", told, source="js5.0.1").decode() == EXAMPLE


def test_the_service_takes_it():
    """A strict service takes a body with several visitors, agent and secret as it wants them."""
    import urllib.request

    told = [Exposed("a", "5001", "6001"), Exposed("b", "5001", "6002"), Converted("a", "7001")]
    root = {"account_id": "1001", "project": {"id": "2002"}}
    with StrictConvert(root, secret="s") as service:
        url = tracking_url(service.url, "2002", key_path("1001/2002"))
        request = urllib.request.Request(url, tracking_body("1001", "2002", told), headers("s"))
        urllib.request.urlopen(request, timeout=5).close()
        assert [visitor for visitor, _ in service.events] == ["a", "a", "b"]
        assert service.refused == []


@pytest.mark.parametrize(
    ("goal_data", "settings", "with_data"),
    [
        ({}, {"is_repeated": False}, [False]),
        ({"amount": 1}, {"is_repeated": False}, [False, True]),
        ({"amount": 1}, {"is_repeated": True}, []),
        ({"amount": 1}, {"is_repeated": True, "repeats_transactions": True}, [True]),
        ({}, {"is_repeated": True, "repeats_transactions": True}, []),
    ],
)
def test_how_often_a_conversion_is_told(goal_data, settings, with_data):
    """Once, with goal data once more; repeated only its goal data, and only if so wished."""
    found = conversions(Converted("v", "7001", {"5001": "6001"}, goal_data), **settings)
    assert ["goalData" in one.event()["data"] for one in found] == with_data


def test_no_bucketing_is_left_out():
    """A visitor in no experience converts too, without bucketing data."""
    assert Converted("v", "7001").event() == {"eventType": "conversion", "data": {"goalId": "7001"}}


def test_visitors_come_in_the_order_of_their_first_event():
    """Events of one visitor are put together; its segments are those of the first."""
    told = [
        Exposed("b", "1", "2", {"country": "FR"}),
        Exposed("a", "1", "3"),
        Exposed("b", "4", "5", {"country": "BE"}),
    ]
    visitors = json.loads(tracking_body("1", "2", told))["visitors"]
    assert [(one["visitorId"], len(one["events"]), one.get("segments")) for one in visitors] == [
        ("b", 2, {"country": "FR"}),
        ("a", 1, None),
    ]


def test_texts_go_out_as_utf_8():
    """Nothing is escaped, and half a surrogate pair does not stop the others."""
    assert '"visitorId":"é\ufffd"' in tracking_body("1", "2", [Exposed("é\ud800", "1", "2")]).decode()
    with pytest.raises(ValueError, match="at least one"):
        tracking_body("1", "2", [])


@pytest.mark.parametrize(
    ("status", "verdict", "wait_s"),
    [
        (200, Verdict.SENT, None), (202, Verdict.SENT, None), (301, Verdict.RETRY, 60), (307, Verdict.RETRY, 60), (400, Verdict.SPLIT, None),
        (401, Verdict.RETRY, 60), (402, Verdict.SPLIT, None), (403, Verdict.RETRY, 60), (404, Verdict.RETRY, 60), (405, Verdict.SPLIT, None),
        (408, Verdict.RETRY, 9), (410, Verdict.SPLIT, None), (413, Verdict.SPLIT, None), (429, Verdict.RETRY, 9), (500, Verdict.RETRY, 9), (503, Verdict.RETRY, 9),
    ],
)  # fmt: skip
def test_what_an_answer_means(status, verdict, wait_s):
    """Without access all is kept, what fails is tried again, and any other refusal is looked into, piece by piece."""
    destination = ConvertTracking(ConvertSource(sdk_key="1001/2002"))
    piece = destination.check({"project": ["1001", "2002"], "visitor": visitor(Exposed("a", "1", "2"))})
    flow = destination.send([piece])
    assert next(flow).url == "https://2002.metrics.convertexperiments.com/v1/track/1001/2002"
    with pytest.raises(StopIteration) as stop:
        flow.send(Response(status, {"retry-after": "9"}, b""))
    assert (stop.value.value.verdict, stop.value.value.wait_s) == (verdict, wait_s)


def test_events_of_two_projects_are_not_mixed():
    """After a change of the project those of the one before go by themselves."""
    destination = ConvertTracking(ConvertSource(sdk_key="k"))
    pieces = [{"project": ["1", number], "visitor": visitor(Exposed("a", "1", "2"))} for number in ("2", "3")]
    with pytest.raises(StopIteration) as stop:
        next(destination.send([destination.check(piece) for piece in pieces]))
    assert stop.value.value.verdict is Verdict.SPLIT


@pytest.mark.parametrize(
    "bad",
    [
        {"total": 1},
        {"amount": True},
        {"amount": float("nan")},
        {"amount": ["x"]},
        {"customDimension1": ["x" * 33]},
        {"customDimension6": "x"},
        {"amount": None},
    ],
)
def test_goal_data_is_checked(bad):
    """Names and values that Convert does not know are refused at the call."""
    with pytest.raises(ValueError, match="goal data"):
        check_goal_data(bad)
    check_goal_data({"amount": 1.5, "productsCount": 2, "transactionId": "t", "customDimension5": ["x" * 32]})


def test_where_tracking_goes():
    """The project's own host, the key as it is, and an agent that is not taken for a bot."""
    assert (
        tracking_url(TRACKING_BASE, "2002", key_path("1001/2002"))
        == "https://2002.metrics.convertexperiments.com/v1/track/1001/2002"
    )
    assert USER_AGENT.startswith("ConvertAgent/1.0 ")
    assert headers(None) == {"User-Agent": USER_AGENT, "Content-Type": "application/json"}

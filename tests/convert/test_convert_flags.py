"""A Convert project as flags, without a client: kinds of rules, types of variables, what a visitor is known by, what an explanation shows."""

import pytest

from kameleoon import Browser, BrowserType, CustomData, Device, DeviceType, Geolocation, PageView
from kameleoon._convert.flags import ConvertFlags
from kameleoon._convert.ids import Ids, id_number
from kameleoon._convert.payload import report_segments
from kameleoon._convert.ruleset import compile_project
from kameleoon._convert.visitor import CATALOGUE, visitor_state
from kameleoon._datafile.model import RuleType
from kameleoon._runtime.intake import take_in
from kameleoon.stores import MemoryStore
from kameleoon.types.reason import Reason

NOW = 1_700_000_000_000


def record_of(*data):
    """What is known of a visitor of whom *data* were told."""
    store = MemoryStore(1800.0)
    take_in(store, CATALOGUE, "v", data, NOW)
    return store.peek("v").record


def flags_of(root):
    """The project's flags."""
    return ConvertFlags(compile_project(root))


@pytest.mark.parametrize(
    ("kind", "is_delivery"),
    [
        ("feature_rollout", True),
        ("deploy", True),
        ("a/b_fullstack", False),
        ("a/b", False),
        ("", False),
        ("of_the_future", False),
    ],
)
def test_kinds_of_experiences(project, experience, kind, is_delivery):
    """Rollouts and deployments are deliveries, all else experiments; that shows in rule, reason and whether there is a delivery."""
    flags = flags_of(project(experiences=[experience(type=kind)]))
    (rule,) = flags.flag("exp").model.rules
    assert rule.type is (RuleType.TARGETED_DELIVERY if is_delivery else RuleType.EXPERIMENTATION)
    assert flags.has_delivery() is is_delivery
    choice, _ = flags.flag("exp").decide(None, "v", NOW)
    assert choice.reason is (Reason.TARGETING_MATCH if is_delivery else Reason.SPLIT)


def test_types_of_variables(project, experience):
    """Declared ones by their declaration, others by their value."""
    declared = {"b": "boolean", "i": "integer", "f": "float", "s": "string", "j": "json"}
    values = {
        "b": "false",
        "i": "3",
        "f": 1,
        "s": 5,
        "j": "[1]",
        "x": True,
        "n": 2.5,
        "t": "t",
        "o": {"a": 1},
        "l": [],
        "z": None,
    }
    change = {"type": "fullStackFeature", "data": {"feature_id": 7, "variables_data": values}}
    arms = [{"id": "1", "key": "on", "changes": [change]}]
    feature = {"id": 7, "key": "f", "variables": [{"key": key, "type": kind} for key, kind in declared.items()]}
    flags = flags_of(project(features=[feature], experiences=[experience(variations=arms)]))
    found = flags.flag("f").variables_of("on")
    assert {key: (one.type, one.value) for key, one in found.items()} == {
        "b": ("BOOLEAN", False), "i": ("NUMBER", 3), "f": ("NUMBER", 1.0), "s": ("STRING", "5"), "j": ("JSON", [1]), "x": ("BOOLEAN", True),
        "n": ("NUMBER", 2.5), "t": ("STRING", "t"), "o": ("JSON", {"a": 1}), "l": ("JSON", []), "z": ("JSON", None),
    }  # fmt: skip


def test_the_view_shows_each_variation_once(project, experience):
    """Of one key in several experiences the first, without the ids that tell them apart; `off` is always there."""
    change = {"type": "fullStackFeature", "data": {"feature_id": 7, "variables_data": {"n": 1}}}
    other = {"type": "fullStackFeature", "data": {"feature_id": 7, "variables_data": {"n": 2}}}
    experiences = [
        experience(id="1", key="a", variations=[{"id": "11", "key": "on", "changes": [change]}]),
        experience(
            id="2",
            key="b",
            variations=[{"id": "21", "key": "on", "changes": [other]}, {"id": "22", "key": "more", "changes": [other]}],
        ),
    ]
    shown = flags_of(project(features=[{"id": 7, "key": "f"}], experiences=experiences)).view().feature_flags["f"]
    assert list(shown.variations) == ["off", "on", "more"]
    assert shown.variations["on"].variables["n"].value == 1
    assert (shown.variations["on"].id_, shown.variations["on"].experiment_id) == (None, None)
    assert [sorted(rule.variations) for rule in shown.rules] == [["on"], ["more", "on"]]


@pytest.mark.parametrize(
    ("browser", "expected"),
    [
        (BrowserType.CHROME, "CH"), (BrowserType.INTERNET_EXPLORER, "IE"), (BrowserType.FIREFOX, "FF"), (BrowserType.SAFARI, "SF"),
        (BrowserType.OPERA, "OP"), (BrowserType.OTHER, "OTH"),
    ],
)  # fmt: skip
def test_browsers(browser, expected):
    """As Convert names them."""
    assert visitor_state(record_of(Browser(browser)), Ids([])).segments == {"browser": expected}


@pytest.mark.parametrize(
    ("device", "expected"),
    [(DeviceType.PHONE, ["ALLPH", "OTHPH"]), (DeviceType.TABLET, ["ALLTAB", "OTHTAB"]), (DeviceType.DESKTOP, ["DESK"])],
)
def test_devices(device, expected):
    """As Convert names them."""
    assert visitor_state(record_of(Device(device)), Ids([])).segments == {"devices": expected}


@pytest.mark.parametrize(
    ("country", "expected"), [("fr", "FR"), ("France", None), ("1é", None), ("F1", None), ("", None)]
)
def test_countries(country, expected):
    """Two letters, or nothing."""
    assert visitor_state(record_of(Geolocation(country)), Ids([])).segments.get("country") == expected


def test_what_reports_know():
    """The documented segments and no more: other data are for targeting alone."""
    told = [CustomData(name, "x") for name in ("source", "campaign", "visitorType", "favourite", "customSegments")]
    state = visitor_state(record_of(*told, Device(DeviceType.DESKTOP), PageView("https://x.test/", "T")), Ids([]))
    assert report_segments(state) == {"source": "x", "campaign": "x", "visitorType": "x", "devices": ["DESK"]}
    assert state.location["url"] == "https://x.test/"
    assert "url" not in state.properties


def test_ids_and_numbers():
    """Plain decimal ids are their number, 0 too; others lead back; what is no number, or no id of the project, leads nowhere."""
    ids = Ids(["007", "exp", "12"])
    for text in ("0", "12", "007", "exp"):
        assert ids.text(id_number(text)) == text
    assert id_number("007") < 0
    assert [ids.text(one) for one in (id_number("gone"), True, None, 1.5, "12")] == [None] * 5


def test_an_explanation_shows_holes_and_what_is_out_of_service(project, experience, rule):
    """The slots of an anchored layout with what is between them, and the broken rules of its location."""
    arms = [{"id": str(n), "key": f"v{n}", "traffic_allocation": 10} for n in (1, 2, 3)]
    arms[0]["status"] = "stopped"
    locations = [
        {"id": "7", "rules": rule("url", "resembles", "x")},
        {"id": "8", "rules": rule("url", "doesNotExist", "")},
    ]
    raw = experience(version=12, variations=arms, locations=["7", "8"])
    flags = flags_of(project(experiences=[raw], locations=locations))
    (seen,) = flags.walk("exp", None, "v", NOW).rules
    thresholds = [(key, round(value, 4)) for key, value in seen.hashes[0].thresholds]
    assert thresholds == [("v1", 0.0), ("nothing", 0.3333), ("v2", 0.4333), ("nothing", 0.6667), ("v3", 0.7667)]
    assert any("unknown match_type 'resembles'" in problem for problem in flags.walk("exp", None, "v", NOW).problems)

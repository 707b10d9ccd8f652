"""A client with a Convert project: its methods answer, stickily, and the configuration is kept as any other."""

import copy
import json
import logging
import time
import warnings

import pytest
from strict_convert import StrictConvert

from kameleoon import (
    Browser,
    BrowserType,
    CustomData,
    Device,
    DeviceType,
    Geolocation,
    KameleoonClient,
    KameleoonClientConfig,
    PageView,
)
from kameleoon._convert.bucketing import Bucketing
from kameleoon._convert.ruleset import VisitorState, compile_project
from kameleoon.events import EventType
from kameleoon.exceptions import (
    FeatureExperimentNotFound,
    FeatureNotFound,
    FeatureVariableNotFound,
    FeatureVariationNotFound,
)
from kameleoon.sources import ConvertSource
from kameleoon.types.reason import Reason

KEY = "1001/2002"


@pytest.fixture
def start():
    """Make a client of a project behind a strict service; ``start(root, environment=…)`` gives both."""
    running = []

    def make(root, *, source=None, etag=None, **settings):
        service = StrictConvert(root, etag=etag).__enter__()
        running.append(lambda: service.__exit__(None, None, None))
        client = open_client(service, source, **settings)
        running.append(client.close)
        assert client.wait_init(5000)
        return service, client

    yield make
    for end in reversed(running):
        end()


def open_client(service, source=None, **settings):
    """A client of *service*."""
    where = {"base_url": service.url, "tracking_base_url": service.url}
    settings.setdefault("top_level_domain", "localhost")
    return KameleoonClient(
        "site", KameleoonClientConfig(source=ConvertSource(**{"sdk_key": KEY, **where, **(source or {})}), **settings)
    )


def wait_until(holds, timeout_s=5.0):
    """Wait until *holds*."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def drawn(root, key, wanted, state=None):
    """A visitor code that the experience *key* puts into its variation *wanted*; into none for ``None``."""
    compiled = compile_project(root).experiences[key]
    for number in range(1000):
        found = compiled.decide(f"visitor-{number}", state or VisitorState()).variation
        if (None if found is None else found.key) == wanted:
            return f"visitor-{number}"
    raise AssertionError("nobody")


GOLD = VisitorState(properties={"tier": "gold"})


def remembered(client, code):
    """``{experiment id: variation id}`` of a visitor."""
    visitor = client._core.store.peek(code)
    given = {} if visitor is None else visitor.record.assignments
    return {key: one.variation_id for key, one in given.items()}


# --- what the methods answer ------------------------------------------------------------------------------------------


def test_a_feature_is_a_flag(shop, start):
    """On with its variables, cast, in a variation that has it; `off` in one that has not, which is remembered too."""
    root = shop()
    _, client = start(root)
    on, off = drawn(root, "exp", "on", GOLD), drawn(root, "exp", "off", GOLD)
    for code in (on, off):
        client.add_data(code, CustomData("tier", "Gold"))
    assert client.is_feature_active(on, "checkout")
    variation = client.get_variation(on, "checkout")
    assert (variation.key, variation.id_, variation.experiment_id, variation.name) == ("on", 6002, 5001, "On")
    assert {key: (one.type, one.value) for key, one in variation.variables.items()} == {
        "title": ("STRING", "Hi"),
        "steps": ("NUMBER", 3),
        "on": ("BOOLEAN", True),
        "extra": ("JSON", [1]),
    }
    assert variation.is_active
    assert not client.is_feature_active(off, "checkout")
    variation = client.get_variation(off, "checkout")
    assert (variation.key, variation.id_, variation.experiment_id, dict(variation.variables)) == ("off", None, None, {})
    assert remembered(client, on) == {5001: 6002}
    assert remembered(client, off) == {5001: 6001}
    assert not client.is_feature_active(on, "banner")
    with pytest.raises(FeatureNotFound):
        client.is_feature_active(on, "unknown")


def test_being_in_a_variation_without_the_feature_is_no_reason_to_stop(shop, start):
    """The next experience is asked; the first one's variation is remembered all the same."""
    root = shop()
    root["experiences"][1]["audiences"] = None
    _, client = start(root)
    code = drawn(root, "exp", "off", GOLD)
    client.add_data(code, CustomData("tier", "gold"))
    assert client.get_variation(code, "checkout").key == "rest-on"
    assert remembered(client, code) == {5001: 6001, 5002: 6010}


def test_an_experience_is_a_flag_too(shop, start):
    """It gives its variation, whatever that switches on, and the place where it runs counts."""
    root = shop()
    _, client = start(root)
    state = VisitorState(location={"url": "/shop"})
    code = drawn(root, "plain", "off", state)
    assert client.get_variation(code, "plain").id_ is None
    client.add_data(code, PageView("https://x.test/Shop/1", "Shop"))
    variation = client.get_variation(code, "plain")
    assert (variation.key, variation.id_, variation.experiment_id, variation.is_active) == ("off", 6020, 5003, False)
    client.add_data(code, PageView("https://x.test/", "Home"))
    assert client.get_variation(code, "plain").id_ is None


def test_all_variations(shop, start):
    """Features come first, then experiences; only active ones if so wished; what is remembered is what was given."""
    root = shop()
    _, client = start(root)
    given = client.get_variations("anybody")
    assert list(given) == ["checkout", "banner", "exp", "rest", "plain"]
    assert {key: one.key for key, one in given.items() if one.is_active} == {"checkout": "rest-on", "rest": "rest-on"}
    assert list(client.get_variations("anybody", only_active=True)) == ["checkout", "rest"]
    assert given["rest"].variables == given["checkout"].variables
    assert remembered(client, "anybody") == {5002: 6010}


def test_the_older_methods(shop, start):
    """They answer as their successors; a variable that is not there is told by the usual error."""
    _, client = start(shop())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert client.get_feature_list() == ["checkout", "banner", "exp", "rest", "plain"]
        assert list(client.get_active_features("v")) == client.get_active_feature_list_for_visitor("v")
        assert remembered(client, "v") == {}
        assert client.get_feature_variable("v", "checkout", "title") == "Rest"
        for flag, variable in (("checkout", "steps"), ("banner", "title")):
            with pytest.raises(FeatureVariableNotFound):
                client.get_feature_variable("v", flag, variable)
        assert client.get_feature_variation_key("v", "checkout") == "rest-on"
        assert client.get_feature_variation_variables("checkout", "on") == {
            "title": "Hi",
            "steps": 3,
            "on": True,
            "extra": [1],
        }
        assert client.get_feature_variation_variables("checkout", "off") == {}
        with pytest.raises(FeatureVariationNotFound):
            client.get_feature_variation_variables("checkout", "a")


def test_the_data_file(shop, start):
    """Flags, what each experience can give with its own variables, and the time of the last change."""
    root = shop()
    root["experiences"][1]["variations"][0]["key"] = "on"
    _, client = start(root)
    shown = client.get_data_file()
    assert shown is client.get_data_file()
    assert shown.date_modified == 1_770_091_506_000
    checkout = shown.feature_flags["checkout"]
    assert checkout.default_variation.key == "off"
    titles = [rule.variations["on"].variables["title"].value for rule in checkout.rules]
    assert titles == ["Hi", "Rest"]
    assert [rule.variations["on"].experiment_id for rule in checkout.rules] == [5001, 5002]


def test_a_variation_with_the_feature_is_active_whatever_its_key(shop, start):
    """A key `off` switches nothing off that the variation switches on."""
    root = shop()
    root["experiences"][1]["variations"][0]["key"] = "off"
    _, client = start(root)
    assert client.is_feature_active("v", "checkout")
    variation = client.get_variation("v", "checkout")
    assert (variation.key, variation.id_, variation.is_active) == ("off", 6010, True)
    assert list(client.get_variations("v", only_active=True)) == ["checkout"]
    assert not client.is_feature_active("v", "rest")


def test_evaluate_and_explain_agree_and_change_nothing(shop, start):
    """Both say what `get_variation` gives, with a reason, and nobody is remembered for it."""
    root = shop()
    _, client = start(root)
    on, off = drawn(root, "exp", "on", GOLD), drawn(root, "exp", "off", GOLD)
    client.add_data(on, CustomData("tier", "gold"))
    client.add_data(off, CustomData("tier", "gold"), PageView("/shop", "Shop"))
    client.evaluate_audiences(off)
    known = len(client._core.store)
    for code in (on, off, "anybody"):
        for flag in ("checkout", "banner", "exp", "rest", "plain"):
            before = remembered(client, code)
            details, explanation = client.evaluate(code, flag), client.explain(code, flag)
            assert remembered(client, code) == before
            given = client.get_variation(code, flag)
            assert details.variation == explanation.variation == given
            assert details.reason == explanation.reason
            assert details.rule == explanation.rule == given.experiment_id
            assert json.loads(json.dumps(explanation.to_dict()))["variation"]["key"] == given.key
            assert client.explain(code, flag).variation == given, "sticky"
    assert len(client._core.store) == known + 1  # the tracked calls made `anybody` known
    assert client.evaluate(on, "unknown", "x").error.__class__ is FeatureNotFound
    with pytest.raises(FeatureNotFound):
        client.explain(on, "unknown")


def test_what_an_explanation_says(shop, start):
    """Each experience asked, each rule element with what was found, and the hash."""
    root = shop()
    _, client = start(root)
    code = drawn(root, "exp", "on", GOLD)
    text = str(client.explain(code, "checkout"))
    assert "rule 5001, EXPERIMENTATION, experiment 5001: the audiences do not match" in text
    assert "does not match: AUDIENCE 81 tier equals 'gold'; found nothing" in text
    assert "rule 5002, TARGETED_DELIVERY, experiment 5002: gives 'rest-on'" in text
    client.add_data(code, CustomData("tier", "gold"))
    explanation = client.explain(code, "exp")
    (rule,) = explanation.rules
    (seen,) = rule.hashes
    assert (seen.text, seen.result) == (f"5001{code}", "on")
    assert 0.5 <= seen.value < 1
    assert seen.thresholds == (("off", 0.5), ("on", 1.0))
    assert rule.is_targeted
    assert rule.segment_id == "81"
    assert explanation.reason is Reason.SPLIT
    assert "LOCATION 71 url contains '/shop'; found nothing" in str(client.explain(code, "plain"))
    assert str(client.explain(code, "banner")).endswith("no experience decided: off")


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_what_a_visitor_had_stays(shop, start):
    """A stopped arm keeps its visitors while it is served; new ones get the other, and a removed one is drawn anew."""
    root = shop()
    service, client = start(root, source={"interval_s": 0.02})
    first = client.get_variation("v", "checkout")
    with_other = copy.deepcopy(root)
    arms = with_other["experiences"][1]["variations"]
    arms[0].update(status="stopped", traffic_allocation=0)
    arms.append({**arms[0], "id": "6011", "key": "new", "status": "running", "traffic_allocation": 100})
    service.root = with_other
    wait_until(lambda: client.evaluate("somebody-else", "checkout").value == "new")
    assert client.get_variation("v", "checkout") == first
    gone = copy.deepcopy(with_other)
    del gone["experiences"][1]["variations"][0]
    service.root = gone
    wait_until(lambda: client.get_variation("v", "checkout").key == "new")
    assert remembered(client, "v") == {5002: 6011}


def test_what_keeps_a_visitor_out_is_asked_each_time(shop, start):
    """Who stops qualifying gets nothing, and his old arm back when he qualifies again."""
    root = shop()
    _, client = start(root)
    code = drawn(root, "exp", "on", GOLD)
    client.add_data(code, CustomData("tier", "gold"))
    assert client.get_variation(code, "exp").key == "on"
    client.add_data(code, CustomData("tier", "silver"))
    assert client.get_variation(code, "exp").id_ is None
    assert remembered(client, code) == {5001: 6002}
    client.add_data(code, CustomData("tier", "gold"))
    assert client.get_variation(code, "exp").id_ == 6002


def test_an_experience_asked_earlier_excludes_later_ones(shop, start):
    """A rule on another experience sees what the same evaluation has just given."""
    root = shop()
    excluded = {
        "rule_type": "bucketed_into_experience_key",
        "matching": {"match_type": "equals", "negated": True},
        "value": "exp",
    }
    root["audiences"][1]["rules"] = {"OR": [{"AND": [{"OR_WHEN": [excluded]}]}]}
    _, client = start(root)
    code = drawn(root, "exp", "off", GOLD)
    assert client.get_variation(code, "checkout").key == "rest-on"
    client = start(root)[1]
    client.add_data(code, CustomData("tier", "gold"))
    assert client.explain(code, "checkout").variation.key == "off"
    assert client.get_variation(code, "checkout").key == "off"
    assert remembered(client, code) == {5001: 6001}
    said = str(client.explain(code, "rest"))
    assert (
        "does not match: not AUDIENCE 82 bucketed_into_experience_key equals 'exp'; found variation 6001 of it" in said
    )


def test_forced_variations(shop, start):
    """A forced one is given and remembered, also to whom the experience is not for if so wished; then it stays."""
    root = shop()
    _, client = start(root)
    code = drawn(root, "exp", "off", GOLD)
    client.set_forced_variation(code, 5001, "on", force_targeting=False)
    assert client.get_variation(code, "exp").id_ is None
    client.set_forced_variation(code, 5001, "on")
    details = client.evaluate(code, "checkout")
    assert (details.value, details.reason) == ("on", Reason.TARGETING_MATCH)
    assert "the variation was forced" in str(client.explain(code, "exp"))
    assert remembered(client, code) == {}
    assert client.is_feature_active(code, "checkout")
    assert remembered(client, code) == {5001: 6002}
    client.set_forced_variation(code, 5001, None)
    client.add_data(code, CustomData("tier", "gold"))
    assert client.get_variation(code, "exp").key == "on"
    with pytest.raises(FeatureExperimentNotFound):
        client.set_forced_variation(code, 4711, "on")
    with pytest.raises(FeatureVariationNotFound):
        client.set_forced_variation(code, 5001, "unknown")


def test_nothing_forces_what_is_off_for_everybody(shop, start):
    """An archived experience gives nothing, whatever is forced."""
    _, client = start(shop(archived_experiences=["5001"]))
    client.set_forced_variation("v", 5001, "on")
    assert client.get_variation("v", "exp").id_ is None


def test_simulated_variations(shop, start):
    """The simulation cookie of the page works on experiences, and leaves nothing behind."""
    _, client = start(shop())
    cookie = json.dumps(
        {"checkout": {"expId": 5001, "varId": 6002}, "exp": {"expId": 5001, "varId": 6001}, "rest": {"expId": 0}}
    )
    client.get_visitor_code({"kameleoonVisitorCode": "v", "kameleoonSimulationFFData": cookie})
    assert [client.get_variation("v", key).key for key in ("checkout", "exp", "rest")] == ["on", "off", "off"]
    assert client.get_variation("v", "checkout").id_ == 6002
    assert client.evaluate("v", "checkout").reason is Reason.TARGETING_MATCH
    assert "simulated: nothing else counts" in str(client.explain("v", "checkout"))
    assert remembered(client, "v") == {}


# --- what is known of a visitor ---------------------------------------------------------------------------------------


def test_what_rules_see_of_a_visitor(project, experience, rule, start):
    """Custom data by name or index, one value or several; device, browser and country as Convert names them; pages for places."""
    keys = ["name", "7", "several", "browser", "devices", "country"]
    values = ["x", "y", "b", "SF", "ALLPH", "FR"]
    pairs = dict(zip(keys, values, strict=True))
    audiences = [{"id": str(n), "key": key, "rules": rule(key, "equals", pairs[key])} for n, key in enumerate(keys, 1)]
    places = {"url": "https://x.test/a", "title": "A", "name": "x"}
    locations = [
        {"id": str(n), "key": key, "rules": rule(key, "equals", places[key])} for n, key in enumerate(places, 1)
    ]
    experiences = [experience(id=one["id"], key=one["key"], audiences=[one["id"]]) for one in audiences]
    experiences += [experience(id=f"9{one['id']}", key=f"at {one['key']}", locations=[one["id"]]) for one in locations]
    _, client = start(project(audiences=audiences, locations=locations, experiences=experiences))
    assert not any(one.id_ for one in client.get_variations("v").values())
    client.add_data(
        "v",
        CustomData("name", "X"),
        CustomData(7, "y"),
        CustomData("several", "a", "b"),
        CustomData("nothing"),
        Browser(BrowserType.SAFARI),
        Device(DeviceType.PHONE),
        Geolocation("fr"),
        PageView("https://x.test/a", "A"),
    )
    assert [key for key, one in client.get_variations("v").items() if one.id_ is None] == []


def test_segments_are_joined_by_evaluating_audiences(shop, experience, start):
    """An experience for a segment is open to whom `evaluate_audiences` found in it, and stays so."""
    _, client = start(shop(experiences=[experience(audiences=["91"])]))
    client.add_data("v", CustomData("orders", 4))
    client.evaluate_audiences("v")
    assert client.get_variation("v", "exp").id_ is None
    client.add_data("v", CustomData("orders", 5))
    assert client.get_variation("v", "exp").id_ is None
    client.evaluate_audiences("v")
    assert client.get_variation("v", "exp").id_ is not None
    client.add_data("v", CustomData("orders", 0))
    client.evaluate_audiences("v")
    assert client.get_variation("v", "exp").id_ is not None
    assert "matches: SEGMENT 91; found ['91']" in str(client.explain("v", "exp"))


def test_rule_types_of_websites_ask_the_application(shop, experience, rule, start):
    """A rule type without key matches nothing, unless a provider gives its value."""
    audience = {"id": "83", "key": "french", "rules": rule(None, "equals", "FR", rule_type="country")}
    root = shop(audiences=[audience], experiences=[experience(audiences=["83"])])
    _, without = start(root)
    _, client = start(root, source={"providers": {"country": lambda data: data["country"]}})
    for one in (without, client):
        assert one.get_variation("v", "exp").id_ is None
        one.add_data("v", Geolocation("FR"))
    assert without.get_variation("v", "exp").id_ is None
    assert "out of service: nothing provides values" in str(without.explain("v", "exp"))
    assert client.get_variation("v", "exp").id_ is not None


def test_ids_that_are_no_numbers(project, experience, start):
    """Their numbers are below 0, the same in every process, and lead back to them."""
    arms = [{"id": "left", "key": "l", "traffic_allocation": 100}, {"id": "007", "key": "r", "traffic_allocation": 0}]
    root = project(experiences=[experience(id="exp-id", variations=arms)])
    _, client = start(root)
    given = client.get_variation("v", "exp")
    assert (given.key, given.id_, given.experiment_id) == ("l", -59_440_267_221_315, given.experiment_id)
    assert given.experiment_id < 0
    assert client.explain("v", "exp").rules[0].outcome.endswith("the visitor has had the variation before")
    client.set_forced_variation("v", given.experiment_id, "r")
    assert client.get_variation("v", "exp").key == "r"


# --- the configuration ------------------------------------------------------------------------------------------------


def test_the_environment_is_the_clients(shop, experience, start):
    """Unless the source names another one."""
    root = shop(experiences=[experience(), experience(id="2", key="live", environment="live")])
    service, client = start(root, environment="live")
    assert service.seen[0][1] == f"/config/{KEY}?environment=live"
    assert client.get_variation("v", "live").id_ is not None
    service, client = start(root, environment="live", source={"environment": "staging"})
    assert service.seen[0][1].endswith("?environment=staging")
    assert "live" not in client.get_data_file().feature_flags


def test_a_newer_project_is_taken_and_told(shop, start):
    """Polling brings it, with an event; what is unchanged brings none."""
    service, client = start(shop(), etag='"1"', source={"interval_s": 0.02})
    told = []

    class Handler:
        def on_update(self, event):
            told.append(event)

    client.set_event_handler(EventType.DATAFILE_UPDATE, Handler())
    wait_until(lambda: sum("if-none-match" in seen[2] for seen in service.seen) >= 3)
    before = len(told)
    changed = shop()
    changed["features"][1]["key"] = "ribbon"
    service.root, service.etag = changed, '"2"'
    wait_until(lambda: "ribbon" in client.get_data_file().feature_flags)
    wait_until(lambda: len(told) == before + 1)
    assert told[-1].source.name == "POLLING"


def test_what_is_no_project_never_replaces_one(shop, start, caplog):
    """The old one stays in force, polling goes on, and the reason is said once."""
    caplog.set_level(logging.ERROR)
    service, client = start(shop(), source={"interval_s": 0.02})
    good, service.root = service.root, {"error": "gone fishing", "account_id": "1001"}
    asked = len(service.seen)
    wait_until(lambda: len(service.seen) > asked + 3)
    assert client.get_variation("v", "checkout").key == "rest-on"
    assert client.evaluate("v", "checkout").reason is Reason.STALE
    assert caplog.text.count("gone fishing") == 1
    service.root = good
    wait_until(lambda: client.evaluate("v", "checkout").reason is Reason.TARGETING_MATCH)


@pytest.mark.parametrize(("status", "settings"), [(404, {"sdk_key": "wr0ng-key"}), (401, {"secret": "wr0ng-secret"})])
def test_a_wrong_key_or_secret(shop, status, settings, caplog):
    """The client is not ready, says why, and names neither."""
    settings = {"secret": "s3cr3t", **settings}
    with StrictConvert(shop(), secret="s3cr3t") as service, open_client(service, settings) as client:
        assert not client.wait_init(5000)
        assert f"status {status}: the key is unknown, or its secret wrong or missing" in caplog.text
        assert "wr0ng" not in caplog.text + repr(client.settings) + repr(client)
        with pytest.raises(FeatureNotFound):
            client.is_feature_active("v", "checkout")


def test_a_process_starts_from_the_last_good_project(shop, tmp_path, caplog):
    """With `data_dir`, a project is kept and put in force when Convert is away; nothing on disk has key or token."""
    root = shop()
    settings = {"sdk_key": "k3y/1", "debug_token": "t0ken"}
    with StrictConvert(root, key="k3y/1", token="t0ken", etag='"1"') as service:
        with open_client(service, settings, data_dir=tmp_path) as client:
            assert client.wait_init(5000)
            given = client.get_variation("v", "checkout")
        with open_client(service, settings, data_dir=tmp_path) as client:
            assert client.wait_init(5000)
            assert len([seen for seen in service.seen if seen[0] == "GET"]) == 1
    for path in tmp_path.rglob("*"):
        assert b"k3y" not in path.read_bytes()
        assert b"t0ken" not in path.read_bytes()
        assert "k3y" not in path.name
    kept = next(tmp_path.glob("configuration-convert-*.json"))
    header, _, body = kept.read_text().partition("\n")
    header = json.dumps({**json.loads(header), "asked_s": 0.0})
    kept.write_text(f"{header}\n{body}")
    with open_client(service, settings, data_dir=tmp_path) as client:
        assert client.wait_init(5000)
        assert client.get_variation("v", "checkout") == given
        assert client.evaluate("v", "checkout").reason is Reason.STALE
    kept.write_text(header + '\n{"account_id": "1"}')
    with open_client(service, settings, data_dir=tmp_path) as client:
        assert not client.wait_init(5000)
    assert caplog.text.count("The last good configuration cannot be used") == 1
    assert "Convert's configuration: the configuration has no project.id" in caplog.text


@pytest.mark.parametrize("settings", [{"hash_seed": 1}, {"max_traffic": 100}, {"excludes_experience": True}])
def test_how_places_are_drawn_may_be_set(shop, experience, start, settings):
    """As Convert's SDKs are set: the same visitors get the same variations."""
    root = shop(experiences=[experience()])
    _, client = start(root, source=settings)
    names = {"hash_seed": "seed", "max_traffic": "max_traffic", "excludes_experience": "excludes_experience"}
    bucketing = Bucketing(**{names[key]: value for key, value in settings.items()})
    compiled = {one: compile_project(root, bucketing=one).experiences["exp"] for one in (bucketing, Bucketing())}
    codes = [f"v{number}" for number in range(40)]
    drawn = {one: [found.decide(code, VisitorState()).variation for code in codes] for one, found in compiled.items()}
    given = [client.get_variation(code, "exp").id_ for code in codes]
    assert given == [None if one is None else int(one.id) for one in drawn[bucketing]]
    assert drawn[bucketing] != drawn[Bucketing()]


def test_preview_of_one_experience(shop, start):
    """Its id is asked for, past the cache."""
    service, _ = start(shop(), source={"preview": "5001", "environment": "live"})
    assert service.seen[0][1] == f"/config/{KEY}?environment=live&exp=5001&_conv_low_cache=1"


def test_our_own_service_is_never_asked(shop, start):
    """Remote data are not to be had, whatever credentials there are."""
    service, client = start(shop(), client_id="id", client_secret="secret", base_url="http://127.0.0.1:9")
    assert client.get_remote_data("key", timeout=1) is None
    assert client.get_remote_visitor_data("v", timeout=1) == []
    assert client.get_visitor_warehouse_audience("v", 1, timeout=1) is None
    assert {seen[0] for seen in service.seen} == {"GET"}

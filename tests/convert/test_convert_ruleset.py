"""A Convert project compiled: the order of the checks, stickiness, features, and what broken pieces do."""

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kameleoon._convert.read import ProjectRefused
from kameleoon._convert.ruleset import Outcome, VisitorState, compile_project

FIRST = "visitor-1"


def decide(root, state=None, code=FIRST, forced=None, **settings):
    """Decide for one visitor in the project's only experience."""
    ruleset = compile_project(root, **settings)
    return ruleset.experiences["exp"].decide(code, state or VisitorState(), forced)


@pytest.fixture
def barriers(project, experience, rule):
    """A project where everything stands against a visitor at once, and how each is taken away."""
    return project(
        archived_experiences=["5001"],
        locations=[{"id": "7", "key": "shop", "rules": rule("url", "contains", "/shop")}],
        audiences=[{"id": "8", "key": "gold", "type": "transient", "rules": rule("tier", "equals", "gold")}],
        segments=[{"id": "9", "key": "vip", "rules": rule("spent", "less", 100, negated=True)}],
        experiences=[experience(environment="live", status="paused", locations=["7"], audiences=["8", "9"])],
    )


def test_the_checks_come_in_order(barriers):
    """Archived, environment, status, location, audience, segment, stored, drawn: each shows when those before are passed."""
    experience = barriers["experiences"][0]
    state = VisitorState(bucketing={"5001": "6002"})
    assert decide(barriers, state).outcome is Outcome.ARCHIVED
    barriers["archived_experiences"] = []
    assert decide(barriers, state).outcome is Outcome.ENVIRONMENT
    assert decide(barriers, state, environment="staging").outcome is Outcome.ENVIRONMENT
    live = {"environment": "live"}
    assert decide(barriers, state, **live).outcome is Outcome.NOT_ACTIVE
    live["runs_inactive"] = True
    assert decide(barriers, state, **live).outcome is Outcome.LOCATION
    where = {"location": {"url": "https://x.test/shop/1"}, "bucketing": {"5001": "6002"}}
    assert decide(barriers, VisitorState(**where), **live).outcome is Outcome.AUDIENCE
    where["properties"] = {"tier": "GOLD"}
    assert decide(barriers, VisitorState(**where), **live).outcome is Outcome.SEGMENT
    where["custom_segments"] = frozenset({"9"})
    assert decide(barriers, VisitorState(**where), **live).outcome is Outcome.STICKY
    del where["bucketing"]
    assert decide(barriers, VisitorState(**where), **live).outcome is Outcome.BUCKETED
    experience["variations"] = []
    assert decide(barriers, VisitorState(**where), **live).outcome is Outcome.NO_VARIATIONS
    assert decide(barriers, VisitorState(**where), code="", **live).outcome is Outcome.NO_VISITOR


def test_a_debug_configuration_runs_what_is_not_active(project, experience):
    """Drafts run when the configuration was fetched with a debug token."""
    raw = experience(status="draft")
    assert decide(project(experiences=[raw])).outcome is Outcome.NOT_ACTIVE
    assert decide(project(experiences=[raw], is_debug=True)).outcome is Outcome.BUCKETED


def test_what_a_visitor_had_stays(project, experience):
    """A stored variation is given without a draw and without being new, also when it is stopped; one that is gone is not."""
    raw = experience()
    other = "6001" if decide(project(experiences=[raw])).variation.id == "6002" else "6002"
    raw["variations"][int(other) - 6001].update(status="stopped", traffic_allocation=0)
    decision = decide(project(experiences=[raw]), VisitorState(bucketing={"5001": other}))
    assert (decision.outcome, decision.variation.id, decision.place, decision.is_new) == (
        Outcome.STICKY,
        other,
        None,
        False,
    )
    decision = decide(project(experiences=[raw]), VisitorState(bucketing={"5001": "gone"}))
    assert (decision.outcome, decision.is_new) == (Outcome.BUCKETED, True)


def test_a_forced_variation(project, experience):
    """It replaces what was drawn and what is stored, and is new; one that does not exist does nothing."""
    root = project(experiences=[experience()])
    decision = decide(root, VisitorState(bucketing={"5001": "6001"}), forced="6002")
    assert (decision.outcome, decision.variation.id, decision.is_new) == (Outcome.FORCED, "6002", True)
    assert decide(root, VisitorState(bucketing={"5001": "6001"}), forced="6001").outcome is Outcome.STICKY
    assert decide(root, forced="gone").outcome is Outcome.BUCKETED


def test_no_location_given_is_an_empty_one(project, experience, rule):
    """An experience without locations is open to a visitor of whom no location is known; one with locations is not."""
    assert decide(project(experiences=[experience()])).outcome is Outcome.BUCKETED
    locations = [
        {"id": "7", "rules": rule("url", "contains", "/shop")},
        {"id": "8", "rules": rule("url", "doesNotExist", "")},
    ]
    for ids, expected in [
        (["7"], Outcome.LOCATION),
        (["7", "8"], Outcome.BUCKETED),
        (["unknown"], Outcome.LOCATION),
        (["unknown", "8"], Outcome.BUCKETED),
        ([], Outcome.BUCKETED),
        (None, Outcome.BUCKETED),
    ]:
        assert decide(project(experiences=[experience(locations=ids)], locations=locations)).outcome is expected


def test_the_site_area_counts_without_locations(project, experience, rule):
    """Its rules must match, unless there are locations."""
    area = rule("url", "endsWith", "/cart")
    root = project(experiences=[experience(site_area=area)])
    assert decide(root).outcome is Outcome.LOCATION
    assert decide(root, VisitorState(location={"url": "x/CART"})).outcome is Outcome.BUCKETED
    root = project(
        experiences=[experience(site_area=area, locations=["7"])],
        locations=[{"id": "7", "rules": rule("url", "exists", "")}],
    )
    assert decide(root, VisitorState(location={"url": "x"})).outcome is Outcome.BUCKETED


@pytest.mark.parametrize(
    ("options", "tier", "plan", "expected"),
    [
        ("any", "gold", "free", True),
        ("any", "x", "free", False),
        ("all", "gold", "free", False),
        ("all", "gold", "pro", True),
        (None, "gold", "", True),
    ],
)
def test_audiences_any_or_all(project, experience, rule, options, tier, plan, expected):
    """One matching audience is enough, unless all are asked for; missing settings mean any."""
    audiences = [
        {"id": "1", "rules": rule("tier", "equals", "gold")},
        {"id": "2", "rules": rule("plan", "equals", "pro")},
    ]
    raw = experience(
        audiences=["1", "2", "unknown"], settings={"matching_options": {"audiences": options}} if options else None
    )
    root = project(experiences=[raw], audiences=audiences)
    found = decide(root, VisitorState(properties={"tier": tier, "plan": plan})).variation
    assert (found is not None) is expected


def test_audiences_that_are_unknown_or_empty(project, experience):
    """Only unknown ids restrict nobody; an audience without rules matches nobody."""
    assert decide(project(experiences=[experience(audiences=["unknown"])])).variation is not None
    root = project(experiences=[experience(audiences=["1"])], audiences=[{"id": "1", "rules": None}])
    assert decide(root).outcome is Outcome.AUDIENCE


def test_permanent_audiences_are_checked_until_there_is_a_variation(project, experience, rule):
    """A visitor with a variation leaves a transient audience, but not a permanent one."""
    for kind, expected in [("permanent", Outcome.STICKY), ("transient", Outcome.AUDIENCE)]:
        audiences = [{"id": "1", "type": kind, "rules": rule("tier", "equals", "gold")}]
        root = project(experiences=[experience(audiences=["1"])], audiences=audiences)
        assert decide(root).outcome is Outcome.AUDIENCE
        assert decide(root, VisitorState(bucketing={"5001": "6001"})).outcome is expected
        assert decide(root, VisitorState(bucketing={"5001": "gone"})).outcome is Outcome.AUDIENCE


def test_stored_segments_are_properties_too(project, experience, rule):
    """Report segments are matched, and what the application says goes before them."""
    root = project(
        experiences=[experience(audiences=["1"])], audiences=[{"id": "1", "rules": rule("country", "equals", "FR")}]
    )
    assert decide(root, VisitorState(segments={"country": "FR"})).variation
    assert not decide(root, VisitorState(segments={"country": "FR"}, properties={"country": "BE"})).variation


@pytest.mark.parametrize(
    ("negated", "bucketing", "expected"),
    [(False, {}, False), (False, {"1": "2"}, True), (True, {}, True), (True, {"1": "2"}, False)],
)
def test_mutual_exclusion_decides_alone(project, experience, rule, negated, bucketing, expected):
    """An audience that asks for another experience looks at what is stored, and at nothing else of its rules."""
    rules = rule(None, "equals", "other", negated=negated, rule_type="bucketed_into_experience_key")
    rules["OR"].append(rule("tier", "equals", "gold")["OR"][0])
    raw = [experience(audiences=["8"]), experience(id="1", key="other")]
    root = project(experiences=raw, audiences=[{"id": "8", "rules": rules}])
    state = VisitorState(properties={"tier": "gold" if not expected else "x"}, bucketing=bucketing)
    assert (decide(root, state).variation is not None) is expected
    raw.pop()
    assert (decide(root, state).variation is not None) is negated


def test_what_is_not_in_the_project_is_told(project, experience):
    """Locations and features that an experience names and nobody knows, ids that are none, a second experience of one key."""
    arms = [{"id": 6.0, "changes": [feature_change(99), {"type": "fullStackFeature", "data": {}}]}]
    raw = experience(locations=["gone", [1]], audiences=[None, "also gone"], variations=arms)
    ruleset = compile_project(project(experiences=[raw, experience(id="5002"), experience(id="5003", key="")]))
    told = {problem.place: problem.reason for problem in ruleset.problems}
    assert told["experiences[5001].variations[0].changes[1]"] == "it names no feature"
    assert ruleset.experiences["exp"].experience.variations[0].id == "6"
    assert list(ruleset.experiences) == ["exp"]
    reasons = [str(problem) for problem in ruleset.problems]
    for text in (
        "experiences[5001].locations: some of them are not in the project", "experiences[5001].locations: something in it is not an id",
        "experiences[5001].audiences: something in it is not an id", "experiences[5002]: no key of its own", "experiences[5003]: no key of its own",
    ):  # fmt: skip
        assert any(one.startswith(text) for one in reasons)
    whole = compile_project(project(locations=[{"id": "7"}], experiences=[experience(locations=["7"])]))
    assert whole.problems == ()


def test_segments_are_matched_by_membership(project, rule):
    """Membership is worked out when asked, for each segment; without data the visitor is in all named ones."""
    segments = [{"id": str(n), "key": f"s{n}", "rules": rule("n", "equals", n)} for n in (1, 2, 3)]
    ruleset = compile_project(project(segments=segments))
    assert ruleset.segments_for(["s1", "s2", "gone"], {"n": 1}) == ("1",)
    assert ruleset.segments_for(["s1", "s2", "gone"], None) == ("1", "2")


def feature_change(feature_id, **variables):
    """The change that switches a feature on."""
    return {"id": 1, "type": "fullStackFeature", "data": {"feature_id": feature_id, "variables_data": variables}}


def test_a_feature_is_on_by_the_first_experience_that_has_it(project, experience):
    """Being in an arm without the change is no answer: the next experience is asked, and all that is new is handed out."""
    bare, with_it = experience(id="1", key="a"), experience(id="2", key="b")
    for arm in with_it["variations"]:
        arm["changes"] = [{"type": "customCode", "data": {}}, feature_change(10, title="x")]
    bare["variations"] = [
        {"id": "61", "traffic_allocation": 100},
        {"id": "62", "traffic_allocation": 0, "changes": [feature_change("10", title="never")]},
    ]
    features = [{"id": 10, "key": "checkout", "variables": [{"key": "title", "type": "string"}]}]
    root = project(features=features, experiences=[bare, with_it, experience(id="3", key="unrelated")])
    feature = compile_project(root).features["checkout"]
    assert [one.key for one in feature.experiences] == ["a", "b"]
    found = feature.decide(FIRST, VisitorState())
    assert (found.is_enabled, found.enabled_by.experience.key, found.variables) == (True, "b", {"title": "x"})
    assert [(one.experience.key, one.is_new) for one in found.decisions] == [("a", True), ("b", True)]
    with_it["variations"] = []
    found = compile_project(root).features["checkout"].decide(FIRST, VisitorState())
    assert (found.is_enabled, found.variables, len(found.decisions)) == (False, {}, 1)


CASTS = [
    ("boolean", "true", True), ("boolean", "false", False), ("boolean", "yes", True), ("boolean", 0, False), ("boolean", [], True),
    ("integer", "3.7", 3), ("integer", "12abc", 12), ("integer", True, 1), ("float", "1.2.3", 1.2), ("float", 3, 3.0),
    ("string", 12, "12"), ("string", None, "null"), ("string", 1.0, "1"), ("json", '{"a": [1]}', {"a": [1]}), ("json", "{bad", "{bad"),
    ("json", [1], [1]), ("json", "NaN", "NaN"), ("unheard-of", "as it is", "as it is"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "given", "expected"), CASTS)
def test_variables_have_their_declared_types(project, experience, declared, given, expected):
    """Each value is cast once, and the configuration is not changed."""
    raw = experience(variations=[{"id": "1", "changes": [feature_change(10, v=given, loose=given)]}])
    features = [{"id": "10", "key": "f", "variables": [{"key": "v", "type": declared}]}]
    root = project(features=features, experiences=[raw])
    before = copy.deepcopy(root)
    found = compile_project(root).features["f"].decide(FIRST, VisitorState()).variables
    assert found == {"v": expected, "loose": given}
    assert type(found["v"]) is type(expected)
    assert root == before


def test_a_variable_that_is_no_number_is_left_out(project, experience):
    """It is told as a problem, and the others stay."""
    raw = experience(variations=[{"id": "1", "changes": [feature_change(10, n="x", s="y")]}])
    features = [{"id": "10", "key": "f", "variables": [{"key": "n", "type": "integer"}]}]
    ruleset = compile_project(project(features=features, experiences=[raw]))
    assert ruleset.features["f"].decide(FIRST, VisitorState()).variables == {"s": "y"}
    assert "variables_data[n]" in str(ruleset.problems[0])


def test_goals_by_key_and_id(project, rule):
    """A key goes before an id; rules are matched on demand; no rules match nothing."""
    goals = [
        {"id": "1", "key": "order", "rules": rule("sum", "less", 10, negated=True)},
        {"id": "2", "key": "1", "type": ["a"]},
    ]
    ruleset = compile_project(project(goals=goals))
    assert [ruleset.goals[one].id for one in ("order", "1", "2")] == ["1", "2", "2"]
    assert ruleset.matches_goal(ruleset.goals["order"], {"sum": 12}) is True
    assert ruleset.matches_goal(ruleset.goals["2"], {"sum": 12}) is False


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ([], "not an object"), ({}, "no account_id"), ({"account_id": "1"}, "no project.id"), ({"account_id": 1, "project": {"id": ""}}, "no project.id"),
        ({"account_id": "1", "project": {"id": "2"}, "error": "gone"}, "gone"), ({"account_id": True, "project": {"id": 1}}, "no account_id"),
    ],
)  # fmt: skip
def test_what_is_no_project(root, reason):
    """The root alone is refused, with the reason."""
    with pytest.raises(ProjectRefused, match=reason):
        compile_project(root)


def test_broken_pieces_are_out_of_service_alone(project, experience):
    """Each is told once with its place, and the good experience answers as without them."""
    good = experience()
    root = project(
        experiences=[5, {"key": "no id"}, good, experience(key="again"), experience(id="7", variations={"a": 1}), experience(id="8", key="c", variations=[3])],
        audiences="x", features=[{"id": 1, "key": "exp"}, {"id": 2}], goals=None, locations=[{}],
    )  # fmt: skip
    told = []
    ruleset = compile_project(root, tell=told.append)
    assert decide(root).variation == decide(project(experiences=[good])).variation
    places = [problem.place for problem in told]
    for place in (
        "experiences[0]",
        "experiences[1]",
        "experiences[3]",
        "experiences[7].variations",
        "experiences[8].variations[0]",
        "audiences",
        "locations[0]",
        "features[2]",
    ):
        assert place in places
    assert tuple(told) == ruleset.problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=250)
@given(st.data())
def test_any_member_may_be_anything(data):
    """Whatever stands in one place of a project, compiling and deciding raise nothing but a refusal of the root."""
    element = {
        "rule_type": "generic_text_key_value",
        "matching": {"match_type": "equals", "negated": False},
        "value": "v",
        "key": "k",
    }
    rules = {"OR": [{"AND": [{"OR_WHEN": [element]}]}]}
    arm = {"id": "6", "key": "v", "traffic_allocation": 100, "changes": [feature_change("10", v=1)]}
    raw = {
        "id": "5",
        "key": "exp",
        "locations": ["1"],
        "audiences": ["2", "3"],
        "variations": [arm],
        "settings": {"matching_options": {}},
    }
    root = {
        "account_id": "1", "project": {"id": "2", "settings": {"version": "x"}}, "experiences": [raw], "goals": [{"id": "4", "rules": rules}],
        "locations": [{"id": "1", "rules": rules}], "audiences": [{"id": "2", "rules": rules}], "segments": [{"id": "3", "rules": rules}],
        "features": [{"id": "10", "key": "f", "variables": [{"key": "v", "type": "integer"}]}],
    }  # fmt: skip
    root = copy.deepcopy(root)
    node = root
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not (isinstance(node[key], (dict, list)) and node[key]) or data.draw(st.integers(0, 4)) == 0:
            node[key] = data.draw(JSON)
            break
        node = node[key]
    state = VisitorState(properties={"k": "v"}, location={"k": "v"}, custom_segments=frozenset({"3"}))
    try:
        ruleset = compile_project(root)
    except ProjectRefused:
        return
    for experience in ruleset.experiences.values():
        place = experience.decide("visitor", state).place
        assert place is None or (math.isfinite(place) and 0 <= place < 10_000)
    for feature in ruleset.features.values():
        feature.decide("visitor", state)

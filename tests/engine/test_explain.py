"""Explanations: true to the answer, readable, plain as a dictionary, and without any trace."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from generated_cases import EXAMPLES, NOW, Chance, as_text, record_of
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import share_of

from kameleoon import CustomData, Device, DeviceType, Geolocation, KameleoonClientConfig
from kameleoon._engine.explain import walk
from kameleoon._engine.ruleset import compile_ruleset
from kameleoon.client import KameleoonClient
from kameleoon.exceptions import FeatureEnvironmentDisabled, FeatureNotFound, VisitorCodeInvalid
from kameleoon.types.reason import Reason

WORKED = json.loads(Path(__file__).with_name("worked_example.json").read_text("utf-8"))["configuration"]


@pytest.fixture
def client():
    """A fresh client with the worked example."""
    with KameleoonClient("explain", KameleoonClientConfig(source=WORKED, multi_threading=False)) as client:
        assert client.wait_init()
        yield client


def last_word(seen, flag):
    """The variation key that the walk arrived at, ``None`` for the flag's default, or a refusal."""
    if any("disabled in the environment" in step or "blocks every flag" in step for step in seen.steps):
        return "refused"
    if "simulated: nothing else counts" in seen.steps:
        return "simulated"
    outcome = seen.rules[-1].outcome if seen.rules else ""
    if outcome.startswith("blocked"):
        return "refused"
    names = [repr(name) for name in {str(key) for rule in flag.model.rules for key in keys(rule)}]
    return next((name for name in names if outcome.endswith(name) or outcome.startswith(f"forced to {name}")), None)


def keys(rule):
    """Keys that a rule may give, forced ones included."""
    return {share.variation_key for share in rule.shares} | {"off", "on", "alt"}


@settings(max_examples=max(1, EXAMPLES // 20))
@given(
    st.builds(Chance, st.integers(0, 2**64), st.integers(1, 4), st.sampled_from([0.0, 0.1]), old_shape=st.booleans())
)
def test_the_walk_arrives_at_the_answer(chance):
    """What the explanation says decided is what was given, in every case; texts and dictionaries can always be made."""
    root = chance.root()
    ruleset = compile_ruleset(root)
    for _ in range(5):
        code, known = chance.code(), chance.known()
        record = record_of(known)
        for key in ruleset.flag_keys:
            flag = ruleset.flag(key)
            seen = walk(ruleset, flag, record, code, NOW)
            choice = seen.choice
            word, shown = last_word(seen, flag), as_text(root, known, code, key)
            if choice.refusal is not None:
                assert word == "refused", shown
            elif word != "simulated":
                decided = choice.rule is not None
                assert word == (repr(choice.variation_key) if decided else None), shown
                assert not decided or seen.rules[-1].id == choice.rule.id, shown
            for rule in seen.rules:
                for hashed in rule.hashes:
                    assert hashed.value == share_of(hashed.text)
                assert str(rule)


def test_printed(client):
    """It reads as a short report, from the visitor down to what was compared with what."""
    client.add_data("visitor-1", CustomData("plan", "silver"), Device(DeviceType.PHONE), Geolocation("Spain"))
    text = str(client.explain("visitor-1", "checkout"))
    assert text.splitlines() == [
        "checkout for 'visitor-1': variation 'alt' by rule 102, SPLIT",
        "  holdout: hash 0.6736341808599453, in-holdout up to 0.1, not-in-holdout up to 1: not-in-holdout",
        "  rule 101, TARGETED_DELIVERY, experiment 1001: not for this visitor",
        "    not in segment 41",
        "      matches: DEVICE_TYPE device 'PHONE'; found 'PHONE'",
        "      does not match: GEOLOCATION country 'France'; found ['Spain', None, None]",
        (
            "      does not match: CUSTOM_DATUM customDataIndex '0', valueMatchType 'AMONG_VALUES', "
            """value '["gold","platinum"]'; found ['silver']"""
        ),
        "  rule 102, EXPERIMENTATION, experiment 1002: gives 'alt'",
        "    in segment 42",
        "      matches: not SEGMENT segmentId 41; found see the segment",
        "      matches: not VISITOR_CODE matchType 'CONTAINS', visitorCode 'bot'; found 'visitor-1'",
        "    exposition: hash 0.3214622092675021, exposed up to 0.8: exposed",
        "    variation: hash 0.8644696676852284, off up to 0.4, on up to 0.7, alt up to 1: alt",
    ]


def test_as_a_dictionary(client):
    """It is plain JSON."""
    explanation = client.explain("visitor-1", "checkout").to_dict()
    assert json.loads(json.dumps(explanation)) == explanation
    assert explanation["reason"] == "SPLIT"
    assert explanation["variation"] == {
        "key": "alt",
        "id_": 20004,
        "experiment_id": 1002,
        "variables": {},
        "name": "Alternative",
    }
    assert explanation["rules"][1]["hashes"][0]["thresholds"] == [["exposed", 0.8]]


def test_nothing_is_left_behind(client):
    """Neither a visitor, nor an assignment, nor anything to send, nor activity of a known visitor."""
    client.explain("visitor-1", "checkout")
    client.evaluate("visitor-1", "checkout")
    assert len(client._core.store) == 0
    client.get_variation("visitor-2", "checkout")
    visitor = client._core.store.peek("visitor-2")
    before = (visitor.last_s, dict(visitor.record.assignments), set(visitor.record.unsent))
    registered = set(client._core.tracker._registered)
    client.explain("visitor-2", "banner")
    client.evaluate("visitor-2", "banner")
    assert (visitor.last_s, dict(visitor.record.assignments), set(visitor.record.unsent)) == before
    assert set(client._core.tracker._registered) == registered


@pytest.mark.parametrize("key", ["checkout", "banner", "popup", "tenant_ui", "legacy"])
def test_all_three_agree(client, key):
    """``explain``, ``evaluate`` and ``get_variation`` tell the same."""
    for number in range(30):
        code = f"visitor-{number}"
        explanation, details = client.explain(code, key), client.evaluate(code, key, default=False)
        try:
            variation = client.get_variation(code, key)
        except FeatureEnvironmentDisabled:
            assert explanation.variation is details.variation is None
            assert explanation.reason is details.reason is Reason.DISABLED
            assert isinstance(details.error, FeatureEnvironmentDisabled)
            continue
        assert explanation.variation == details.variation == variation
        assert explanation.reason is details.reason
        assert explanation.rule == details.rule
        assert details.value is variation.is_active
        assert client.evaluate(code, key, default="x").value == variation.key


def test_reasons(client):
    """The reasons are OpenFeature's."""
    assert client.evaluate("visitor-1", "checkout").reason == "SPLIT"
    assert client.evaluate("visitor-4", "checkout").reason == "DEFAULT"
    assert client.evaluate("visitor-2", "popup").reason == "TARGETING_MATCH"
    assert client.evaluate("visitor-1", "legacy", default=True).reason == "DISABLED"
    assert client.evaluate("visitor-1", "legacy", default=True).value is True


def test_stale(client):
    """While the last fetch failed the answer says that it may be old."""
    client._core.configuration.failure = "HTTP 500"
    assert client.evaluate("visitor-1", "checkout").reason is Reason.STALE
    explanation = client.explain("visitor-1", "checkout")
    assert explanation.is_stale
    assert explanation.reason is Reason.SPLIT
    client._core.configuration.failure = None
    assert client.evaluate("visitor-1", "checkout").reason is Reason.SPLIT


@pytest.mark.parametrize("code", ["", None, 5, "x" * 256, "\ud800", ["x"]])
def test_evaluate_never_raises(client, code):
    """A bad visitor code or flag gives the default with the error beside it."""
    details = client.evaluate(code, "checkout", default="fallback")
    assert (details.value, details.reason) == ("fallback", Reason.ERROR)
    assert isinstance(details.error, VisitorCodeInvalid)
    details = client.evaluate("v", code, default=3)
    assert (details.value, details.reason) == (3, Reason.ERROR)
    assert isinstance(details.error, FeatureNotFound)


def test_explain_raises_as_documented(client):
    """A bad code and an unknown flag are errors."""
    with pytest.raises(VisitorCodeInvalid):
        client.explain("", "checkout")
    with pytest.raises(FeatureNotFound):
        client.explain("v", "unknown")


def test_problems_are_shown():
    """A condition out of service says why, where it stands and in the list of problems."""
    rule = {"id": 1, "type": "EXPERIMENTATION", "exposition": 1, "segmentId": 7}
    root = {
        "segments": [{"id": 7, "conditionsData": {"firstLevel": [{"conditions": [{"targetingType": "MOON"}]}]}}],
        "featureFlags": [{"featureKey": "f", "environmentEnabled": True, "rules": [rule, {"exposition": 1}]}],
    }
    with KameleoonClient("explain", KameleoonClientConfig(source=root, multi_threading=False)) as client:
        client.wait_init()
        explanation = client.explain("v", "f")
    assert explanation.rules[0].conditions[0].problem == "unknown targetingType 'MOON'"
    assert set(explanation.problems) == {
        "featureFlags[f].rules[1]: has no id",
        "segments[7]: unknown targetingType 'MOON'",
    }
    assert "out of service: segments[7]" in str(explanation)

"""One broken piece of a configuration is out of service alone, told by name, and everything else answers."""

from __future__ import annotations

import json
import logging
import math

import pytest

from kameleoon import KameleoonClientConfig
from kameleoon._engine.ruleset import compile_ruleset
from kameleoon.client import KameleoonClient


def rule(**members):
    """A delivery of "on" to everybody."""
    shares = [{"variationKey": "on", "variationId": 1, "exposition": 1}]
    return {"id": 1, "type": "TARGETED_DELIVERY", "exposition": 1, "variationByExposition": shares, **members}


def flag(key, *rules, **members):
    """An enabled flag."""
    variations = [{"key": "off", "variables": []}, {"key": "on", "variables": []}]
    return {
        "id": 1,
        "featureKey": key,
        "environmentEnabled": True,
        "defaultVariationKey": "off",
        "variations": variations,
        "rules": list(rules),
        **members,
    }


def segment(data, segment_id=7):
    """A segment with the tree *data*."""
    return {"id": segment_id, "conditionsData": data}


def tree(*conditions, **members):
    """One group of conditions joined by AND."""
    return {"firstLevel": [{"conditions": list(conditions), "orOperators": [False] * 9}], **members}


def nested(depth):
    """A list within a list within a list."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


CODE = {"targetingType": "VISITOR_CODE", "matchType": "CONTAINS", "visitorCode": ""}
TARGETED = rule(segmentId=7)

# Name: what is in the configuration beside the good flag, what flag "f" gives or None, and where the problem is told.
PIECES = {
    "rule-without-id": ({"flag": flag("f", {"exposition": 1}, rule())}, "on", "featureFlags[f].rules[0]"),
    "rule-id-list": ({"flag": flag("f", rule(id=[1]), rule())}, "on", "featureFlags[f].rules[0].id"),
    "rule-id-deep": ({"flag": flag("f", rule(id=nested(400)), rule())}, "on", "featureFlags[f].rules[0].id"),
    "rule-id-surrogate": ({"flag": flag("f", rule(id="\ud800"))}, "off", "featureFlags[f].rules[0].id"),
    "rule-null": ({"flag": flag("f", None, rule())}, "on", "featureFlags[f].rules[0]"),
    "rules-null": ({"flag": flag("f", rules=None)}, "off", "featureFlags[f].rules"),
    "exposition-null": (
        {"flag": flag("f", rule(exposition=None), rule())},
        "on",
        "featureFlags[f].rules[0].exposition",
    ),
    "exposition-text": ({"flag": flag("f", rule(exposition="1"))}, "off", "featureFlags[f].rules[0].exposition"),
    "exposition-huge": ({"flag": flag("f", rule(exposition=10**400))}, "off", "featureFlags[f].rules[0].exposition"),
    "exposition-nan": ({"flag": flag("f", rule(exposition=math.nan))}, "off", None),
    "experiment-object": ({"flag": flag("f", rule(experimentId={}))}, "off", "featureFlags[f].rules[0].experimentId"),
    "respool-list": ({"flag": flag("f", rule(respoolTime=[1]))}, "off", "featureFlags[f].rules[0].respoolTime"),
    "unknown-type": ({"flag": flag("f", rule(type=["EXPERIMENTATION"]))}, "on", None),
    "shares-null": (
        {"flag": flag("f", rule(variationByExposition=None))},
        "off",
        "featureFlags[f].rules[0].variationByExposition",
    ),
    "share-not-object": (
        {"flag": flag("f", rule(variationByExposition=[1, {"variationKey": "on"}]))},
        "on",
        "featureFlags[f].rules[0].variationByExposition[0]",
    ),
    "share-key-list": (
        {"flag": flag("f", rule(variationByExposition=[{"variationKey": ["on"]}]))},
        "off",
        "featureFlags[f].rules[0].variationByExposition[0]",
    ),
    "segment-id-list": ({"flag": flag("f", rule(segmentId=[7]))}, "off", "featureFlags[f].rules[0].segmentId"),
    "segment-text": ({"flag": flag("f", rule(segment="x"))}, "off", "featureFlags[f].rules[0].segment"),
    "segment-unknown": ({"flag": flag("f", rule(segmentId=99))}, "on", None),
    "variations-null": ({"flag": flag("f", rule(), variations=None)}, "on", "featureFlags[f].variations"),
    "variation-key-list": (
        {"flag": flag("f", rule(), variations=[{"key": []}])},
        "on",
        "featureFlags[f].variations[0].key",
    ),
    "default-key-list": ({"flag": flag("f", defaultVariationKey=[])}, "", "featureFlags[f].defaultVariationKey"),
    "variable-json": (
        {"flag": flag("f", variations=[{"key": "off", "variables": [{"key": "v", "type": "JSON", "value": "{"}]}])},
        "off",
        "featureFlags[f].variations[0].variables[v]",
    ),
    "variable-deep-json": (
        {
            "flag": flag(
                "f", variations=[{"key": "off", "variables": [{"key": "v", "type": "JSON", "value": "[" * 100_000}]}]
            )
        },
        "off",
        "featureFlags[f].variations[0].variables[v]",
    ),
    "variable-key-list": (
        {"flag": flag("f", variations=[{"key": "off", "variables": [{"key": []}]}])},
        "off",
        "featureFlags[f].variations[0].variables",
    ),
    "group-list": (
        {"flag": flag("f", rule(), mutuallyExclusiveGroup=[])},
        "on",
        "featureFlags[f].mutuallyExclusiveGroup",
    ),
    "group-surrogate": (
        {"flag": flag("f", rule(), mutuallyExclusiveGroup="\udfff")},
        "on",
        "featureFlags[f].mutuallyExclusiveGroup",
    ),
    "holdout-null": ({"flag": flag("f", rule()), "holdout": None}, "on", "holdout"),
    "holdout-id-list": ({"flag": flag("f", rule()), "holdout": {"experimentId": []}}, "on", "holdout.experimentId"),
    "date-null": ({"flag": flag("f", rule()), "dateModified": None}, "on", "dateModified"),
    "settings-list": ({"flag": flag("f", rule()), "configuration": []}, "on", "configuration"),
    "catalogue-text": ({"flag": flag("f", rule()), "customData": "x"}, "on", "customData"),
    "catalogue-index": ({"flag": flag("f", rule()), "customData": [{"index": "x"}]}, "on", "customData[0].index"),
    "catalogue-item": ({"flag": flag("f", rule()), "customData": [3]}, "on", "customData[0]"),
    "segments-object": ({"flag": flag("f", rule()), "segments": {}}, "on", "segments"),
    "no-first-level": ({"flag": flag("f", TARGETED), "segments": [segment({})]}, "off", "segments[7].conditionsData"),
    "no-conditions": (
        {"flag": flag("f", TARGETED), "segments": [segment({"firstLevel": [{}]})]},
        "off",
        "segments[7].conditionsData",
    ),
    "null-condition": (
        {"flag": flag("f", TARGETED), "segments": [segment(tree(None))]},
        "off",
        "segments[7].conditionsData",
    ),
    "few-operators": (
        {"flag": flag("f", TARGETED), "segments": [segment({"firstLevel": [{"conditions": [CODE, CODE]}]})]},
        "off",
        "segments[7].conditionsData",
    ),
    "unknown-condition": (
        {"flag": flag("f", TARGETED), "segments": [segment(tree({"targetingType": "MOON"}))]},
        "off",
        "segments[7]",
    ),
    "excluded-unknown-condition": (
        {"flag": flag("f", TARGETED), "segments": [segment(tree({"targetingType": "MOON", "isInclude": False}))]},
        "on",
        "segments[7]",
    ),
    "mistyped-operator": (
        {"flag": flag("f", TARGETED), "segments": [segment(tree({**CODE, "matchType": "contains"}))]},
        "off",
        "segments[7]",
    ),
    "deep-value": (
        {"flag": flag("f", TARGETED), "segments": [segment(tree({**CODE, "visitorCode": nested(900)}))]},
        "off",
        "segments[7]",
    ),
    "digits-without-end": (
        {
            "flag": flag("f", TARGETED),
            "segments": [
                segment(
                    tree({"targetingType": "CUSTOM_DATUM", "customDataIndex": "9" * 9_000, "valueMatchType": "TRUE"})
                )
            ],
        },
        "off",
        None,
    ),
    "segment-in-itself": (
        {
            "flag": flag("f", TARGETED),
            "segments": [segment(tree({"targetingType": "SEGMENT", "segmentId": 7}))],
        },
        "off",
        "segments[7]",
    ),
}


def root_of(piece):
    """The configuration with *piece* and one good flag."""
    root = {"dateModified": 1, "segments": [], **piece}
    root["featureFlags"] = [root.pop("flag"), flag("good", rule())]
    return root


@pytest.mark.parametrize("name", PIECES)
def test_piece(name):
    """The piece alone is out of service, and its place is told."""
    piece, given, place = PIECES[name]
    ruleset = compile_ruleset(root_of(piece))
    assert ruleset.flag("good").decide(None, "v", 0)[0].variation_key == "on"
    assert ruleset.flag("f").decide(None, "v", 0)[0].variation_key == given
    assert {problem.place for problem in ruleset.problems} == ({place} if place else set())
    assert all(problem.reason for problem in ruleset.problems)
    assert ruleset.view().feature_flags["good"].default_variation.key == "off"


def test_flags_that_are_none_and_keys_that_cannot_be():
    """What is no flag is left out and told by its position."""
    ruleset = compile_ruleset({"featureFlags": [1, {"featureKey": []}, flag("good", rule())]})
    assert ruleset.flag_keys == ("good",)
    assert [problem.place for problem in ruleset.problems] == ["featureFlags[0]", "featureFlags[1].featureKey"]


def test_a_problem_is_logged_once(caplog):
    """Several flags that meet the same broken segment tell of it once."""
    root = root_of({"flag": flag("f", TARGETED), "segments": [segment(tree({"targetingType": "MOON"}))]})
    root["featureFlags"] += [flag(f"f{number}", TARGETED) for number in range(5)]
    config = KameleoonClientConfig(source=json.loads(json.dumps(root)), multi_threading=False)
    with caplog.at_level(logging.WARNING), KameleoonClient("degradation", config) as client:
        client.wait_init()
        client.get_variations("v")
        client.get_variations("w")
    assert len([record for record in caplog.records if "MOON" in record.getMessage()]) == 1


def test_segments_that_unfold_without_end_are_bounded():
    """Thirty segments, each referring twice to the next, would be a milliard of conditions."""

    def twice(target):
        inner = {"targetingType": "SEGMENT", "segmentId": target}
        return tree(inner, inner)

    segments = [segment(twice(number + 1), number) for number in range(7, 37)] + [segment(tree(CODE), 37)]
    ruleset = compile_ruleset(root_of({"flag": flag("f", TARGETED), "segments": segments}))
    assert ruleset.flag("f").decide(None, "v", 0)[0].variation_key == "off"
    assert ruleset.problems


def test_a_rule_may_not_refer_to_too_much_at_once():
    """Many references, each within bounds, are too much together."""
    inner = [{"targetingType": "SEGMENT", "segmentId": 8}] * 100
    big = tree(*[CODE] * 100, firstLevelOrOperators=[])
    big["firstLevel"][0]["orOperators"] = [False] * 99
    outer = {"firstLevel": [{"conditions": inner, "orOperators": [False] * 99}]}
    ruleset = compile_ruleset(root_of({"flag": flag("f", TARGETED), "segments": [segment(outer), segment(big, 8)]}))
    assert ruleset.flag("f").decide(None, "v", 0)[0].variation_key == "off"
    assert [problem.place for problem in ruleset.problems] == ["segments[7]"]

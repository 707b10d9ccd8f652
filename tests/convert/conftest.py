"""What the tests of Convert have in common: pieces of a project."""

import pytest


@pytest.fixture
def project():
    """Build a project's configuration from its parts."""

    def make(**parts):
        return {"account_id": "1001", "project": {"id": "2002", "type": "fullstack"}, **parts}

    return make


@pytest.fixture
def rule():
    """Build a rule object of one element."""

    def make(key, match_type, value, *, negated=False, rule_type="generic_text_key_value"):
        element = {"rule_type": rule_type, "matching": {"match_type": match_type, "negated": negated}, "value": value}
        if key is not None:
            element["key"] = key
        return {"OR": [{"AND": [{"OR_WHEN": [element]}]}]}

    return make


@pytest.fixture
def experience():
    """Build an experience with two arms, which everybody is in."""

    def make(**parts):
        arms = [
            {"id": "6001", "key": "off", "traffic_allocation": 50, "status": "running"},
            {"id": "6002", "key": "on", "traffic_allocation": 50, "status": "running"},
        ]
        return {"id": "5001", "key": "exp", "status": "active", "version": 11, "variations": arms, **parts}

    return make


@pytest.fixture
def shop(project, experience, rule):
    """
    A whole project.

    Feature ``checkout`` comes with the experiment ``exp`` (arms ``off`` and ``on``, for the tier gold) or, for everybody else, with the
    rollout ``rest``; feature ``banner`` with nothing. ``plain`` is an experiment without features, for shop pages only.
    """

    def change(feature_id, **variables):
        return {"id": 1, "type": "fullStackFeature", "data": {"feature_id": feature_id, "variables_data": variables}}

    def arms(first, *changes):
        """Two arms, `off` and `on`; the changes are those of `on`."""
        parts = {"traffic_allocation": 50, "status": "running"}
        off = {"id": str(first), "key": "off", "name": "Off", **parts}
        return [off, {"id": str(first + 1), "key": "on", "name": "On", "changes": list(changes), **parts}]

    def make(**parts):
        title = [
            {"key": "title", "type": "string"},
            {"key": "steps", "type": "integer"},
            {"key": "on", "type": "boolean"},
        ]
        rest = [{"id": "6010", "key": "rest-on", "traffic_allocation": 100, "changes": [change("101", title="Rest")]}]
        given = {
            "features": [
                {"id": "101", "key": "checkout", "name": "Checkout", "variables": title},
                {"id": "102", "key": "banner", "name": "Banner", "variables": []},
            ],
            "audiences": [
                {"id": "81", "key": "gold", "type": "transient", "rules": rule("tier", "equals", "gold")},
                {"id": "82", "key": "others", "type": "transient", "rules": rule("tier", "doesNotExist", "")},
            ],
            "segments": [{"id": "91", "key": "loyal", "rules": rule("orders", "less", 5, negated=True)}],
            "locations": [{"id": "71", "key": "shop", "rules": rule("url", "contains", "/shop")}],
            "goals": [{"id": "7001", "key": "order", "name": "Order", "type": "revenue", "rules": None}],
            "experiences": [
                experience(
                    type="a/b_fullstack",
                    audiences=["81"],
                    variations=arms(6001, change(101, title="Hi", steps="3.7", on="true", extra=[1])),
                ),
                experience(id="5002", key="rest", type="feature_rollout", audiences=["82"], variations=rest),
                experience(id="5003", key="plain", locations=["71"], variations=arms(6020)),
            ],
            **parts,
        }
        made = project(**given)
        made["project"]["settings"] = {"version": "2026-02-03T04:05:06+00:00-7"}
        return made

    return make

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

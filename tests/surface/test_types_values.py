"""What the client answers with."""

import copy
import dataclasses
import inspect
import json
import pickle

import pytest

from kameleoon.types.data_file import DataFile
from kameleoon.types.details import Details
from kameleoon.types.feature_flag import FeatureFlag
from kameleoon.types.flush_result import FlushResult
from kameleoon.types.reason import Reason
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter
from kameleoon.types.rule import Rule
from kameleoon.types.variable import Variable
from kameleoon.types.variation import Variation


def variation(key="on", value=1):
    """Make a variation with one variable."""
    return Variation(key, 7, 8, {"v": Variable("v", "NUMBER", value)}, "On")


def data_file():
    """Make a data file with one flag."""
    flag = FeatureFlag({"on": variation()}, True, [Rule({"on": variation()})], "on")
    return DataFile({"flag": flag}, 123)


def test_variation():
    """A variation has the vendor's argument order and is equal by value, variables included."""
    assert (variation().key, variation().id_, variation().experiment_id, variation().name) == ("on", 7, 8, "On")
    assert Variation("a", None, None, {}).name == ""
    assert variation() == variation()
    assert variation() != variation(value=2)
    with pytest.raises(TypeError):
        hash(variation())


@pytest.mark.parametrize(("key", "active"), [("off", False), ("OFF", True), ("", True), ("on", True)])
def test_is_active(key, active):
    """Only the key ``off``, exactly, stands for a flag switched off."""
    assert variation(key).is_active is active


@pytest.mark.parametrize(
    "change",
    [
        lambda variables: variables.__setitem__("v", None),
        lambda variables: variables.__delitem__("v"),
        lambda variables: variables.__ior__({"w": None}),
        lambda variables: variables.update(w=None),
        lambda variables: variables.clear(),
        lambda variables: variables.pop("v"),
        lambda variables: variables.popitem(),
        lambda variables: variables.setdefault("w", None),
    ],
)
def test_variables_cannot_change(change):
    """Results are shared, so no caller can change another's."""
    shared = variation()
    with pytest.raises(TypeError, match="read-only"):
        change(shared.variables)
    assert shared == variation()


def test_variables_are_copied():
    """The dictionary a variation is made from may change without it."""
    given = {"v": Variable("v", "NUMBER", 1)}
    made = Variation("on", 7, 8, given, "On")
    given.clear()
    assert made == variation()


def test_variables_are_a_dict():
    """Code written for a plain dictionary works."""
    answer = data_file().feature_flags["flag"].variations["on"]
    assert isinstance(answer.variables, dict)
    assert json.dumps({"v": 1}) == json.dumps(type(answer.variables)({"v": 1}))
    assert dataclasses.asdict(answer)["variables"] == {"v": {"key": "v", "type": "NUMBER", "value": 1}}
    assert answer.variables | {"w": 1} == {"v": Variable("v", "NUMBER", 1), "w": 1}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies(duplicate):
    """The whole view of a configuration can be copied and pickled."""
    assert duplicate(data_file()) == data_file()


def test_data_file():
    """A data file shows flags, their variations, rules and default."""
    flag = data_file().feature_flags["flag"]
    assert flag.default_variation == variation()
    assert flag.default_variation_key == "on"
    assert flag.environment_enabled is True
    assert [dict(rule.variations) for rule in flag.rules] == [{"on": variation()}]
    assert data_file().date_modified == 123


def test_default_variation_may_be_missing():
    """A default that is not among the variations raises, as recorded."""
    with pytest.raises(KeyError):
        _ = FeatureFlag({}, True, [], "on").default_variation


def test_values_are_frozen():
    """No attribute of an answer can be set."""
    answers = (variation(), data_file(), FlushResult(1, 2, 3), Details(1, None, Reason.ERROR))
    for answer in answers:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(answer, dataclasses.fields(answer)[0].name, None)


def test_filter_order_and_defaults():
    """The filter's arguments have the documented order and defaults."""
    parameters = inspect.signature(RemoteVisitorDataFilter).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "previous_visit_amount": 1,
        "current_visit": True,
        "custom_data": True,
        "page_views": False,
        "geolocation": False,
        "device": False,
        "browser": False,
        "operating_system": False,
        "conversions": False,
        "experiments": False,
        "kcs": False,
        "visitor_code": True,
        "cbs": False,
        "personalization": False,
    }
    assert list(parameters)[:3] == ["previous_visit_amount", "current_visit", "custom_data"]


def test_reasons_are_text():
    """Reasons can be compared with OpenFeature's strings."""
    assert [str(reason) for reason in Reason] == [
        "SPLIT",
        "TARGETING_MATCH",
        "DEFAULT",
        "DISABLED",
        "STALE",
        "ERROR",
    ]

"""The simulation cookie's answers."""

import json

import pytest

from kameleoon import KameleoonClientConfig
from kameleoon.client import KameleoonClient


def rule(number, experiment_id, *variations):
    """A rule that gives nobody anything, with variations by key and id."""
    entries = [{"variationKey": key, "variationId": variation, "exposition": 0} for key, variation in variations]
    return {"id": number, "exposition": 0, "experimentId": experiment_id, "variationByExposition": entries}


FLAG = {
    "id": 1,
    "featureKey": "flag",
    "environmentEnabled": True,
    "defaultVariationKey": "off",
    "variations": [{"key": key} for key in ("on", "off", "alt")],
    "rules": [rule(1, 5), rule(2, 7, ("on", 3)), rule(3, 7, ("alt", 4))],
}


@pytest.mark.parametrize(("variation_id", "expected"), [(3, "on"), (4, "off")])
def test_the_first_rule_of_an_experiment_has_its_variations(variation_id, expected):
    """A variation that only a later rule of the same experiment has cannot be simulated."""
    with KameleoonClient("shop", KameleoonClientConfig(source={"featureFlags": [FLAG]})) as client:
        assert client.wait_init(5000)
        wanted = json.dumps({"flag": {"expId": 7, "varId": variation_id}})
        client.get_visitor_code({"kameleoonVisitorCode": "v", "kameleoonSimulationFFData": wanted})
        assert client.get_variation("v", "flag").key == expected

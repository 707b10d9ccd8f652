"""The script for the page that tells which variations a visitor was given."""

import pytest

from kameleoon import KameleoonClientConfig
from kameleoon.client import KameleoonClient


def flag(number, first_type, second_type, experiment_id=7):
    """A flag with one variation for all, whose two variations have a variable of the types given."""
    kinds = {"on": first_type, "off": second_type}
    return {
        "id": number,
        "featureKey": f"flag{number}",
        "environmentEnabled": True,
        "defaultVariationKey": "off",
        "variations": [
            {"key": key, "variables": [{"key": "v", "type": kind, "value": "x"}]} for key, kind in kinds.items()
        ],
        "rules": [
            {
                "id": number,
                "type": "EXPERIMENTATION",
                "exposition": 1,
                "experimentId": experiment_id,
                "variationByExposition": [{"variationKey": "on", "variationId": 3, "exposition": 1}],
            }
        ],
    }


@pytest.mark.parametrize(
    ("flags", "is_triggered"),
    [
        ([flag(1, "STRING", "STRING")], True),
        ([flag(1, "CSS", "STRING")], False),
        ([flag(1, "JS", "STRING")], False),
        ([flag(1, "STRING", "CSS")], True),
        ([flag(1, "CSS", "STRING"), flag(2, "STRING", "STRING")], False),
        ([flag(1, "STRING", "STRING"), flag(2, "CSS", "STRING")], False),
        ([flag(1, "STRING", "STRING"), flag(2, "CSS", "STRING", experiment_id=8)], True),
    ],
)
def test_an_experiment_with_code_for_the_page_is_not_triggered(flags, is_triggered):
    """It is enough that any flag with the experiment has JavaScript or CSS in its first variation."""
    config = KameleoonClientConfig(source={"featureFlags": flags}, top_level_domain="example.com")
    with KameleoonClient("shop", config) as client:
        assert client.wait_init(5000)
        client.is_feature_active("visitor", "flag1")
        said = client.get_engine_tracking_code("visitor")
    assert said.endswith(f"['Experiments.trigger',7,{str(is_triggered).lower()}]);")

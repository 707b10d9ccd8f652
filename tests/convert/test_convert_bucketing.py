"""Convert's bucketing: the recorded vectors, both layouts, and the traps on the way."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kameleoon._convert.bucketing import Bucketing, anchored, is_anchored, make_bucketer, packed
from kameleoon._convert.model import Variation
from kameleoon._convert.ruleset import Outcome, VisitorState, compile_project

VECTORS = json.loads((Path(__file__).parents[1] / "vectors_convert" / "convert_bucketing.json").read_text())["vectors"]
VALUE_OF_VISITOR_1 = 6514


def arms(*shares):
    """Variations with ids from "1" on, each with a share in percent."""
    return [Variation(str(index), allocation=share) for index, share in enumerate(shares, 1)]


def slots(found):
    """``(id, start, end)`` of each slot."""
    return [(slot.variation_id, slot.start, slot.end) for slot in found]


def test_the_vectors_are_all_there():
    """The file holds what its head says."""
    assert len(VECTORS) == 373


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_vector(vector, project, experience):
    """Hash, place and variation are as recorded, asked through a whole project."""
    parts = {"id": vector["experienceId"], "variations": vector["variations"]}
    raw = experience(**parts)
    del raw["version"]
    if "version" in vector:
        raw["version"] = vector["version"]
    bucketing = Bucketing(vector["seed"], vector["maxTraffic"], vector["excludeExperienceIdHash"])
    found = compile_project(project(experiences=[raw]), bucketing=bucketing).experiences["exp"]
    assert is_anchored(vector.get("version")) is (vector["layout"] == "anchored")
    assert found.bucketer.raw_hash(vector["visitorId"]) == vector["rawHash"]
    decision = found.decide(vector["visitorId"], VisitorState())
    assert decision.place == vector["bucketValue"]
    assert (decision.variation and decision.variation.id) == vector["expectedVariationId"]
    assert decision.outcome is (Outcome.BUCKETED if decision.variation else Outcome.NOT_BUCKETED)


def test_allocations_are_percent():
    """An allocation of 50 is half of all places, whatever the API description says of ten-thousandths."""
    assert slots(packed(arms(50, 50))) == [("1", 0, 5000), ("2", 5000, 10000)]
    assert slots(packed(arms(0.25)))[0][2] == 25
    assert slots(packed(arms(5000, 5000)))[0][2] == 500_000


def test_integer_ids_come_first_in_the_packed_layout():
    """Ids that are array indices are sorted, all others keep their order, and so do indices in the anchored layout."""
    ids = ["b", "4294967295", "10", "9", "007", "0", "-1", "4294967294", "1.0"]
    variations = [Variation(one, allocation=5) for one in ids]
    expected = ["0", "9", "10", "4294967294", "b", "4294967295", "007", "-1", "1.0"]
    assert [slot.variation_id for slot in packed(variations)] == expected
    assert [slot.variation_id for slot in anchored(variations)] == ids


def test_a_stopped_arm_slides_or_leaves_a_hole():
    """Packed arms close ranks when one stops; anchored ones stay where they are."""
    variations = [
        Variation("1", allocation=10),
        Variation("2", allocation=80, is_running=False),
        Variation("3", allocation=10),
    ]
    assert slots(packed(variations)) == [("1", 0, 1000), ("3", 1000, 2000)]
    assert slots(anchored(variations)) == [("1", 0, 1000), ("2", 1000, 1000), ("3", 9000, 10000)]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (12, True),
        ("12", True),
        (11.5, True),
        (11, False),
        ("11", False),
        ("abc", False),
        ("", False),
        (None, False),
        (True, False),
    ],
)
def test_the_version_chooses_the_layout(version, expected):
    """Above 11, as a number or as a text, is anchored."""
    assert is_anchored(version) is expected


def test_an_allocation_that_is_no_number_counts_as_absent(project, experience):
    """Junk stands for 100 % and is told as a problem; ``null`` is 0."""
    raw = experience(variations=[{"id": "1", "traffic_allocation": None}, {"id": "2", "traffic_allocation": {"a": 1}}])
    ruleset = compile_project(project(experiences=[raw]))
    assert slots(ruleset.experiences["exp"].bucketer.slots) == [("2", 0, 10000)]
    assert "not a number" in str(ruleset.problems[0])


def test_a_seed_of_0_is_the_default():
    """Zero falls back for seed and number of places."""
    usual = make_bucketer("100218245", 11, arms(50, 50), Bucketing())
    zero = make_bucketer("100218245", 11, arms(50, 50), Bucketing(0, 0))
    assert zero.place("visitor-1") == usual.place("visitor-1") == VALUE_OF_VISITOR_1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=8), st.integers(0, 9999), st.floats(0.1, 1))
def test_scaling_anchored_shares_moves_nobody_between_arms(shares, place, factor):
    """Whoever has an arm after all shares shrank had the same arm before."""
    total = sum(shares)
    shares = [share * 100 / total for share in shares]

    def at(scaled):
        found = [s.variation_id for s in anchored(arms(*scaled)) if s.start <= place < s.end]
        return found[0] if found else None

    smaller = at([share * factor for share in shares])
    near_an_edge = any(abs(slot.start - place) < 1e-6 for slot in anchored(arms(*shares)))
    assert smaller is None or near_an_edge or smaller == at(shares)


def test_mmh3_is_imported_late():
    """Importing the room does not load the hash."""
    import subprocess
    import sys

    code = "import sys, kameleoon._convert.ruleset; sys.exit('mmh3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

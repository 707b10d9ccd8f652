"""What was taken from a visitor, as events for destinations: ids of another project, goals, metadata."""

import pytest

from kameleoon import CustomData
from kameleoon._convert.flags import ConvertFlags
from kameleoon._convert.ids import id_number
from kameleoon._convert.ruleset import compile_project
from kameleoon._convert.visitor import CATALOGUE
from kameleoon._runtime.intake import take_in
from kameleoon._visitor.facts import Assigned
from kameleoon._visitor.record import Assignment
from kameleoon.data import Conversion
from kameleoon.destinations.convert import convert_events
from kameleoon.stores import MemoryStore

NOW = 1_700_000_000_000
GONE = id_number("an id of the project before")


@pytest.fixture
def told(shop):
    """Events of a visitor who was given these variations and reached these goals."""

    def make(given, *conversions, is_forgotten=False, **parts):
        store = MemoryStore(1800.0)
        flags = ConvertFlags(compile_project(shop(**parts)))
        for number, (experiment_id, variation_id) in enumerate(given):
            store.write("v", [Assigned(Assignment(experiment_id, variation_id, False, NOW + number, True))], NOW)
        take_in(store, CATALOGUE, "v", conversions, NOW + 10)
        record = None if is_forgotten else store.peek("v").record
        (claim,) = store.claim(["v"], consent_required=False)
        return list(convert_events(flags, "v", record, claim.unsent))

    return make


@pytest.mark.parametrize("pair", [(GONE, 6010), (5002, GONE), (GONE, GONE)])
def test_ids_that_no_project_knows_are_told_to_nobody(told, pair):
    """They stand for texts that only the project before had; plain numbers are told all the same."""
    events = told([pair, (5001, 6002), (4711, 4712)], Conversion(7001))
    assert [(one.experiment_id, one.variation_id) for one in events[:-1]] == [("5001", "6002"), ("4711", "4712")]
    assert events[-1].assignments == (("5001", "6002"), ("4711", "4712"))


def test_what_is_known_of_a_variation(told):
    """Its key, the feature and the rule; nothing of one that is not in the project any more."""
    known, unknown = told([(5001, 6002), (4711, 4712)])
    assert (known.variation_key, known.feature_key, known.rule_type, known.rule_id) == (
        "on",
        "checkout",
        "EXPERIMENTATION",
        "5001",
    )
    assert (unknown.variation_key, unknown.feature_key, unknown.rule_type, unknown.rule_id) == (None, None, None, None)


def test_goals(told):
    """Their id, and their key if they have one; unknown ones are left out."""
    goals = [{"id": "7001", "key": "order"}, {"id": "7002"}]
    events = told([], Conversion(7001, 5.0), Conversion(7002), Conversion(4711), goals=goals)
    assert [(one.goal_id, one.goal_key, one.revenue) for one in events] == [
        ("7001", "order", 5.0),
        ("7002", None, None),
    ]


def test_a_visitor_whom_the_store_forgot(told):
    """His events are told with what is known of them themselves."""
    exposure, conversion = told([(5001, 6002)], Conversion(7001, 5.0), is_forgotten=True)
    assert (exposure.experiment_id, conversion.goal_id, conversion.assignments) == ("5001", "7001", ())


def test_metadata(told, caplog):
    """What Convert knows, once the amount, the revenue going before; what it does not is told in the log, what is empty not."""
    metadata = [
        CustomData("transactionId", "t"),
        CustomData("amount", "7"),
        CustomData("productsCount"),
        CustomData("colour", "red"),
    ]
    (event,) = told([], Conversion(7001, 5.0, metadata=metadata))
    assert event.details["goal_data"] == {"amount": 5.0, "transactionId": "t"}
    assert caplog.text.count("Metadata of a conversion was left out") == 1
    assert "'colour' is not known" in caplog.text
    (event,) = told([], Conversion(7001, metadata=metadata[:2]))
    assert event.details["goal_data"] == {"amount": "7", "transactionId": "t"}

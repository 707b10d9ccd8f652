"""The record: what is not known takes no room, and belongs to nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._visitor.facts import Assigned, Consented, Forced, MappedFrom, Remote, Simulated, Told
from kameleoon._visitor.record import (
    Assignment,
    Forcing,
    Simulation,
    Visitor,
    VisitorRecord,
    assignment_of,
    visitor_given,
)
from kameleoon._visitor.unsent import take_unsent
from kameleoon.data import Conversion, CustomData, Device, DeviceType, PageView


def visitor_with(*facts):
    """A visitor of whom *facts* are known."""
    visitor = Visitor(VisitorRecord(5), 0.0)
    for fact in facts:
        fact.apply(visitor)
    return visitor


def test_what_one_visitor_has_no_other_sees():
    """Collections that a record starts with are empty for each, however full another's are."""
    told = [CustomData(1, "x"), PageView("https://a", None), Conversion(3)]
    full = visitor_with(*(Told(value, 1) for value in told)).record
    fresh = visitor_with().record
    assert (len(full.custom_data), len(full.page_views), len(full.conversions), len(full.unsent)) == (1, 1, 1, 3)
    assert not (fresh.custom_data)
    assert not (fresh.page_views)
    assert not (fresh.conversions)
    assert not (fresh.unsent)
    assert not (fresh.assignments)


def test_what_is_shared_cannot_be_written():
    """Writing past the facts fails at once rather than reach every visitor."""
    with pytest.raises(TypeError):
        visitor_with().record.custom_data[1] = CustomData(1, "x")


@pytest.mark.parametrize(
    "fact",
    [
        Consented(consent=False),
        MappedFrom("a"),
        Forced(1, Forcing("on", 1, True)),
        Simulated({"f": Simulation(None, None, None, None)}),
        Remote(scores={1: (frozenset({1}),)}),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_what_bends_evaluations_is_marked(fact):
    """The engine's short way is for visitors of whom nothing of this is known."""
    assert visitor_with(Told(CustomData(1, "x"), 1)).record.is_plain
    assert not visitor_with(fact).record.is_plain


def test_one_fact_may_be_told_of_two_visitors():
    """What becomes of an assignment in one record does not show in the other."""
    fact = Assigned(Assignment(1, 2, False, 5, True))
    first, second = visitor_with(fact), visitor_with(fact)
    assert [item.variation_id for item in take_unsent(first, consent_required=False).assignments] == [2]
    assert second.record.assignments[1].unsent
    assert not first.record.assignments[1].unsent


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=8))
def test_assignments_and_custom_data_are_mappings_however_many_there_are(told):
    """One item or several, they read as a dictionary would that was written in the same order."""
    facts = [Assigned(Assignment(key, value, False, 5, True)) for key, value in told]
    facts += [Told(CustomData(key, str(value)), 5) for key, value in told]
    record = visitor_with(*facts).record
    assignments = {key: Assignment(key, value, False, 5, True) for key, value in told}
    custom_data = {key: CustomData(key, str(value)) for key, value in told}
    for found, wanted in ((record.assignments, assignments), (record.custom_data, custom_data)):
        assert list(found.items()) == list(wanted.items())
        assert (list(found), list(found.values()), len(found)) == (list(wanted), list(wanted.values()), len(wanted))
        for key in range(4):
            assert (found.get(key), key in found) == (wanted.get(key), key in wanted)
            assert found.get(key, "none") == wanted.get(key, "none")
        with pytest.raises(KeyError):
            found[4]


def test_what_is_rare_takes_no_room_until_it_is_known():
    """Custom data and assignments need no rare part, nor does being told that nothing rare is known."""
    record = visitor_with(Told(CustomData(1, "x"), 5), Assigned(Assignment(1, 2, False, 5, True)), Remote()).record
    assert not record.has_rare
    Told(Device(DeviceType.PHONE), 5).apply(Visitor(record, 0.0))
    assert record.has_rare
    assert (record.device, record.browser, visitor_with().record.device) == (Device(DeviceType.PHONE), None, None)


def test_a_visitor_made_by_an_evaluation_is_like_any_other():
    """The short way to a visitor with one assignment sets every attribute that the constructors set."""
    given = Assignment(1, 2, False, 0, False)
    short, usual = visitor_given(given, True, 5, 7.0), Visitor.alone(5, 7.0)
    usual.give(assignment_of(given, True, 5, is_kept=True))
    names = [*Visitor.__slots__, *VisitorRecord.__slots__]
    assert {name: getattr(short, name) for name in names} == {name: getattr(usual, name) for name in names}
    assert short.assignments[1].given is usual.assignments[1].given is given

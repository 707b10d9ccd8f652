"""Packed visitors: everything of them comes back, and they are nothing for the garbage collector."""

from __future__ import annotations

import gc

import pytest
from every_fact import FACTS, all_of
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._visitor.facts import Assigned, Told
from kameleoon._visitor.packed import has_packed_sendable, is_packed_pending, last_seen, pack, unpack
from kameleoon._visitor.record import Assignment, Visitor
from kameleoon._visitor.unsent import has_sendable, is_pending, take_unsent
from kameleoon.data import CustomData


def visitor_with(facts):
    """A visitor of whom *facts* are known."""
    visitor = Visitor.alone(77, 12.5)
    for fact in facts:
        fact.apply(visitor)
    return visitor


@given(st.lists(st.sampled_from(FACTS), max_size=12), st.booleans())
def test_a_visitor_comes_back_as_he_was(facts, is_sent):
    """Whatever is known of him, and whether it was sent; what stores ask of a packed one needs no unpacking."""
    visitor = visitor_with(facts)
    if is_sent:
        take_unsent(visitor, consent_required=False)
    packed = pack(visitor)
    back = unpack(packed)
    assert all_of(back) == all_of(visitor)
    assert last_seen(packed) == 12.5
    assert is_packed_pending(packed) == is_pending(visitor.record)
    assert has_packed_sendable(packed) == has_sendable(visitor.record)
    assert take_unsent(back, consent_required=False) == take_unsent(visitor, consent_required=False)


def test_every_fact_together_survives():
    """All kinds of facts in one visitor."""
    visitor = visitor_with(FACTS)
    assert all_of(unpack(pack(visitor))) == all_of(visitor)


class Text(str):
    """A text of the application's own."""

    __slots__ = ()


@pytest.mark.parametrize("value", [Text("x"), type("Number", (float,), {})(1.5)])
def test_values_of_the_applications_own_types_are_not_packed(value):
    """They would come back as something else."""
    assert pack(visitor_with([Told(CustomData(1, value), 5)])) is None


def test_a_shared_record_is_not_packed():
    """The other code would not see what becomes of it."""
    visitor = visitor_with([])
    visitor.record.is_shared = True
    assert pack(visitor) is None


def test_a_common_visitor_takes_few_bytes():
    """One custom datum and one exposure, of the lengths that codes and values usually have."""
    now_ms = 1_700_000_000_000
    facts = [Told(CustomData(1, "value 123456"), now_ms), Assigned(Assignment(123_456, 654_321, False, now_ms, False))]
    packed = pack(visitor_with(facts))
    assert len(packed) < 100
    assert not gc.is_tracked(packed)

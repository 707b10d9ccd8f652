"""The agenda: earliest second first, and within it in the order of filing."""

import gc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kameleoon.stores.agenda import Agenda


@example([1, 1, 1, None, 0, None, None])
@given(st.lists(st.one_of(st.integers(0, 5), st.none()), max_size=60))
def test_codes_come_out_by_second_then_by_filing(steps):
    """Numbers file a code under that second, ``None`` takes one out; a list in the same order of a plain model agrees."""
    agenda, model = Agenda(), []
    for place, second in enumerate(steps):
        if second is not None:
            agenda.add(second, str(place))
            model.append((second, place))
        elif model:
            earliest = min(model)
            assert (agenda.first(), agenda.pop()) == (earliest[0], str(earliest[1]))
            model.remove(earliest)
        assert len(agenda) == len(model)


def test_many_codes_of_one_second_keep_their_order():
    """However many, and though some are filed while others are taken out."""
    agenda = Agenda()
    for number in range(5_000):
        agenda.add(1, str(number))
    taken = [agenda.pop() for _ in range(10)]
    agenda.add(1, "last")
    taken += [agenda.pop() for _ in range(len(agenda))]
    assert taken == [*map(str, range(5_000)), "last"]
    with pytest.raises(IndexError):
        agenda.pop()


def test_the_garbage_collector_goes_through_few_objects():
    """What holds the codes is nothing it looks into."""
    agenda = Agenda()
    for number in range(5_000):
        agenda.add(number % 3, str(number))
    chunks = [chunk for chunks in agenda._chunks.values() for chunk in chunks]
    assert 3 <= len(chunks) < 10
    assert not any(gc.is_tracked(chunk) for chunk in chunks)

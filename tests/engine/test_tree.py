"""How conditions are joined: grouped from the right."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import join as join_obviously

from kameleoon._engine.tree import always, join, negate, never

RECORDED = {
    "a|b&c": lambda a, b, c: a or (b and c),
    "a&b|c": lambda a, b, c: (a and b) or c,
    "a&b|c&d": lambda a, b, c, d: (a and b) or (c and d),
    "a&b&c|d": lambda a, b, c, d: (a and b) and (c or d),
    "a&b&c&d|e": lambda a, b, c, d, e: (a and b) and ((c and d) or e),
    "a|b&c&d|e": lambda a, b, c, d, e: a or ((b and c) and (d or e)),
}


def run(values, ors):
    """The joined answer of constant operands."""
    return join([always if value else never for value in values], ors)(None, "", 0, None)


@pytest.mark.parametrize("expression", RECORDED)
def test_recorded_groupings(expression):
    """The expressions whose grouping was recorded come out so, for every value of their operands."""
    names, ors = expression[::2], [operator == "|" for operator in expression[1::2]]
    for values in product([False, True], repeat=len(names)):
        assert run(values, ors) is RECORDED[expression](*values)


def test_all_short_expressions():
    """Every expression of up to five operands, with any number of operators, equals the recursive definition."""
    for count in range(6):
        for ors in (ors for length in range(count + 1) for ors in product([False, True], repeat=length)):
            for values in product([False, True], repeat=count):
                assert run(values, ors) is join_obviously(list(values), list(ors)), (values, ors)


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), max_size=40))
def test_long_expressions(values, ors):
    """Longer ones too."""
    assert run(values, ors) is join_obviously(values, ors)


def test_operands_run_from_the_left_until_the_answer_is_settled():
    """A false left of AND and a true left of OR end the search."""
    ran = []

    def operand(name, answer):
        def test(*_):
            ran.append(name)
            return answer

        return test

    join([operand("a", False), operand("b", True)], [False])(None, "", 0, None)
    join([operand("c", True), operand("d", True)], [True])(None, "", 0, None)
    assert ran == ["a", "c"]


def test_negate():
    """The opposite of a test."""
    assert negate(never)(None, "", 0, None) is True
    assert negate(always)(None, "", 0, None) is False

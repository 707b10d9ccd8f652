"""Each type of condition, on its own, comes out as in the slow evaluator."""

from __future__ import annotations

import pytest
from generated_cases import CONDITION_TYPES, EXPERIMENTS, NOW, Chance, as_text, record_of
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import NO_CURRENT, Reference

from kameleoon._datafile.read import read_condition
from kameleoon._engine.conditions import NO_EXPERIMENT, compile_condition
from kameleoon._engine.ruleset import compile_ruleset

NEVER_TRUE = {"EXPLICIT_TRIGGER", "EXCLUSIVE_FEATURE_FLAG"}


@pytest.mark.parametrize("kind", CONDITION_TYPES)
def test_condition_agrees(kind):
    """The condition matches exactly when the slow evaluator says so, and both ways happen."""
    seen = set()

    @settings(max_examples=30)
    @given(
        st.builds(
            Chance, st.integers(0, 2**64), st.integers(1, 4), st.sampled_from([0.0, 0.1]), old_shape=st.booleans()
        )
    )
    def check(chance):
        root = chance.root()
        ruleset, reference = compile_ruleset(root), Reference(root)
        for _ in range(8):
            item, current = chance.condition(kind), chance.pick([NO_CURRENT, *EXPERIMENTS])
            test = compile_condition(read_condition(item), ruleset, lambda _: None)
            engine_current = NO_EXPERIMENT if current is NO_CURRENT else current
            for _ in range(4):
                code, known = chance.code(), chance.known()
                matched = test(record_of(known), code, NOW, engine_current)
                assert matched is reference.condition(item, known, code, NOW, current), as_text(root, item, known, code)
                seen.add(matched is not (item.get("isInclude", True) is False))

    check()
    assert seen == ({False} if kind in NEVER_TRUE else {False, True})

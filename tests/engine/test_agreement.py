"""The compiled engine and the slow evaluator give the same answers, whatever the configuration and the visitor."""

from __future__ import annotations

from generated_cases import EXAMPLES, NOW, Chance, as_text, record_of
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Reference

from kameleoon._engine.choice import Refusal
from kameleoon._engine.ruleset import compile_ruleset

VISITORS = 10
"""Visitors played against each configuration; each counts as an example."""

KINDS = {None: "given", Refusal.ENVIRONMENT: "disabled", Refusal.CONSENT: "blocked"}

cases = st.builds(
    Chance,
    st.integers(0, 2**64),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.05, 0.3]),
    old_shape=st.sampled_from([False, False, True]),
)


def outcome(choice, held):
    """A decision of the engine as the slow evaluator puts it."""
    kind = KINDS[choice.refusal]
    if kind != "given":
        return (kind,)
    stored = (choice.experiment_id, choice.variation_id) if choice.is_stored else None
    stored_too = [(one.experiment_id, one.variation_id) for one in held or () if one.is_stored]
    held = stored_too[0] if stored_too else None
    variables = {key: (variable.type, variable.value) for key, variable in choice.variation.variables.items()}
    return (kind, choice.variation_key, choice.variation_id, choice.experiment_id, stored, held, variables)


def expected(reference, answer, flag_key):
    """The same of the slow evaluator."""
    if answer.kind != "given":
        return (answer.kind,)
    variables = reference.variables(flag_key, answer.key) or {}
    return ("given", answer.key, answer.variation_id, answer.experiment_id, answer.stored, answer.held, variables)


@settings(max_examples=max(1, EXAMPLES // VISITORS))
@given(cases)
def test_both_evaluators_agree(chance):
    """Every flag and every audience comes out the same for every visitor."""
    root = chance.root()
    ruleset, reference = compile_ruleset(root), Reference(root)
    for _ in range(VISITORS):
        code, known = chance.code(), chance.known()
        record = record_of(known)
        for key in ruleset.flag_keys:
            flag = ruleset.flag(key)
            choice, held = flag.decide(record, code, NOW)
            assert flag._decide_fully(record, code, NOW)[0].variation_key == choice.variation_key, as_text(root)
            answer = reference.evaluate(known, code, key, NOW)
            assert outcome(choice, held) == expected(reference, answer, key), as_text(root, known, code, key)
        assert list(ruleset.audiences(record, code, NOW)) == reference.audiences(known, code, NOW), as_text(
            root, known, code
        )

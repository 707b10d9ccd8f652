"""What a flag gave a visitor before is given again without being worked out, as long as it cannot be anything else."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._engine.ruleset import compile_ruleset
from kameleoon._runtime.evaluation import Evaluation
from kameleoon._visitor.facts import Assigned, Consented, Forced, MappedFrom, Told
from kameleoon._visitor.record import Assignment, Forcing
from kameleoon.data import CustomData
from kameleoon.stores import MemoryStore

CODES = ("a", "b", "c")
SHARES = ((0.5, 0.5), (0.1, 0.9), (0.3, 0.3), (1.0, 0.0))


def root(shares, exposition, consent_required):
    """A configuration of three flags: with one experiment for everybody, with one for some, with two."""
    segment = {
        "id": 7,
        "conditionsData": {
            "firstLevel": [
                {
                    "conditions": [
                        {
                            "targetingType": "CUSTOM_DATUM",
                            "customDataIndex": "1",
                            "valueMatchType": "EXACT",
                            "value": "gold",
                        }
                    ]
                }
            ]
        },
    }

    def rule(number, segment_id=None):
        entries = [
            {"variationKey": key, "variationId": 10 * number + place, "exposition": share}
            for place, (key, share) in enumerate(zip(("off", "on"), shares, strict=True))
        ]
        return {
            "id": 100 + number,
            "type": "EXPERIMENTATION",
            "exposition": exposition,
            "experimentId": number,
            "segmentId": segment_id,
            "variationByExposition": entries,
        }

    rules = {"everybody": [rule(1)], "some": [rule(2, 7)], "both": [rule(3, 7), rule(4)]}
    flags = [
        {
            "id": place,
            "featureKey": key,
            "environmentEnabled": True,
            "defaultVariationKey": "off",
            "variations": [{"key": name, "name": name, "variables": []} for name in ("off", "on")],
            "rules": rules[key],
        }
        for place, key in enumerate(rules)
    ]
    settings = {"consentType": "REQUIRED" if consent_required else "NO"}
    return {"featureFlags": flags, "segments": [segment], "configuration": settings}


ROOTS = st.builds(root, st.sampled_from(SHARES), st.sampled_from((1, 0.5)), st.booleans())
CODE = st.sampled_from(CODES)
STEPS = st.one_of(
    st.tuples(st.just("ask"), CODE, st.sampled_from(("everybody", "some", "both")), st.booleans()),
    st.tuples(st.just("ask all"), CODE),
    st.tuples(st.just("load"), ROOTS),
    st.tuples(st.just("link"), CODE, CODE),
    st.tuples(
        st.just("tell"),
        CODE,
        st.one_of(
            st.builds(Assigned, st.builds(Assignment, st.integers(1, 4), st.integers(10, 41), st.just(None), st.just(1), st.just(False))),
            st.builds(Forced, st.integers(1, 4), st.sampled_from((None, Forcing("on", 11, True), Forcing("off", 10, False)))),
            st.builds(Consented, st.booleans()),
            st.builds(MappedFrom, CODE),
            st.builds(Told, st.sampled_from([CustomData(1, "gold"), CustomData(1, "tin")]), st.just(1)),
        ),
    ),
)  # fmt: skip


@given(ROOTS, st.lists(STEPS, max_size=25))
def test_it_is_what_would_be_worked_out(first, steps):
    """Whatever happens between two questions, the answer is the one the flag itself gives, and it is remembered."""
    configuration = SimpleNamespace(ruleset=compile_ruleset(first))
    store = MemoryStore(1800)
    evaluation = Evaluation(configuration, store, None)

    def expected(code, key):
        visitor = store.peek(code)
        return compiled[key].decide(None if visitor is None else visitor.record, code, 5)[0]

    compiled = compile_ruleset(first).flags
    for kind, *rest in steps:
        if kind == "ask":
            code, key, track = rest
            answer = expected(code, key)
            given_now = evaluation.decide_tracked(code, key, track)
            assert (given_now.variation_key, given_now.refusal) == (answer.variation_key, answer.refusal)
            if answer.is_stored:
                known = store.peek(code).record.assignments[answer.experiment_id]
                assert (known.variation_id, known.unsent) == (answer.variation_id, track)
        elif kind == "ask all":
            (code,) = rest
            answers = [(key, expected(code, key)) for key in ("everybody", "some", "both")]
            found = [(key, choice.variation_key) for key, choice in evaluation.decide_all(code, save=True)]
            assert found == [(key, answer.variation_key) for key, answer in answers if answer.refusal is None]
        elif kind == "load":
            configuration.ruleset = compile_ruleset(rest[0])
            compiled = compile_ruleset(rest[0]).flags
        elif kind == "link":
            store.link(*rest, 1)
        else:
            store.write(rest[0], [rest[1]], 1)


@pytest.fixture
def configuration():
    """One that halves everybody, consent being required."""
    return SimpleNamespace(ruleset=compile_ruleset(root((0.5, 0.5), 1, consent_required=True)))


BENT = {
    "forced": Forced(1, Forcing("off", 10, True)),
    "forced and freed": Forced(1, None),
    "refused": Consented(False),
    "mapped": MappedFrom("1"),
}


@pytest.mark.parametrize("fact", BENT.values(), ids=BENT)
def test_what_bends_evaluations_counts_at_once(configuration, fact):
    """A visitor who has "on" gets "off", or stays, as the flag itself says when something new is known of him."""
    store = MemoryStore(1800)
    evaluation = Evaluation(configuration, store, None)
    assert evaluation.decide_tracked("0", "everybody", True).variation_key == "on"
    store.write("0", [fact], 1)
    answer = configuration.ruleset.flag("everybody").decide(store.peek("0").record, "0", 5)[0]
    assert answer.variation_key == ("on" if fact is BENT["forced and freed"] else "off")
    assert evaluation.decide_tracked("0", "everybody", True).variation_key == answer.variation_key


def test_codes_that_share_a_record_keep_their_own(configuration):
    """What one of them was given says nothing of the other."""
    store = MemoryStore(1800)
    evaluation = Evaluation(configuration, store, None)
    store.link("0", "1", 1)
    for _ in range(2):
        assert [evaluation.decide_tracked(code, "everybody", True).variation_key for code in "01"] == ["on", "off"]


class Sleepy(MemoryStore):
    """A store in which a visitor falls asleep right after he was looked up."""

    def read(self, code):
        """As ever; he is not awake any more."""
        visitor = super().read(code)
        with self._lock:
            while self._unfiled:
                self._file(self._unfiled.popleft())
            while self._drowsy:
                self._put_first_to_sleep()
        return visitor


def test_who_falls_asleep_meanwhile_is_told_again(configuration):
    """What is given to an object that the store does not hold any more is given to the one it holds."""
    store = Sleepy(1800)
    evaluation = Evaluation(configuration, store, None)
    evaluation.decide_tracked("0", "everybody", True)
    evaluation.decide_tracked("0", "everybody", False)
    assert not store.peek("0").record.assignments[1].unsent


def test_it_is_not_worked_out(configuration, monkeypatch):
    """A known visitor costs a flag for everybody no hash, one whose targeting counts does."""
    store = MemoryStore(1800)
    evaluation = Evaluation(configuration, store, None)
    store.write("a", [Told(CustomData(1, "gold"), 1)], 1)
    first = {key: evaluation.decide_tracked("a", key, True) for key in ("everybody", "some")}

    configuration.ruleset = compile_ruleset(root((0.5, 0.5), 1, consent_required=True))
    first = {key: evaluation.decide_tracked("a", key, True) for key in ("everybody", "some")}

    def forbidden(_data):
        raise AssertionError("hashed")

    monkeypatch.setattr("kameleoon._engine.flag.short_sha256", forbidden)
    assert evaluation.decide_tracked("a", "everybody", False) is first["everybody"]
    assert store.peek("a").record.assignments[1].unsent is False
    with pytest.raises(AssertionError, match="hashed"):
        evaluation.decide_tracked("a", "some", True)

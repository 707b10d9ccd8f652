"""
Why a flag of a Convert project answers as it does: each experience that was asked, each rule element, what was compared with what.

Nothing of it is made unless somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon._convert.ids import id_number
from kameleoon._convert.operators import ABSENT
from kameleoon._convert.rules import EXCLUSION, RuleCompiler
from kameleoon._convert.ruleset import Outcome
from kameleoon._convert.visitor import visitor_state
from kameleoon._engine.explain import Walk
from kameleoon._engine.shown import shown
from kameleoon.types.explanation import ConditionExplanation, HashExplanation, RuleExplanation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kameleoon._convert.flags import ConvertFlag, ConvertFlags
    from kameleoon._convert.model import Problem
    from kameleoon._convert.ruleset import CompiledExperience, Decision, VisitorState
    from kameleoon._visitor.record import VisitorRecord

_NOT_TARGETED = frozenset({Outcome.LOCATION, Outcome.AUDIENCE, Outcome.SEGMENT})
_NOT_ASKED = frozenset({Outcome.NO_VISITOR, Outcome.ARCHIVED, Outcome.ENVIRONMENT, Outcome.NOT_ACTIVE})


def walk_flag(flags: ConvertFlags, flag: ConvertFlag, record: VisitorRecord | None, code: str, now_ms: int) -> Walk:
    """
    Decide, and keep what was seen.

    Args:
        flags: Where the flag belongs.
        flag: The flag.
        record: What is known of the visitor, ``None`` for an unknown one.
        code: The visitor code.
        now_ms: Now, in milliseconds since 1970.
    """
    choice, _ = flag.decide(record, code, now_ms)
    steps: list[str] = []
    rules: list[RuleExplanation] = []
    places = [flag.compiled.feature.place]
    if record is not None and record.simulated is not None and flag.key in record.simulated:
        steps.append("simulated: nothing else counts")
    else:
        decided = flag.decide_feature(record, code)
        explainer = _Explainer(flags, flag, visitor_state(record, flags.ids), code)
        for decision, (source, variables) in zip(decided.decisions, flag.compiled.sources, strict=False):
            rules.append(explainer.rule(source, decision, variables))
            places.append(source.experience.place)
        places += explainer.places
        if decided.enabled_by is None:
            steps.append("no experience decided: off")
    problems = tuple(str(problem) for problem in flags.problems if problem.place.startswith(tuple(places)))
    return Walk(choice, choice.reason, code, tuple(steps), (), tuple(rules), problems)


class _Explainer:
    """Of one visitor; *places* collects where the rules that were looked at stand."""

    def __init__(self, flags: ConvertFlags, flag: ConvertFlag, state: VisitorState, code: str) -> None:
        self.places: list[str] = []
        self._flags = flags
        self._types = {rule.id: rule.type.value for rule in flag.model.rules}
        self._state = state
        self._code = code
        project = flags.project.project
        self._locations = {one.id: one for one in project.locations}
        self._audiences = {one.id: one for one in project.audiences}
        self._segments = {one.id: one for one in project.segments}

    def rule(self, source: CompiledExperience, decision: Decision, variables: Mapping[str, Any]) -> RuleExplanation:
        """What was seen of one experience."""
        experience = source.experience
        number = id_number(experience.id)
        given = decision.variation
        outcome = decision.outcome.value
        if given is not None:
            without = "" if given.id in variables else ", which does not have the feature"
            outcome = f"gives {given.key!r}{without}: {outcome}"
        is_asked = decision.outcome not in _NOT_ASKED
        return RuleExplanation(
            id=number,
            type=self._types[number],
            experiment_id=number,
            segment_id=", ".join(experience.audiences) or None,
            is_targeted=decision.outcome not in _NOT_TARGETED if is_asked else None,
            conditions=tuple(self._conditions(source)) if is_asked else (),
            hashes=() if decision.place is None else (self._hash(source),),
            outcome=outcome,
        )

    def _hash(self, source: CompiledExperience) -> HashExplanation:
        bucketer = source.bucketer
        keys = {variation.id: variation.key for variation in reversed(source.experience.variations)}
        bounds: list[tuple[str, float]] = []
        reached = 0.0
        for slot in bucketer.slots:
            if slot.start > reached:
                bounds.append(("nothing", slot.start / bucketer.max_traffic))
            bounds.append((keys[slot.variation_id], slot.end / bucketer.max_traffic))
            reached = max(reached, slot.end)
        drawn = bucketer.variation_at(bucketer.place(self._code))
        return HashExplanation(
            "variation",
            bucketer.hashed(self._code),
            bucketer.fraction(self._code),
            tuple(bounds),
            None if drawn is None else keys[drawn],
        )

    def _conditions(self, source: CompiledExperience) -> Iterator[ConditionExplanation]:
        experience, state = source.experience, self._state
        properties = {**state.segments, **state.properties}
        if experience.locations:
            for one in (self._locations[found] for found in experience.locations if found in self._locations):
                self.places.append(one.place)
                yield from self._elements(f"LOCATION {one.id}", f"{one.place}.rules", one.rules, state.location)
        elif experience.site_area:
            yield from self._elements(
                "SITE_AREA", f"{experience.place}.site_area", experience.site_area, state.location
            )
        has_variation = experience.id in state.bucketing
        for found in experience.audiences:
            if found in self._audiences:
                one = self._audiences[found]
                self.places.append(one.place)
                kind = f"AUDIENCE {one.id}"
                if one.is_permanent and has_variation:
                    kind += " (permanent, so it counts no more)"
                yield from self._elements(kind, f"{one.place}.rules", one.rules, properties)
            if found in self._segments:
                is_in = found in state.custom_segments
                yield ConditionExplanation("SEGMENT", 0, True, found, shown(sorted(state.custom_segments)), is_in)

    def _elements(self, kind: str, place: str, rules: Any, data: Mapping[str, Any]) -> Iterator[ConditionExplanation]:
        problems: list[Problem] = []
        compiler = RuleCompiler(self._flags.project.providers, problems.append)
        for group, here, element in compiler.elements(place, rules):
            raw = element if isinstance(element, dict) else {}
            given = raw.get("matching")
            matching: dict[str, Any] = given if isinstance(given, dict) else {}
            key = raw.get("key", raw.get("rule_type"))
            problems.clear()
            if raw.get("rule_type") == EXCLUSION:
                actual, matched = self._excluded(raw, matching)
            else:
                value = data.get(key, ABSENT) if isinstance(key, str) else ABSENT
                actual = "nothing" if value is ABSENT else shown(value)
                matched = compiler.test(here, element)(data)
            yield ConditionExplanation(
                type=kind,
                group=group,
                include=matching.get("negated") is not True,
                expected=f"{_bare(key)} {_bare(matching.get('match_type'))} {shown(raw.get('value'))}",
                actual=actual,
                matched=matched,
                problem=problems[0].reason if problems else None,
            )

    def _excluded(self, raw: Mapping[str, Any], matching: Mapping[str, Any]) -> tuple[str, bool]:
        target = next((one for one in self._flags.project.project.experiences if one.key == raw.get("value")), None)
        stored = None if target is None else self._state.bucketing.get(target.id)
        actual = "no variation of it" if stored is None else f"variation {stored} of it"
        return actual, (stored is not None) is not (matching.get("negated") is True)


def _bare(value: Any) -> str:
    return shown(value)[1:-1] if isinstance(value, str) else shown(value)

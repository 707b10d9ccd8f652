"""
What the engine decides for a visitor of the local server, and why: used by the page and by OFREP.

Nothing is decided here. The project's configuration is compiled as the SDK compiles it, the visitor is the record the SDK would have,
and the explanation is the engine's own; only ids are replaced by the names that the project has for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kameleoon._engine.explain import walk
from kameleoon._engine.ruleset import Ruleset, compile_ruleset
from kameleoon._visitor.record import Visitor, VisitorRecord
from kameleoon._visitor.remote import read_remote_visitor
from kameleoon.server.conditions_out import condition_words, names_of
from kameleoon.server.configuration import build_configuration
from kameleoon.server.differences import percent
from kameleoon.server.project import Joined, RuleType
from kameleoon.types.remote_visitor_data_filter import RemoteVisitorDataFilter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kameleoon._engine.choice import Choice
    from kameleoon.server.project import Flag, Rule
    from kameleoon.server.site import Published
    from kameleoon.types.explanation import HashExplanation, RuleExplanation

_EVERYTHING = RemoteVisitorDataFilter(
    previous_visit_amount=25,
    page_views=True,
    geolocation=True,
    device=True,
    browser=True,
    operating_system=True,
    conversions=True,
    experiments=True,
    kcs=True,
    cbs=True,
    personalization=True,
)


@dataclass(frozen=True, slots=True)
class Step:
    """
    One step of an explanation.

    Attributes:
        said: What was looked at.
        outcome: True if it let the visitor on, False if it did not, None if it was not reached or cannot be told so.
        steps: What it consists of.
    """

    said: str
    outcome: bool | None = None
    steps: tuple[Step, ...] = field(default=())


class Decider:
    """The compiled configurations of one published project, one for each environment, made when they are first asked for."""

    def __init__(self, published: Published) -> None:
        self.published = published
        self._rulesets: dict[str, Ruleset] = {}

    def ruleset(self, environment: str) -> Ruleset:
        """The configuration of *environment*, compiled."""
        ruleset = self._rulesets.get(environment)
        if ruleset is None:
            root = build_configuration(
                self.published.project,
                environment,
                modified_ms=self.published.modified_s * 1000,
                at_ms=self.published.at_ms,
            )
            ruleset = self._rulesets[environment] = compile_ruleset(root)
        return ruleset

    def decide(self, environment: str, flag_key: str, record: VisitorRecord, code: str, now_ms: int) -> Choice:
        """
        What the visitor gets.

        Raises:
            KeyError: There is no such flag.
        """
        return self.ruleset(environment).flag(flag_key).decide(record, code, now_ms)[0]

    def explain(
        self, environment: str, flag: Flag, record: VisitorRecord, code: str, now_ms: int
    ) -> tuple[Choice, tuple[Step, ...]]:
        """What the visitor gets and the way there, as the engine tells it: what came before any rule, then each rule it looked at."""
        ruleset = self.ruleset(environment)
        seen = walk(ruleset, ruleset.flag(flag.key), record, code, now_ms)
        steps = [Step(_drawn(hashed), None) for hashed in seen.hashes]
        if seen.hashed_code != code:
            steps.insert(0, Step(f"drawn by {seen.hashed_code!r} instead of the visitor code", None))
        rules = {rule.id: rule for rule in flag.rules_in(environment)}
        steps += [self._rule(rules[rule.id], rule) for rule in seen.rules]
        steps += [Step(said, None) for said in (*seen.steps, *seen.problems)]
        return seen.choice, tuple(steps)

    def _rule(self, rule: Rule, seen: RuleExplanation) -> Step:
        is_exposed = all(hashed.result is not None for hashed in seen.hashes)
        inner: list[Step] = []
        if rule.segment_key is None:
            inner.append(Step("for everybody", True))
        else:
            inner.append(self._segment(rule.segment_key, seen))
        inner += [Step(_drawn(hashed), hashed.result is not None) for hashed in seen.hashes]
        kind = "experiment" if rule.type is RuleType.EXPERIMENT else "delivery"
        is_met = seen.is_targeted is not False and is_exposed
        return Step(f"rule {rule.key}, {kind}: {seen.outcome}", is_met, tuple(inner))

    def _segment(self, key: str, seen: RuleExplanation) -> Step:
        project = self.published.project
        segment = next(segment for segment in project.segments if segment.key == key)
        names = names_of(project)
        # The engine tells of conditions one after the other, as the segment has them.
        told = iter(seen.conditions)
        groups: list[Step] = []
        for group in segment.groups:
            conditions = [
                Step(f"{condition_words(condition, names)}; found {of_engine.actual}", of_engine.matched)
                for condition, of_engine in zip(group.conditions, told, strict=False)
            ]
            outcomes = [step.outcome for step in conditions]
            is_met = all(outcomes) if group.joined is Joined.ALL else any(outcomes)
            groups += conditions if len(conditions) == 1 else [Step(_of_these(group.joined), is_met, tuple(conditions))]
        name = segment.name or segment.key
        return Step(f"in segment “{name}”: {_of_these(segment.joined)}", seen.is_targeted, tuple(groups))


def _drawn(hashed: HashExplanation) -> str:
    bounds = ", ".join(f"{name} up to {percent(bound)}" for name, bound in hashed.thresholds) or "no shares"
    return f"{hashed.purpose}: drawn at {hashed.value:.2%}, {bounds}: {hashed.result or 'none'}"


def _of_these(joined: Joined) -> str:
    return "all of these" if joined is Joined.ALL else "any of these"


def record_of(answer: dict[str, Any], now_ms: int) -> VisitorRecord:
    """
    The record that an SDK has of a visitor after `get_remote_visitor_data`.

    Args:
        answer: What ``GET /visit/visitor`` gives.
        now_ms: Now, in ms since 1970.
    """
    current = answer.get("currentVisit")
    record = VisitorRecord(int(current["timeStarted"]) if current else now_ms)
    read_remote_visitor(answer, _EVERYTHING, frozenset(), now_ms).fact.apply(Visitor(record, 0.0))
    return record


def values_of(choice: Choice) -> dict[str, Any]:
    """`{variable key: value}` of what the visitor gets."""
    variables: Iterable[Any] = choice.variation.variables.values()
    return {variable.key: variable.value for variable in variables}

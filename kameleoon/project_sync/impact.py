"""
What a change of a project does to visitors: each code is decided by both versions, with the engine that the SDK uses. Pure.

Nothing is known of the visitors but their codes, so conditions on anything else hold as they do for somebody who has just come.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kameleoon._engine.ruleset import compile_ruleset
from kameleoon.server.configuration import build_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kameleoon._engine.choice import Choice
    from kameleoon._engine.ruleset import Ruleset
    from kameleoon.server.project import Project

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class FlagImpact:
    """
    One flag.

    Attributes:
        key: The flag's.
        visitors: How many codes were decided.
        changed: How many of them get another variation.
        reasons: ``{why: visitors}``, the most frequent first; they sum to *changed*.
        moves: ``{(variation before, variation after): visitors}``, likewise; ``None`` where there is no flag, or it is off.
    """

    key: str
    visitors: int
    changed: int
    reasons: dict[str, int]
    moves: dict[tuple[str | None, str | None], int]

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "flag": self.key,
            "visitors": self.visitors,
            "changed": self.changed,
            "reasons": self.reasons,
            "moves": [{"from": old, "to": new, "visitors": count} for (old, new), count in self.moves.items()],
        }


def generated_codes(count: int) -> Iterator[str]:
    """*count* visitor codes of 16 characters, the same in every run."""
    source = random.Random(0)  # noqa: S311 - a fixed sample, nothing secret
    for _ in range(count):
        yield "".join(source.choices(_ALPHABET, k=16))


def impact(
    before: Project, after: Project, environment: str, codes: Sequence[str], *, now_ms: int
) -> tuple[FlagImpact, ...]:
    """
    Compare two versions of a project.

    Args:
        before: What is given out now.
        after: What would be.
        environment: One that both have.
        codes: Visitor codes.
        now_ms: Now, in ms since 1970, for conditions on time and windows of rules.

    Returns:
        One entry for each flag of either version, in their order.

    Raises:
        ValueError: A version has no such environment, or cannot be evaluated in part.
    """
    old, new = (_compiled(project, environment, now_ms) for project in (before, after))
    keys = list(dict.fromkeys([*old.flag_keys, *new.flag_keys]))
    found = tuple(_flag_impact(key, old, new, codes, now_ms) for key in keys)
    for ruleset in (old, new):
        if ruleset.problems:
            raise ValueError("; ".join(str(problem) for problem in ruleset.problems))
    return found


def _compiled(project: Project, environment: str, now_ms: int) -> Ruleset:
    return compile_ruleset(build_configuration(project, environment, modified_ms=0, at_ms=now_ms))


def _flag_impact(key: str, old: Ruleset, new: Ruleset, codes: Sequence[str], now_ms: int) -> FlagImpact:
    was = old.flags[key] if key in old.flag_keys else None
    becomes = new.flags[key] if key in new.flag_keys else None
    reasons: Counter[str] = Counter()
    moves: Counter[tuple[str | None, str | None]] = Counter()
    for code in codes:
        before = was.decide(None, code, now_ms)[0] if was is not None else None
        after = becomes.decide(None, code, now_ms)[0] if becomes is not None else None
        names = _variation(before), _variation(after)
        if names[0] != names[1]:
            moves[names] += 1
            reasons[_reason(before, after)] += 1
    return FlagImpact(key, len(codes), moves.total(), dict(reasons.most_common()), dict(moves.most_common()))


def _variation(choice: Choice | None) -> str | None:
    return None if choice is None or choice.refusal is not None else choice.variation_key


def _reason(before: Choice | None, after: Choice | None) -> str:
    if before is None:
        return "flag added"
    if after is None:
        return "flag removed"
    if before.refusal is not None or after.refusal is not None:
        return "switched on" if after.refusal is None else "switched off"
    if before.rule is None and after.rule is None:
        return "other default"
    if before.rule is None:
        return "newly targeted"
    if after.rule is None:
        return "no longer targeted"
    if before.rule.id != after.rule.id:
        return "another rule"
    return "rule gives another variation" if before.is_delivery and after.is_delivery else "re-bucketed"

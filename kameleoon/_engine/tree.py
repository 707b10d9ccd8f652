"""
How a segment's conditions are joined.

Source:
    Both levels of the tree are grouped from the right, which is not the usual precedence: ``a AND b AND c OR d`` is
    ``(a AND b) AND (c OR d)``. Recorded cases in ``tests/vectors/targeting_trees.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon._visitor.record import VisitorRecord

Test = Callable[["VisitorRecord | None", str, int, object], bool]
"""``(record, visitor code, now in ms, experiment id or NO_EXPERIMENT) -> matched``."""


def always(_record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
    """The test that everybody passes."""
    return True


def never(_record: VisitorRecord | None, _code: str, _now_ms: int, _experiment_id: object) -> bool:
    """The test that nobody passes."""
    return False


def negate(test: Test) -> Test:
    """The opposite of *test*."""

    def negated(record: VisitorRecord | None, code: str, now_ms: int, experiment_id: object) -> bool:
        return not test(record, code, now_ms, experiment_id)

    return negated


def join(tests: Sequence[Test], ors: Sequence[bool]) -> Test:
    """
    One test of several, grouped from the right.

    Args:
        tests: The operands; none at all means "true".
        ors: ``ors[i]`` stands between operand ``i`` and ``i + 1``: ``True`` for OR. When there are too few, the operand on the
            left of a missing one does not count.

    Returns:
        A test that runs the operands from the left and stops as soon as the answer is settled.
    """
    steps: list[tuple[Test, bool]] = []  # a test, and the result that settles the answer
    at, last = 0, len(tests) - 1
    if last < 0:
        return always
    while at < last:
        if at >= len(ors):
            at += 1
        elif ors[at]:
            steps.append((tests[at], True))
            at += 1
        elif at + 1 == last:
            steps.append((tests[at], False))
            at += 1
        else:
            if at + 1 >= len(ors):
                pass
            elif ors[at + 1]:
                steps.append((_both(tests[at], tests[at + 1]), True))
            else:
                steps += [(tests[at], False), (tests[at + 1], False)]
            at += 2
    return _run(tuple(steps), tests[last])


def _both(first: Test, second: Test) -> Test:
    def both(record: VisitorRecord | None, code: str, now_ms: int, experiment_id: object) -> bool:
        return first(record, code, now_ms, experiment_id) and second(record, code, now_ms, experiment_id)

    return both


def _run(steps: tuple[tuple[Test, bool], ...], final: Test) -> Test:
    if not steps:
        return final
    if len(steps) == 1 and not steps[0][1]:
        return _both(steps[0][0], final)

    def run(record: VisitorRecord | None, code: str, now_ms: int, experiment_id: object) -> bool:
        for test, settles in steps:
            if test(record, code, now_ms, experiment_id) is settles:
                return settles
        return final(record, code, now_ms, experiment_id)

    return run

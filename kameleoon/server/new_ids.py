"""Ids of what is new in a site, kept apart from those of the other sites."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from kameleoon.server.project import derive_id

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from kameleoon.server.project import Project, Rule


def with_new_ids(project: Project, *, before: Project, taken: Container[int]) -> Project:
    """
    *project* with other ids for what *before* did not have and another site has.

    Ids that a file leaves out follow from keys alone, so that two sites with equal keys have equal ids. What is made later can do better:
    nothing refers to it yet, and no visitor was drawn by it.

    Args:
        project: A project with something new.
        before: The same project without it.
        taken: Ids of other sites.
    """
    known = {number for _, _, number in before.numbered()}
    new = {number for _, _, number in project.numbered()} - known
    if not any(number in taken for number in new):
        return project

    def other(number: int) -> int:
        is_free = number in known or number not in taken
        return number if is_free else derive_id("site", project.site_code, str(number))

    return replace(
        project,
        custom_data=tuple(replace(datum, id=other(datum.id)) for datum in project.custom_data),
        goals=tuple(replace(goal, id=other(goal.id)) for goal in project.goals),
        segments=tuple(replace(segment, id=other(segment.id)) for segment in project.segments),
        flags=tuple(
            replace(
                flag,
                id=other(flag.id),
                rules=tuple(_rule(rule, other) for rule in flag.rules),
                own=MappingProxyType(
                    {
                        environment: replace(
                            own, rules=None if own.rules is None else tuple(_rule(rule, other) for rule in own.rules)
                        )
                        for environment, own in flag.own.items()
                    }
                ),
            )
            for flag in project.flags
        ),
    )


def _rule(rule: Rule, other: Callable[[int], int]) -> Rule:
    return replace(
        rule,
        id=other(rule.id),
        experiment_id=other(rule.experiment_id),
        shares=tuple(replace(share, variation_id=other(share.variation_id)) for share in rule.shares),
    )

"""
Changes of a project, each a function from the project and what is wanted to the new project.

The page and the API make them through `Service.change`, so that both do the same. What cannot be is refused with an `EditError` that a
person understands.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from kameleoon.server.project import Own, RuleType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kameleoon.server.project import Flag, Project, Rule


class EditError(ValueError):
    """The change cannot be made; ``str()`` says why. Nothing was changed."""


def find_flag(project: Project, key: str) -> Flag:
    """
    The flag *key*.

    Raises:
        EditError: There is none.
    """
    for flag in project.flags:
        if flag.key == key:
            return flag
    raise EditError(f"there is no flag {key!r}")


def find_rule(flag: Flag, environment: str | None, key: str) -> Rule:
    """
    A rule of an environment's own list, or with None of the one for all others.

    Raises:
        EditError: There is none.
    """
    for place, rule in flag.all_rules():
        if place == environment and rule.key == key:
            return rule
    raise EditError(f"flag {flag.key!r} has no rule {key!r}" + (f" in {environment!r}" if environment else ""))


def edit_flag(project: Project, key: str, edit: Callable[[Flag], Flag]) -> Project:
    """
    Replace one flag.

    Raises:
        EditError: There is none, or the result contradicts itself.
    """
    found = find_flag(project, key)
    try:
        flags = tuple(edit(flag) if flag is found else flag for flag in project.flags)
        return replace(project, flags=flags)
    except EditError:
        raise
    except ValueError as error:
        raise EditError(str(error)) from error


def switch(project: Project, key: str, environment: str, *, is_on: bool) -> Project:
    """Turn a flag on or off in an environment."""
    if environment not in project.environments:
        raise EditError(f"there is no environment {environment!r}")

    def edit(flag: Flag) -> Flag:
        others = flag.enabled_in - {environment}
        return replace(flag, enabled_in=others | {environment} if is_on else others)

    return edit_flag(project, key, edit)


def set_default(project: Project, key: str, environment: str | None, variation: str) -> Project:
    """Choose what is given to whoever no rule exposes, in one environment or, with None, in all that have no default of their own."""

    def edit(flag: Flag) -> Flag:
        if environment is None:
            return replace(flag, default_variation=variation)
        own = flag.own.get(environment, Own())
        return replace(flag, own=MappingProxyType({**flag.own, environment: replace(own, default_variation=variation)}))

    return edit_flag(project, key, edit)


def set_rules(project: Project, key: str, environment: str | None, rules: tuple[Rule, ...]) -> Project:
    """Replace a list of rules."""
    return edit_flag(project, key, lambda flag: _with_rules(flag, environment, rules))


def edit_rule(project: Project, key: str, environment: str | None, rule: str, edit: Callable[[Rule], Rule]) -> Project:
    """
    Replace one rule.

    Raises:
        EditError: There is none, or the result contradicts itself.
    """

    def edited(flag: Flag) -> Flag:
        found = find_rule(flag, environment, rule)
        rules = dict(flag.rule_lists())[environment]
        return _with_rules(flag, environment, tuple(edit(one) if one is found else one for one in rules))

    return edit_flag(project, key, edited)


def set_exposition(project: Project, key: str, environment: str | None, rule: str, exposition: float) -> Project:
    """Choose what part of its visitors, 0 to 1, a rule exposes. Visitors that stay exposed keep their variation."""
    if not 0 <= exposition <= 1:
        raise EditError("the exposition must be 0 to 100 %")
    return edit_rule(project, key, environment, rule, lambda found: replace(found, exposition=round(exposition, 12)))


def set_paused(project: Project, key: str, environment: str | None, rule: str, *, is_paused: bool) -> Project:
    """Pause or resume a rule."""
    return edit_rule(project, key, environment, rule, lambda found: replace(found, is_paused=is_paused))


def set_shares(project: Project, key: str, environment: str | None, rule: str, shares: Mapping[str, float]) -> Project:
    """
    Divide an experiment anew. Ids and order stay.

    Args:
        project: The present one.
        key: Of the flag.
        environment: As in `find_rule`.
        rule: The rule's key.
        shares: `{variation key: 0 to 1}` of all its variations; they sum to 1.
    """

    def edit(found: Rule) -> Rule:
        if found.type is not RuleType.EXPERIMENT or {share.variation_key for share in found.shares} != shares.keys():
            raise EditError(f"rule {rule!r} divides visitors between other variations")
        if abs(sum(shares.values()) - 1) > 1e-9:
            raise EditError(f"the shares sum to {sum(shares.values()) * 100:.6g} %, expected 100 %")
        return replace(found, shares=tuple(replace(s, share=round(shares[s.variation_key], 12)) for s in found.shares))

    return edit_rule(project, key, environment, rule, edit)


def _with_rules(flag: Flag, environment: str | None, rules: tuple[Rule, ...]) -> Flag:
    if environment is None:
        return replace(flag, rules=rules)
    own = flag.own.get(environment, Own())
    return replace(flag, own=MappingProxyType({**flag.own, environment: replace(own, rules=rules)}))

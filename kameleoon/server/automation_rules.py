"""
The Automation API's bodies as changes of flags' rules. No I/O.

Source:
    automation-api.md, sections 7.4 and 11.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from kameleoon.server.api_words import RULE_TYPES, percent_of, read_release
from kameleoon.server.automation_fields import Entity, FieldError, free_key, listed, part, text
from kameleoon.server.edits import EditError, edit_flag
from kameleoon.server.flag_file import free_rule_key
from kameleoon.server.project import (
    Flag,
    Own,
    Rule,
    RuleType,
    Share,
    derive_id,
    rule_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kameleoon.server.project import Project


def patch_rule(project: Project, rule_id: int, body: Entity) -> Project:
    """Change one rule; the body is the rule, or a flag that has it among its rules."""
    for configuration in listed(body, "environmentConfigurations"):
        for rule in listed(configuration, "rolloutRules"):
            if rule.get("id") == rule_id:
                return patch_rule(project, rule_id, rule)
    for flag in project.flags:
        for place, rules in flag.rule_lists():
            if rule_id in [rule.id for rule in rules]:
                edited = tuple(
                    _rule(project, flag, place, body, rule, []) if rule.id == rule_id else rule for rule in rules
                )
                return _replace_rules(project, flag, place, edited)
    raise EditError(f"there is no rule {rule_id}")


# --- parts ------------------------------------------------------------------------------------------------------------


def with_rules(project: Project, flag: Flag, environment: str, given: Iterable[Entity]) -> Flag:
    """
    A flag whose rules in *environment* are those given.

    Rules that environments share are told apart first, so that a change of one leaves the others alone: the project's default environment
    keeps the ids and so its visitors' variations, the others get rules with ids of their own.
    """
    shared = [name for name in project.environments if name not in flag.own or flag.own[name].rules is None]
    place: str | None = environment
    kept = {rule.id: rule for rule in flag.rules_in(environment)}
    if environment in shared:
        keeper = project.default_environment if project.default_environment in shared else shared[0]
        for name in shared:
            if name != keeper and environment in {keeper, name}:
                copies = copied_rules(flag.key, name, flag.rules)
                own = replace(flag.own.get(name, Own()), rules=copies)
                flag = replace(flag, own=MappingProxyType({**flag.own, name: own}))
                if name == environment:
                    kept = {rule.id: copy for rule, copy in zip(flag.rules, copies, strict=True)}
        if keeper == environment:
            place = None
    ordered = sorted(enumerate(given), key=lambda pair: (_order_index(pair[1], pair[0]), pair[0]))
    rules: list[Rule] = []
    for _, body in ordered:
        known = kept.get(body.get("id", 0)) if isinstance(body.get("id"), int) else None
        rules.append(_rule(project, flag, place, body, known, [rule.key for rule in rules]))
    return _placed(flag, place, tuple(rules))


def copied_rules(flag: str, environment: str | None, rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The same rules in another place, with ids of their own."""
    return tuple(_copied(flag, environment, rule) for rule in rules)


def _copied(flag: str, environment: str | None, rule: Rule) -> Rule:
    names = rule_names(flag, environment, rule.key)
    return replace(
        rule,
        id=derive_id(*names),
        experiment_id=derive_id(*names, "experiment"),
        shares=tuple(
            replace(share, variation_id=derive_id(*names, "variation", share.variation_key)) for share in rule.shares
        ),
    )


def _placed(flag: Flag, place: str | None, rules: tuple[Rule, ...]) -> Flag:
    try:
        if place is None:
            return replace(flag, rules=rules)
        own = replace(flag.own.get(place, Own()), rules=rules)
        return replace(flag, own=MappingProxyType({**flag.own, place: own}))
    except ValueError as error:
        raise FieldError("rolloutRules", str(error)) from error


def _replace_rules(project: Project, flag: Flag, place: str | None, rules: tuple[Rule, ...]) -> Project:
    changed = _placed(flag, place, rules)
    return edit_flag(project, flag.key, lambda _: changed)


def _order_index(body: Entity, default: int) -> float:
    index = body.get("orderIndex")
    return index if isinstance(index, int | float) else default


def _rule(
    project: Project, flag: Flag, place: str | None, body: Entity, known: Rule | None, earlier: list[str]
) -> Rule:
    kind = known.type if known is not None else None
    if "type" in body or kind is None:
        kind = RULE_TYPES.get(text(body, "type"))
    if kind is None:
        raise FieldError("type", f"expected one of {', '.join(RULE_TYPES)}")
    shares = _shares(flag, body, kind, known)
    segment = known.segment_key if known is not None else None
    if "segmentId" in body:
        wanted = body["segmentId"]
        segments = {one.id: one.key for one in project.segments}
        if wanted is not None and wanted not in segments:
            raise FieldError("segmentId", f"there is no segment {wanted!r}")
        segment = segments[wanted] if wanted is not None else None
    key = known.key if known is not None else text(body, "name", "", longest=100)
    if not key or (known is None and key in earlier):
        key = free_rule_key(kind, shares, segment, earlier) if not key else free_key(key, earlier)
    names = rule_names(flag.key, place, key)
    ids = {share.variation_key: share.variation_id for share in known.shares} if known is not None else {}
    exposition = body.get("exposition", percent_of(known.exposition) if known is not None else 100)
    state = body.get("state", body.get("status", "PAUSED" if known is not None and known.is_paused else "ACTIVE"))
    release = known.release if known is not None else None
    if "release" in body:
        release = read_release(body["release"])
    respool_time = known.respool_time if known is not None else None
    if body.get("reallocation") is True:
        # Any other number draws anew; counting up needs no clock and never repeats one.
        respool_time = (respool_time or 0) + 1
    try:
        return Rule(
            key=key,
            type=kind,
            id=known.id if known is not None else derive_id(*names),
            experiment_id=known.experiment_id if known is not None else derive_id(*names, "experiment"),
            shares=tuple(
                Share(variation, ids.get(variation, derive_id(*names, "variation", variation)), share)
                for variation, share in shares.items()
            ),
            segment_key=segment,
            exposition=part(exposition, "exposition"),
            respool_time=respool_time,
            is_paused=state == "PAUSED",
            release=release,
        )
    except FieldError:
        raise
    except ValueError as error:
        raise FieldError("rolloutRules", str(error)) from error


def _shares(flag: Flag, body: Entity, kind: RuleType, known: Rule | None) -> dict[str, float]:
    if kind is RuleType.DELIVERY:
        default = known.shares[0].variation_key if known is not None else None
        shares = {text(body, "variationKey", default): 1.0}
    elif "trafficAllocations" in body or known is None:
        given = listed(body, "trafficAllocations")
        shares = {text(one, "variationKey"): part(one.get("exposition"), "trafficAllocations") for one in given}
        total = math.fsum(shares.values())
        if len(shares) != len(given) or abs(total - 1) > 1e-4:
            raise FieldError("trafficAllocations", f"each variation once, together 100 %, not {total * 100:g} %")
        # What people round to two decimals still has to sum to 1 exactly: the last takes the rest.
        last = list(shares)[-1]
        shares[last] = round(shares[last] + 1 - total, 12)
    else:
        shares = {share.variation_key: share.share for share in known.shares}
    if unknown := shares.keys() - {variation.key for variation in flag.variations}:
        raise FieldError("variationKey", f"the flag has no variation {', '.join(sorted(unknown))}")
    return shares

"""What a call would change, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kameleoon.api.feature_flags import (
        EnvironmentConfiguration,
        RolloutRule,
    )


def rule_details(before: RolloutRule, after: RolloutRule) -> list[str]:
    """What changes in a rule."""
    pairs = {
        "type": (before.type, after.type),
        "name": (before.name, after.name),
        "state": (before.status or before.state or "ACTIVE", after.state or after.status),
        "segment": (before.segment_id, after.segment_id),
        "exposition": (100 if before.exposition is None else before.exposition, after.exposition),
    }
    if before.release != after.release:
        pairs["release"] = (_window(before), _window(after))
    if after.type == "EXPERIMENTATION":
        pairs["shares"] = (_shares(before), _shares(after))
    else:
        pairs["variation"] = (before.variation_key, after.variation_key)
    return [f"{name}: {old} -> {new}" for name, (old, new) in pairs.items() if old != new]


def _window(rule: RolloutRule) -> str:
    given = rule.release or {}
    if not isinstance(given, Mapping):
        return str(given)
    ends = [f"{word} {given[end]}" for word, end in (("from", "releaseFrom"), ("to", "releaseTo")) if given.get(end)]
    return f"{' '.join(ends)} ({given.get('timeZone') or 'UTC'})" if ends else "always"


def _shares(rule: RolloutRule) -> str:
    return " / ".join(f"{one.variation_key} {float(one.exposition or 0):g}" for one in rule.traffic_allocations or ())


def environment_details(
    before: EnvironmentConfiguration, after: EnvironmentConfiguration, *, is_new: bool
) -> list[str]:
    """What changes in an environment of a flag; what a new one has by itself is not told."""
    details = []
    if bool(before.feature_enabled) != bool(after.feature_enabled):
        details.append(f"turned {'on' if after.feature_enabled else 'off'}")
    if not is_new and before.default_variation_key != after.default_variation_key:
        details.append(f"default: {before.default_variation_key} -> {after.default_variation_key}")
    olds = {rule.id: rule for rule in before.rollout_rules or ()}
    news = after.rollout_rules or ()
    for rule in news:
        if rule.id is None or rule.id not in olds:
            details.append(f"rule {rule.name} added")
        else:
            details += [f"rule {rule.name}: {said}" for said in rule_details(olds.pop(rule.id), _said(rule))]
    details += [f"rule {rule.name} removed" for rule in olds.values()]
    if not details and [rule.id for rule in news] != [rule.id for rule in before.rollout_rules or ()]:
        details.append("other order of rules")
    return details


def _said(rule: RolloutRule) -> RolloutRule:
    return replace(
        rule,
        exposition=100 if rule.exposition is None else rule.exposition,
        state=rule.state or rule.status or "ACTIVE",
    )

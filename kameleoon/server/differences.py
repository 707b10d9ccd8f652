"""What changed between two versions of a project, in words: the history of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon.server.project import RuleType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kameleoon.server.project import Flag, Project, Rule

Said = tuple[str | None, str]
"""``(key of the flag or None for the project, what changed)``."""


def differences(before: Project, after: Project) -> list[Said]:
    """Every change from *before* to *after*; empty when they are equal."""
    found: list[Said] = list(_project_differences(before, after))
    old = {flag.key: flag for flag in before.flags}
    new = {flag.key: flag for flag in after.flags}
    found += [(key, "flag removed") for key in old if key not in new]
    for key, flag in new.items():
        if key not in old:
            found.append((key, "flag added"))
        else:
            found += [(key, said) for said in _flag_differences(old[key], flag, after.environments)]
    if not found and before != after:
        found.append((None, "order changed"))
    return found


def percent(share: float) -> str:
    """``0.5`` as ``50%``."""
    return f"{share * 100:.4g}%"


def _project_differences(before: Project, after: Project) -> Iterator[Said]:
    for name in ("site_code", "name"):
        if (old := getattr(before, name)) != (new := getattr(after, name)):
            yield None, f"{name.replace('_', ' ')}: {old or '(none)'} → {new or '(none)'}"
    if before.environments != after.environments:
        yield None, f"environments: {', '.join(before.environments)} → {', '.join(after.environments)}"
    for name, value in (("streaming", after.streaming), ("consent", after.consent), ("holdout", after.holdout)):
        if getattr(before, name) != value:
            yield None, f"{name} turned {'on' if value else 'off'}" if name == "streaming" else f"{name} changed"
    for what, olds, news in (
        ("custom data", {d.name: d for d in before.custom_data}, {d.name: d for d in after.custom_data}),
        ("goal", {g.key: g for g in before.goals}, {g.key: g for g in after.goals}),
        ("segment", {s.key: s for s in before.segments}, {s.key: s for s in after.segments}),
    ):
        yield from ((None, f"{what} {key} removed") for key in olds if key not in news)
        yield from ((None, f"{what} {key} added") for key in news if key not in olds)
        yield from ((None, f"{what} {key} changed") for key in news if key in olds and olds[key] != news[key])


def _flag_differences(before: Flag, after: Flag, environments: Iterable[str]) -> Iterator[str]:
    if before.name != after.name:
        yield f"name: {before.name or '(none)'} → {after.name or '(none)'}"
    for environment in environments:
        if (environment in before.enabled_in) != (environment in after.enabled_in):
            yield f"turned {'on' if environment in after.enabled_in else 'off'} in {environment}"
    if before.default_variation != after.default_variation:
        yield f"default: {before.default_variation} → {after.default_variation}"
    for environment in environments:
        old, new = before.default_in(environment), after.default_in(environment)
        if old != new and (old, new) != (before.default_variation, after.default_variation):
            yield f"default in {environment}: {old} → {new}"
    old_keys = [variation.key for variation in before.variations]
    new_keys = [variation.key for variation in after.variations]
    if old_keys != new_keys:
        yield f"variations: {', '.join(old_keys)} → {', '.join(new_keys)}"
    elif before.variations != after.variations:
        yield "variables or names of variations changed"
    if (before.id, before.exclusive_group, before.bucket_by) != (after.id, after.exclusive_group, after.bucket_by):
        yield "id, exclusive group or bucketing changed"
    olds, news = dict(before.rule_lists()), dict(after.rule_lists())
    for place in dict.fromkeys([*olds, *news]):
        where = "" if place is None else f" in {place}"
        if place not in news:
            yield f"no rules of its own any more{where}"
        elif place not in olds:
            yield f"rules of its own{where}: {', '.join(rule.key for rule in news[place]) or 'none'}"
        else:
            yield from (said + where for said in _rule_differences(olds[place], news[place]))


def _rule_differences(before: tuple[Rule, ...], after: tuple[Rule, ...]) -> Iterator[str]:
    olds, news = {rule.key: rule for rule in before}, {rule.key: rule for rule in after}
    yield from (f"rule {key} removed" for key in olds if key not in news)
    yield from (f"rule {key} added" for key in news if key not in olds)
    both = [key for key in news if key in olds]
    if both != [key for key in olds if key in news]:
        yield f"order of rules: {', '.join(both)}"
    for key in both:
        old, new = olds[key], news[key]
        if old.is_paused != new.is_paused:
            yield f"rule {key} {'paused' if new.is_paused else 'resumed'}"
        if old.exposition != new.exposition:
            yield f"rule {key}: exposition {percent(old.exposition)} → {percent(new.exposition)}"
        if old.segment_key != new.segment_key:
            yield f"rule {key}: for {old.segment_key or 'everybody'} → {new.segment_key or 'everybody'}"
        if old.shares != new.shares or old.type != new.type:
            yield f"rule {key}: {_shares(old)} → {_shares(new)}"
        if old.release != new.release:
            yield f"rule {key}: {old.release or 'always'} → {new.release or 'always'}"
        if old.respool_time != new.respool_time:
            yield f"rule {key}: visitors drawn anew"
        if (old.id, old.experiment_id) != (new.id, new.experiment_id):
            yield f"rule {key}: ids changed"


def _shares(rule: Rule) -> str:
    if rule.type is RuleType.DELIVERY:
        return rule.shares[0].variation_key
    return " / ".join(f"{share.variation_key} {percent(share.share)}" for share in rule.shares)

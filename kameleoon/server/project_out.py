"""A project written as its YAML file: what `parse_project` reads back as the same project, in one form only."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kameleoon.server.conditions_out import names_of, segment_entry
from kameleoon.server.flag_file import free_rule_key
from kameleoon.server.project import DEFAULT_ENVIRONMENT, RuleType, derive_id, rule_names
from kameleoon.server.release import moment_text
from kameleoon.server.yaml_out import Block, Rows, dump

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon.server.conditions import Names
    from kameleoon.server.project import CustomDatum, Flag, Goal, Holdout, Project, Rule, Segment, Variation
    from kameleoon.server.release import Release


def write_project(project: Project) -> str:
    """
    The project file. Ids that follow from the keys are left out, as are settings that have their default.

    Returns:
        YAML. Writing what was read from it gives the same text again.
    """
    about: dict[str, Any] = {"site_code": project.site_code}
    if project.name:
        about["name"] = project.name
    if project.consent.required:
        about["consent"] = "required"
    if project.consent.refusal_blocks_all:
        about["when_refused"] = "block_all"
    if project.streaming:
        about["streaming"] = True
    document: dict[str, Any] = {"project": Block(about)}
    if project.environments != (DEFAULT_ENVIRONMENT,):
        document["environments"] = list(project.environments)
    if project.custom_data:
        document["custom_data"] = Rows(map(_custom_datum, project.custom_data))
    if project.goals:
        document["goals"] = Rows(map(_goal, project.goals))
    if project.holdout is not None:
        document["holdout"] = _holdout(project.holdout)
    names = names_of(project)
    if project.segments:
        document["segments"] = Block({segment.key: _segment(segment, names) for segment in project.segments})
    if project.flags:
        document["flags"] = Block({flag.key: _flag(flag, project.environments) for flag in project.flags})
    return "\n".join(dump(Block({section: content})) for section, content in document.items())


def _custom_datum(datum: CustomDatum) -> dict[str, Any]:
    written: dict[str, Any] = {"name": datum.name, "index": datum.index}
    _put_id(written, "id", datum.id, "custom data", datum.name)
    if datum.scope != "VISIT":
        written["scope"] = datum.scope.lower()
    if datum.local_only:
        written["local_only"] = True
    if datum.mapping_identifier:
        written["mapping_identifier"] = True
    return written


def _goal(goal: Goal) -> dict[str, Any]:
    written: dict[str, Any] = {"key": goal.key}
    _put_id(written, "id", goal.id, "goal", goal.key)
    written |= {"name": goal.name} if goal.name else {}
    return written | ({"multiple": True} if goal.multiple else {})


def _holdout(holdout: Holdout) -> Any:
    written: dict[str, Any] = {"exposition": percentage(holdout.exposition)}
    _put_id(written, "experiment_id", holdout.experiment_id, "holdout")
    _put_id(written, "held_id", holdout.held_variation_id, "holdout", "held")
    _put_id(written, "free_id", holdout.free_variation_id, "holdout", "free")
    return written if len(written) > 1 else written["exposition"]


def _segment(segment: Segment, names: Names) -> dict[str, Any]:
    written: dict[str, Any] = {}
    _put_id(written, "id", segment.id, "segment", segment.key)
    if segment.name:
        written["name"] = segment.name
    if segment.audience_tracking:
        written["audience_tracking"] = True
    entry = segment_entry(segment, names)
    return Block(written | entry) if written else written | entry


def _flag(flag: Flag, environments: Sequence[str]) -> dict[str, Any]:
    written: dict[str, Any] = {}
    _put_id(written, "id", flag.id, "flag", flag.key)
    if flag.name:
        written["name"] = flag.name
    if flag.default_variation != "off":
        written["default"] = flag.default_variation
    if flag.exclusive_group is not None:
        written["exclusive_group"] = flag.exclusive_group
    if flag.bucket_by is not None:
        written["bucket_by"] = flag.bucket_by
    types = {v.key: v.type.value.lower() for variation in flag.variations for v in variation.variables.values()}
    if types:
        written["variables"] = types
    if types or any(variation.name for variation in flag.variations):
        written["variations"] = Block({variation.key: _variation(variation) for variation in flag.variations})
    elif [variation.key for variation in flag.variations] != ["off", "on"]:
        written["variations"] = [variation.key for variation in flag.variations]
    if flag.rules:
        written["rules"] = _rules(flag, None, flag.rules)
    if flag.own or flag.enabled_in != frozenset(environments):
        written["environments"] = {name: _environment(flag, name) for name in environments}
    return Block(written)


def _environment(flag: Flag, name: str) -> Any:
    own = flag.own.get(name)
    is_on = name in flag.enabled_in
    if own is None:
        return "on" if is_on else "off"
    written: dict[str, Any] = {"enabled": is_on}
    if own.default_variation is not None:
        written["default"] = own.default_variation
    if own.rules is not None:
        written["rules"] = _rules(flag, name, own.rules)
    return written


def _variation(variation: Variation) -> dict[str, Any]:
    written: dict[str, Any] = {"name": variation.name} if variation.name else {}
    if variation.variables:
        written["variables"] = {variable.key: variable.value for variable in variation.variables.values()}
    return written


def _rules(flag: Flag, environment: str | None, rules: Sequence[Rule]) -> list[Any]:
    written: list[Any] = []
    for place, rule in enumerate(rules):
        earlier = [known.key for known in rules[:place]]
        written.append(_rule(flag.key, environment, rule, earlier))
    return written


def _rule(flag: str, environment: str | None, rule: Rule, earlier: list[str]) -> dict[str, Any]:
    shares = {share.variation_key: share.share for share in rule.shares}
    written: dict[str, Any] = {}
    if rule.type is RuleType.DELIVERY:
        written["deliver"] = rule.shares[0].variation_key
    elif all(share == 1 / len(shares) for share in shares.values()):
        written["experiment"] = list(shares)
    else:
        written["experiment"] = {key: percentage(share) for key, share in shares.items()}
    if rule.segment_key is not None:
        written["to"] = rule.segment_key
    if rule.exposition != 1:
        written["exposition"] = percentage(rule.exposition)
    if rule.is_paused:
        written["paused"] = True
    if rule.release is not None:
        written["release"] = _release(rule.release)
    if rule.key != free_rule_key(rule.type, shares, rule.segment_key, earlier):
        written["key"] = rule.key
    names = rule_names(flag, environment, rule.key)
    _put_id(written, "id", rule.id, *names)
    _put_id(written, "experiment_id", rule.experiment_id, *names, "experiment")
    ids: dict[str, Any] = {}
    for share in rule.shares:
        _put_id(ids, share.variation_key, share.variation_id, *names, "variation", share.variation_key)
    if ids:
        written["variation_ids"] = ids
    if rule.respool_time is not None:
        written["respool_time"] = rule.respool_time
    return Block(written)


def _release(release: Release) -> dict[str, Any]:
    ends = {"from": release.opens, "to": release.closes}
    written = {key: moment_text(moment) for key, moment in ends.items() if moment is not None}
    return written | ({"zone": release.zone} if release.zone != "UTC" else {})


def percentage(share: float) -> str:
    """``0.335`` as ``33.5%``, with at most twelve decimals."""
    text = f"{Decimal(repr(share)) * 100:.12f}".rstrip("0").rstrip(".")
    return f"{text}%"


def _put_id(written: dict[str, Any], key: str, number: int, *names: str) -> None:
    if number != derive_id(*names):
        written[key] = number

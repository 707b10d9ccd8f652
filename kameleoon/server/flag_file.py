"""Reads the flags of a project file: variations, variables, rules, and what differs between environments."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kameleoon.server.document import Item, Refused, nearest
from kameleoon.server.project import (
    Flag,
    Own,
    Rule,
    RuleType,
    Share,
    Variable,
    VariableType,
    Variation,
    derive_id,
    rule_label,
    rule_names,
)
from kameleoon.server.release import MOMENT, ZONE, Release, read_moment, read_zone

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from kameleoon.server.document import Report


_MAX_ID = 2**53
_TYPE_OF_KIND = {
    "bool": VariableType.BOOLEAN,
    "int": VariableType.NUMBER,
    "float": VariableType.NUMBER,
    "str": VariableType.STRING,
}


class Ids:
    """Reads ids, and knows where each stands in the file."""

    def __init__(self) -> None:
        self.places: dict[str, Item] = {}

    def read(self, entries: Mapping[str, Item], what: str, item: Item, *names: str, key: str = "id") -> int:
        """The id that is written down, else one derived from the names; remembers the place for messages."""
        self.places[what] = entries.get(key, item)
        return entries[key].integer(least=1, most=_MAX_ID) if key in entries else derive_id(*names)


class FlagReader:
    """
    Reads one flag after the other.

    Args:
        report: Where mistakes go.
        environments: Of the project.
        custom_data: Their names.
        segment_ids: `{segment key: id}`.
        ids: Reads the ids.
    """

    def __init__(
        self,
        report: Report,
        environments: Sequence[str],
        custom_data: Sequence[str],
        segment_ids: Mapping[str, int],
        ids: Ids,
    ) -> None:
        self._report = report
        self._environments = environments
        self._custom_data = custom_data
        self._segment_ids = segment_ids
        self._ids = ids

    def read(self, key: str, item: Item) -> Flag:
        """
        The flag of one entry.

        Raises:
            Refused: Something in it is wrong, and was reported.
        """
        entries = item.known(
            *(
                "id",
                "name",
                "default",
                "variations",
                "variables",
                "rules",
                "environments",
                "exclusive_group",
                "bucket_by",
            ),
            expected="a flag's keys",
        )
        problems_before = len(self._report.problems)
        variations = self._read_variations(entries)
        keys = [variation.key for variation in variations]
        default = "off"
        with self._report.going_on():
            default = self._read_default(entries, item, keys)
        rules = self._read_rules(entries.get("rules"), key, None, keys) or ()
        bucket_by = None
        if "bucket_by" in entries:
            bucket_by = entries["bucket_by"].text("the name of custom data")
            if bucket_by not in self._custom_data:
                entries["bucket_by"].note(
                    f"there is no custom data {bucket_by!r}; {nearest(bucket_by, self._custom_data)}"
                )
        enabled_in, own = self._read_environments(entries.get("environments"), key, keys)
        number = self._ids.read(entries, f"flag {key}", item, "flag", key)
        if len(self._report.problems) > problems_before:
            raise Refused
        return Flag(
            key=key,
            id=number,
            default_variation=default,
            variations=tuple(variations),
            rules=rules,
            enabled_in=enabled_in,
            name=entries["name"].text() if "name" in entries else "",
            exclusive_group=entries["exclusive_group"].text() if "exclusive_group" in entries else None,
            bucket_by=bucket_by,
            own=MappingProxyType(own),
        )

    @staticmethod
    def _read_default(entries: Mapping[str, Item], item: Item, keys: list[str]) -> str:
        if "default" not in entries:
            if "off" not in keys:
                raise item.refuse(f"default is missing; {nearest('', keys)}")
            return "off"
        default = entries["default"].text("the key of a variation")
        if default not in keys:
            raise entries["default"].refuse(f"this flag has no variation {default!r}; {nearest(default, keys)}")
        return default

    def _read_variations(self, entries: Mapping[str, Item]) -> list[Variation]:
        declared: dict[str, tuple[VariableType, Item | None]] = {}
        if "variables" in entries:
            for key, item in entries["variables"].entries("variables by key").items():
                with self._report.going_on():
                    declared[key] = _read_declaration(item)
        if "variations" not in entries:
            shared = dict(_values(declared, {}, {}))
            return [Variation("off", "", MappingProxyType(shared)), Variation("on", "", MappingProxyType(shared))]
        items = entries["variations"]
        if items.is_list:
            by_key: dict[str, Item | None] = {}
            for member in items.members():
                with self._report.going_on():
                    if member.text() in by_key:
                        raise member.refuse("this variation is here twice")
                    by_key[member.text()] = None
        else:
            by_key = dict(items.entries("variations by key, or a list of keys"))
        if not by_key:
            raise items.refuse("there is no variation here; expected at least one")
        # A type seen in one variation holds in the others, so that a variable cannot be a number here and a text there.
        inferred: dict[str, VariableType] = {}
        found: list[Variation] = []
        for key, about_item in by_key.items():
            with self._report.going_on():
                about = about_item.known("name", "variables") if about_item is not None else {}
                given = about["variables"].entries("variables by key") if "variables" in about else {}
                variables = MappingProxyType(dict(_values(declared, given, inferred)))
                found.append(Variation(key, about["name"].text() if "name" in about else "", variables))
        return found

    def _read_rules(
        self, item: Item | None, flag: str, environment: str | None, variations: list[str]
    ) -> tuple[Rule, ...] | None:
        """None when there is no list."""
        if item is None:
            return None
        rules: list[Rule] = []
        with self._report.going_on():
            for rule in item.members("a list of rules"):
                with self._report.going_on():
                    rules.append(self._read_rule(rule, flag, environment, variations, [known.key for known in rules]))
        return tuple(rules)

    def _read_environments(
        self, item: Item | None, flag: str, variations: list[str]
    ) -> tuple[frozenset[str], dict[str, Own]]:
        if item is None:
            return frozenset(self._environments), {}
        own: dict[str, Own] = {}
        if item.is_list:
            switches = {member.text(): (member, True) for member in item.members()}
        else:
            switches = {}
            for name, entry in item.entries("environments with true or false").items():
                with self._report.going_on():
                    if entry.is_mapping:
                        known = entry.known("enabled", "default", "rules")
                        switches[name] = (entry, known["enabled"].truth() if "enabled" in known else True)
                        default = self._read_default(known, entry, variations) if "default" in known else None
                        rules = self._read_rules(known.get("rules"), flag, name, variations)
                        if default is not None or rules is not None:
                            own[name] = Own(default, rules)
                    else:
                        switches[name] = (entry, entry.truth())
        for name, (entry, _) in switches.items():
            if name not in self._environments:
                entry.note(f"there is no environment {name!r}; {nearest(name, self._environments)}")
        return frozenset(name for name, (_, enabled) in switches.items() if enabled), own

    def _read_rule(
        self, item: Item, flag: str, environment: str | None, variations: list[str], earlier: list[str]
    ) -> Rule:
        entries = item.known(
            *(
                "deliver",
                "experiment",
                "to",
                "exposition",
                "key",
                "id",
                "experiment_id",
                "variation_ids",
                "respool_time",
                "paused",
                "release",
            ),
            expected="a rule such as {deliver: on} or {experiment: {off: 50%, on: 50%}}",
        )
        kinds = [kind for kind in RuleType if kind.value in entries]
        if len(kinds) != 1:
            raise item.refuse("a rule has either deliver: <variation> or experiment: {<variation>: <share>, …}")
        segment = entries["to"].text("the key of a segment") if "to" in entries else None
        if segment is not None and segment not in self._segment_ids:
            raise entries["to"].refuse(f"there is no segment {segment!r}; {nearest(segment, self._segment_ids)}")
        what = entries[kinds[0].value]
        parts = _read_delivery(what, variations) if kinds[0] is RuleType.DELIVERY else _read_shares(what, variations)
        key = entries["key"].text() if "key" in entries else free_rule_key(kinds[0], parts, segment, earlier)
        if key in earlier:
            raise entries["key"].refuse(f"another rule of this flag has the key {key!r}")
        given_ids = entries["variation_ids"].known(*parts) if "variation_ids" in entries else {}
        names = rule_names(flag, environment, key)
        label = rule_label(flag, environment, key)
        return Rule(
            key=key,
            type=kinds[0],
            id=self._ids.read(entries, f"rule {label}", item, *names),
            experiment_id=self._ids.read(
                entries, f"experiment of {label}", item, *names, "experiment", key="experiment_id"
            ),
            shares=tuple(
                Share(
                    variation,
                    self._ids.read(
                        given_ids, f"variation {label}/{variation}", item, *names, "variation", variation, key=variation
                    ),
                    share,
                )
                for variation, share in parts.items()
            ),
            segment_key=segment,
            exposition=entries["exposition"].percentage() if "exposition" in entries else 1.0,
            respool_time=entries["respool_time"].integer(least=1) if "respool_time" in entries else None,
            is_paused=entries["paused"].truth() if "paused" in entries else False,
            release=_read_release(entries["release"]) if "release" in entries else None,
        )


def free_rule_key(kind: RuleType, parts: Mapping[str, float], segment: str | None, earlier: list[str]) -> str:
    """Key of a rule without one, from what it does and for whom, so that its ids survive new rules around it."""
    words = [kind.value, *(parts if kind is RuleType.DELIVERY else ()), *(("to", segment) if segment else ())]
    key = "_".join(words)
    return next(
        name for name in [key, *(f"{key}_{count}" for count in range(2, len(earlier) + 3))] if name not in earlier
    )


def _read_release(item: Item) -> Release:
    """``{from: 2026-12-01 09:00, to: 2026-12-24, zone: Europe/Paris}``, without one of the ends or the zone."""
    entries = item.known("from", "to", "zone", expected="a window such as {from: 2026-12-01 09:00, to: 2026-12-24}")
    opens, closes = (_read_moment(entries[key]) if key in entries else None for key in ("from", "to"))
    zone = entries["zone"].text(ZONE) if "zone" in entries else "UTC"
    try:
        read_zone(zone)
    except ValueError as error:
        raise entries["zone"].refuse(f"{error}, expected {ZONE}") from error
    if opens is None and closes is None:
        raise item.refuse("expected from, to or both")
    try:
        return Release(opens, closes, zone)
    except ValueError as error:
        raise entries["to"].refuse(f"expected a time after {entries['from'].text()}") from error


def _read_moment(item: Item) -> datetime:
    try:
        return read_moment(item.text(MOMENT))
    except ValueError as error:
        raise item.refuse(str(error)) from error


def _read_delivery(item: Item, variations: list[str]) -> dict[str, float]:
    key = item.text("the key of a variation")
    if key not in variations:
        raise item.refuse(f"this flag has no variation {key!r}; {nearest(key, variations)}")
    return {key: 1.0}


def _read_shares(item: Item, variations: list[str]) -> dict[str, float]:
    """``{off: 50%, on: 50%}``, or ``[off, on]`` for equal shares."""
    if item.is_list:
        members = {member.text(): member for member in item.members()}
        if len(members) != len(item.members()):
            raise item.refuse("a variation is here twice")
        shares = dict.fromkeys(members, 1 / len(members)) if members else {}
    else:
        members = item.entries("shares such as {off: 50%, on: 50%}, or a list for equal shares")
        shares = {key: member.percentage() for key, member in members.items()}
    for key, member in members.items():
        if key not in variations:
            raise member.refuse(f"this flag has no variation {key!r}; {nearest(key, variations)}")
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise item.refuse(
            f"the shares sum to {sum(shares.values()):.4%}, expected 100%; for equal shares write a list of keys"
        )
    return shares


def _read_declaration(item: Item) -> tuple[VariableType, Item | None]:
    """``number``, or ``{type: number, value: 2}`` where the value is for variations that give none."""
    types = [kind.value.lower() for kind in VariableType]
    if not item.is_mapping:
        return VariableType(item.one_of(*types).upper()), None
    entries = item.known("type", "value")
    if "type" in entries:
        kind = VariableType(entries["type"].one_of(*types).upper())
    elif "value" in entries:
        kind = _TYPE_OF_KIND.get(entries["value"].kind, VariableType.JSON)
    else:
        raise item.refuse("expected {type: …}, {value: …} or both")
    return kind, entries.get("value")


def _values(
    declared: Mapping[str, tuple[VariableType, Item | None]],
    given: Mapping[str, Item],
    inferred: dict[str, VariableType],
) -> Iterable[tuple[str, Variable]]:
    """A variation's variables: the flag's, in its order, then those that only the variation has."""
    for key, (kind, default) in declared.items():
        item = given.get(key, default)
        if item is not None:
            yield key, Variable(key, kind, _typed(item, kind))
    for key, item in given.items():
        if key in declared:
            continue
        kind = inferred.setdefault(key, _TYPE_OF_KIND.get(item.kind, VariableType.JSON))
        yield key, Variable(key, kind, _typed(item, kind))


def _typed(item: Item, kind: VariableType) -> Any:
    match kind:
        case VariableType.BOOLEAN if item.kind == "bool":
            return item.plain()
        case VariableType.BOOLEAN:
            raise item.refuse("expected true or false, the type of this variable")
        case VariableType.NUMBER:
            return item.number()
        case VariableType.JSON:
            return item.plain()
        case _ if item.kind in {"map", "seq", "null"}:
            raise item.refuse(f"expected text, the type of this variable is {kind.value.lower()}")
        case _:
            return str(item.plain()) if item.kind == "str" else item.text()

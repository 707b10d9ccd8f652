"""
Reads a project from its YAML file. The format is described in docs/local-server.md.

Every mistake of a file is reported at once, each with line, column, key path and what was expected.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from kameleoon.server.conditions import Names, read_tree
from kameleoon.server.document import MAX_DOCUMENT_BYTES, Item, Problem, ProjectError, Refused, load, nearest
from kameleoon.server.project import (
    DEFAULT_ENVIRONMENT,
    Consent,
    CustomDatum,
    Flag,
    Goal,
    Holdout,
    Own,
    Project,
    Rule,
    RuleType,
    Segment,
    Share,
    Variable,
    VariableType,
    Variation,
    derive_id,
    rule_label,
    rule_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["ProjectError", "parse_project", "read_project"]

_T = TypeVar("_T")
_MAX_ID = 2**53
_TYPE_OF_KIND = {
    "bool": VariableType.BOOLEAN,
    "int": VariableType.NUMBER,
    "float": VariableType.NUMBER,
    "str": VariableType.STRING,
}


def read_project(path: Path | str) -> Project:
    """
    Read a project file.

    Args:
        path: A YAML file of at most 1 MiB.

    Raises:
        ProjectError: The file cannot be opened, or something in it is wrong.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ProjectError([Problem(str(path), 0, 0, "", f"cannot be read: {reason}")]) from error
    return parse_project(content, source=str(path))


def parse_project(content: bytes | str, *, source: str = "project") -> Project:
    """
    Read a project from the content of a file.

    Args:
        content: YAML, at most 1 MiB.
        source: Name of the file, for messages.

    Raises:
        ProjectError: Something is wrong; it names everything that is.
    """
    root = load(content.encode() if isinstance(content, str) else content, source)
    report = root.report
    project = None
    with report.going_on():
        project = _Reader(root).read()
    report.raise_if_any()
    assert project is not None, "a refused project is reported"
    return project


class _Reader:
    """Reads one document; later sections may refer to what earlier ones defined."""

    def __init__(self, root: Item) -> None:
        self._root = root
        self._report = root.report
        self._environments: tuple[str, ...] = ()
        self._segment_ids: dict[str, int] = {}
        self._custom_data: tuple[CustomDatum, ...] = ()
        self._places: dict[str, Item] = {}

    def read(self) -> Project:
        sections = self._root.known(
            "project",
            "environments",
            "custom_data",
            "goals",
            "holdout",
            "segments",
            "flags",
            expected="a project's sections",
        )
        if "project" not in sections:
            raise self._root.refuse("the section 'project' is missing; it needs at least {site_code: …}")
        about = sections["project"].known("site_code", "name", "consent", "when_refused", "streaming")
        self._environments = self._read_environments(sections.get("environments"))
        self._custom_data = tuple(self._each_listed(sections.get("custom_data"), "name", self._read_custom_datum))
        goals = tuple(self._each_listed(sections.get("goals"), "key", self._read_goal))
        segments = sections["segments"].entries("segments by key") if "segments" in sections else {}
        self._segment_ids = {key: self._segment_id(key, item) for key, item in segments.items()}
        flags = tuple(self._each_entry(sections.get("flags"), self._read_flag))
        names = Names(
            custom_data={datum.name: datum.index for datum in self._custom_data},
            goals={goal.key: goal.id for goal in goals},
            segments=self._segment_ids,
            flags={flag.key: flag for flag in flags},
        )
        read_segments: list[Segment] = []
        for key, item in segments.items():
            with self._report.going_on():
                read_segments.append(self._read_segment(key, item, names))
        self._refuse_cycles(read_segments, segments)
        holdout = None
        with self._report.going_on():
            holdout = self._read_holdout(sections.get("holdout"))
        site_code = ""
        with self._report.going_on():
            site_code = self._read_site_code(about, sections["project"])
        fields: dict[str, Any] = {
            "site_code": site_code,
            "name": about["name"].text() if "name" in about else "",
            "environments": self._environments,
            "custom_data": self._custom_data,
            "goals": goals,
            "segments": tuple(read_segments),
            "flags": flags,
            "holdout": holdout,
            "consent": _read_consent(about),
            "streaming": about["streaming"].truth() if "streaming" in about else False,
        }
        if self._report.problems:
            raise Refused
        return self._checked(fields)

    def _checked(self, fields: dict[str, Any]) -> Project:
        """Build the project; what it alone can see, an id used twice, is reported where the thing stands."""
        try:
            return Project(**fields)
        except ValueError as error:
            seen: dict[tuple[str, int], str] = {}
            for space, what, number in _unchecked_ids(fields):
                if other := seen.get((space, number)):
                    place = self._places.get(what, self._root)
                    place.note(f"{what} has the id {number}, which {other} has too; give one of them another id")
                seen[space, number] = what
            if not self._report.problems:
                raise self._root.refuse(str(error)) from error
            raise Refused from error

    def _each_listed(self, item: Item | None, key: str, read: Callable[[Item], _T]) -> Iterable[_T]:
        """Read the members of a list, going on after a mistake; two with the same *key* are reported."""
        found: dict[str, _T] = {}
        if item is None:
            return ()
        with self._report.going_on():
            for member in item.members(f"a list such as [{{{key}: …}}]"):
                with self._report.going_on():
                    thing = read(member)
                    name = getattr(thing, key)
                    if name in found:
                        member.note(f"there are two with the {key} {name!r}")
                    found[name] = thing
        return found.values()

    def _each_entry(self, item: Item | None, read: Callable[[str, Item], _T]) -> Iterable[_T]:
        found: list[_T] = []
        if item is not None:
            with self._report.going_on():
                for key, entry in item.entries().items():
                    with self._report.going_on():
                        found.append(read(key, entry))
        return found

    def _id(self, entries: Mapping[str, Item], what: str, item: Item, *names: str, key: str = "id") -> int:
        """The id that is written down, else one derived from the names; remembers the place for messages."""
        self._places[what] = entries.get(key, item)
        return entries[key].integer(least=1, most=_MAX_ID) if key in entries else derive_id(*names)

    @staticmethod
    def _read_site_code(about: Mapping[str, Item], item: Item) -> str:
        if "site_code" not in about:
            raise item.refuse("site_code is missing; SDK clients name the project by it")
        site_code = about["site_code"].text()
        if not site_code.isascii() or not site_code.isalnum():
            raise about["site_code"].refuse(f"{site_code!r} is no site code; expected letters and digits, usually ten")
        return site_code

    def _read_environments(self, item: Item | None) -> tuple[str, ...]:
        if item is None:
            return (DEFAULT_ENVIRONMENT,)
        found: list[str] = []
        with self._report.going_on():
            for member in item.members("a list such as [production, staging]"):
                with self._report.going_on():
                    name = member.text()
                    if name in found:
                        raise member.refuse(f"environment {name!r} is here twice")
                    found.append(name)
            if not found:
                raise item.refuse("the list is empty, expected at least one environment")
        return tuple(found) or (DEFAULT_ENVIRONMENT,)

    def _read_custom_datum(self, item: Item) -> CustomDatum:
        entries = item.known("name", "index", "id", "scope", "local_only", "mapping_identifier")
        if "name" not in entries or "index" not in entries:
            raise item.refuse("expected at least {name: …, index: …}")
        name, index = entries["name"].text(), entries["index"].integer(most=10_000)
        if any(index == other.index for other in self._custom_data):
            raise entries["index"].refuse(f"the index {index} is taken")
        datum = CustomDatum(
            name=name,
            index=index,
            id=self._id(entries, f"custom data {name}", item, "custom data", name),
            scope=entries["scope"].one_of("page", "visit", "visitor").upper() if "scope" in entries else "VISIT",
            local_only=entries["local_only"].truth() if "local_only" in entries else False,
            mapping_identifier=entries["mapping_identifier"].truth() if "mapping_identifier" in entries else False,
        )
        if datum.mapping_identifier and any(other.mapping_identifier for other in self._custom_data):
            raise entries["mapping_identifier"].refuse("only one custom data can be the mapping identifier")
        self._custom_data = (*self._custom_data, datum)
        return datum

    def _read_goal(self, item: Item) -> Goal:
        entries = item.known("key", "id", "name")
        if "key" not in entries:
            raise item.refuse("expected at least {key: …}")
        key = entries["key"].text()
        if key == "any":
            raise entries["key"].refuse("'any' stands for every goal in conditions; choose another key")
        name = entries["name"].text() if "name" in entries else ""
        return Goal(key, self._id(entries, f"goal {key}", item, "goal", key), name)

    def _segment_id(self, key: str, item: Item) -> int:
        entries = item.entries() if item.is_mapping else {}
        with self._report.going_on():
            return self._id(entries, f"segment {key}", item, "segment", key)
        return 0

    def _read_segment(self, key: str, item: Item, names: Names) -> Segment:
        if item.is_list:
            raise item.refuse("this is a list; write all: […] or any: […]")
        entries = item.entries("all, any, not, or one condition such as {device: phone}")
        about = {part: entries.pop(part) for part in ("id", "name", "audience_tracking") if part in entries}
        joined, groups = read_tree(entries, item, names)
        return Segment(
            key=key,
            id=self._segment_ids[key],
            joined=joined,
            groups=groups,
            name=about["name"].text() if "name" in about else "",
            audience_tracking=about["audience_tracking"].truth() if "audience_tracking" in about else False,
        )

    @staticmethod
    def _refuse_cycles(segments: Iterable[Segment], items: Mapping[str, Item]) -> None:
        """Report segments that refer to themselves: SDKs evaluate them without an end. Source: evaluation.md, section 4.4."""
        by_id = {segment.id: segment for segment in segments}
        refers = {
            number: [
                condition.fields["segmentId"]
                for group in segment.groups
                for condition in group.conditions
                if condition.targeting_type == "SEGMENT"
            ]
            for number, segment in by_id.items()
        }
        for number, segment in by_id.items():
            seen: set[int] = set()
            waiting = list(refers[number])
            while waiting:
                other = waiting.pop()
                if other not in seen and other in refers:
                    seen.add(other)
                    waiting += refers[other]
            if number in seen:
                items[segment.key].note("this segment refers to itself, directly or through others")

    def _read_holdout(self, item: Item | None) -> Holdout | None:
        if item is None:
            return None
        entries = (
            item.known("exposition", "experiment_id", "held_id", "free_id") if item.is_mapping else {"exposition": item}
        )
        if "exposition" not in entries:
            raise item.refuse("expected a percentage such as 5%, or {exposition: 5%}")
        return Holdout(
            exposition=entries["exposition"].percentage(),
            experiment_id=self._id(entries, "the holdout's experiment", item, "holdout", key="experiment_id"),
            held_variation_id=self._id(entries, "the holdout's held variation", item, "holdout", "held", key="held_id"),
            free_variation_id=self._id(entries, "the holdout's free variation", item, "holdout", "free", key="free_id"),
        )

    def _read_flag(self, key: str, item: Item) -> Flag:
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
            known_data = [datum.name for datum in self._custom_data]
            if bucket_by not in known_data:
                entries["bucket_by"].note(f"there is no custom data {bucket_by!r}; {nearest(bucket_by, known_data)}")
        enabled_in, own = self._read_flag_environments(entries.get("environments"), key, keys)
        number = self._id(entries, f"flag {key}", item, "flag", key)
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

    def _read_flag_environments(
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
            id=self._id(entries, f"rule {label}", item, *names),
            experiment_id=self._id(entries, f"experiment of {label}", item, *names, "experiment", key="experiment_id"),
            shares=tuple(
                Share(
                    variation,
                    self._id(
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
        )


def free_rule_key(kind: RuleType, parts: Mapping[str, float], segment: str | None, earlier: list[str]) -> str:
    """Key of a rule without one, from what it does and for whom, so that its ids survive new rules around it."""
    words = [kind.value, *(parts if kind is RuleType.DELIVERY else ()), *(("to", segment) if segment else ())]
    key = "_".join(words)
    return next(
        name for name in [key, *(f"{key}_{count}" for count in range(2, len(earlier) + 3))] if name not in earlier
    )


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


def _read_consent(about: Mapping[str, Item]) -> Consent:
    required = "consent" in about and about["consent"].one_of("required", "not_required") == "required"
    all_blocked = (
        "when_refused" in about and about["when_refused"].one_of("block_experiments", "block_all") == "block_all"
    )
    return Consent(required, all_blocked)


def _unchecked_ids(fields: Mapping[str, Any]) -> Iterable[tuple[str, str, int]]:
    """`Project.numbered` of a project that cannot be built."""
    unbuilt = object.__new__(Project)
    for name, value in fields.items():
        object.__setattr__(unbuilt, name, value)
    return unbuilt.numbered()

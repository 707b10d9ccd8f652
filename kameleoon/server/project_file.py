"""
Reads a project from its YAML file. The format is described in docs/local-server.md.

Every mistake of a file is reported at once, each with line, column, key path and what was expected.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kameleoon.server.conditions import Names, read_tree
from kameleoon.server.document import MAX_DOCUMENT_BYTES, Item, Problem, ProjectError, Refused, load
from kameleoon.server.flag_file import FlagReader, Ids
from kameleoon.server.project import (
    DEFAULT_ENVIRONMENT,
    Consent,
    CustomDatum,
    Goal,
    Holdout,
    Project,
    Segment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["ProjectError", "parse_project", "read_project"]

_T = TypeVar("_T")


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
        raise refused(Path(path), f"cannot be read: {reason}") from error
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


def refused(path: Path, reason: str) -> ProjectError:
    """What is wrong with a file as a whole."""
    return ProjectError([Problem(str(path), 0, 0, "", reason)])


class _Reader:
    """Reads one document; later sections may refer to what earlier ones defined."""

    def __init__(self, root: Item) -> None:
        self._root = root
        self._report = root.report
        self._environments: tuple[str, ...] = ()
        self._segment_ids: dict[str, int] = {}
        self._custom_data: tuple[CustomDatum, ...] = ()
        self._ids = Ids()

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
        data_names = [datum.name for datum in self._custom_data]
        reader = FlagReader(self._report, self._environments, data_names, self._segment_ids, self._ids)
        flags = tuple(self._each_entry(sections.get("flags"), reader.read))
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
                    place = self._ids.places.get(what, self._root)
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
            id=self._ids.read(entries, f"custom data {name}", item, "custom data", name),
            scope=entries["scope"].one_of("page", "visit", "visitor").upper() if "scope" in entries else "VISIT",
            local_only=entries["local_only"].truth() if "local_only" in entries else False,
            mapping_identifier=entries["mapping_identifier"].truth() if "mapping_identifier" in entries else False,
        )
        if datum.mapping_identifier and any(other.mapping_identifier for other in self._custom_data):
            raise entries["mapping_identifier"].refuse("only one custom data can be the mapping identifier")
        self._custom_data = (*self._custom_data, datum)
        return datum

    def _read_goal(self, item: Item) -> Goal:
        entries = item.known("key", "id", "name", "multiple")
        if "key" not in entries:
            raise item.refuse("expected at least {key: …}")
        key = entries["key"].text()
        if key == "any":
            raise entries["key"].refuse("'any' stands for every goal in conditions; choose another key")
        name = entries["name"].text() if "name" in entries else ""
        multiple = entries["multiple"].truth() if "multiple" in entries else False
        return Goal(key, self._ids.read(entries, f"goal {key}", item, "goal", key), name, multiple)

    def _segment_id(self, key: str, item: Item) -> int:
        entries = item.entries() if item.is_mapping else {}
        with self._report.going_on():
            return self._ids.read(entries, f"segment {key}", item, "segment", key)
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
            experiment_id=self._ids.read(entries, "the holdout's experiment", item, "holdout", key="experiment_id"),
            held_variation_id=self._ids.read(
                entries, "the holdout's held variation", item, "holdout", "held", key="held_id"
            ),
            free_variation_id=self._ids.read(
                entries, "the holdout's free variation", item, "holdout", "free", key="free_id"
            ),
        )


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

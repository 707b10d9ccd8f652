"""
Convert's configuration JSON to the model.

Only a root that is no project is refused. Anything else that cannot be read is left out and told by a `Problem`; unknown fields are
ignored.

Source:
    docs/convert.md, "The project configuration".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon._convert.model import Change, Experience, Feature, Problem, Project, RuleSet, Variation
from kameleoon._convert.values import as_number
from kameleoon._engine.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FEATURE_CHANGE = "fullStackFeature"


class ProjectRefused(ValueError):
    """What was given is no Convert project; the text says why."""


def identify(root: Any) -> tuple[str, str]:
    """
    Give the ids of the account and the project of a configuration.

    Raises:
        ProjectRefused: As `read_project`.
    """
    if not isinstance(root, dict):
        raise ProjectRefused("the configuration is not an object")
    if root.get("error") is not None:
        raise ProjectRefused(f"the service answered with an error: {shown(root['error'])}")
    project = root.get("project")
    account_id, project_id = _id(root.get("account_id")), _id(project.get("id")) if isinstance(project, dict) else ""
    if not account_id or not project_id:
        raise ProjectRefused(f"the configuration has no {'project.id' if account_id else 'account_id'}")
    return account_id, project_id


def read_project(root: Any) -> Project:
    """
    Read a configuration.

    Raises:
        ProjectRefused: *root* is no object, reports an error, or names no account or project.
    """
    account_id, project_id = identify(root)
    project = root["project"]
    reader = _Reader(root)
    settings, environments = project.get("settings"), project.get("environments")
    version = settings.get("version") if isinstance(settings, dict) else None
    return Project(
        account_id=account_id,
        project_id=project_id,
        version=version if isinstance(version, str) else None,
        is_debug=root.get("is_debug") is True,
        environments=tuple(environments) if isinstance(environments, dict) else (),
        archived=frozenset(reader.ids("archived_experiences", root.get("archived_experiences"))),
        goals=tuple(reader.rule_sets("goals")),
        locations=tuple(reader.rule_sets("locations")),
        audiences=tuple(reader.rule_sets("audiences")),
        segments=tuple(reader.rule_sets("segments")),
        experiences=tuple(reader.experience(place, raw) for place, raw in reader.entries("experiences")),
        features=tuple(reader.feature(place, raw) for place, raw in reader.entries("features")),
        problems=tuple(reader.problems),
    )


def _id(value: Any) -> str:
    """An id as text, empty when it is none: the description has some as integers, the samples as texts."""
    if isinstance(value, str):
        return value
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return str(int(value)) if is_whole and not isinstance(value, bool) and abs(value) < 1 << 64 else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self.problems: list[Problem] = []

    def tell(self, place: str, reason: str) -> None:
        self.problems.append(Problem(place, reason))

    def items(self, place: str, value: Any) -> list[Any]:
        """The items of a list; none, and a problem, when *value* is something else."""
        if isinstance(value, list):
            return value
        if value is not None:
            self.tell(place, f"{shown(value)} is not a list")
        return []

    def objects(self, place: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for index, item in enumerate(self.items(place, value)):
            here = f"{place}[{index}]"
            if isinstance(item, dict):
                yield here, item
            else:
                self.tell(here, f"{shown(item)} is not an object")

    def entries(self, member: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a root member that have an id; a later one of the same id is out of service."""
        seen: set[str] = set()
        for here, item in self.objects(member, self._root.get(member)):
            entry_id = _id(item.get("id"))
            if not entry_id:
                self.tell(here, "it has no id")
            elif entry_id in seen:
                self.tell(here, f"another one has the id {entry_id} already")
            else:
                seen.add(entry_id)
                yield f"{member}[{entry_id}]", item

    def ids(self, place: str, value: Any) -> tuple[str, ...]:
        found = [_id(item) for item in self.items(place, value)]
        if not all(found):
            self.tell(place, "something in it is not an id")
        return tuple(filter(None, found))

    def rule_sets(self, member: str) -> Iterator[RuleSet]:
        for place, raw in self.entries(member):
            is_permanent = member == "audiences" and raw.get("type") == "permanent"
            yield RuleSet(_id(raw.get("id")), _text(raw.get("key")), place, raw.get("rules"), is_permanent)

    def experience(self, place: str, raw: Mapping[str, Any]) -> Experience:
        settings = raw.get("settings")
        matching = settings.get("matching_options") if isinstance(settings, dict) else None
        return Experience(
            id=_id(raw.get("id")),
            key=_text(raw.get("key")),
            name=_text(raw.get("name")),
            type=_text(raw.get("type")),
            status=_text(raw.get("status")),
            version=raw.get("version"),
            environment=_text(raw.get("environment")),
            locations=self.ids(f"{place}.locations", raw.get("locations")),
            site_area=raw.get("site_area"),
            audiences=self.ids(f"{place}.audiences", raw.get("audiences")),
            needs_all_audiences=isinstance(matching, dict) and matching.get("audiences") == "all",
            variations=tuple(
                self.variation(here, item) for here, item in self.objects(f"{place}.variations", raw.get("variations"))
            ),
            place=place,
        )

    def variation(self, place: str, raw: Mapping[str, Any]) -> Variation:
        variation_id = _id(raw.get("id"))
        if not variation_id:
            self.tell(place, "it has no id, so nobody gets it")
        changes = [
            change
            for here, item in self.objects(f"{place}.changes", raw.get("changes"))
            if item.get("type") == _FEATURE_CHANGE and (change := self.change(here, item.get("data"))) is not None
        ]
        return Variation(
            id=variation_id,
            key=_text(raw.get("key")),
            name=_text(raw.get("name")),
            is_running=raw.get("status") in (None, "running"),
            allocation=self.allocation(place, raw),
            changes=tuple(changes),
        )

    def allocation(self, place: str, raw: Mapping[str, Any]) -> float | None:
        if "traffic_allocation" not in raw:
            return None
        given = raw["traffic_allocation"]
        if given is None:
            return 0.0
        number = as_number(given)
        if number is None:
            self.tell(f"{place}.traffic_allocation", f"{shown(given)} is not a number; it counts as absent")
        return number

    def change(self, place: str, data: Any) -> Change | None:
        feature_id = _id(data.get("feature_id")) if isinstance(data, dict) else ""
        if not feature_id:
            self.tell(place, "it names no feature")
            return None
        variables = data.get("variables_data")
        if variables is not None and not isinstance(variables, dict):
            self.tell(f"{place}.variables_data", f"{shown(variables)} is not an object")
        return Change(feature_id, variables if isinstance(variables, dict) else {})

    def feature(self, place: str, raw: Mapping[str, Any]) -> Feature:
        types = {
            item["key"]: _text(item.get("type"))
            for _, item in self.objects(f"{place}.variables", raw.get("variables"))
            if isinstance(item.get("key"), str)
        }
        return Feature(_id(raw.get("id")), _text(raw.get("key")), _text(raw.get("name")), types, place)

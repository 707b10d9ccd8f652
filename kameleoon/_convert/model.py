"""
What a Convert project says, in values that cannot be half built: what cannot be read became a `Problem` beside them.

Ids are texts, whatever the configuration wrote. Rules stay as the configuration has them until they are compiled.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kameleoon._datafile.model import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Change", "Experience", "Feature", "Problem", "Project", "RuleSet", "Variation"]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """
    A location, an audience, a segment or a goal: something with rules.

    Attributes:
        id: Its id.
        key: Its key, empty when it has none.
        place: Where it stands in the configuration, for problems.
        rules: The rule object as the configuration has it, ``None`` for none.
        is_permanent: Whether it counts only until a visitor has a variation; audiences alone can be.
    """

    id: str
    key: str
    place: str
    rules: Any
    is_permanent: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """
    A feature that a variation switches on.

    Attributes:
        feature_id: Which one.
        variables: ``{variable key: value}`` as the configuration has them, not yet of their declared types.
    """

    feature_id: str
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Variation:
    """
    One arm of an experience.

    Attributes:
        id: Its id, empty when it has none; it then gets nobody.
        key: Its key.
        name: Its name.
        is_running: Whether it takes new visitors.
        allocation: Its share in percent (0 to 100, decimals allowed), ``None`` when absent or unreadable, which stands for 100.
        changes: The features it switches on.
    """

    id: str
    key: str = ""
    name: str = ""
    is_running: bool = True
    allocation: float | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Experience:
    """
    One experiment or rollout.

    Attributes:
        id: Its id.
        key: Its key.
        name: Its name.
        type: As the configuration has it, such as ``a/b_fullstack``.
        status: As the configuration has it, empty when absent.
        version: Chooses the layout; as the configuration has it.
        environment: The only one where it runs, empty for all.
        locations: Ids of locations.
        site_area: A rule object, looked at when there are no *locations*.
        audiences: Ids of audiences and of segments.
        needs_all_audiences: Whether all audiences must match rather than any.
        variations: Its arms in the configuration's order.
        place: Where it stands in the configuration.
    """

    id: str
    key: str
    name: str
    type: str
    status: str
    version: Any
    environment: str
    locations: tuple[str, ...]
    site_area: Any
    audiences: tuple[str, ...]
    needs_all_audiences: bool
    variations: tuple[Variation, ...]
    place: str


@dataclass(frozen=True, slots=True)
class Feature:
    """
    A feature.

    Attributes:
        id: Its id.
        key: Its key.
        name: Its name.
        types: ``{variable key: declared type}``.
        place: Where it stands in the configuration.
    """

    id: str
    key: str
    name: str
    types: Mapping[str, str]
    place: str


@dataclass(frozen=True, slots=True)
class Project:
    """
    A whole configuration.

    Attributes:
        account_id: Whose it is.
        project_id: Which project.
        version: Changes with every edit, ``None`` when unknown.
        is_debug: Whether it was fetched with a debug token, and so holds experiences that are not active.
        environments: The names it declares.
        archived: Ids of experiences that are archived.
    """

    account_id: str
    project_id: str
    version: str | None = None
    is_debug: bool = False
    environments: tuple[str, ...] = ()
    archived: frozenset[str] = frozenset()
    goals: tuple[RuleSet, ...] = ()
    locations: tuple[RuleSet, ...] = ()
    audiences: tuple[RuleSet, ...] = ()
    segments: tuple[RuleSet, ...] = ()
    experiences: tuple[Experience, ...] = ()
    features: tuple[Feature, ...] = ()
    problems: tuple[Problem, ...] = field(default=(), repr=False)

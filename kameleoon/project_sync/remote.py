"""What the service holds of one site, read through the Automation API, and how it compares with what a project file can say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kameleoon.api.filters import where

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kameleoon.api.automation import AutomationApi
    from kameleoon.api.custom_data import CustomDatum
    from kameleoon.api.feature_flags import FeatureFlag
    from kameleoon.api.goals import Goal
    from kameleoon.api.segments import Segment
    from kameleoon.api.sites import Site

_NOT_COMPARED = frozenset({"id", "weight", "htmlDescription", "include", "isInclude"})


class NoSuchSite(Exception):
    """The account has no site with the site code."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A site with all that a project file describes. Deleted segments are left out, archived flags are not."""

    site: Site
    custom_data: tuple[CustomDatum, ...]
    goals: tuple[Goal, ...]
    segments: tuple[Segment, ...]
    flags: tuple[FeatureFlag, ...]


def read_remote(api: AutomationApi, site_code: str) -> Remote:
    """
    Read a site.

    Raises:
        NoSuchSite: There is none.
        ApiError: A call failed.
    """
    site = next((site for site in api.sites.list(where("code") == site_code) if site.code == site_code), None)
    if site is None or site.id is None:
        raise NoSuchSite(f"the account has no site {site_code!r}")
    own = where("siteId") == site.id
    return Remote(
        site,
        tuple(api.custom_data.list(own)),
        tuple(goal for goal in api.goals.list(own) if not goal.is_archived),
        tuple(segment for segment in api.segments.list(own) if not segment.is_deleted),
        tuple(api.feature_flags.list(where("siteCode") == site_code)),
    )


def tree_of(conditions: Any) -> Any:
    """The conditions of a segment in a form that is equal for equal meanings: without ids, weights and texts for people."""
    if not isinstance(conditions, dict):
        return conditions
    groups = [group for group in conditions.get("firstLevel") or [] if isinstance(group, dict)]
    return [
        list(conditions.get("firstLevelOrOperators") or [])[: max(0, len(groups) - 1)],
        [
            [
                list(group.get("orOperators") or [])[: max(0, len(group.get("conditions") or []) - 1)],
                [
                    [
                        included(condition),
                        {
                            name: value
                            for name, value in condition.items()
                            if name not in _NOT_COMPARED and value is not None
                        },
                    ]
                    for condition in group.get("conditions") or []
                ],
            ]
            for group in groups
        ],
    ]


def included(condition: Mapping[str, Any]) -> bool:
    """Whether a condition of the service stands as it is, rather than negated."""
    return bool(condition.get("include", condition.get("isInclude", True)))


def written_value(kind: str, value: Any) -> str:
    """The value of a variable as the service has it: always text."""
    if kind == "JSON":
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def read_value(kind: str | None, text: Any) -> Any:
    """
    The value of a variable as a project file has it.

    Raises:
        ValueError: The text is not of its type.
    """
    if not isinstance(text, str):
        return text
    match kind:
        case "BOOLEAN":
            if text.lower() not in {"true", "false"}:
                raise ValueError(f"{text!r} is neither true nor false")
            return text.lower() == "true"
        case "NUMBER":
            number = json.loads(text)
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f"{text!r} is no number")  # noqa: TRY004 - the text is at fault, not a type
            return number
        case "JSON":
            return json.loads(text)
        case _:
            return text

"""What the service holds of one site, read through the Automation API, and how it compares with what a project file can say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kameleoon.api.filters import where
from kameleoon.server.api_words import CONDITION_FRAME, is_included

if TYPE_CHECKING:
    from kameleoon.api.automation import AutomationApi
    from kameleoon.api.custom_data import CustomDatum
    from kameleoon.api.feature_flags import FeatureFlag
    from kameleoon.api.goals import Goal
    from kameleoon.api.segments import Segment
    from kameleoon.api.sites import Site


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
                        is_included(condition),
                        {
                            name: value
                            for name, value in condition.items()
                            if (name == "targetingType" or name not in CONDITION_FRAME) and value is not None
                        },
                    ]
                    for condition in group.get("conditions") or []
                ],
            ]
            for group in groups
        ],
    ]

"""
Goals.

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kameleoon.api.model import Entity, Json
from kameleoon.api.resources import Creating, Deleting, Getting, Listing, Replacing, Updating
from kameleoon.api.twins import AsyncSide, BlockingSide


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal(Entity):
    """
    What conversions are counted for.

    Attributes:
        type: ``CUSTOM`` for conversions sent by SDKs; others are ``CLICK``, ``SCROLL``, ``PAGE_VIEWS``, ``URL``, ``TIME_SPENT``,
            ``RETENTION_RATE``, ``WAREHOUSE``, ``RATIO_METRICS``.
        has_multiple_conversions: Every conversion of a visit counts, rather than one.
        status: ``ACTIVE`` or ``INACTIVE``.
        params: Parameters of the type; the name is assumed.
    """

    id: int | None = None
    name: str | None = None
    site_id: int | None = None
    type: str | None = None
    has_multiple_conversions: bool | None = None
    status: str | None = None
    description: str | None = None
    is_active: bool | None = None
    is_archived: bool | None = None
    params: Json | None = None
    date_created: str | None = None
    date_modified: str | None = None


class GoalCalls(Listing[Goal], Getting[Goal], Creating[Goal], Updating[Goal], Replacing[Goal], Deleting[Goal]):
    """Calls on goals."""

    _path = "/goals"
    _entity = Goal
    _required = ("name", "site_id", "type")
    _read_only: ClassVar[frozenset[str]] = frozenset({"id", "isActive", "dateCreated", "dateModified"})


class Goals(GoalCalls, BlockingSide):
    """Blocking calls on goals."""


class AsyncGoals(GoalCalls, AsyncSide):
    """Awaited calls on goals."""

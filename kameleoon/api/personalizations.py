"""
Personalizations.

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from kameleoon.api.model import Entity, wire
from kameleoon.api.resources import Creating, Getting, Listing, Updating
from kameleoon.api.twins import AsyncSide, BlockingSide


@dataclass(frozen=True, slots=True, kw_only=True)
class Personalization(Entity):
    """A personalization."""

    id: int | None = None
    name: str | None = None
    site_id: int | None = None
    base_url: str | None = field(default=None, metadata=wire("baseURL"))
    category: str | None = None
    description: str | None = None
    goals: tuple[int, ...] | None = None
    main_goal_id: int | None = None
    tags: tuple[str, ...] | None = None
    attribution_window: int | None = None
    custom_exposition_rate: float | None = None
    check_conditions_rule: str | None = None
    css_code: str | None = None
    java_script_code: str | None = None
    global_script: str | None = None
    is_archived: bool | None = None
    status: str | None = None
    date_created: str | None = None
    date_modified: str | None = None


class PersonalizationCalls(
    Listing[Personalization], Getting[Personalization], Creating[Personalization], Updating[Personalization]
):
    """Calls on personalizations."""

    _path = "/personalizations"
    _entity = Personalization
    _required = ("name", "site_id")
    _read_only: ClassVar[frozenset[str]] = frozenset({"id", "status", "dateCreated", "dateModified"})


class Personalizations(PersonalizationCalls, BlockingSide):
    """Blocking calls on personalizations."""


class AsyncPersonalizations(PersonalizationCalls, AsyncSide):
    """Awaited calls on personalizations."""

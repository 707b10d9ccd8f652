"""
Variations of web experiments and personalizations. Variations of flags are part of their flag.

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kameleoon.api.model import Entity, Json
from kameleoon.api.resources import Creating, Deleting, Getting, Listing, Replacing, Searching, Updating
from kameleoon.api.twins import AsyncSide, BlockingSide


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation(Entity):
    """
    A variation. It belongs to an experiment only once the experiment lists it.

    Attributes:
        redirection: ``{type, url, parameters, includeQueryParameters}``.
    """

    id: int | None = None
    name: str | None = None
    site_id: int | None = None
    experiment_id: int | None = None
    personalization_id: int | None = None
    js_code: str | None = None
    css_code: str | None = None
    custom_json: str | None = None
    color: str | None = None
    is_js_code_after_dom_ready: bool | None = None
    shadow_dom: bool | None = None
    force_no_flicker: bool | None = None
    redirection: Json | None = None


class VariationCalls(
    Listing[Variation],
    Searching[Variation],
    Getting[Variation],
    Creating[Variation],
    Updating[Variation],
    Replacing[Variation],
    Deleting[Variation],
):
    """Calls on variations."""

    _path = "/variations"
    _entity = Variation
    _required = ("name", "site_id")
    _read_only: ClassVar[frozenset[str]] = frozenset({"id", "personalizationId"})


class Variations(VariationCalls, BlockingSide):
    """Blocking calls on variations."""


class AsyncVariations(VariationCalls, AsyncSide):
    """Awaited calls on variations."""

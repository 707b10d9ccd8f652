"""
Custom data.

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kameleoon.api.model import Entity
from kameleoon.api.resources import Creating, Deleting, Getting, Listing, Replacing, Updating
from kameleoon.api.twins import AsyncSide, BlockingSide


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDatum(Entity):
    """
    One entry of the catalogue of custom data.

    Attributes:
        index: What SDKs name it by, from 0; the service gives it.
        method: ``SDK``, ``CLIENT``, ``CUSTOM_CODE``, ``GTM``, ``TC``, ``TEALIUM``, ``ADOBE_ANALYTICS``.
        type: ``UNIQUE``, ``LIST`` or ``COUNT_LIST``.
        format: ``BOOLEAN``, ``NUMBER`` or ``STRING``.
        scope: ``PAGE``, ``VISIT`` or ``VISITOR``; the name is assumed.
        is_mapping_identifier: Its value links a visitor's devices; the name is assumed.
    """

    id: int | None = None
    name: str | None = None
    site_id: int | None = None
    index: int | None = None
    method: str | None = None
    type: str | None = None
    format: str | None = None
    scope: str | None = None
    is_local_only: bool | None = None
    is_constant: bool | None = None
    is_mapping_identifier: bool | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    date_created: str | None = None
    modification_date: str | None = None


class CustomDataCalls(
    Listing[CustomDatum],
    Getting[CustomDatum],
    Creating[CustomDatum],
    Updating[CustomDatum],
    Replacing[CustomDatum],
    Deleting[CustomDatum],
):
    """Calls on custom data."""

    _path = "/custom-datas"
    _entity = CustomDatum
    _required = ("name", "site_id", "method")
    _read_only: ClassVar[frozenset[str]] = frozenset({"id", "dateCreated", "modificationDate"})


class CustomData(CustomDataCalls, BlockingSide):
    """Blocking calls on custom data."""


class AsyncCustomData(CustomDataCalls, AsyncSide):
    """Awaited calls on custom data."""

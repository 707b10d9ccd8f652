"""
Segments.

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from kameleoon.api.model import Entity, Json
from kameleoon.api.resources import Creating, Getting, Listing, Replacing, Searching, Updating, body_of, segment
from kameleoon.api.twins import AsyncSide, BlockingSide, call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kameleoon._transport.flow import Flow

_READ_ONLY = frozenset(
    {
        "id",
        "audienceTrackingEditable",
        "conditionDataList",
        "conditionDataTree",
        "createdBy",
        "dateCreated",
        "dateModified",
        "experimentAmount",
        "experiments",
        "featureFlagAmount",
        "personalizationAmount",
        "personalizations",
        "hasSegmentCondition",
        "usedBySegmentCondition",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(Entity):
    """
    Visitors told apart by conditions.

    Attributes:
        segment_type: ``STANDARD``, ``KEY_MOMENT``, ``FEATURE_FLAG`` or ``ALL``.
        conditions_data: ``{"firstLevel": [{"conditions": […], "orOperators": […]}], "firstLevelOrOperators": […]}``; an operator joins two
            neighbours, true for OR.
        audience_tracking: SDKs report who is in it.
    """

    id: int | None = None
    name: str | None = None
    site_id: int | None = None
    segment_type: str | None = None
    conditions_data: Json | None = None
    audience_tracking: bool | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    is_favorite: bool | None = None
    is_deleted: bool | None = None
    user_visible: bool | None = None
    date_created: str | None = None
    date_modified: str | None = None


class SegmentCalls(
    Listing[Segment],
    Searching[Segment],
    Getting[Segment],
    Creating[Segment],
    Updating[Segment],
    Replacing[Segment],
):
    """Calls on segments. `update` takes no conditions; those change by `replace`."""

    _path = "/segments"
    _entity = Segment
    _required = ("name", "site_id", "conditions_data")
    _read_only: ClassVar[frozenset[str]] = _READ_ONLY

    @call
    def delete(self, id_: int) -> Flow[None]:
        """
        Delete a segment, by marking it as deleted: the service documents no other way.

        Raises:
            ApiError: The call failed.
        """
        yield from self._caller.call("PATCH", f"{self._path}/{segment(id_)}", body=body_of({"isDeleted": True}))

    @call
    def replace_condition(self, id_: int, condition_id: int, condition: Mapping[str, Any]) -> Flow[Segment]:
        """
        Replace one condition, given as the service writes it.

        Raises:
            ApiError: The call failed.
        """
        path = f"{self._path}/{segment(id_)}/conditions/{segment(condition_id)}"
        return (yield from self._one("PUT", path, dict(condition)))


class Segments(SegmentCalls, BlockingSide):
    """Blocking calls on segments."""


class AsyncSegments(SegmentCalls, AsyncSide):
    """Awaited calls on segments."""

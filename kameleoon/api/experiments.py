"""
Experiments; those of flag rules are listed too, with the type ``FEATURE_FLAG``.

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from kameleoon.api.model import Entity, Json, wire
from kameleoon.api.resources import Creating, Deleting, Getting, Listing, Updating, segment
from kameleoon.api.twins import AsyncSide, BlockingSide, call

if TYPE_CHECKING:
    from kameleoon._transport.flow import Flow

Action = Literal["ACTIVATE", "PAUSE", "RESUME", "STOP", "SCHEDULE", "DEACTIVATE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment(Entity):
    """
    An experiment.

    Attributes:
        base_url: The page that is opened in the editor.
        status: ``DRAFT``, ``ACTIVE``, ``PAUSED``, ``STOPPED`` or ``DEACTIVATED``; changes by `change_status`.
        variations: Ids. A new variation counts only once it is listed here and in *deviations*.
        deviations: ``{"origin" or variation id as text: part}``, parts of 0 to 1 that sum to 1.
        respool_time: ``{"origin" or variation id as text: ms}`` of the last change of the parts.
    """

    id: int | None = None
    name: str | None = None
    site_id: int | None = None
    site_code: str | None = None
    base_url: str | None = field(default=None, metadata=wire("baseURL"))
    type: str | None = None
    status: str | None = None
    variations: tuple[int, ...] | None = None
    deviations: Json | None = None
    respool_time: Json | None = None
    goals: tuple[int, ...] | None = None
    main_goal_id: int | None = None
    traffic_allocation_method: str | None = None
    targeting_configuration: str | None = None
    targeting_segment_id: int | None = None
    is_archived: bool | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    date_created: str | None = None
    date_modified: str | None = None
    date_started: str | None = None
    date_ended: str | None = None


class ExperimentCalls(
    Listing[Experiment], Getting[Experiment], Creating[Experiment], Updating[Experiment], Deleting[Experiment]
):
    """Calls on experiments."""

    _path = "/experiments"
    _entity = Experiment
    _required = ("name", "site_id", "base_url")
    _read_only: ClassVar[frozenset[str]] = frozenset(
        {"id", "siteCode", "status", "dateCreated", "dateModified", "dateStarted", "dateEnded", "dateStatusModified"}
    )

    @call
    def change_status(self, id_: int, action: Action) -> Flow[Experiment]:
        """
        Start, pause, resume or stop an experiment.

        Raises:
            ApiError: The call failed.
        """
        return (yield from self._one("PATCH", f"{self._path}/{segment(id_)}", {}, [("action", action)]))

    @call
    def restart(self, id_: int) -> Flow[Experiment]:
        """
        Restart an experiment.

        Raises:
            ApiError: The call failed.
        """
        return (yield from self._one("POST", f"{self._path}/restart/{segment(id_)}"))


class Experiments(ExperimentCalls, BlockingSide):
    """Blocking calls on experiments."""


class AsyncExperiments(ExperimentCalls, AsyncSide):
    """Awaited calls on experiments."""

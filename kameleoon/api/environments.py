"""Environments. The service documents no endpoint for them, only their part in flags; this one is assumed, the local server has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kameleoon.api.model import Entity
from kameleoon.api.resources import Resource
from kameleoon.api.twins import AsyncSide, BlockingSide, call

if TYPE_CHECKING:
    from kameleoon._transport.flow import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Entity):
    """An environment. Attributes: `key` is what SDKs are given."""

    id: int | None = None
    key: str | None = None
    name: str | None = None


class EnvironmentCalls(Resource[Environment]):
    """Calls on environments."""

    _path = "/environments"
    _entity = Environment

    @call
    def of_site(self, site_code: str) -> Flow[tuple[Environment, ...]]:
        """
        The environments of a site.

        Raises:
            ApiError: The call failed; `NotFound` where the service has no such endpoint.
        """
        values = yield from self._caller.json(list, "GET", self._path, [("siteCode", site_code)])
        return tuple(
            self._read(value if isinstance(value, dict) else {"key": value})
            for value in values
            if isinstance(value, dict | str)
        )


class Environments(EnvironmentCalls, BlockingSide):
    """Blocking calls on environments."""


class AsyncEnvironments(EnvironmentCalls, AsyncSide):
    """Awaited calls on environments."""

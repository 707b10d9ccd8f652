"""
Sites (projects).

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from kameleoon.api.model import Entity, wire
from kameleoon.api.resources import Creating, Deleting, Getting, Listing, Replacing, Updating, segment
from kameleoon.api.twins import AsyncSide, BlockingSide, call

if TYPE_CHECKING:
    from kameleoon._transport.flow import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Site(Entity):
    """
    A site. `code` is what SDKs are given, `id` what other entities refer to.

    ``data_api_domain``, ``consent_type``, ``consent_opt_out_behavior`` and ``real_time_update`` are assumed: the local server has them.
    """

    id: int | None = None
    code: str | None = None
    name: str | None = None
    url: str | None = None
    description: str | None = None
    currency: str | None = None
    type: str | None = None
    site_type: str | None = None
    domain_names: tuple[str, ...] | None = None
    main_goal: int | None = None
    tracking_script: str | None = None
    kameleoon_domain: str | None = None
    application_file_url: str | None = None
    date_created: str | None = None
    data_api_domain: str | None = None
    consent_type: str | None = None
    consent_opt_out_behavior: str | None = None
    real_time_update: bool | None = None
    ignore_url_settings: object = field(default=None, metadata=wire("ignoreURLSettings"))


class SiteCalls(Listing[Site], Getting[Site], Creating[Site], Updating[Site], Replacing[Site], Deleting[Site]):
    """Calls on sites."""

    _path = "/sites"
    _entity = Site
    _required = ("name", "url")
    _read_only: ClassVar[frozenset[str]] = frozenset({"id", "code", "dateCreated"})

    @call
    def by_code(self, site_code: str) -> Flow[Site]:
        """
        The site with a site code.

        Raises:
            NotFound: There is none.
            ApiError: The call failed otherwise.
        """
        return (yield from self._one("GET", f"/sites/byCode/{segment(site_code)}"))


class Sites(SiteCalls, BlockingSide):
    """Blocking calls on sites."""


class AsyncSites(SiteCalls, AsyncSide):
    """Awaited calls on sites."""

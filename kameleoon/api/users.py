"""
Users, which the service calls accounts. Paths and most fields are known from other clients only, not from its documentation.

Source:
    docs/automation-api.md, "Resources".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from kameleoon.api.model import Entity, wire
from kameleoon.api.resources import Creating, Deleting, Getting, Listing, Updating
from kameleoon.api.twins import AsyncSide, BlockingSide


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Entity):
    """
    A user.

    Attributes:
        password: For `create` and `update` only, with `password_confirm`.
        preferred_locale: ``fr``, ``en`` or ``de``.
        status: ``CREATED``, ``ACTIVATED`` or ``DEACTIVATED``.
    """

    id: int | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    password: str | None = field(default=None, repr=False)
    password_confirm: str | None = field(default=None, repr=False)
    preferred_locale: str | None = None
    roles: tuple[str, ...] | None = None
    solutions: tuple[str, ...] | None = None
    status: str | None = None
    team_id: int | None = None
    image_url: str | None = field(default=None, metadata=wire("imageURL"))
    is_password_expired: bool | None = None
    password_blocked: bool | None = None
    is_product_reco_allowed: bool | None = None
    date_created: str | None = None


class UserCalls(Listing[User], Getting[User], Creating[User], Updating[User], Deleting[User]):
    """Calls on users."""

    _path = "/accounts"
    _entity = User
    _required = ("email", "first_name", "last_name")
    _read_only: ClassVar[frozenset[str]] = frozenset({"id", "isPasswordExpired", "passwordBlocked", "dateCreated"})


class Users(UserCalls, BlockingSide):
    """Blocking calls on users."""


class AsyncUsers(UserCalls, AsyncSide):
    """Awaited calls on users."""

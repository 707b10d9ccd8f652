"""Fields of the Automation API's bodies: read them or say what is wrong with them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kameleoon.server.edits import EditError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon.server.project import Project


Entity = dict[str, Any]


class FieldError(EditError):
    """
    A field is missing or makes no sense.

    Attributes:
        field: Its name.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def text(body: Entity, field: str, default: str | None = None, *, longest: int = 1000) -> str:
    """A text of 1 to *longest* characters; of a field that has a *default* also an empty one."""
    value = body.get(field, default)
    if value is None:
        raise FieldError(field, "required")
    if not isinstance(value, str) or len(value) > longest or (not value and default is None):
        raise FieldError(field, f"expected text of 1 to {longest} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FieldError(field, "no text") from error
    return value


def truth(body: Entity, field: str, default: bool) -> bool:
    """A field that is true or false."""
    value = body.get(field, default)
    if not isinstance(value, bool):
        raise FieldError(field, "expected true or false")
    return value


def listed(body: Entity, field: str) -> list[Entity]:
    """A field that is an array of objects; none is empty."""
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
        raise FieldError(field, "expected an array of objects")
    return value


def part(value: object, field: str) -> float:
    """A percentage as a part of 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 100:
        raise FieldError(field, "expected a number from 0 to 100")
    return round(value / 100, 12)


def free_key(name: str, taken: Sequence[str]) -> str:
    """A key for people to read, made of a name, that is not *taken*."""
    base = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "unnamed"
    return next(key for key in (base, *(f"{base}_{n}" for n in range(2, len(taken) + 3))) if key not in taken)


def checked(build: Any) -> Project:
    """What *build* makes; what contradicts itself is an `EditError`."""
    try:
        built: Project = build()
    except ValueError as error:
        raise EditError(str(error)) from error
    return built

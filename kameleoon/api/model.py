"""
JSON objects of the service as frozen values and back.

An entity is a dataclass whose fields are the service's, in snake case. Reading never refuses: a field that is missing is ``None``
(or empty), one that is not known is kept in ``extra`` and sent back with the entity, and a value of another shape than documented
is kept as it came. So a new field or a new value of the service breaks nothing.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Self

Json = Mapping[str, Any]

NO_EXTRA: Json = MappingProxyType({})

_Plan: typing.TypeAlias = "tuple[tuple[str, str, type[Entity] | None, bool], ...]"

_plans: dict[type, _Plan] = {}


def nothing() -> Json:
    """An empty mapping, as the default of a field."""
    return NO_EXTRA


def wire(name: str) -> dict[str, str]:
    """Metadata of a field whose name in JSON is not its own in camel case."""
    return {"wire": name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """
    Base of all entities.

    Attributes:
        extra: ``{name in JSON: value}`` of what is not known here.
    """

    extra: Json = field(default_factory=nothing)

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Read an object of the service."""
        rest = dict(value)
        read = {}
        for own, name, nested, is_many in _plan(cls):
            if name in rest:
                read[own] = _read(rest.pop(name), nested, is_many)
        return cls(**read, extra=MappingProxyType(rest) if rest else NO_EXTRA)

    def to_json(self) -> dict[str, Any]:
        """The object as the service writes it; fields that are ``None`` are left out."""
        written: dict[str, Any] = {}
        for own, name, _, _ in _plan(type(self)):
            value = getattr(self, own)
            if value is not None:
                written[name] = plain(value)
        return written | {name: plain(value) for name, value in self.extra.items()}


def plain(value: Any) -> Any:
    """*value* as `json.dumps` takes it: entities as objects, tuples as arrays."""
    if isinstance(value, Entity):
        return value.to_json()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value


def changes_to_json(entity: type[Entity], changes: Mapping[str, Any]) -> dict[str, Any]:
    """
    The changes of a PATCH in the service's names.

    Args:
        entity: What is changed.
        changes: ``{field in snake case: value}``; ``None`` takes the value away. ``extra`` holds fields that are not known here, by their
            names in JSON.

    Raises:
        TypeError: The entity has no such field.
    """
    names = {own: name for own, name, _, _ in _plan(entity)}
    written: dict[str, Any] = {}
    for own, value in changes.items():
        if own == "extra":
            written.update(plain(value))
        elif own in names:
            written[names[own]] = plain(value)
        else:
            raise TypeError(
                f"{entity.__name__} has no field {own!r}; pass fields that are not known here as extra={{…}}"
            )
    return written


def _read(value: Any, nested: type[Entity] | None, is_many: bool) -> Any:
    if is_many:
        if not isinstance(value, list):
            return () if value is None else value
        return tuple(_read(item, nested, False) for item in value)
    return nested.from_json(value) if nested is not None and isinstance(value, dict) else value


def _plan(entity: type[Entity]) -> _Plan:
    """For each field: its name, its name in JSON, the entity it holds if any, and whether it holds many."""
    known = _plans.get(entity)
    if known is not None:
        return known
    hints = typing.get_type_hints(entity)
    plan = _plans[entity] = tuple(
        (item.name, item.metadata.get("wire") or camel(item.name), *_shape(hints[item.name]))
        for item in fields(entity)
        if item.name != "extra"
    )
    return plan


def _shape(hint: Any) -> tuple[type[Entity] | None, bool]:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if typing.get_origin(option) is tuple:
            return _shape(typing.get_args(option)[0])[0], True
        if isinstance(option, type) and issubclass(option, Entity):
            return option, False
    return None, False


def camel(name: str) -> str:
    """``date_created`` as ``dateCreated``."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)

"""
What the resources of the Automation API have in common, as small classes to combine: list, get, create, update, replace, delete, search.

A resource is one class of calls and two of two lines, one blocking and one for asyncio.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from kameleoon._transport.encoding import encode
from kameleoon.api.filters import compact
from kameleoon.api.model import Entity, changes_to_json, plain
from kameleoon.api.twins import Paging, Side, call, pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.api.caller import Caller
    from kameleoon.api.filters import Condition, Expression, Order

E = TypeVar("E", bound=Entity)

MAX_PER_PAGE = 200
"""Source: docs/automation-api.md, "Collections"."""


_DATES = frozenset({"id", "dateCreated", "dateModified"})


def body_of(value: Any) -> bytes:
    """
    A JSON body.

    Raises:
        ValueError: *value* holds a number that JSON has not.
        TypeError: *value* holds something that JSON has not.
    """
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def segment(value: object) -> str:
    """
    One segment of a path, percent-encoded.

    Raises:
        ValueError: It is empty, or would name another place.
    """
    text = str(value)
    if text in {"", ".", ".."}:
        raise ValueError(f"{text!r} cannot be a key or id")
    return encode(text)


def check_per_page(per_page: int) -> int:
    """
    The size of a page, -1 standing for the largest.

    Raises:
        ValueError: It is neither -1 nor 1 to 200.
    """
    if per_page != -1 and not 1 <= per_page <= MAX_PER_PAGE:
        raise ValueError(f"per_page must be 1 to {MAX_PER_PAGE}, or -1 for the most, not {per_page!r}")
    return MAX_PER_PAGE if per_page == -1 else per_page


class Resource(Side, Generic[E]):
    """One kind of entity."""

    _path: ClassVar[str]
    _entity: ClassVar[type[Any]]
    _required: ClassVar[tuple[str, ...]] = ()
    _read_only: ClassVar[frozenset[str]] = frozenset()

    def _read(self, value: Any) -> E:
        return cast("E", self._entity.from_json(value))

    def _one(self, method: str, path: str, body: Any = None, pairs: Sequence[tuple[str, str | None]] = ()) -> Flow[E]:
        """A call whose answer is one entity. A POST creates, so it is never repeated when it may have been carried out."""
        content = None if body is None else body_of(body)
        value = yield from self._caller.json(dict, method, path, pairs, content, repeatable=method != "POST")
        return self._read(value)

    def _to_create(self, entity: E) -> dict[str, Any]:
        missing = [name for name in self._required if getattr(entity, name) is None]
        if missing:
            raise ValueError(f"{type(entity).__name__} needs {', '.join(missing)}")
        return self._to_write(entity)

    def _to_write(self, entity: E) -> dict[str, Any]:
        left_out = self._read_only | _DATES
        return {name: value for name, value in entity.to_json().items() if name not in left_out}


class _Pages(Generic[E]):
    """Pages of one list or search. It ends with a page that is not full, or that repeats the one before."""

    def __init__(
        self, resource: Resource[E], path: str, pairs: Sequence[tuple[str, str | None]], per_page: int
    ) -> None:
        self._resource = resource
        self._path = path
        self._pairs = pairs
        self._size = check_per_page(per_page)
        self._per_page = per_page
        self._last: Any = None

    def after(self, page: int) -> Flow[tuple[Sequence[E], bool]]:
        values = yield from self._fetch(page + 1)
        # A service that ignored `page` would give the first one for ever.
        is_new = page == 0 or values != self._last
        self._last = values
        items = [self._resource._read(value) for value in values if isinstance(value, dict)]  # noqa: SLF001 - one room
        return (items if is_new else []), is_new and len(values) >= self._size

    def _fetch(self, number: int) -> Flow[Any]:
        pairs = [*self._pairs, ("page", str(number)), ("perPage", str(self._per_page))]
        caller: Caller = self._resource._caller  # noqa: SLF001 - one room
        return caller.json(list, "GET", self._path, pairs)


class _Found(_Pages[E]):
    """Pages of a search, whose parameters are a body."""

    def __init__(self, resource: Resource[E], path: str, body: Mapping[str, Any], fields: str, per_page: int) -> None:
        super().__init__(resource, path, [("optionalFields", fields)], per_page)
        self._body = body

    def _fetch(self, number: int) -> Flow[Any]:
        body = body_of({**self._body, "page": number, "perPage": self._per_page})
        caller: Caller = self._resource._caller  # noqa: SLF001 - one room
        # A search changes nothing, so it may be repeated.
        return caller.json(list, "POST", self._path, self._pairs, body)


class Listing(Resource[E]):
    """Collections that can be listed."""

    @pages
    def list(
        self,
        *conditions: Condition,
        sort: Iterable[Order] = (),
        optional_fields: Iterable[str] = (),
        per_page: int = MAX_PER_PAGE,
    ) -> Paging[E]:
        """
        All entities, page by page as they are read.

        Args:
            conditions: From `kameleoon.api.filters.where`; all of them hold.
            sort: From `asc` and `desc`; the first counts most (assumed).
            optional_fields: The service's names of fields that come empty otherwise.
            per_page: Entities in a request, 1 to 200; -1 for the most.

        Raises:
            ValueError: *per_page* is out of its range.
            ApiError: A page cannot be had; raised while iterating.
        """
        pairs = [
            ("filter", compact(conditions)),
            ("sort", compact(sort)),
            ("optionalFields", ",".join(optional_fields)),
        ]
        return _Pages(self, self._path, pairs, per_page)


class Searching(Resource[E]):
    """Collections that can be searched by nested expressions."""

    @pages
    def search(
        self,
        expression: Expression,
        *,
        sort: Iterable[Order] = (),
        optional_fields: Iterable[str] = (),
        per_page: int = MAX_PER_PAGE,
    ) -> Paging[E]:
        """
        Entities for which *expression* holds, page by page as they are read. Arguments and errors as for `list`.

        Args:
            expression: From `where`, `all_of`, `any_of`.
            sort: As for `list`.
            optional_fields: As for `list`.
            per_page: As for `list`.
        """
        body: dict[str, Any] = {"filter": expression.to_json()}
        if orders := [order.to_json() for order in sort]:
            body["sort"] = orders
        return _Found(self, f"{self._path}/search", body, ",".join(optional_fields), per_page)


class Getting(Resource[E]):
    """Entities with an id."""

    @call
    def get(self, id_: int, *, optional_fields: Iterable[str] = ()) -> Flow[E]:
        """
        One entity.

        Raises:
            NotFound: There is none with this id.
            ApiError: The call failed otherwise.
        """
        pairs = [("optionalFields", ",".join(optional_fields))]
        return (yield from self._one("GET", f"{self._path}/{segment(id_)}", pairs=pairs))


class Creating(Resource[E]):
    """Entities that can be made."""

    @call
    def create(self, entity: E) -> Flow[E]:
        """
        Make an entity. Never sent twice unless the service refused it for its rate: a lost answer ends in `NoAnswer`, and then only a
        look at the list tells whether it was made.

        Returns:
            The entity as the service made it, with its id.

        Raises:
            ValueError: A required field is missing.
            Invalid: The service refuses it; `field_errors` may say why.
            ApiError: The call failed otherwise.
        """
        return (yield from self._one("POST", self._path, self._to_create(entity)))


class Updating(Resource[E]):
    """Entities that can be changed in part."""

    @call
    def update(self, id_: int, /, **changes: Any) -> Flow[E]:
        """
        Change some fields, named in snake case. ``None`` takes a value away; a list is replaced as a whole.

        Args:
            id_: Of the entity.
            changes: ``field=value``; ``extra={"name": value}`` for fields that are not known here.

        Raises:
            TypeError: There is no such field.
            ApiError: The call failed.
        """
        body = changes_to_json(self._entity, changes)
        return (yield from self._one("PATCH", f"{self._path}/{segment(id_)}", body))


class Replacing(Resource[E]):
    """Entities that can be replaced as a whole."""

    @call
    def replace(self, id_: int, entity: E) -> Flow[E]:
        """
        Replace an entity. What was read with it and is not known here goes back too.

        Raises:
            ValueError: A required field is missing.
            ApiError: The call failed.
        """
        return (yield from self._one("PUT", f"{self._path}/{segment(id_)}", self._to_create(entity)))


class Deleting(Resource[E]):
    """Entities that can be deleted."""

    @call
    def delete(self, id_: int) -> Flow[None]:
        """
        Delete an entity for good.

        Raises:
            NotFound: There is none with this id.
            ApiError: The call failed.
        """
        yield from self._caller.call("DELETE", f"{self._path}/{segment(id_)}")

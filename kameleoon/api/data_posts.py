"""Bodies of the Data API's posts and the requests that carry them; shared by single calls and bulk jobs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kameleoon.api.twins import Side

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kameleoon._transport.flow import Flow

EVENT_BYTES = 2_621_440
"""2.5 MiB of the 3 MB that the service takes for events."""

MAP_BYTES = 1_000_000
"""What the service takes for maps, and for visitors to forget, the braces of the object left to the margin below."""

_MARGIN_BYTES = 16
_MAX_TTL_HOURS = 8784
MAX_MAP_KEY = 100
_MAX_FIELD = 1024


def joined(pieces: Iterable[bytes], limit_bytes: int, separator: bytes = b"\n") -> Iterator[bytes]:
    """
    Join *pieces* to bodies, in their order.

    Args:
        pieces: None is larger than *limit_bytes*.
        limit_bytes: Of each body.
        separator: Between two pieces.

    Yields:
        As few bodies as their order allows; none when there is no piece.
    """
    body: list[bytes] = []
    size = 0
    for piece in pieces:
        if body and size + len(separator) + len(piece) > limit_bytes:
            yield separator.join(body)
            body, size = [], 0
        size += len(piece) + (len(separator) if body else 0)
        body.append(piece)
    if body:
        yield separator.join(body)


def map_member(key: object, value: object) -> bytes:
    """
    ``"key":{…}`` of a body of maps.

    Raises:
        ValueError: The service does not take the key, a field, or a map of this size; or a value is not JSON.
    """
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_MAP_KEY:
        raise ValueError(f"the key of a map is 1 to {MAX_MAP_KEY} characters of text, not {str(key)[:40]!r}")
    if not isinstance(value, Mapping):
        raise ValueError(f"the map of {key!r} is not an object but {type(value).__name__}")  # noqa: TRY004 - a refusal of one item
    for name in value:
        if not isinstance(name, str) or len(name) > _MAX_FIELD:
            raise ValueError(f"a field of the map of {key!r} is not text of at most {_MAX_FIELD} characters")
    try:
        text = json.dumps({key: dict(value)}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        member = text[1:-1].encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the map of {key!r} cannot be written as JSON: {error}") from error
    if len(member) > MAP_BYTES - _MARGIN_BYTES:
        raise ValueError(f"the map of {key!r} has {len(member)} bytes, more than {MAP_BYTES - _MARGIN_BYTES}")
    return member


MEMBER_BYTES = MAP_BYTES - _MARGIN_BYTES


def check_ttl(ttl_hours: int | None) -> None:
    """
    Refuse a life that maps cannot have.

    Raises:
        ValueError: *ttl_hours* is not 1 to 8784.
    """
    if ttl_hours is not None and not 1 <= ttl_hours <= _MAX_TTL_HOURS:
        raise ValueError(f"ttl_hours must be 1 to {_MAX_TTL_HOURS}, not {ttl_hours!r}")


class Posts(Side):
    """The posts. All of them are safe to repeat: events have nonces, maps are replaced, what is forgotten stays so."""

    _site_code: str

    def _post_events(self, path: str, body: bytes, *, body_ua: bool = False, ean: str | None = None) -> Flow[None]:
        pairs = [("siteCode", self._site_code), ("ean", ean), ("bodyUa", "true" if body_ua else None)]
        yield from self._caller.call("POST", path, pairs, body, content_type="text/plain; charset=utf-8")

    def _put_map_body(self, members: bytes, ttl_hours: int | None) -> Flow[None]:
        pairs = [("siteCode", self._site_code), ("ttlHours", None if ttl_hours is None else str(ttl_hours))]
        yield from self._caller.call("POST", "/map/maps", pairs, b"{" + members + b"}")

    def _post_forget(self, body: bytes) -> Flow[None]:
        pairs = [("siteCode", self._site_code)]
        yield from self._caller.call("POST", "/visit/forget", pairs, body, content_type="text/plain; charset=utf-8")

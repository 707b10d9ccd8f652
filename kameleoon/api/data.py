"""
The Data API: visits, events, maps and products. `DataApi` blocks, `AsyncDataApi` is awaited; they have the same methods.

Source:
    docs/data-api.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from kameleoon._transport.aiohttp_sender import AiohttpSender
from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.requests_sender import RequestsSender
from kameleoon.api.access import Credentials, shared_access
from kameleoon.api.bulk import BulkCalls
from kameleoon.api.caller import Caller
from kameleoon.api.data_events import check_visitor_code
from kameleoon.api.data_models import ProductCounters, VisitorData
from kameleoon.api.data_posts import EVENT_BYTES, MEMBER_BYTES, check_ttl, joined, map_member
from kameleoon.api.limiter import Limiter, Rate
from kameleoon.api.twins import AsyncClient, BlockingClient, call

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.api.data_events import Event

__all__ = ["AsyncDataApi", "Credentials", "DataApi"]

Region = Literal["eu", "na"]

VisitorField = Literal[
    "staticData",
    "page",
    "conversion",
    "experiment",
    "customData",
    "geolocation",
    "personalization",
    "targetingSegment",
    "activity",
]

DEFAULT_URL = "https://data.kameleoon.io"
OAUTH_URL = "https://api.kameleoon.com"

_MAX_KEYS = 100

# By access: without a token, and with one. Counted for each address, so shared by all clients of the process.
_RATES = {
    ("GET", False): Rate(5, 1.0),
    ("GET", True): Rate(50, 1.0),
    ("OTHER", False): Rate(50, 1.0),
    ("OTHER", True): Rate(1000, 1.0),
}
_limiters: WeakValueDictionary[tuple[str, str, bool], Limiter] = WeakValueDictionary()
_limiters_lock = ForkSafeLock()


class _Limiters:
    """The limiters of one host, by method and access; shared with all clients of that host."""

    def __init__(self, base_url: str) -> None:
        self._host = urlsplit(base_url).netloc
        # Held here, so that they live as long as some client does.
        self._own: dict[tuple[str, bool], Limiter] = {}

    def __call__(self, method: str, has_token: bool) -> Limiter:
        found = self._own.get((method, has_token))
        if found is None:
            rate = _RATES["GET" if method == "GET" else "OTHER", has_token]
            with _limiters_lock:
                found = _limiters.get((self._host, method, has_token))
                if found is None:
                    found = _limiters[self._host, method, has_token] = Limiter(rate)
            self._own[method, has_token] = found
        return found


def _caller(
    credentials: Credentials | None,
    region: Region | None,
    base_url: str | None,
    oauth_url: str | None,
    timeout_s: float,
    patience_s: float | None,
) -> Caller:
    if base_url is None:
        base_url = DEFAULT_URL if region is None else f"https://{region}-data.kameleoon.io"
        oauth_url = oauth_url or OAUTH_URL
    # One base URL stands for all hosts, as with the local server.
    token_url = f"{(oauth_url or base_url).rstrip('/')}/oauth/token"
    return Caller(
        base_url,
        None if credentials is None else shared_access(token_url, credentials),
        _Limiters(base_url),
        timeout_s=timeout_s,
        patience_s=patience_s,
        anonymous_after_401=True,
    )


class DataCalls(BulkCalls):
    """What both clients can do."""

    _site_code: str

    @call
    def get_visitor(
        self,
        visitor_code: str | None = None,
        *,
        mapping_value: str | None = None,
        current_visit: bool = True,
        previous_visits: int = 1,
        fields: Iterable[VisitorField] | Literal["all"] = "all",
        kcs: bool = False,
        cbs: bool = False,
    ) -> Flow[VisitorData]:
        """
        Visits of one visitor.

        Args:
            visitor_code: The visitor, or with *mapping_value* whose current visit is wanted.
            mapping_value: The visitor's cross-device identifier; previous visits of all linked codes come merged.
            current_visit: Include the visit in progress.
            previous_visits: At most so many earlier visits, 1 to 25.
            fields: The kinds of events wanted.
            kcs: Include the scores of key moments.
            cbs: Include the scores of variations.

        Returns:
            For a visitor that the service does not know, one without visits.

        Raises:
            ValueError: Neither *visitor_code* nor *mapping_value* is given, or an argument is out of its range.
            ApiError: The call failed.
        """
        if not visitor_code and not mapping_value:
            raise ValueError("visitor_code or mapping_value is needed")
        if not 1 <= previous_visits <= 25:
            raise ValueError(f"previous_visits must be 1 to 25, not {previous_visits!r}")
        check_visitor_code(visitor_code)
        wanted = ["all"] if fields == "all" else list(fields)
        pairs: list[tuple[str, str | None]] = [
            ("siteCode", self._site_code),
            ("visitorCode", visitor_code),
            ("mappingValue", mapping_value),
            ("currentVisit", "true" if current_visit else None),
            ("maxNumberPreviousVisits", str(previous_visits)),
            *((str(name), "true") for name in wanted),
            ("kcs", "true" if kcs else None),
            ("cbs", "true" if cbs else None),
        ]
        value = yield from self._caller.json(dict, "GET", "/visit/visitor", pairs)
        return VisitorData.read(value)

    @call
    def send_events(
        self,
        events: Iterable[Event],
        *,
        visitor_code: str | None = None,
        user_agent: str | None = None,
        mapping_value: bool = False,
    ) -> Flow[int]:
        """
        Store events of visitors. They go out in as few requests as the service's size limit allows, in their order.

        The service answers before it reads the lines and drops a line that it does not understand without a word.

        Args:
            events: The events. Sending the same ones again after a failure counts them once.
            visitor_code: For events that have no visitor of their own.
            user_agent: The visitors' user agent, judged by the service's bot filter in place of this client's own.
            mapping_value: The visitors are cross-device identifiers.

        Returns:
            How many events were sent.

        Raises:
            ValueError: An event has no visitor; nothing was sent. Or a single event is larger than the service takes.
            ApiError: The call failed; of several requests some may have been taken.
        """
        check_visitor_code(visitor_code)
        lines: list[bytes] = []
        seen: set[str] = set()
        for event in events:
            code = event.visitor_code or visitor_code
            if code is None:
                raise ValueError(f"an event {event.event_type!r} has no visitor code, and none is given for all")
            agent = user_agent if code not in seen else None
            seen.add(code)
            line = event.line(
                visitor_code=code, user_agent=agent, key="mappingValue" if mapping_value else "visitorCode"
            ).encode()
            if len(line) > EVENT_BYTES:
                raise ValueError(f"an event {event.event_type!r} has {len(line)} bytes, more than {EVENT_BYTES}")
            lines.append(line)
        for body in joined(lines, EVENT_BYTES):
            yield from self._post_events("/visit/events", body, body_ua=user_agent is not None)
        return len(lines)

    @call
    def get_map(self, key: str) -> Flow[dict[str, Any]]:
        """
        The map stored under *key*; empty when there is none (assumed).

        Raises:
            ValueError: *key* is empty.
            ApiError: The call failed.
        """
        if not key:
            raise ValueError("key must not be empty")
        found: dict[str, Any] = yield from self._caller.json(
            dict, "GET", "/map/map", [("siteCode", self._site_code), ("key", key)]
        )
        return found

    @call
    def get_maps(self, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        """
        The maps stored under *keys*, 100 in a request.

        Returns:
            ``{key: map}``; keys without a map are left out (assumed).

        Raises:
            ApiError: The call failed.
        """
        return (yield from self._by_keys("/map/maps", "keys", list(keys)))

    @call
    def put_maps(self, maps: Mapping[str, Mapping[str, Any]], *, ttl_hours: int | None = None) -> Flow[None]:
        """
        Store maps, in as few requests as the size limit of 1 MB allows. An empty map deletes.

        A stored map is replaced as a whole (assumed: texts of the service differ).

        Args:
            maps: ``{key: {field: any JSON value}}``. Keys are at most 100 characters, fields at most 1024.
            ttl_hours: Life of the maps in hours, 1 to 8784; by default the service's 2208 (92 days).

        Raises:
            ValueError: A key, field, value or *ttl_hours* cannot be stored; nothing was sent.
            ApiError: The call failed; of several requests some may have been taken. Calling again does no harm.
        """
        check_ttl(ttl_hours)
        members = [map_member(key, value) for key, value in maps.items()]
        for body in joined(members, MEMBER_BYTES, b","):
            yield from self._put_map_body(body, ttl_hours)

    @call
    def send_product_events(self, events: Iterable[Event], *, ean: str | None = None) -> Flow[int]:
        """
        Store product attributes and events (types ``PRODUCTPAGE``, ``PRODUCTADDTOCART``, ``PRODUCTBUY``).

        Args:
            events: The events; their parameters are sent as given. The names of parameters other than ``name`` are not documented.
            ean: Product code for all of them; otherwise each has a parameter ``ean``.

        Returns:
            How many events were sent.

        Raises:
            ValueError: An event has no product, or is larger than the service takes.
            ApiError: The call failed.
        """
        lines = []
        for event in events:
            if ean is None and not event.parameters.get("ean"):
                raise ValueError(f"an event {event.event_type!r} has no ean, and none is given for all")
            line = event.line().encode()
            if len(line) > EVENT_BYTES:
                raise ValueError(f"an event {event.event_type!r} has {len(line)} bytes, more than {EVENT_BYTES}")
            lines.append(line)
        for body in joined(lines, EVENT_BYTES):
            yield from self._post_events("/product/events", body, ean=ean)
        return len(lines)

    @call
    def get_product_counters(
        self, eans: Iterable[str], *, begin_ms: int | None = None, end_ms: int | None = None
    ) -> Flow[dict[str, ProductCounters]]:
        """
        Counts of products, 100 in a request. Parameters and answer are assumed: the service's documentation does not give them.

        Args:
            eans: Product codes.
            begin_ms: From then on, in ms since 1970.
            end_ms: Until then.

        Returns:
            ``{product code: counts}``.

        Raises:
            ApiError: The call failed.
        """
        period = [
            ("begin", None if begin_ms is None else str(begin_ms)),
            ("end", None if end_ms is None else str(end_ms)),
        ]
        found = yield from self._by_keys("/product/productCounters", "eans", list(eans), period)
        return {ean: ProductCounters.from_json(value) for ean, value in found.items() if isinstance(value, dict)}

    @call
    def get_product_data(self, eans: Iterable[str]) -> Flow[dict[str, Any]]:
        """
        Attributes of products, 100 in a request. Parameters and answer are assumed, as for `get_product_counters`.

        Returns:
            ``{product code: {attribute: value}}``; unknown products are left out.

        Raises:
            ApiError: The call failed.
        """
        return (yield from self._by_keys("/product/productData", "eans", list(eans)))

    def _by_keys(
        self, path: str, name: str, keys: Sequence[str], more: Sequence[tuple[str, str | None]] = ()
    ) -> Flow[dict[str, Any]]:
        found: dict[str, Any] = {}
        for start in range(0, len(keys), _MAX_KEYS):
            part = json.dumps(keys[start : start + _MAX_KEYS], ensure_ascii=False, separators=(",", ":"))
            pairs = [("siteCode", self._site_code), (name, part), *more]
            found.update((yield from self._caller.json(dict, "GET", path, pairs)))
        return found


class DataApi(DataCalls, BlockingClient):
    """
    Blocking client of the Data API, for any number of threads.

    Args:
        site_code: The project.
        credentials: For a token, which allows ten to twenty times as many requests. All clients of the process with the same ones
            share a token.
        region: ``eu`` or ``na`` for that region's host; by default ``data.kameleoon.io``.
        base_url: Another base URL, such as the local server's.
        oauth_url: Base URL of the token endpoint; by default the service's, or *base_url* if that is given.
        timeout_s: Seconds for each attempt.
        patience_s: Longest wait of one call for rates and between tries, in seconds; ``None`` is for ever.

    Raises:
        ValueError: An argument is not as described.
    """

    def __init__(
        self,
        site_code: str,
        credentials: Credentials | None = None,
        *,
        region: Region | None = None,
        base_url: str | None = None,
        oauth_url: str | None = None,
        timeout_s: float = 10.0,
        patience_s: float | None = None,
    ) -> None:
        if not site_code:
            raise ValueError("site_code must not be empty")
        super().__init__(_caller(credentials, region, base_url, oauth_url, timeout_s, patience_s), RequestsSender())
        self._site_code = site_code


class AsyncDataApi(DataCalls, AsyncClient):
    """`DataApi` for asyncio: the same methods, awaited."""

    def __init__(
        self,
        site_code: str,
        credentials: Credentials | None = None,
        *,
        region: Region | None = None,
        base_url: str | None = None,
        oauth_url: str | None = None,
        timeout_s: float = 10.0,
        patience_s: float | None = None,
    ) -> None:
        if not site_code:
            raise ValueError("site_code must not be empty")
        super().__init__(_caller(credentials, region, base_url, oauth_url, timeout_s, patience_s), AiohttpSender())
        self._site_code = site_code

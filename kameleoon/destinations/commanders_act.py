"""
Events to Commanders Act, in version 2 of its HTTP tracking.

Source:
    docs/destinations.md, "Commanders Act".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kameleoon._transport.address import is_address
from kameleoon._version import __version__
from kameleoon.destinations.commanders_act_check import STANDARD_NAMES, check_event, is_event_name
from kameleoon.destinations.events import Conversion, Exposure, experiments
from kameleoon.destinations.posting import post
from kameleoon.destinations.protocol import EventRefused, Limits, Result, Verdict
from kameleoon.exceptions import ConfigException
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event

BASE_URL = "https://collect.commander1.com"
MOST_REQUESTS_PER_S = 500.0
"""Above, the vendor wants to be asked."""

_FRAME = b'{"batch":[', b"]}"
_MOST_IN_BATCH = 500
_MAX_BATCH_BYTES = 500_000
_MAX_EVENT_BYTES = 32_000


class CommandersAct:
    """
    `Destination` for a source of Commanders Act.

    An answer of 200 says only that the collector has an event, so each is checked before. Exposures and conversions get names of their
    own, since Commanders Act has no standard event for experiments.

    Args:
        site_id: Of the workspace.
        source_key: Of the source. It is a secret, and gets into no message.
        base_url: Of the collector; it may be a domain of one's own.
        auth: Where the key goes: ``query``, or ``header`` for collectors that take that.
        mode: ``single``, one event a request, or ``batch``, for accounts that have it. Where a batch is refused for being one, it becomes
            ``single`` until the process ends.
        exposure_name: Name of an exposure's event.
        conversion_name: Name of a conversion's event.
        currency: Of revenues, such as ``EUR``. Without one no revenue is sent.
        consent_categories: ``visitor code -> categories granted``.
        user: ``visitor code -> more fields of user``; it may replace ``consistent_anonymous_id``.
        context: ``event -> more fields of context``, such as ``device`` and ``page``; nothing of the server itself is sent.
        mapper: ``event -> event name and root properties`` in place of ours; ``None`` leaves the event out.
        kameleoon_goals: Names of events that Commanders Act's own Kameleoon destination turns into conversions. None of these is sent:
            it would come back and be counted a second time.
        is_strict: Whether a standard event without what it requires is refused.
        test_code: Marks events for the inspector.
        requests_per_s: Most requests, up to 500.
        sdk_version: As events have it.

    Raises:
        ConfigException: A setting cannot be used.
    """

    def __init__(
        self,
        site_id: str | int,
        source_key: str,
        *,
        base_url: str = BASE_URL,
        auth: str = "query",
        mode: str = "single",
        exposure_name: str = "experiment_viewed",
        conversion_name: str = "experiment_conversion",
        currency: str | None = None,
        consent_categories: Callable[[str], Sequence[str | int]] | None = None,
        user: Callable[[str], Mapping[str, Any]] | None = None,
        context: Callable[[Event], Mapping[str, Any]] | None = None,
        mapper: Callable[[Event], Mapping[str, Any] | None] | None = None,
        kameleoon_goals: Collection[str] = (),
        is_strict: bool = True,
        test_code: str | None = None,
        requests_per_s: float = 100.0,
        sdk_version: str = __version__,
    ) -> None:
        _need("site_id", _is_text(str(site_id)), "a text or a number")
        _need("source_key", _is_text(source_key), "a text that is not empty")
        _need("base_url", is_address(base_url), "an http or https address")
        _need("auth", auth in {"query", "header"}, "query or header")
        _need("mode", mode in {"single", "batch"}, "single or batch")
        _need("requests_per_s", 0 < requests_per_s <= MOST_REQUESTS_PER_S, "above 0 and at most 500")
        for option, name in (("exposure_name", exposure_name), ("conversion_name", conversion_name)):
            _need(f"{option} {name!r}", is_event_name(name), "1 to 64 of a-z, 0-9 and _, beginning with a letter")
            _need(f"{option} {name!r}", name not in STANDARD_NAMES, "none of the standard names; use mapper")
            _need(f"{option} {name!r}", name not in kameleoon_goals, "none of kameleoon_goals")
        self.name = f"commanders act {site_id}"
        self._single = Limits(
            batch_events=1, batch_bytes=_MAX_EVENT_BYTES, requests_per_s=requests_per_s, flush_events=50
        )
        self._batch = Limits(
            batch_events=_MOST_IN_BATCH,
            batch_bytes=_MAX_BATCH_BYTES,
            frame_bytes=len(b"".join(_FRAME)),
            requests_per_s=requests_per_s,
        )
        self._is_batching = mode == "batch"
        self._base_url = base_url.rstrip("/")
        self._query = f"tc_s={quote(str(site_id), safe='')}"
        self._headers: dict[str, str] = {}
        if auth == "query":
            self._query += f"&token={quote(source_key, safe='')}"
        else:
            _need("source_key", source_key.isascii() and source_key.isprintable(), "fit for a header")
            self._headers["Authorization"] = f"Bearer {source_key}"
        self._names = {Exposure: exposure_name, Conversion: conversion_name}
        self._currency = currency
        self._consent_categories = consent_categories
        self._user = user
        self._context = context
        self._mapper = mapper
        self._kameleoon_goals = frozenset(kameleoon_goals)
        self._is_strict = is_strict
        self._test_code = test_code
        self._sdk = {"sdk_name": "kameleoon-python", "sdk_version": sdk_version}
        self._told: set[str] = set()

    @property
    def limits(self) -> Limits:
        """One event a request, or up to 500 of 500,000 bytes together."""
        return self._batch if self._is_batching else self._single

    def map(self, event: Event) -> dict[str, Any] | None:
        """*event* as version 2 has it, ``None`` when the mapper leaves it out."""
        root = self._properties(event) if self._mapper is None else self._mapper(event)
        if root is None:
            return None
        user: dict[str, Any] = {"consistent_anonymous_id": event.visitor_code}
        if self._user is not None:
            user |= self._user(event.visitor_code)
        if self._consent_categories is not None:
            user["consent_categories"] = [str(one) for one in self._consent_categories(event.visitor_code)]
        context: dict[str, Any] = {"event_id": event.event_id, "event_timestamp": event.at_ms}
        if self._context is not None:
            # Id and time are the event's own, so that a retry is known for one.
            context = {**context, **self._context(event), **context}
        marks = {"test_code": self._test_code} if self._test_code else {}
        return {**root, **marks, "user": user, "context": context}

    def _properties(self, event: Event) -> dict[str, Any]:
        root: dict[str, Any] = {"event_name": self._names[type(event)]}
        if isinstance(event, Exposure):
            names = ("experiment_id", "variation_id", "variation_key", "feature_key", "rule_type")
            root |= {name: value for name in names if (value := getattr(event, name)) is not None}
        else:
            root["goal_id"] = event.goal_id
            if event.goal_key is not None:
                root["goal_key"] = event.goal_key
            if event.revenue is not None and self._currency:
                # Whether taxes are in it is not known, so it is no `revenue`, which is without them.
                root |= {"value": event.revenue, "currency": self._currency}
            root["experiments"] = experiments(event.assignments)
        return {**root, "exposure_source": event.origin, **self._sdk}

    def check(self, mapped: Any) -> bytes:
        """
        The exact bytes of an event.

        Raises:
            EventRefused: Of code ``LOOP`` for a name of *kameleoon_goals*, else as `check_event`.
        """
        if isinstance(mapped, dict) and mapped.get("event_name") in self._kameleoon_goals:
            raise EventRefused("LOOP", "it would come back as a conversion")
        return check_event(mapped, is_strict=self._is_strict, warn=self._warn)

    def send(self, batch: Sequence[bytes]) -> Flow[Result]:
        """Post one event, or a batch."""
        if not self._is_batching:
            _, result = yield from post(f"{self._base_url}/events?{self._query}", self._headers, batch[0])
            return result
        body = _FRAME[0] + b",".join(batch) + _FRAME[1]
        status, result = yield from post(f"{self._base_url}/events/batch?{self._query}", self._headers, body)
        if status in {404, 405} or (status == 400 and len(batch) == 1):
            # Alone and checked it cannot be the event, so it is the batch that is refused.
            self._is_batching = False
            self._warn("single", f"batches are refused (status {status}); events go one by one from now on")
            return Result(Verdict.REPACK, result.reason)
        return result

    def _warn(self, code: str, text: str) -> None:
        if code not in self._told:
            self._told.add(code)
            KameleoonLogger.warning(f"Destination {self.name}: {code}: {text}; this is said once")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.encode(errors="ignore") == value.encode(errors="replace") and bool(value)


def _need(name: str, is_met: bool, allowed: str) -> None:
    if not is_met:
        raise ConfigException(f"CommandersAct: {name} must be {allowed}")

"""
Events for the Data API: what is known of a visitor or happened to one, and how it is written on a line.

Each event gets its nonce when it is made. The service knows an event again by it, so sending the same `Event` twice counts once.

Source:
    docs/data-api.md, "Events".
"""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kameleoon._transport.encoding import encode

_NONCE = re.compile(r"[0-9A-Fa-f]{16}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED = frozenset({"nonce", "eventType", "visitorCode"})


def new_nonce() -> str:
    """16 random hex characters."""
    return secrets.token_hex(8).upper()


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event.

    Attributes:
        event_type: As the service writes it, such as ``conversion``. Types that are not known here are sent as they are.
        parameters: ``{name: value}``; ``None`` is left out, mappings and lists go out as JSON.
        visitor_code: Whose; ``None`` takes the one given to the call.
        nonce: 16 hex characters, unique for each event.

    Raises:
        ValueError: A name, a number or the nonce cannot be sent.
    """

    event_type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    visitor_code: str | None = None
    nonce: str = field(default_factory=new_nonce)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.event_type):
            raise ValueError(f"event_type must be letters and digits, not {self.event_type!r}")
        if not _NONCE.fullmatch(self.nonce):
            raise ValueError(f"a nonce is 16 hex characters, not {self.nonce!r}")
        check_visitor_code(self.visitor_code)
        for name, value in self.parameters.items():
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(f"{name!r} cannot be the name of a parameter")
            _written(value)

    def line(self, *, visitor_code: str | None = None, user_agent: str | None = None, key: str = "visitorCode") -> str:
        """
        The event as one line.

        Args:
            visitor_code: For an event without its own.
            user_agent: Sent with the first line of each visitor.
            key: Name under which the visitor goes out; ``None`` of a visitor leaves it out.

        Raises:
            UnicodeEncodeError: A text holds half of a surrogate pair.
        """
        pairs: list[tuple[str, Any]] = [("nonce", self.nonce), ("eventType", self.event_type)]
        pairs.extend(self.parameters.items())
        pairs.append((key, self.visitor_code or visitor_code))
        pairs.append(("userAgent", user_agent))
        return "&".join(f"{name}={encode(_written(value))}" for name, value in pairs if value is not None)


def check_visitor_code(code: object) -> None:
    """
    Refuse a visitor code that the service cannot take.

    Raises:
        ValueError: *code* is empty, longer than 255 characters, or not text.
    """
    if code is not None and (not isinstance(code, str) or not 1 <= len(code) <= 255):
        shown = repr(code)[:40]
        raise ValueError(f"a visitor code is 1 to 255 characters of text, not {shown}")


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value!r} cannot be sent")
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return str(value)


def conversion(
    goal_id: int,
    *,
    visitor_code: str | None = None,
    revenue: float = 0.0,
    negative: bool = False,
    metadata: Mapping[int, Sequence[str]] | None = None,
    nonce: str | None = None,
) -> Event:
    """
    A goal was reached.

    Args:
        goal_id: The goal.
        visitor_code: By whom.
        revenue: In the site's currency.
        negative: The conversion is taken back.
        metadata: ``{custom data index: values}``.
        nonce: By default a new one.

    Raises:
        ValueError: A value cannot be sent, or *metadata* has one text where several belong.
    """
    parameters: dict[str, Any] = {"goalId": goal_id, "revenue": float(revenue), "negative": negative}
    if metadata is not None:
        if any(isinstance(values, str) for values in metadata.values()):
            raise ValueError("the values of each custom data in metadata are a list of texts, not one text")
        parameters["metadata"] = {str(index): list(values) for index, values in metadata.items()}
    return Event("conversion", parameters, visitor_code, nonce or new_nonce())


def custom_data(
    index: int,
    *values: str,
    visitor_code: str | None = None,
    overwrite: bool = True,
    mapping_identifier: bool = False,
) -> Event:
    """
    Values of one custom data.

    Args:
        index: Its index.
        values: The values.
        visitor_code: Whose.
        overwrite: Values held so far are replaced rather than added to (effect assumed).
        mapping_identifier: The value links the visitor's devices.
    """
    parameters: dict[str, Any] = {
        "index": index,
        "valuesCountMap": dict.fromkeys(values, 1),
        "overwrite": overwrite,
        "mappingIdentifier": True if mapping_identifier else None,
    }
    return Event("customData", parameters, visitor_code)


def page(
    href: str, *, title: str | None = None, referrers: Sequence[int] | None = None, visitor_code: str | None = None
) -> Event:
    """A page was seen. *referrers* are indices of the site's referrers."""
    parameters = {"href": href, "title": title, "referrersIndices": None if referrers is None else list(referrers)}
    return Event("page", parameters, visitor_code)


def experiment(experiment_id: int, variation_id: int, *, visitor_code: str | None = None) -> Event:
    """The visitor was given a variation of an experiment."""
    return Event("experiment", {"id": experiment_id, "variationId": variation_id}, visitor_code)


def geolocation(
    *,
    country: str | None = None,
    region: str | None = None,
    city: str | None = None,
    postal_code: str | None = None,
    latitude: float | None = None,
    longitude: float | None = None,
    visitor_code: str | None = None,
) -> Event:
    """Where the visitor is; degrees for the coordinates."""
    parameters = {
        "country": country,
        "region": region,
        "city": city,
        "postalCode": postal_code,
        "latitude": latitude,
        "longitude": longitude,
    }
    return Event("geolocation", parameters, visitor_code)


def targeting_segment(segment_id: int, *, visitor_code: str | None = None) -> Event:
    """The visitor is in a segment."""
    return Event("targetingSegment", {"id": segment_id}, visitor_code)


def activity(*, visitor_code: str | None = None) -> Event:
    """The visitor is still there."""
    return Event("activity", {}, visitor_code)

"""
Tracking bodies to events: one event per line, ``name=value`` pairs joined by ``&``, or a JSON array of the same names.

A line that makes no sense is refused with a reason and the others are kept, as the service answers before it reads the body.

Source:
    network.md, section 5; data-api.md, section 6.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_LINE_CHARACTERS = 64 * 1024
MAX_PARAMETERS = 64
MAX_EVENTS = 100_000
MAX_CODE_CHARACTERS = 255

_TYPES = {
    name.lower(): name
    for name in (
        *("staticData", "page", "conversion", "customData", "geolocation"),
        *("experiment", "personalization", "targetingSegment", "activity"),
    )
}
_COMMON = {"nonce", "eventType", "visitorCode", "mappingValue", "userAgent", "time"}
_PLACE = {"country", "region", "city"}
NONCE = re.compile(r"[0-9A-Fa-f]{16}")
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BOT = re.compile(r"bot|spider|crawler", re.IGNORECASE)
_MAX_REVENUE = 1e15


@dataclass(frozen=True, slots=True)
class Exposure:
    """A visitor got a variation of an experiment (`eventType` ``experiment``)."""

    experiment_id: int
    variation_id: int


@dataclass(frozen=True, slots=True)
class Conversion:
    """
    A visitor did what a goal counts.

    Attributes:
        revenue: Signed: a negative conversion takes its revenue back.
    """

    goal_id: int
    revenue: float


@dataclass(frozen=True, slots=True)
class Link:
    """A visitor is known under another identifier: custom data with ``mappingIdentifier=true``."""

    identifier: str


@dataclass(frozen=True, slots=True)
class Event:
    """
    One line.

    Attributes:
        nonce: 16 upper-case hexadecimal digits; the same for every attempt to send the line.
        type: The service's spelling of the event type; of an unknown type, as it came.
        visitor: The visitor code, or the identifier of a visitor known by *mapped*.
        mapped: *visitor* came as ``mappingValue``.
        parameters: The line's own parameters as text, without those every line has.
        fact: What results are counted from, when the line is of such a kind.
        time_ms: When it happened, if the line says so. Only tests do.
        is_bot: Kept, but not counted in results.
    """

    nonce: str
    type: str
    visitor: str
    mapped: bool
    parameters: Mapping[str, str]
    fact: Exposure | Conversion | Link | None = None
    time_ms: int | None = None
    user_agent: str | None = None
    is_bot: bool = False


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not taken. Attributes: `number` counts from 1 in the body."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Body:
    """
    What a request carried.

    Attributes:
        events: In the order of the body.
        refused: Lines that make no sense.
    """

    events: tuple[Event, ...]
    refused: tuple[RefusedLine, ...]

    @property
    def received(self) -> int:
        """How many lines there were, good and bad."""
        return len(self.events) + len(self.refused)


class _Nonsense(Exception):
    """A line is refused; the text says why."""


def parse_lines(
    body: str, *, visitor_code: str | None = None, mapping_value: str | None = None, user_agent: str | None = None
) -> Body:
    """
    Read the line format.

    Args:
        body: Lines separated by LF or CRLF; blank ones are skipped. Bounded by whoever received it.
        visitor_code: Visitor of all events; one that a line names is then ignored.
        mapping_value: Identifier of the visitor of all events, likewise, unless there is a visitor code for all.
        user_agent: The request's, for visitors whose lines have none.

    Returns:
        Events and refused lines; never raises for what a body contains.
    """
    numbered = ((number, line.rstrip("\r")) for number, line in enumerate(body.split("\n"), start=1))
    return _read(
        ((number, line) for number, line in numbered if line), _split, _common(visitor_code, mapping_value), user_agent
    )


def parse_json(
    body: str, *, visitor_code: str | None = None, mapping_value: str | None = None, user_agent: str | None = None
) -> Body:
    """
    Read the JSON format: an array of objects with the parameters' names; see `parse_lines`. A body that is no such array is one
    refused line.
    """
    try:
        members = json.loads(body)
    except (ValueError, RecursionError) as error:
        return Body((), (RefusedLine(1, f"not JSON: {error}"),))
    if not isinstance(members, list):
        return Body((), (RefusedLine(1, "not a JSON array"),))
    return _read(enumerate(members, start=1), _flatten, _common(visitor_code, mapping_value), user_agent)


def is_bot(user_agent: str | None) -> bool:
    """Whether events of this user agent are left out of results. Source: data-api.md, section 1."""
    return user_agent is not None and (user_agent == "curl/8.0" or _BOT.search(user_agent) is not None)


def _common(visitor_code: str | None, mapping_value: str | None) -> dict[str, str]:
    """What stands in place of the codes of every line."""
    if visitor_code:
        return {"visitorCode": visitor_code}
    return {"mappingValue": mapping_value} if mapping_value else {}


def _read(numbered: Iterable[tuple[int, Any]], split: Any, common: Mapping[str, str], user_agent: str | None) -> Body:
    events: list[Event] = []
    refused: list[RefusedLine] = []
    agents: dict[tuple[bool, str], str] = {}
    for number, line in numbered:
        if len(events) >= MAX_EVENTS:
            refused.append(RefusedLine(number, f"more than {MAX_EVENTS} events in one body"))
            continue
        try:
            event = _event(split(line), common)
        except _Nonsense as error:
            refused.append(RefusedLine(number, str(error)))
            continue
        if event.user_agent:
            agents.setdefault((event.mapped, event.visitor), event.user_agent)
        events.append(event)
    # The user agent stands on a visitor's first line only and holds for all of that visitor's lines in the body.
    return Body(
        tuple(
            replace(event, user_agent=agent, is_bot=is_bot(agent))
            if (agent := agents.get((event.mapped, event.visitor), user_agent))
            else event
            for event in events
        ),
        tuple(refused),
    )


def _split(line: str) -> dict[str, str]:
    if len(line) > MAX_LINE_CHARACTERS:
        raise _Nonsense(f"longer than {MAX_LINE_CHARACTERS} characters")
    pairs = line.split("&")
    if len(pairs) > MAX_PARAMETERS:
        raise _Nonsense(f"more than {MAX_PARAMETERS} parameters")
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise _Nonsense("not name=value pairs")
        if name in found:
            raise _Nonsense(f"{name} is there twice")
        if "%" in value:
            if _BROKEN_PERCENT.search(value):
                raise _Nonsense(f"{name} has a broken percent sequence")
            try:
                value = unquote(value, errors="strict")
            except UnicodeDecodeError:
                raise _Nonsense(f"{name} is not UTF-8") from None
        found[name] = value
    return found


def _flatten(member: Any) -> dict[str, str]:
    if not isinstance(member, dict) or len(member) > MAX_PARAMETERS:
        raise _Nonsense("not an object with parameters")
    found: dict[str, str] = {}
    for name, value in member.items():
        match value:
            case None:
                continue
            case bool():
                text = "true" if value else "false"
            case str():
                text = value
            case int() | float():
                text = str(value)
            case _:
                text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Nonsense(f"{name} is not UTF-8") from None
        if len(text) > MAX_LINE_CHARACTERS:
            raise _Nonsense(f"{name} is longer than {MAX_LINE_CHARACTERS} characters")
        found[name] = text
    return found


def _event(line: Mapping[str, str], common: Mapping[str, str]) -> Event:
    nonce = line.get("nonce", "")
    if not NONCE.fullmatch(nonce):
        raise _Nonsense("nonce is missing" if not nonce else "nonce is not 16 hexadecimal digits")
    given_type = line.get("eventType", "")
    if not given_type or len(given_type) > MAX_CODE_CHARACTERS:
        raise _Nonsense("eventType is missing")
    codes = common or line
    mapped = not codes.get("visitorCode")
    visitor = codes.get("visitorCode") or codes.get("mappingValue")
    if not visitor:
        raise _Nonsense("neither visitorCode nor mappingValue")
    if len(visitor) > MAX_CODE_CHARACTERS:
        raise _Nonsense(f"visitor code longer than {MAX_CODE_CHARACTERS} characters")
    event_type = _TYPES.get(given_type.lower(), given_type)
    if event_type == "staticData" and not _PLACE.isdisjoint(line):
        # SDKs up to 3.4.0 tell of a place in this way. Source: network.md, section 5.2.
        event_type = "geolocation"
    return Event(
        nonce=nonce.upper(),
        type=event_type,
        visitor=visitor,
        mapped=mapped,
        parameters={name: value for name, value in line.items() if name not in _COMMON},
        fact=read_fact(event_type, line),
        time_ms=_integer(line, "time") if "time" in line else None,
        user_agent=line.get("userAgent"),
    )


def read_fact(event_type: str, line: Mapping[str, str]) -> Exposure | Conversion | Link | None:
    """What results are counted from; *line* may be the parameters of a stored event, which was read before."""
    match event_type:
        case "experiment":
            return Exposure(_integer(line, "id"), _integer(line, "variationId"))
        case "conversion":
            revenue = _decimal(line, "revenue")
            return Conversion(_integer(line, "goalId"), -revenue if _truth(line, "negative") else revenue)
        case "customData" if _truth(line, "mappingIdentifier"):
            values = _object(line, "valuesCountMap")
            identifier = next(iter(values), "")
            return Link(identifier) if 0 < len(identifier) <= MAX_CODE_CHARACTERS else None
        case "customData":
            _integer(line, "index")
            _object(line, "valuesCountMap")
    return None


def _integer(line: Mapping[str, str], name: str) -> int:
    text = line.get(name, "")
    if not _INTEGER.fullmatch(text):
        raise _Nonsense(f"{name} is missing" if not text else f"{name} is no whole number")
    return int(text)


def _decimal(line: Mapping[str, str], name: str) -> float:
    text = line.get(name, "0")
    value = float(text) if _DECIMAL.fullmatch(text) else math.nan
    if not abs(value) <= _MAX_REVENUE:
        raise _Nonsense(f"{name} is no number up to {_MAX_REVENUE:g}")
    return value


def _truth(line: Mapping[str, str], name: str) -> bool:
    text = line.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise _Nonsense(f"{name} is neither true nor false")
    return text == "true"


def _object(line: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        value = json.loads(line.get(name, ""))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _Nonsense(f"{name} is no JSON object")
    return value

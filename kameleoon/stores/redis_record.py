"""
A visitor's record as fields of a Redis hash, and back.

One field an item, so that two workers that add different things to one visitor do not undo each other's work. What is unsent is told by
marks beside the items: whoever removes a mark has claimed the item. A mark's value is the nonce of the item's line, so that an item
that two workers send, because an answer of Redis was lost, is one to the service.

    t  mi co ua de br os ge av ck fo si he sc vi ma     what there is one of
    c:<index>  p:<URL>  a:<experiment>  z:<personalization>  s:<segment>  x:<token>     what there are several of
    !<kind>:<key>   !a:<experiment>                     unsent
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, cast

from kameleoon._visitor.nonces import make_nonce
from kameleoon._visitor.plain import (
    SINGLE,
    of_conversion,
    of_custom_data,
    of_page_visit,
    to_conversion,
    to_custom_data,
    to_page_visit,
)
from kameleoon._visitor.record import Assignment, Converted, Kind, Personalized, VisitorRecord

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from kameleoon._visitor.nonces import ItemKey, Nonces

MARK = "!"
"""What the names of marks begin with."""

NOT_HANDED_ON = frozenset({"t", "mi", "ma", "si"})
"""Fields of a record that belong to its own codes, whomever they are linked to."""

_MARK_OF_ASSIGNMENT = "!a:"

_SINGLE = {
    "mi": "mapping_identifier",
    "co": "consent",
    "ua": "user_agent",
    "de": "device",
    "br": "browser",
    "os": "operating_system",
    "ge": "geolocation",
    "av": "application_version",
    "ck": "cookie",
    "fo": "forced",
    "si": "simulated",
    "he": "heat",
    "sc": "scores",
    "vi": "visits",
    "ma": "mapped",
}
"""Fields of what there is one of, and the attributes they hold."""

_BENDING = ("mapping_identifier", "consent", "forced", "simulated", "scores")


def fields_of_assignment(experiment_id: int, given: Assignment) -> dict[str, str | None]:
    """The fields of one assignment, ``None`` for a mark that is not there. A mark is always a new one."""
    return {
        f"a:{experiment_id}": _dump([given.variation_id, given.is_delivery, given.time_ms]),
        f"{_MARK_OF_ASSIGNMENT}{experiment_id}": make_nonce() if given.unsent else None,
    }


def new_token() -> str:
    """A name for a conversion: no other process makes the same, and later ones sort later."""
    return f"{time.time_ns():020d}{os.urandom(4).hex()}"


def encode_record(record: VisitorRecord, tokens: list[str], marks: Mapping[str, str]) -> dict[str, str]:
    """
    The fields of *record*.

    Args:
        record: What to write down.
        tokens: Names of its conversions, in their order; those of new ones are added.
        marks: The marks there were, which keep their values.
    """
    fields = {"t": _dump(record.started_ms)}
    for name, attribute in _SINGLE.items():
        value = getattr(record, attribute)
        if value is not None:
            fields[name] = _dump(SINGLE[attribute][0](value))
    for index, datum in record.custom_data.items():
        fields[f"c:{index}"] = _dump(of_custom_data(datum))
    for url, visit in record.page_views.items():
        fields[f"p:{url}"] = _dump(of_page_visit(visit))
    while len(tokens) < len(record.conversions):
        tokens.append(new_token())
    for token, converted in zip(tokens, record.conversions, strict=True):
        fields[f"x:{token}"] = _dump(of_conversion(converted))
    unsent = {_mark(key, tokens) for key in record.unsent}
    for experiment_id, given in record.assignments.items():
        fields[f"a:{experiment_id}"] = _dump([given.variation_id, given.is_delivery, given.time_ms])
        if given.unsent:
            unsent.add(f"{_MARK_OF_ASSIGNMENT}{experiment_id}")
    for key, shown in record.personalizations.items():
        fields[f"z:{key}"] = _dump([shown.variation_id, shown.time_ms])
    for segment_id in record.segments:
        fields[f"s:{segment_id}"] = ""
    fields |= {mark: marks.get(mark) or make_nonce() for mark in unsent}
    return fields


def decode_record(fields: Mapping[str, str]) -> tuple[VisitorRecord, list[str]]:
    """The record that `encode_record` wrote, and its conversions' names. A field that cannot be read is left out."""
    record = VisitorRecord(0)
    conversions: list[tuple[str, Converted]] = []
    places: dict[str, int] = {}
    for name in sorted(fields, key=_order):
        try:
            _read_field(record, name, fields[name], conversions)
        except (ValueError, TypeError, KeyError, IndexError):
            continue
    for token, converted in conversions:
        places[token] = len(places)
        record.add_conversion(converted)
    for name in fields:
        if name.startswith(_MARK_OF_ASSIGNMENT):
            given = record.assignments.get(int(name.removeprefix(_MARK_OF_ASSIGNMENT)))
            if given is not None:
                given.unsent = True
        elif name.startswith(MARK):
            key = _key_of(name, places)
            if key is not None:
                record.mark_unsent(key)
    record.is_plain = all(getattr(record, attribute) is None for attribute in _BENDING)
    return record, list(places)


def nonces_of(fields: Mapping[str, str], tokens: list[str]) -> Nonces:
    """
    The nonces of what is unsent, as `Claim.nonces` has them.

    Args:
        fields: The record's fields.
        tokens: Names of its conversions, in their order.
    """
    places = {token: place for place, token in enumerate(tokens)}
    nonces: dict[ItemKey, str] = {}
    conversions: dict[int, str] = {}
    for name, nonce in fields.items():
        if name.startswith(_MARK_OF_ASSIGNMENT):
            nonces[None, int(name.removeprefix(_MARK_OF_ASSIGNMENT))] = nonce
        elif name.startswith(MARK) and (key := _key_of(name, places)) is not None:
            if key[0] == Kind.CONVERSION:
                conversions[cast("int", key[1])] = nonce
            else:
                nonces[key] = nonce
    for number, place in enumerate(sorted(conversions)):
        nonces[Kind.CONVERSION, number] = conversions[place]
    return nonces


def _order(name: str) -> tuple[str, int, str]:
    kind, _, key = name.partition(":")
    return kind, int(key) if key.isdigit() and kind != "x" and len(key) < 20 else 0, key


def _read_field(record: VisitorRecord, name: str, text: str, conversions: list[tuple[str, Converted]]) -> None:
    if name in _SINGLE:
        attribute = _SINGLE[name]
        setattr(record, attribute, SINGLE[attribute][1](json.loads(text)))
        return
    kind, _, key = name.partition(":")
    if name == "t":
        record.started_ms = int(text)
    elif kind == "c":
        record.keep_custom_data(to_custom_data(json.loads(text)))
    elif kind == "p":
        record.own("page_views")[key] = to_page_visit(key, json.loads(text))
    elif kind == "x":
        conversions.append((key, to_conversion(json.loads(text))))
    elif kind == "a":
        variation_id, is_delivery, time_ms = json.loads(text)
        record.give(Assignment(int(key), variation_id, is_delivery, time_ms, unsent=False))
    elif kind == "z":
        record.own("personalizations")[int(key)] = Personalized(int(key), *json.loads(text))
    elif kind == "s":
        record.own("segments")[int(key)] = None


def _mark(key: tuple[int, Hashable], tokens: list[str]) -> str:
    kind, item = key
    if kind == Kind.CONVERSION:
        item = tokens[cast("int", item)]
    return f"{MARK}{kind}:{'' if item is None else item}"


def _key_of(mark: str, places: Mapping[str, int]) -> tuple[int, Hashable] | None:
    number, _, text = mark.removeprefix(MARK).partition(":")
    kind = int(number)
    if kind == Kind.CONVERSION:
        return (kind, places[text]) if text in places else None
    if kind in {Kind.CUSTOM_DATA, Kind.SEGMENT}:
        return kind, int(text)
    return kind, text if kind == Kind.PAGE_VIEW else None


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))

"""Two codes turn out to be one visitor: what was known of either is known of both."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kameleoon._visitor.facts import new_conversions
from kameleoon._visitor.record import PageVisit

if TYPE_CHECKING:
    from kameleoon._visitor.record import VisitorRecord

_SINGLE = (
    "consent",
    "user_agent",
    "device",
    "browser",
    "operating_system",
    "geolocation",
    "application_version",
    "cookie",
    "heat",
    "scores",
    "visits",
)
"""Taken over where nothing is known. Who was mapped to whom, and what is simulated for one browser, is not handed on."""


def merge(record: VisitorRecord, other: VisitorRecord) -> None:
    """
    Add to *record* what *other* knows. What *record* knows itself stays, and what is added counts as sent.

    Views of a page are added up; conversions follow those there are. *other* is not changed.
    """
    for attribute in _SINGLE:
        if getattr(record, attribute) is None and (found := getattr(other, attribute)) is not None:
            setattr(record, attribute, found)
    for index, datum in other.custom_data.items():
        if index not in record.custom_data:
            record.keep_custom_data(datum)
    for url, visit in other.page_views.items():
        known = record.page_views.get(url)
        record.own("page_views")[url] = visit if known is None else _both(known, visit)
    for converted in list(new_conversions(record, other.conversions)):
        record.add_conversion(converted)
    for experiment_id, given in list(other.assignments.items()):
        if experiment_id not in record.assignments:
            record.give(replace(given, unsent=False, given=None))
    for key, shown in other.personalizations.items():
        record.own("personalizations").setdefault(key, shown)
    for segment_id in other.segments:
        record.own("segments").setdefault(segment_id)
    if other.forced:
        record.forced = {**other.forced, **(record.forced or {})}
    record.is_plain = record.is_plain and other.is_plain


def _both(known: PageVisit, other: PageVisit) -> PageVisit:
    latest = other.view if other.last_ms > known.last_ms else known.view
    return PageVisit(
        latest,
        known.views + other.views,
        max(known.last_ms, other.last_ms),
        known.remote_views + other.remote_views,
    )

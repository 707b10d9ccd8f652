"""What happened: events as they arrive, and the history of changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kameleoon.server.html import Html, h
from kameleoon.server.pages_layout import Surroundings, page, table, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kameleoon.server.project import Project
    from kameleoon.server.stored import Change, StoredEvent


def live_page(around: Surroundings, events: Sequence[StoredEvent]) -> str:
    """``/page/live``: events as they arrive."""
    rows = [
        h(
            "tr",
            h("td", cells[0], class_="time"),
            h("td", h("a", cells[1], href=around.link("/page/visitor", code=cells[1]))),
            h("td", cells[2]),
            h("td", cells[3], h("br") if cells[3] and cells[4] else None, h("code", cells[4], class_="quiet")),
        )
        for cells in (
            event_cells(around.project, event.time_ms, event.visitor, event.type, event.parameters) for event in events
        )
    ]
    titles = ["Time (UTC)", "Visitor", "Event", "What it says"]
    addresses = {
        "data_events": around.link("/page/live/events"),
        "data_visitor": around.link("/page/visitor", environment=""),
    }
    return page(
        around,
        "Live events",
        h("h1", "Live events"),
        h("p", "These are the last events, newest first.", id="live-state", role="status", class_="quiet"),
        h("section", table("Live events", titles, rows, id="live", class_="events", **addresses), class_="card"),
        h("p", "Nothing has arrived yet. Events show here when an SDK sends them.", id="live-none", class_="quiet")
        if not rows
        else None,
        current="/page/live",
    )


def event_cells(project: Project, time_ms: int, visitor: str, kind: str, parameters: Mapping[str, str]) -> list[str]:
    """An event as the live page shows it: time, visitor, type, what it says in the project's words, and its data."""
    data = ", ".join(f"{name}={value}" for name, value in parameters.items())
    data = data if len(data) <= 300 else f"{data[:300]}…"
    return [time_text(time_ms), visitor, kind, event_words(project, kind, parameters), data]


def event_words(project: Project, kind: str, parameters: Mapping[str, Any]) -> str:
    """What an event says, with names where it has ids; empty when the project does not know them. Parameters may be typed or text."""
    number = str(parameters.get("id") or parameters.get("goalId") or "")
    match kind:
        case "experiment":
            for flag in project.flags:
                for _, rule in flag.all_rules():
                    if str(rule.experiment_id) == number:
                        given = str(parameters.get("variationId"))
                        shares = {str(share.variation_id): share.variation_key for share in rule.shares}
                        return f"{flag.key}, rule {rule.key}: {shares.get(given, 'a variation it does not have')}"
        case "conversion":
            revenue = parameters.get("revenue", "0")
            for goal in project.goals:
                if str(goal.id) == number:
                    taken_back = "taken back, " if parameters.get("negative") in {"true", True} else ""
                    return f"{goal.name or goal.key}: {taken_back}revenue {revenue}"
        case "targetingSegment":
            for segment in project.segments:
                if str(segment.id) == number:
                    return f"in segment {segment.name or segment.key}"
        case "customData":
            for datum in project.custom_data:
                if str(datum.index) == str(parameters.get("index")):
                    return f"{datum.name}: {', '.join(_keys(parameters.get('valuesCountMap', '')))}"
    return ""


def _keys(values: object) -> list[str]:
    found = values
    if isinstance(values, str):
        try:
            found = json.loads(values)
        except (ValueError, RecursionError):
            found = None
    return [str(key) for key in found] if isinstance(found, dict) else []


def history_page(around: Surroundings, changes: Sequence[Change]) -> str:
    """``/page/history``: all changes."""
    return page(
        around, "History", h("h1", "History"), history_card(around, changes, with_flag=True), current="/page/history"
    )


def history_card(around: Surroundings, changes: Sequence[Change], *, with_flag: bool = False) -> Html:
    """A table of changes, newest first; *with_flag* says of each which flag it concerns."""
    rows = [
        h(
            "tr",
            h("td", time_text(change.time_ms), class_="time"),
            h("td", h("a", change.flag, href=around.link("/page/flag", key=change.flag)) if change.flag else "project")
            if with_flag
            else None,
            h("td", change.said),
            h("td", change.author, class_="quiet"),
        )
        for change in changes
    ]
    titles = ["Time (UTC)", *(["Flag"] if with_flag else []), "Change", "By"]
    return h(
        "section",
        h("h2", "History of changes"),
        table("History of changes", titles, rows, class_="events")
        if rows
        else h("p", "Nothing was changed yet.", class_="quiet"),
        class_="card",
    )

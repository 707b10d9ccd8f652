"""What happened: events as they arrive, and the history of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon.server.html import Html, h
from kameleoon.server.pages_layout import Surroundings, page, time_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kameleoon.server.stored import Change, StoredEvent


def live_page(around: Surroundings, events: Sequence[StoredEvent]) -> str:
    """``/page/live``: events as they arrive."""
    rows = [
        h("tr", [h("td", cell) for cell in cells[:3]], h("td", h("code", cells[3])))
        for cells in (event_cells(event.time_ms, event.visitor, event.type, event.parameters) for event in events)
    ]
    head = h("tr", [h("th", name, scope="col") for name in ("Time (UTC)", "Visitor", "Event", "Data")])
    return page(
        around,
        "Live events",
        h("h1", "Live events"),
        h("p", "These are the last events.", id="live-state", role="status", class_="quiet"),
        h(
            "section",
            h(
                "div",
                h("table", h("thead", head), h("tbody", rows), id="live", data_events=around.link("/page/live/events")),
                class_="scroll",
            ),
            class_="card",
        ),
        current="/page/live",
    )


def event_cells(time_ms: int, visitor: str, kind: str, parameters: Mapping[str, str]) -> list[str]:
    """An event as the live page shows it: time, visitor, type, data."""
    data = ", ".join(f"{name}={value}" for name, value in parameters.items())
    return [time_text(time_ms), visitor, kind, data if len(data) <= 300 else f"{data[:300]}…"]


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
            h("td", time_text(change.time_ms), class_="quiet"),
            h("td", h("a", change.flag, href=around.link("/page/flag", key=change.flag)) if change.flag else "project")
            if with_flag
            else None,
            h("td", change.said),
            h("td", change.author, class_="quiet"),
        )
        for change in changes
    ]
    titles = ["Time (UTC)", *(["Flag"] if with_flag else []), "Change", "By"]
    head = h("tr", [h("th", title, scope="col") for title in titles])
    table = h("div", h("table", h("thead", head), h("tbody", rows)), class_="scroll")
    return h(
        "section",
        h("h2", "History of changes"),
        table if rows else h("p", "Nothing was changed yet.", class_="quiet"),
        class_="card",
    )

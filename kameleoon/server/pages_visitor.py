"""The page of one visitor: visits and data, what every flag gives, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon.server.html import Html, h
from kameleoon.server.pages_events import event_words
from kameleoon.server.pages_layout import Surroundings, page, shown, table, time_text
from kameleoon.types.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kameleoon._engine.choice import Choice
    from kameleoon.server.decisions import Step
    from kameleoon.server.project import Flag, Project


REASONS = {
    Reason.SPLIT: "a share of an experiment's visitors",
    Reason.TARGETING_MATCH: "a rule for these visitors, or a variation forced for one",
    Reason.DEFAULT: "no rule caught the visitor",
    Reason.DISABLED: "off in this environment, or blocked by the visitor's refusal",
    Reason.STALE: "decided on a configuration known to be old",
    Reason.ERROR: "the flag could not be evaluated",
}
"""What OpenFeature's words mean, for people."""


def visitor_page(
    around: Surroundings,
    code: str,
    visits: Mapping[str, Any] | None,
    last: Sequence[str],
    decisions: Sequence[tuple[Flag, Choice]],
    explained: tuple[Flag, str, Choice, Sequence[Step]] | None,
    environment: str,
) -> str:
    """``/page/visitor``: visits and data of a visitor, what every flag gives and, for one flag, why."""
    parts: list[Html | None] = [
        h("h1", f"Visitor {code}" if code else "Visitors"),
        h(
            "form",
            h("label", "Visitor code", h("input", type="text", name="code", value=code, maxlength=255, required=True)),
            h(
                "label",
                "Environment",
                h(
                    "select",
                    [
                        h("option", name, value=name, selected=name == environment)
                        for name in around.project.environments
                    ],
                    name="environment",
                ),
            ),
            h("input", type="hidden", name="site", value=around.site) if around.site else None,
            h("button", "Show", type="submit", class_="main"),
            action="/page/visitor",
            class_="row card",
        ),
    ]
    if not code:
        links = [h("li", h("a", name, href=around.link("/page/visitor", code=name))) for name in last]
        parts.append(
            h(
                "section",
                h("h2", "Seen last"),
                h("ul", links) if links else h("p", "No events have arrived yet.", class_="quiet"),
                class_="card",
            )
        )
        return page(around, "Visitors", parts, current="/page/visitor")
    if explained is not None:
        flag, where, choice, steps = explained
        parts.append(
            h(
                "section",
                h("h2", f"Why {flag.name or flag.key} gives {choice.variation_key} in {where}"),
                h("p", h("code", str(choice.reason)), ": ", REASONS[choice.reason], "."),
                _tree(steps),
                class_="card",
                id="why",
            )
        )
    rows = [
        h(
            "tr",
            h("th", h("a", flag.name or flag.key, href=around.link("/page/flag", key=flag.key)), scope="row"),
            h("td", h("code", choice.variation_key)),
            h("td", h("code", str(choice.reason)), h("br"), h("span", REASONS[choice.reason], class_="quiet")),
            h(
                "td",
                h(
                    "a",
                    "why?",
                    href=around.link("/page/visitor", code=code, environment=environment, flag=flag.key) + "#why",
                    aria_label=f"Why {flag.name or flag.key} gives {choice.variation_key}",
                ),
            ),
        )
        for flag, choice in decisions
    ]
    parts.append(
        h(
            "section",
            h("h2", "What the visitor gets"),
            h(
                "p",
                f"As an SDK in {environment} decides that has fetched this visitor's data (get_remote_visitor_data).",
                class_="quiet",
            ),
            table("What the visitor gets", ["Flag", "Variation", "Reason", "Explanation"], rows, class_="events"),
            class_="card",
        )
    )
    parts.append(_visits(around.project, visits or {}))
    return page(around, f"Visitor {code}", parts, current="/page/visitor")


def _visits(project: Project, visits: Mapping[str, Any]) -> Html:
    found = [visit for visit in (visits.get("currentVisit"), *visits.get("previousVisits", ())) if visit]
    parts = []
    for number, visit in enumerate(found):
        rows = [
            (name.removesuffix("Events").removesuffix("Event"), event["time"], event["data"])
            for name, events in visit.items()
            if name.endswith(("Events", "Event"))
            for event in (events if isinstance(events, list) else [events])
            if isinstance(event, dict)
        ]
        rows.sort(key=lambda row: row[1])
        state = "now" if number == 0 and visits.get("currentVisit") else time_text(visit["timeStarted"])
        parts.append(
            h(
                "details",
                h("summary", f"Visit {state}: {len(rows)} events until {time_text(visit['timeLastEvent'])}"),
                table(
                    f"Events of the visit {state}",
                    ["Time (UTC)", "Event", "What it says"],
                    [
                        h(
                            "tr",
                            h("td", time_text(time_ms), class_="time"),
                            h("td", kind),
                            h(
                                "td",
                                words := event_words(project, kind, data),
                                h("br") if words else None,
                                h("code", shown(data), class_="quiet") if data else None,
                            ),
                        )
                        for kind, time_ms, data in rows
                    ],
                    class_="events",
                ),
                open=number == 0,
            )
        )
    return h(
        "section",
        h("h2", "Visits and data"),
        parts or h("p", "Nothing is known of this visitor.", class_="quiet"),
        class_="card",
    )


def _tree(steps: Sequence[Step]) -> Html:
    return h("ul", [_step(step) for step in steps], class_="tree")


def _step(step: Step) -> Html:
    mark, said, kind = {True: ("✓", "yes", "yes"), False: ("✗", "no", "no"), None: ("·", "", "")}[step.outcome]
    return h(
        "li",
        h("span", mark, class_=f"mark {kind}", aria_hidden="true"),
        h("span", step.said),
        h("span", f": {said}", class_="quiet") if said else None,
        h("ul", [_step(inner) for inner in step.steps]) if step.steps else None,
    )

"""The first page: all flags with state, traffic and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kameleoon.server.differences import percent
from kameleoon.server.html import Html, h
from kameleoon.server.pages_layout import Surroundings, page, state, table
from kameleoon.server.project import ACTIVE, RuleType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kameleoon.server.project import Flag
    from kameleoon.server.results import Results


def overview(around: Surroundings, results: Results, counters: Mapping[str, int]) -> str:
    """``/``: all flags with state and traffic."""
    project = around.project
    rows = [
        h(
            "tr",
            h(
                "th",
                h("a", flag.name or flag.key, href=around.link("/page/flag", key=flag.key)),
                h("br") if flag.name else None,
                h("code", flag.key, class_="quiet") if flag.name else None,
                scope="row",
            ),
            [h("td", state(name in flag.enabled_in)) for name in project.environments],
            h("td", f"{sum(rule.visitors for rule in shown.rules):,}", class_="n"),
            h("td", _summary(around, flag)),
        )
        for flag, shown in zip(project.flags, results.flags, strict=True)
    ]
    head: list[str | tuple[str, str]] = ["Flag", *project.environments, ("Visitors", "n"), "Rules"]
    # What arrived is counted for the server as a whole, and says so where it has several sites.
    of_all = " of all sites" if len(around.sites) > 1 else ""
    tiles = (
        ("flags", len(project.flags)),
        (f"events stored{of_all}", counters["stored"]),
        ("of bots", counters["bots"]),
        ("duplicates", counters["duplicates"]),
        ("lines refused", counters["refused"]),
    )
    nothing = h("p", "The project has no flags yet. Write them into the project file, or make them through the API.")
    return page(
        around,
        "Flags",
        h("h1", "Flags"),
        h(
            "ul",
            [h("li", h("strong", f"{number:,}"), " ", name, class_="tile") for name, number in tiles],
            class_="tiles",
            aria_label="This server" if len(around.sites) > 1 else "So far",
        ),
        h("section", table("Flags", head, rows) if rows else nothing, class_="card"),
        current="/",
    )


def _summary(around: Surroundings, flag: Flag) -> Html | str:
    rules = [(environment, rule) for environment, rule in flag.all_rules()]
    if not rules:
        return h("span", f"everybody gets {flag.default_variation}", class_="quiet")
    return h(
        "span",
        [
            [
                h("br") if number else None,
                h(
                    "a" if rule.type is RuleType.EXPERIMENT else "span",
                    rule.key,
                    href=around.link("/page/experiment", flag=flag.key, environment=environment, rule=rule.key)
                    if rule.type is RuleType.EXPERIMENT
                    else None,
                ),
                f" {percent(rule.exposition)}",
                f" of {rule.segment_key}" if rule.segment_key else None,
                f" in {environment}" if environment else None,
                f" ({rule_state})" if (rule_state := rule.state(around.at_ms)) != ACTIVE else None,
            ]
            for number, (environment, rule) in enumerate(rules)
        ],
    )

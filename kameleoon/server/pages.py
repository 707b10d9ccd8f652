"""
The pages for people: flags, one flag, one experiment, a visitor, live events. Each is a function from what is known to HTML.

Everything works without a script; `assets/page.js` adds what cannot be had otherwise, such as live events.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from kameleoon.server.charts import (
    Bar,
    Line,
    interval_words,
    share_bar,
    signed,
    time_plot,
    uplift_plot,
)
from kameleoon.server.conditions_out import segment_words
from kameleoon.server.differences import percent
from kameleoon.server.forecast import forecast
from kameleoon.server.guard import FORM_FIELD
from kameleoon.server.html import Html, document, h
from kameleoon.server.project import Joined, RuleType
from kameleoon.server.statistics import Rate, sequential_uplift

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kameleoon._engine.choice import Choice
    from kameleoon.server.decisions import Step
    from kameleoon.server.project import Flag, Project, Rule, Segment
    from kameleoon.server.project_file import ProjectError
    from kameleoon.server.results import GoalResult, Results, RuleResult, VariationResult
    from kameleoon.server.storage import Change, Moment, StoredEvent

_DASH = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What every page needs.

    Attributes:
        secret: Goes into every form.
        url: The server's own URL, for code to copy.
        file_error: What is wrong with the project file as it was last saved.
        message: What the last form did, in words.
    """

    project: Project
    secret: str
    url: str
    file_error: ProjectError | None = None
    message: str | None = None


def link(path: str, **query: str | None) -> str:
    """A path of this server with a query; None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def overview(around: Surroundings, results: Results, counters: Mapping[str, int]) -> str:
    """``/``: all flags with state and traffic."""
    project = around.project
    rows = [
        h(
            "tr",
            h(
                "th",
                h("a", flag.name or flag.key, href=link("/page/flag", key=flag.key)),
                h("br") if flag.name else None,
                h("code", flag.key, class_="quiet") if flag.name else None,
                scope="row",
            ),
            [h("td", _state(name in flag.enabled_in)) for name in project.environments],
            h("td", f"{sum(rule.visitors for rule in shown.rules):,}", class_="n"),
            h("td", _summary(flag)),
        )
        for flag, shown in zip(project.flags, results.flags, strict=True)
    ]
    head = h(
        "tr",
        h("th", "Flag", scope="col"),
        [h("th", name, scope="col") for name in project.environments],
        h("th", "Visitors", class_="n", scope="col"),
        h("th", "Rules", scope="col"),
    )
    table = h(
        "div",
        h("table", h("thead", head), h("tbody", rows)),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label="Flags",
    )
    return _page(
        around,
        "Flags",
        h("h1", "Flags"),
        h(
            "p",
            f"{counters['stored']:,} events stored, {counters['duplicates']:,} duplicates, {counters['refused']:,} lines refused,"
            f" {counters['bots']:,} of bots.",
            class_="quiet",
        ),
        h("section", table if rows else h("p", "The project has no flags yet."), class_="card"),
        current="/",
    )


def flag_page(around: Surroundings, flag: Flag, results: Results, changes: Sequence[Change]) -> str:
    """``/page/flag``: one flag with all that can be changed."""
    project = around.project
    shown = results.flag(flag.key)
    visitors = {(rule.environment, rule.key): rule.visitors for rule in shown.rules}
    lists = []
    for environment, rules in flag.rule_lists():
        others = [name for name in project.environments if name not in flag.own or flag.own[name].rules is None]
        if environment is None and not others:
            continue
        where = f"in {environment} alone" if environment else f"in {', '.join(others)}"
        lists.append(
            h(
                "section",
                h("h2", f"Rules {where}"),
                h("p", "The first rule that exposes a visitor decides.", class_="quiet") if len(rules) > 1 else None,
                [_rule(around, flag, environment, rule, visitors[environment, rule.key]) for rule in rules],
                h("p", "No rule: everybody gets the default.") if not rules else None,
                h("p", "Everybody else gets ", h("code", flag.default_in(environment or others[0])), ".")
                if rules
                else None,
                class_="card",
            )
        )
    return _page(
        around,
        flag.name or flag.key,
        h("p", h("a", "Flags", href="/"), " /", class_="crumbs"),
        h("h1", flag.name or flag.key),
        h("p", h("code", flag.key), f", id {flag.id}", class_="quiet"),
        h(
            "section",
            h("h2", "Environments"),
            h("div", [_switch(around, flag, name) for name in project.environments], class_="switches"),
            class_="card",
        ),
        lists,
        _variations(flag),
        _code(around, flag),
        _history(changes),
    )


def experiment_page(
    around: Surroundings,
    flag: Flag,
    rule: Rule,
    result: RuleResult,
    goal_key: str,
    moments: Sequence[Moment],
    *,
    now_ms: int,
    confidence: float,
) -> str:
    """``/page/experiment``: results of one rule by one goal."""
    project = around.project
    goals = [
        h(
            "li",
            h(
                "a",
                goal.name or goal.key,
                href=link(
                    "/page/experiment", flag=flag.key, environment=result.environment, rule=rule.key, goal=goal.key
                ),
                aria_current="page" if goal.key == goal_key else None,
            ),
        )
        for goal in project.goals
    ]
    body: list[Html | None] = [_ratio_words(result)]
    if not goal_key:
        body.append(h("p", "The project has no goals, so there is nothing to compare.", class_="note"))
    else:
        body += _goal_parts(result, goal_key, moments, now_ms=now_ms, confidence=confidence)
    return _page(
        around,
        f"{rule.key} of {flag.name or flag.key}",
        h(
            "p",
            h("a", "Flags", href="/"),
            " / ",
            h("a", flag.name or flag.key, href=link("/page/flag", key=flag.key)),
            " /",
            class_="crumbs",
        ),
        h("h1", f"Rule {rule.key}"),
        h(
            "p",
            _rule_sentence(project, rule),
            f" {result.visitors:,} visitors so far.",
            f" In {result.environment} alone." if result.environment else None,
            class_="quiet",
        ),
        h("nav", h("ul", goals), aria_label="Goals") if goals else None,
        body,
    )


def _goal_parts(
    result: RuleResult, goal_key: str, moments: Sequence[Moment], *, now_ms: int, confidence: float
) -> list[Html | None]:
    others = [variation for variation in result.variations if not variation.is_reference]
    reference = next(variation for variation in result.variations if variation.is_reference)
    bars = [
        Bar(variation.key, goal.uplift, goal.uplift_interval, goal.sequential_uplift_interval)
        for variation in others
        if (goal := variation.goal(goal_key)).uplift is not None
    ]
    lines = [_line(variation, reference, goal_key, moments, confidence) for variation in others]
    first_ms = moments[0].time_ms - 60_000 if moments else now_ms
    elapsed_s = max(1.0, (now_ms - first_ms) / 1000)
    plot, growth = uplift_plot(bars), time_plot(lines)
    nothing = h("p", "Not enough visitors yet.", class_="quiet")
    return [
        h(
            "section",
            h("h2", "What can be said"),
            [_verdict(variation, reference, goal_key, elapsed_s, confidence) for variation in others]
            if result.type is RuleType.EXPERIMENT
            else h("p", "A delivery compares nothing: all its visitors get the same."),
            class_="card",
        ),
        h("section", h("h2", "Results"), _results_table(result, goal_key), class_="card"),
        h(
            "section",
            h("h2", f"Change against {reference.key}"),
            h(
                "p",
                f"The dot is what was seen, the line its {confidence:.0%} interval for one look at the planned end, the band the"
                " interval that stays valid however often you look.",
                class_="quiet",
            ),
            plot or nothing,
            class_="card",
        )
        if others
        else None,
        h(
            "section",
            h("h2", "The always-valid interval over time"),
            h("p", "Once a band leaves out 0 the change is real, whenever you looked.", class_="quiet"),
            growth or nothing,
            class_="card",
        )
        if others
        else None,
    ]


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
            h("button", "Show", type="submit", class_="main"),
            action="/page/visitor",
            class_="row",
        ),
    ]
    if not code:
        links = [h("li", h("a", name, href=link("/page/visitor", code=name))) for name in last]
        parts.append(
            h(
                "section",
                h("h2", "Seen last"),
                h("ul", links) if links else h("p", "No events have arrived yet.", class_="quiet"),
                class_="card",
            )
        )
        return _page(around, "Visitors", parts, current="/page/visitor")
    if explained is not None:
        flag, where, choice, steps = explained
        parts.append(
            h(
                "section",
                h("h2", f"Why {flag.name or flag.key} gives {choice.variation_key} in {where}"),
                h("p", "Reason ", h("code", str(choice.reason)), "."),
                _tree(steps),
                class_="card",
                id="why",
            )
        )
    rows = [
        h(
            "tr",
            h("th", h("a", flag.name or flag.key, href=link("/page/flag", key=flag.key)), scope="row"),
            h("td", h("code", choice.variation_key)),
            h("td", str(choice.reason)),
            h(
                "td",
                h(
                    "a",
                    "why?",
                    href=link("/page/visitor", code=code, environment=environment, flag=flag.key) + "#why",
                    aria_label=f"Why {flag.name or flag.key} gives {choice.variation_key}",
                ),
            ),
        )
        for flag, choice in decisions
    ]
    head = h("tr", [h("th", name, scope="col") for name in ("Flag", "Variation", "Reason", "")])
    parts.append(
        h(
            "section",
            h("h2", "What the visitor gets"),
            h(
                "p",
                f"As an SDK in {environment} decides that has fetched this visitor's data (get_remote_visitor_data).",
                class_="quiet",
            ),
            h("div", h("table", h("thead", head), h("tbody", rows)), class_="scroll"),
            class_="card",
        )
    )
    parts.append(_visits(visits or {}))
    return _page(around, f"Visitor {code}", parts, current="/page/visitor")


def live_page(around: Surroundings, events: Sequence[StoredEvent]) -> str:
    """``/page/live``: events as they arrive."""
    rows = [
        h("tr", [h("td", cell) for cell in cells[:3]], h("td", h("code", cells[3])))
        for cells in (event_cells(event.time_ms, event.visitor, event.type, event.parameters) for event in events)
    ]
    head = h("tr", [h("th", name, scope="col") for name in ("Time (UTC)", "Visitor", "Event", "Data")])
    return _page(
        around,
        "Live events",
        h("h1", "Live events"),
        h("p", "These are the last events.", id="live-state", role="status", class_="quiet"),
        h(
            "section",
            h("div", h("table", h("thead", head), h("tbody", rows), id="live"), class_="scroll"),
            class_="card",
        ),
        current="/page/live",
    )


def history_page(around: Surroundings, changes: Sequence[Change]) -> str:
    """``/page/history``: all changes."""
    return _page(around, "History", h("h1", "History"), _history(changes, with_flag=True), current="/page/history")


def login_page(is_wrong: bool) -> str:
    """``/page/login``: asks for the token."""
    return document(
        "Kameleoon local server",
        h(
            "main",
            h("h1", "Kameleoon local server"),
            h("p", "This is not the server's token.", class_="note bad", role="alert") if is_wrong else None,
            h(
                "form",
                h(
                    "label",
                    "Token",
                    h("input", type="password", name="token", required=True, autocomplete="current-password"),
                ),
                h("button", "Open", type="submit", class_="main"),
                method="post",
                action="/page/login",
                class_="row card",
            ),
        ),
        head=_HEAD,
    )


def error_page(around: Surroundings, title: str, message: str) -> str:
    """What could not be done, and why."""
    return _page(around, title, h("h1", title), h("p", message, class_="note bad", role="alert"))


def event_cells(time_ms: int, visitor: str, kind: str, parameters: Mapping[str, str]) -> list[str]:
    """An event as the live page shows it: time, visitor, type, data."""
    data = ", ".join(f"{name}={value}" for name, value in parameters.items())
    return [_time(time_ms), visitor, kind, data if len(data) <= 300 else f"{data[:300]}…"]


_HEAD = (h("link", rel="stylesheet", href="/page/page.css"), h("script", src="/page/page.js", defer=True))
_PLACES = (("/", "Flags"), ("/page/visitor", "Visitors"), ("/page/live", "Live events"), ("/page/history", "History"))


def _page(around: Surroundings, title: str, *body: Any, current: str | None = None) -> str:
    project = around.project
    error = around.file_error
    return document(
        f"{title} · {project.name or project.site_code}",
        h("a", "Skip to the content", href="#content", class_="skip"),
        h(
            "header",
            h(
                "div",
                h("a", project.name or project.site_code, href="/", class_="site"),
                h("span", "site code ", h("code", project.site_code), class_="quiet"),
                h(
                    "nav",
                    h(
                        "ul",
                        [
                            h("li", h("a", name, href=path, aria_current="page" if path == current else None))
                            for path, name in _PLACES
                        ],
                    ),
                    aria_label="Pages",
                ),
            ),
        ),
        h(
            "main",
            h(
                "p",
                "The project was changed meanwhile. ",
                h("a", "Show it as it is now", href=""),
                class_="note",
                id="stale",
                hidden=True,
                role="status",
                data_site_code=project.site_code,
            ),
            h("p", around.message, class_="note good", role="status") if around.message else None,
            h(
                "div",
                h("strong", "The project file has mistakes; the version before is still served."),
                h("pre", str(error)),
                class_="note bad",
                role="alert",
            )
            if error
            else None,
            body,
            id="content",
        ),
        head=_HEAD,
    )


def _form(around: Surroundings, flag: Flag, action: str, fields: Mapping[str, str | None], *children: Any) -> Html:
    hidden = {FORM_FIELD: around.secret, "flag": flag.key, "action": action, **fields}
    return h(
        "form",
        [h("input", type="hidden", name=name, value=value) for name, value in hidden.items() if value is not None],
        children,
        method="post",
        action="/page/flag",
    )


def _switch(around: Surroundings, flag: Flag, environment: str) -> Html:
    is_on = environment in flag.enabled_in
    button = h(
        "button",
        h("span", class_="track", aria_hidden="true"),
        h(
            "span",
            h("strong", environment),
            f": {'on' if is_on else 'off'}, default ",
            h("code", flag.default_in(environment)),
        ),
        type="submit",
        role="switch",
        aria_checked="true" if is_on else "false",
        class_="switch",
    )
    return _form(around, flag, "switch", {"environment": environment, "on": "false" if is_on else "true"}, button)


def _rule(around: Surroundings, flag: Flag, environment: str | None, rule: Rule, visitors: int) -> Html:
    project = around.project
    place = {"environment": environment, "rule": rule.key}
    shares = [(share.variation_key, share.share) for share in rule.shares]
    segment = _segment_of(project, rule)
    name = f"exposition of {rule.key}"
    is_experiment = rule.type is RuleType.EXPERIMENT
    return h(
        "div",
        h(
            "div",
            h("h3", rule.key),
            _state(not rule.is_paused, "active", "paused"),
            h("span", f"{visitors:,} visitors", class_="quiet"),
            h(
                "a",
                "Results" if is_experiment else "Numbers",
                href=link("/page/experiment", flag=flag.key, environment=environment, rule=rule.key),
                aria_label=f"Results of {rule.key}",
            ),
            class_="row",
        ),
        h("p", _rule_sentence(project, rule)),
        _targeting(segment, project) if segment is not None else None,
        share_bar(shares) if is_experiment else None,
        h(
            "div",
            _form(
                around,
                flag,
                "exposition",
                place,
                h(
                    "div",
                    h(
                        "label",
                        "Exposition",
                        h(
                            "input",
                            type="range",
                            name="exposition",
                            min=0,
                            max=100,
                            step="any" if round(rule.exposition * 100, 6) % 1 else 1,
                            value=f"{rule.exposition * 100:.6g}",
                            aria_label=name,
                        ),
                    ),
                    h("output", percent(rule.exposition).replace("%", " %")),
                    h("button", "Save", type="submit", aria_label=f"Save the {name}"),
                    class_="row",
                ),
            ),
            _form(
                around,
                flag,
                "pause",
                {**place, "paused": "false" if rule.is_paused else "true"},
                h(
                    "button",
                    "Resume" if rule.is_paused else "Pause",
                    type="submit",
                    aria_label=f"{'Resume' if rule.is_paused else 'Pause'} {rule.key}",
                ),
            ),
            class_="row",
        ),
        h(
            "details",
            h("summary", "Divide anew"),
            _form(
                around,
                flag,
                "shares",
                place,
                h(
                    "div",
                    [
                        h(
                            "label",
                            h("code", key),
                            h(
                                "input",
                                type="number",
                                name=f"share.{key}",
                                value=f"{share * 100:.12g}",
                                min=0,
                                max=100,
                                step="any",
                            ),
                            "%",
                        )
                        for key, share in shares
                    ],
                    h("button", "Save", type="submit", aria_label=f"Save the shares of {rule.key}"),
                    class_="row",
                ),
            ),
            h("p", "Shares sum to 100 %. Visitors near the borders change their variation.", class_="quiet"),
        )
        if is_experiment
        else None,
        class_="rule",
    )


def _rule_sentence(project: Project, rule: Rule) -> str:
    segment = _segment_of(project, rule)
    whom = f"visitors in segment “{segment.name or segment.key}”" if segment is not None else "all visitors"
    part = f"{percent(rule.exposition)} of " if rule.exposition != 1 else ""
    shares = ", ".join(
        share.variation_key + (f" {percent(share.share)}" if rule.type is RuleType.EXPERIMENT else "")
        for share in rule.shares
    )
    verb = "Compares" if rule.type is RuleType.EXPERIMENT else "Gives"
    return f"{verb} {shares}, for {part}{whom}."


def _segment_of(project: Project, rule: Rule) -> Segment | None:
    return next((segment for segment in project.segments if segment.key == rule.segment_key), None)


def _targeting(segment: Segment, project: Project) -> Html:
    sentences = segment_words(segment, project)
    joint = "and" if segment.joined is Joined.ALL else "or"
    return h(
        "details",
        h("summary", f"Who is in “{segment.name or segment.key}”"),
        h(
            "ul",
            [
                h("li", sentence, f", {joint}" if number < len(sentences) else None)
                for number, sentence in enumerate(sentences, 1)
            ],
        ),
    )


def _variations(flag: Flag) -> Html:
    keys = list(dict.fromkeys(key for variation in flag.variations for key in variation.variables))
    rows = [
        h(
            "tr",
            h(
                "th",
                h("code", variation.key),
                h("br") if variation.name else None,
                h("span", variation.name, class_="quiet") if variation.name else None,
                scope="row",
            ),
            [
                h("td", h("code", _shown(variation.variables[key].value) if key in variation.variables else _DASH))
                for key in keys
            ],
        )
        for variation in flag.variations
    ]
    head = h("tr", h("th", "Variation", scope="col"), [h("th", key, scope="col") for key in keys])
    return h(
        "section",
        h("h2", "Variations"),
        h("div", h("table", h("thead", head), h("tbody", rows)), class_="scroll"),
        class_="card",
    )


def _code(around: Surroundings, flag: Flag) -> Html:
    keys = dict.fromkeys(key for variation in flag.variations for key in variation.variables)
    values = "".join(
        f"\n{(key.isidentifier() and key) or 'value'} = variation.variables[{json.dumps(key)}].value" for key in keys
    )
    code = (
        "from kameleoon import KameleoonClientConfig, KameleoonClientFactory\n\n"
        f'config = KameleoonClientConfig("any-id", "any-secret", base_url={json.dumps(around.url)})\n'
        f"client = KameleoonClientFactory.create({json.dumps(around.project.site_code)}, config)\n"
        "client.wait_init()\n\n"
        "visitor_code = client.get_visitor_code()\n"
        f"variation = client.get_variation(visitor_code, {json.dumps(flag.key)})\n"
        "print(variation.key)"
        f"{values}\n"
    )
    return h(
        "section",
        h("h2", "In Python"),
        h(
            "div",
            h("button", "Copy", type="button", data_copy="code", hidden=True),
            h("pre", code, id="code", tabindex="0"),
            class_="code",
        ),
        class_="card",
    )


def _history(changes: Sequence[Change], *, with_flag: bool = False) -> Html:
    rows = [
        h(
            "tr",
            h("td", _time(change.time_ms), class_="quiet"),
            h("td", h("a", change.flag, href=link("/page/flag", key=change.flag)) if change.flag else "project")
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


def _ratio_words(result: RuleResult) -> Html | None:
    if result.sample_ratio_p is None:
        return None
    counts = ", ".join(f"{variation.key} {variation.visitors:,}" for variation in result.variations)
    if result.is_ratio_broken:
        return h(
            "p",
            f"The visitors are not divided as planned: {counts}. By chance this happens once in {1 / max(result.sample_ratio_p, 1e-300):,.0f}"
            " experiments. Find the cause before you trust any number here: lost events, redirects, or bots in one variation are usual.",
            class_="note bad",
            role="alert",
        )
    return h("p", f"The visitors are divided as planned: {counts}.", class_="note good")


def _verdict(
    variation: VariationResult, reference: VariationResult, goal_key: str, elapsed_s: float, confidence: float
) -> Html:
    goal, base = variation.goal(goal_key), reference.goal(goal_key)
    interval = goal.sequential_uplift_interval
    name = h("strong", variation.key)
    if goal.uplift is None or interval is None:
        return h("p", name, ": too few conversions on one side to compare, at least ten of each are needed.")
    seen = f" converts {signed(goal.uplift)} against {reference.key} ({goal.rate:.2%} instead of {base.rate:.2%})."
    if interval.low > 0 or interval.high < 0:
        side = "better" if interval.low > 0 else "worse"
        return h("p", name, seen, f" It is {side}: the change is {interval_words(interval)}, valid at any time.")
    coming = forecast(
        Rate(goal.converted, variation.visitors),
        Rate(base.converted, reference.visitors),
        elapsed_s=elapsed_s,
        confidence=confidence,
    )
    how_long = ""
    if coming is not None and coming.days is not None and coming.days < 3650:
        how_long = (
            f" If it goes on like this, with {_number(coming.visitors_per_day)} visitors a day, {_number(coming.missing)} more visitors and"
            f" {_duration(coming.days)} are needed to decide."
        )
    elif coming is not None:
        how_long = " If it goes on like this, it will not be decided within years: the difference is too small for this traffic."
    return h("p", name, seen, f" That may still be chance: the change is {interval_words(interval)}.", how_long)


def _results_table(result: RuleResult, goal_key: str) -> Html:
    rows = [_result_row(variation, variation.goal(goal_key)) for variation in result.variations]
    titles = ("Visitors", "Converted", "Rate", "Revenue", "Per visitor", "Change", "One look", "p", "At any time")
    head = h("tr", h("th", "Variation", scope="col"), [h("th", title, class_="n", scope="col") for title in titles])
    return h(
        "div",
        h("table", h("thead", head), h("tbody", rows)),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label="Results",
    )


def _result_row(variation: VariationResult, goal: GoalResult) -> Html:
    cells = (
        f"{variation.visitors:,}",
        f"{goal.converted:,}",
        f"{goal.rate:.2%}",
        f"{goal.revenue_total:,.2f}",
        f"{goal.revenue_per_visitor:,.2f}",
        _DASH if goal.uplift is None else signed(goal.uplift),
        interval_words(goal.uplift_interval),
        _DASH if goal.p_value is None else f"{goal.p_value:.3g}",
        interval_words(goal.sequential_uplift_interval),
    )
    return h(
        "tr",
        h("th", h("code", variation.key), " (reference)" if variation.is_reference else None, scope="row"),
        [h("td", cell, class_="n") for cell in cells],
    )


def _line(
    variation: VariationResult, reference: VariationResult, goal_key: str, moments: Iterable[Moment], confidence: float
) -> Line:
    goal_id = variation.goal(goal_key).id
    points = []
    for moment in moments:
        rates = [_rate(moment, side.id, goal_id) for side in (variation, reference)]
        found = sequential_uplift(rates[0], rates[1], confidence)
        if found is not None:
            points.append((moment.time_ms, found.difference, found.interval))
    return Line(variation.key, points)


def _rate(moment: Moment, variation_id: int, goal_id: int) -> Rate:
    totals = moment.variations.get(variation_id)
    if totals is None:
        return Rate(0, 0)
    converted = totals.goals[goal_id].converted if goal_id in totals.goals else 0
    # Times of events may lie: a conversion dated before its exposure must not make more converted visitors than visitors.
    return Rate(min(converted, totals.visitors), totals.visitors)


def _visits(visits: Mapping[str, Any]) -> Html:
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
        state = "now" if number == 0 and visits.get("currentVisit") else _time(visit["timeStarted"])
        parts.append(
            h(
                "details",
                h("summary", f"Visit {state}: {len(rows)} events until {_time(visit['timeLastEvent'])}"),
                h(
                    "div",
                    h(
                        "table",
                        h(
                            "tbody",
                            [
                                h(
                                    "tr",
                                    h("td", _time(time_ms), class_="quiet"),
                                    h("td", kind),
                                    h("td", h("code", _shown(data))),
                                )
                                for kind, time_ms, data in rows
                            ],
                        ),
                    ),
                    class_="scroll",
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


def _summary(flag: Flag) -> Html | str:
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
                    href=link("/page/experiment", flag=flag.key, environment=environment, rule=rule.key)
                    if rule.type is RuleType.EXPERIMENT
                    else None,
                ),
                f" {percent(rule.exposition)}",
                f" of {rule.segment_key}" if rule.segment_key else None,
                f" in {environment}" if environment else None,
                " (paused)" if rule.is_paused else None,
            ]
            for number, (environment, rule) in enumerate(rules)
        ],
    )


def _state(is_on: bool, on: str = "on", off: str = "off") -> Html:
    return h("span", on if is_on else off, class_="state on" if is_on else "state")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _time(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(time_ms)


def _number(value: float) -> str:
    """Two or three figures are enough for a forecast."""
    if value <= 0:
        return "0"
    size = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return f"{round(value / size) * size:,.0f}"


def _duration(days: float) -> str:
    if days >= 2:
        return f"about {_number(days)} days"
    hours = days * 24
    return f"about {_number(hours)} hours" if hours >= 2 else f"about {_number(max(1, hours * 60))} minutes"

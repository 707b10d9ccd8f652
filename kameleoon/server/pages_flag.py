"""The page of one flag: what it does where, everything that can be changed, code to copy, and its history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kameleoon.server.charts import (
    share_bar,
)
from kameleoon.server.conditions_out import segment_words
from kameleoon.server.differences import percent
from kameleoon.server.html import Html, h
from kameleoon.server.pages_events import history_card
from kameleoon.server.pages_layout import DASH, Surroundings, form, page, rule_sentence, segment_of, shown, state, table
from kameleoon.server.project import ACTIVE, Joined, RuleType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon.server.project import Flag, Project, Rule, Segment
    from kameleoon.server.results import Results
    from kameleoon.server.stored import Change


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
    return page(
        around,
        flag.name or flag.key,
        h("p", h("a", "Flags", href=around.link("/")), " /", class_="crumbs"),
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
        history_card(around, changes),
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
    return form(around, flag, "switch", {"environment": environment, "on": "false" if is_on else "true"}, button)


def _rule(around: Surroundings, flag: Flag, environment: str | None, rule: Rule, visitors: int) -> Html:
    project = around.project
    place = {"environment": environment, "rule": rule.key}
    shares = [(share.variation_key, share.share) for share in rule.shares]
    segment = segment_of(project, rule)
    name = f"exposition of {rule.key}"
    is_experiment = rule.type is RuleType.EXPERIMENT
    return h(
        "div",
        h(
            "div",
            h("h3", rule.key),
            state(rule.state(around.at_ms) == ACTIVE, ACTIVE, rule.state(around.at_ms)),
            h("span", f"{visitors:,} visitors", class_="quiet"),
            h(
                "a",
                "Results" if is_experiment else "Numbers",
                href=around.link("/page/experiment", flag=flag.key, environment=environment, rule=rule.key),
                aria_label=f"Results of {rule.key}",
            ),
            class_="row",
        ),
        h("p", rule_sentence(project, rule)),
        _targeting(segment, project) if segment is not None else None,
        share_bar(shares) if is_experiment else None,
        h(
            "div",
            form(
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
                    h("output", percent(rule.exposition)),
                    h("button", "Save", type="submit", aria_label=f"Save the {name}"),
                    class_="row",
                ),
            ),
            form(
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
            form(
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
                h("td", h("code", shown(variation.variables[key].value) if key in variation.variables else DASH))
                for key in keys
            ],
        )
        for variation in flag.variations
    ]
    return h("section", h("h2", "Variations"), table("Variations", ["Variation", *keys], rows), class_="card")


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

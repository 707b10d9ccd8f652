"""The web page: flags, how they are rolled out, and results. One document without scripts and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import math
from html import escape
from typing import TYPE_CHECKING

from kameleoon.server.project import RuleType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kameleoon.server.project import Flag, Project, Rule
    from kameleoon.server.results import GoalResult, Results, RuleResult
    from kameleoon.server.statistics import Interval

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
code { font-family: ui-monospace, monospace; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
th[scope=row] { font-weight: 500; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.quiet { opacity: .7; }
.alarm { color: light-dark(#a40000, #ff9b9b); font-weight: 600; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_NOTHING = "\N{EN DASH}"

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Allows the page's own style and nothing else."""


def render_page(project: Project, results: Results, counters: Mapping[str, int]) -> str:
    """The page as HTML. Everything that comes from the project is escaped."""
    title = escape(project.name or project.site_code)
    flags = "".join(_flag_row(project, flag) for flag in project.flags)
    shown = "".join(_flag_results(flag.key, flag.rules) for flag in results.flags if flag.rules)
    environments = "".join(f"<th>{escape(name)}</th>" for name in project.environments)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Kameleoon local server</title><style>{_STYLE}</style></head>
<body><header><h1>{title}</h1><p class="quiet">Site code <code>{escape(project.site_code)}</code> ·
{counters["stored"]} events stored, {counters["duplicates"]} duplicates, {counters["refused"]} refused</p></header>
<main><h2>Flags</h2><div class="scroll"><table><thead><tr><th>Flag</th>{environments}<th>Default</th><th>Rules</th></tr></thead>
<tbody>{flags}</tbody></table></div>
<h2>Results</h2>
<p class="quiet">Intervals hold with {results.confidence:.0%} confidence. The first is for one look at the planned end; the one “at any time”
stays valid however often you look.</p>
{shown or "<p>No flag has a rule.</p>"}</main></body></html>
"""


def _flag_row(project: Project, flag: Flag) -> str:
    switches = "".join(f"<td>{'on' if name in flag.enabled_in else 'off'}</td>" for name in project.environments)
    rules = "<br>".join(_rule_text(rule) for rule in flag.rules) or '<span class="quiet">none</span>'
    name = f"<br>{escape(flag.name)}" if flag.name else ""
    return (
        f'<tr><th scope="row"><code>{escape(flag.key)}</code>{name}</th>{switches}'
        f"<td><code>{escape(flag.default_variation)}</code></td><td>{rules}</td></tr>"
    )


def _rule_text(rule: Rule) -> str:
    whom = f" to <code>{escape(rule.segment_key)}</code>" if rule.segment_key else " to everybody"
    part = f", {_percent(rule.exposition)} of them" if rule.exposition != 1 else ""
    shares = " / ".join(
        f"<code>{escape(share.variation_key)}</code>"
        + (f" {_percent(share.share)}" if rule.type is RuleType.EXPERIMENT else "")
        for share in rule.shares
    )
    verb = "Experiment" if rule.type is RuleType.EXPERIMENT else "Deliver"
    return f"{verb} {shares}{whom}{part}"


def _flag_results(flag_key: str, rules: Iterable[RuleResult]) -> str:
    return "".join(_rule_results(flag_key, rule) for rule in rules)


def _rule_results(flag_key: str, rule: RuleResult) -> str:
    alarm = ""
    if rule.is_ratio_broken:
        alarm = (
            f'<p class="alarm">The visitors of this rule are not divided as its shares say (p = {rule.sample_ratio_p:.2g}). '
            "Do not trust its numbers before the cause is found.</p>"
        )
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(variation.key)}</code>{" (reference)" if variation.is_reference else ""}</th>'
        f'<td class="n">{variation.visitors}</td><td>{escape(goal.key)}</td>{_goal_cells(goal)}</tr>'
        for variation in rule.variations
        for goal in variation.goals
    )
    caption = f"<code>{escape(flag_key)}</code>, rule <code>{escape(rule.key)}</code>, {rule.visitors} visitors"
    return (
        f'{alarm}<div class="scroll"><table><caption>{caption}</caption><thead><tr><th>Variation</th><th class="n">Visitors</th>'
        '<th>Goal</th><th class="n">Converted</th><th class="n">Rate</th><th class="n">Revenue</th><th class="n">Per visitor</th>'
        '<th class="n">Uplift</th><th class="n">Interval</th><th class="n">p</th><th class="n">At any time</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _goal_cells(goal: GoalResult) -> str:
    cells = (
        str(goal.converted),
        f"{goal.rate:.2%}",
        f"{goal.revenue_total:,.2f}",
        f"{goal.revenue_per_visitor:,.2f}",
        _NOTHING if goal.uplift is None else f"{goal.uplift:+.1%}",
        _interval(goal.uplift_interval),
        _NOTHING if goal.p_value is None else f"{goal.p_value:.3g}",
        _interval(goal.sequential_uplift_interval),
    )
    return "".join(f'<td class="n">{cell}</td>' for cell in cells)


def _interval(interval: Interval | None) -> str:
    if interval is None:
        return _NOTHING
    return " to ".join(f"{end:+.1%}" if math.isfinite(end) else "∞" for end in (interval.low, interval.high))


def _percent(share: float) -> str:
    return f"{share * 100:.4g}%"

"""
What all pages have: the frame with the places to go, forms, and the small parts that several of them show.

Everything works without a script; `assets/page.js` adds what cannot be had otherwise, such as live events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from kameleoon.server.differences import percent
from kameleoon.server.guard import FORM_FIELD
from kameleoon.server.html import Html, document, h
from kameleoon.server.project import RuleType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kameleoon.server.project import Flag, Project, Rule, Segment
    from kameleoon.server.project_file import ProjectError


DASH = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What every page needs.

    Attributes:
        sites: ``(site code, name)`` of all sites, the main one first.
        secret: Goes into every form.
        modified: When the project was changed last, as ``Last-Modified`` has it.
        at_ms: The moment whose open windows of rules are given out, in ms since 1970.
        url: The server's own URL, for code to copy.
        file_error: What is wrong with the project file as it was last saved.
        message: What the last form did, in words.
    """

    project: Project
    sites: Sequence[tuple[str, str]]
    secret: str
    modified: str
    at_ms: int
    url: str
    file_error: ProjectError | None = None
    message: str | None = None

    @property
    def site(self) -> str | None:
        """Site code for links and forms; the main site needs none."""
        code = self.project.site_code
        return None if code == self.sites[0][0] else code

    def link(self, path: str, **query: str | None) -> str:
        """A path of this server for the same site."""
        return link(path, **query, site=self.site)


def link(path: str, **query: str | None) -> str:
    """A path of this server with a query; None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def page(around: Surroundings, title: str, *body: Any, current: str | None = None) -> str:
    """A whole page: the frame around *body*; *current* is the path of the place it is one of."""
    project = around.project
    error = around.file_error
    return document(
        f"{title} · {project.name or project.site_code}",
        h("a", "Skip to the content", href="#content", class_="skip"),
        h(
            "header",
            h(
                "div",
                h(
                    "div",
                    h("a", project.name or project.site_code, href=around.link("/"), class_="site"),
                    h("span", "site code ", h("code", project.site_code), class_="quiet small"),
                    class_="brand",
                ),
                h(
                    "nav",
                    h(
                        "ul",
                        [
                            h(
                                "li",
                                h("a", name, href=around.link(path), aria_current="page" if path == current else None),
                            )
                            for path, name in _PLACES
                        ],
                    ),
                    aria_label="Pages",
                    class_="tabs",
                ),
                _sites(around) if len(around.sites) > 1 else None,
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
                data_modified=around.modified,
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


def error_page(around: Surroundings, title: str, message: str) -> str:
    """What could not be done, and why."""
    return page(around, title, h("h1", title), h("p", message, class_="note bad", role="alert"))


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


_HEAD = (h("link", rel="stylesheet", href="/page/page.css"), h("script", src="/page/page.js", defer=True))


_PLACES = (("/", "Flags"), ("/page/visitor", "Visitors"), ("/page/live", "Live events"), ("/page/history", "History"))


def _sites(around: Surroundings) -> Html:
    return h(
        "nav",
        h("span", "Sites", class_="quiet small", aria_hidden="true"),
        h(
            "ul",
            [
                h(
                    "li",
                    h(
                        "a",
                        name,
                        href=link("/", site=code if number else None),
                        aria_current="true" if code == around.project.site_code else None,
                    ),
                )
                for number, (code, name) in enumerate(around.sites)
            ],
        ),
        aria_label="Sites",
        class_="sites",
    )


def table(name: str, head: Sequence[str | tuple[str, str]], rows: Sequence[Html], **attributes: str) -> Html:
    """
    A table that can be moved sideways, also with the keyboard, where the screen is too narrow for it.

    Args:
        name: What it has, for those who cannot see.
        head: The columns' titles; of numbers ``(title, "n")``.
        rows: `tr` each.
        attributes: Of the table.
    """
    titles = [(title, None) if isinstance(title, str) else title for title in head]
    top = h("tr", [h("th", title, scope="col", class_=kind) for title, kind in titles])
    return h(
        "div",
        h("table", h("thead", top), h("tbody", rows), **attributes),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=name,
    )


def form(around: Surroundings, flag: Flag, action: str, fields: Mapping[str, str | None], *children: Any) -> Html:
    """A form that asks for *action* on a flag: the hidden fields, then *children*."""
    hidden = {FORM_FIELD: around.secret, "site": around.site, "flag": flag.key, "action": action, **fields}
    return h(
        "form",
        [h("input", type="hidden", name=name, value=value) for name, value in hidden.items() if value is not None],
        children,
        method="post",
        action="/page/flag",
    )


def state(is_on: bool, on: str = "on", off: str = "off") -> Html:
    """One of two states, as a coloured word."""
    return h("span", on if is_on else off, class_="state on" if is_on else "state")


def rule_sentence(project: Project, rule: Rule) -> str:
    """What a rule does, for whom and when, in one sentence."""
    segment = segment_of(project, rule)
    whom = f"visitors in segment “{segment.name or segment.key}”" if segment is not None else "all visitors"
    part = f"{percent(rule.exposition)} of " if rule.exposition != 1 else ""
    shares = ", ".join(
        share.variation_key + (f" {percent(share.share)}" if rule.type is RuleType.EXPERIMENT else "")
        for share in rule.shares
    )
    verb = "Compares" if rule.type is RuleType.EXPERIMENT else "Gives"
    window = f", {rule.release}" if rule.release is not None else ""
    return f"{verb} {shares}, for {part}{whom}{window}."


def segment_of(project: Project, rule: Rule) -> Segment | None:
    """The segment that a rule is for; None for everybody."""
    return next((segment for segment in project.segments if segment.key == rule.segment_key), None)


def shown(value: Any) -> str:
    """A value as people read it, at most 200 characters of it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:200]}…"


def time_text(time_ms: int) -> str:
    """A time in ms since 1970 as date and time of UTC; one that no calendar has as the number it is."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(time_ms)

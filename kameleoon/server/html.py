"""HTML put together from values: whatever is not `Html` is text and is escaped, so that no name can bring a script with it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Child: TypeAlias = "Html | str | int | float | Iterable[Child] | None"
Attribute: TypeAlias = str | int | float | bool | None

_VOID = frozenset({"meta", "link", "input", "br", "hr"})


class Html:
    """Markup that is right as it stands. Only `h`, `raw` and `document` make it."""

    __slots__ = ("_markup",)

    def __init__(self, markup: str) -> None:
        self._markup = markup

    def __str__(self) -> str:
        return self._markup


def h(tag: str, *children: Child, **attributes: Attribute) -> Html:
    """
    One element.

    Args:
        tag: Its name, from our own code.
        children: Text, `Html`, or nested lists of both; None is left out.
        attributes: ``class_`` for ``class``, ``data_x`` for ``data-x``; True stands alone, None and False are left out.
    """
    opened = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{opened}>")
    return Html(f"<{tag}{opened}>{render(children)}</{tag}>")


def render(child: Child) -> str:
    """The markup of a child; text is escaped."""
    match child:
        case None:
            return ""
        case Html():
            return str(child)
        case str() | int() | float():
            return escape(str(child))
        case _:
            return "".join(map(render, child))


def document(title: str, *body: Child, head: Iterable[Html] = ()) -> str:
    """A whole page."""
    return "<!doctype html>\n" + str(
        h(
            "html",
            h(
                "head",
                h("meta", charset="utf-8"),
                h("meta", name="viewport", content="width=device-width, initial-scale=1"),
                h("title", title),
                head,
            ),
            h("body", *body),
            lang="en",
        )
    )


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    written = name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{escape(str(value))}"'

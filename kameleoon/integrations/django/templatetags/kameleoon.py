"""
Template tags: ``{% load kameleoon %}``.

Without a visitor in the template's context (no ``request``, as in an e-mail), flags are off and variables have their default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template

from kameleoon.integrations.visitor import Html, Visitor

if TYPE_CHECKING:
    from django.template.base import FilterExpression, NodeList, Parser, Token
    from django.template.context import Context

register = template.Library()


@register.tag
def flag(parser: Parser, token: Token) -> FlagNode:
    """Show what stands before ``{% endflag %}`` if a flag is on: ``{% flag "key" %}…{% else %}…{% endflag %}``."""
    words = token.split_contents()
    if len(words) != 2:
        raise template.TemplateSyntaxError(f"{words[0]} takes the flag's key: {{% flag 'new_checkout' %}}")
    when_on = parser.parse(("else", "endflag"))
    when_off = None
    if parser.next_token().contents == "else":
        when_off = parser.parse(("endflag",))
        parser.delete_first_token()
    return FlagNode(parser.compile_filter(words[1]), when_on, when_off)


class FlagNode(template.Node):
    """The tag ``flag`` in a template."""

    child_nodelists = ("when_on", "when_off")

    def __init__(self, key: FilterExpression, when_on: NodeList, when_off: NodeList | None) -> None:
        self.key = key
        self.when_on = when_on
        self.when_off = when_off if when_off is not None else template.NodeList()

    def render(self, context: Context) -> str:
        """Render one of the two."""
        visitor = _visitor(context)
        is_on = visitor is not None and visitor.is_active(str(self.key.resolve(context)))
        return str((self.when_on if is_on else self.when_off).render(context))


@register.simple_tag(takes_context=True)
def variable(context: Context, flag_key: str, name: str, default: Any = "") -> Any:
    """Give the value of a flag's variable: ``{% variable "flag" "name" default="…" %}``, or ``… as title %}``."""
    visitor = _visitor(context)
    return default if visitor is None else visitor.variable(flag_key, name, default)


@register.simple_tag(takes_context=True)
def kameleoon_script(context: Context, nonce: str | None = None) -> str:
    """
    Give the ``<script>`` that tells the web engine of this page's variations, at the end of the page.

    The nonce of the Content-Security-Policy is ``request.csp_nonce`` where a middleware sets that, or *nonce*.
    """
    visitor = _visitor(context)
    if visitor is None:
        return Html()
    if nonce is None:
        nonce = getattr(context["request"], "csp_nonce", None)
    return visitor.tracking_script(None if nonce is None else str(nonce))


def _visitor(context: Context) -> Visitor | None:
    visitor = getattr(context.get("request"), "kameleoon", None)
    return visitor if isinstance(visitor, Visitor) else None

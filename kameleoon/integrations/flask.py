"""Flask: ``g.kameleoon`` in every request, and flags in Jinja templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import Flask, current_app, g, request
from werkzeug.local import LocalProxy

from kameleoon.cookies import is_visitor_cookie
from kameleoon.integrations.settings import LazyClient, WebSettings
from kameleoon.integrations.visitor import Visitor

if TYPE_CHECKING:
    from flask import Response

    from kameleoon.client import KameleoonClient

_EXTENSION = "kameleoon"


class _State:
    """What one application has of ours."""

    def __init__(self, client: LazyClient, default_visitor_code: Any) -> None:
        self.client = client
        self.default_visitor_code = default_visitor_code


class Kameleoon:
    """
    Puts the visitor into ``g.kameleoon`` and keeps his code in a cookie.

    Settings come from ``app.config``: ``KAMELEOON_SITE_CODE``, ``KAMELEOON_CLIENT_ID`` and so on, see
    `kameleoon.integrations.settings.WebSettings`. The client is made when a request first needs it, so that an application loaded
    before its server forks has none yet. Several applications in one process each have their own.

    ``g.kameleoon`` does nothing until a view uses it; then the response carries the cookie, as far as consent allows, and
    ``Vary: Cookie``. In templates it is ``kameleoon``, and ``{% if "new_checkout" is active_flag %}`` asks for a flag.

    Args:
        app: The application; or call `init_app`.
        client: A client made elsewhere, in place of settings.

    Raises:
        ConfigException: As `init_app`.
    """

    def __init__(self, app: Flask | None = None, *, client: KameleoonClient | None = None) -> None:
        self._given_client = client
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """
        Make an application have visitors.

        Raises:
            ConfigException: A setting is missing, unknown or of a wrong type; the text names it.
        """
        given = self._given_client
        if given is not None:
            default = app.config.get("KAMELEOON_DEFAULT_VISITOR_CODE")
            app.extensions[_EXTENSION] = _State(LazyClient(lambda: given), default)
        else:
            settings = WebSettings(app.config.get_namespace("KAMELEOON_"))
            client = LazyClient(settings.make_client, settings.wait_ms)
            app.extensions[_EXTENSION] = _State(client, settings.default_visitor_code)
        app.before_request(_put_visitor)
        app.after_request(_set_cookie)
        app.jinja_env.globals["kameleoon"] = LocalProxy(_visitor)
        app.jinja_env.tests["active_flag"] = _is_active

    @property
    def client(self) -> KameleoonClient:
        """The client of the current application."""
        return cast("_State", current_app.extensions[_EXTENSION]).client.get()


def _put_visitor() -> None:
    state: _State = current_app.extensions[_EXTENSION]
    g.kameleoon = Visitor(state.client.get, request.environ.get("HTTP_COOKIE"), state.default_visitor_code)


def _visitor() -> Visitor:
    return cast("Visitor", g.kameleoon)


def _is_active(flag_key: str) -> bool:
    return _visitor().is_active(flag_key)


def _set_cookie(response: Response) -> Response:
    visitor: Visitor | None = g.get("kameleoon")
    if visitor is None or not visitor.is_used:
        return response
    response.vary.add("Cookie")
    cookie = visitor.cookie()
    if cookie is not None:
        others = [value for value in response.headers.getlist("Set-Cookie") if not is_visitor_cookie(value)]
        response.headers.setlist("Set-Cookie", [*others, cookie.OutputString()])
    return response

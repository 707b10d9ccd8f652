"""
The shop: a Flask application that uses the client as any other would.

    GET  /            the shop window; tells what is known of the visitor
    GET  /cart        the cart with ?item=mug&item=lamp, in the design that the experiment gives
    POST /newsletter  subscribes
    POST /order       buys what the form's items are

Each page says at its end which variations it shows, so that whoever looks at it can check the results.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from flask import Flask, abort, render_template, request
from werkzeug.serving import WSGIRequestHandler, make_server

from kameleoon import CustomData, Device, DeviceType, Geolocation, KameleoonWSGIMiddleware, PageView, UserAgent
from kameleoon.exceptions import FeatureError
from kameleoon.types.variation import Variation

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from wsgiref.types import WSGIApplication

    from kameleoon import KameleoonClient

PRICES: Final = {"mug": 12_90, "print": 24_50, "blanket": 39_95, "lamp": 64_00}
"""What the shop sells: ``{item: price in cents}``."""

SHIPPING: Final = 4_90
"""In cents, for orders that do not get it free."""

PURCHASE: Final = 1001
NEWSLETTER: Final = 1002
"""Ids of the goals, as in the project."""

PLANS: Final = ("free", "silver", "gold")
_OFF: Final = Variation("off", None, None, {})


def make_app(client: KameleoonClient, default_visitor_code: Callable[[], str] | None = None) -> Flask:
    """
    Make the shop.

    Args:
        client: Gives flags and takes events; its configuration is in force.
        default_visitor_code: Codes for visitors without a cookie; random ones without it.
    """
    app = Flask(__name__)
    # The middleware reads the visitor code from the cookie, or makes one, and writes the cookie into the response.
    app.wsgi_app = KameleoonWSGIMiddleware(app.wsgi_app, client, default_visitor_code)  # type: ignore[method-assign]

    def visitor() -> str:
        return client.get_visitor_code(cookies_readonly=request.cookies)

    def variation(code: str, flag: str) -> Variation:
        try:
            return client.get_variation(code, flag)
        except FeatureError:  # the flag is switched off in this environment: the shop goes on without it
            return _OFF

    @app.get("/")
    def window() -> str:
        code = visitor()
        plan = request.cookies.get("plan")
        client.add_data(
            code,
            _device(request.user_agent.string),
            UserAgent(request.user_agent.string),
            Geolocation(request.headers.get("X-Country")),  # as a content delivery network puts it there
            CustomData("plan", plan) if plan in PLANS else None,
            PageView(request.url, "Demo shop"),
        )
        shown = {key: variation(code, key) for key in ("recommendations", "free_shipping")}
        return render_template("window.html", prices=PRICES, shown=shown)

    @app.get("/cart")
    def cart() -> str:
        code = visitor()
        items = _items(request.args.getlist("item"))
        value = sum(PRICES[item] for item in items)
        plan = request.cookies.get("plan")
        client.add_data(
            code,
            CustomData("plan", plan) if plan in PLANS else None,  # some log in only here
            CustomData("cart_value", value / 100),
            PageView(request.url, "Cart"),
        )
        shown = {key: variation(code, key) for key in ("checkout_design", "free_shipping", "new_payment")}
        design = shown["checkout_design"].variables
        return render_template(
            "cart.html",
            title=_value(design, "title", "Your cart"),
            columns=_value(design, "columns", 2),
            layout=_value(design, "layout", {}),
            express=_value(design, "express_enabled", default=False),
            items=items,
            prices=PRICES,
            value=value,
            shipping=_shipping(shown["free_shipping"], value),
            shown=shown,
        )

    @app.post("/newsletter")
    def newsletter() -> str:
        client.track_conversion(visitor(), NEWSLETTER)
        return render_template("thanks.html", text="You will hear from us.", paid=None, shown={})

    @app.post("/order")
    def order() -> str:
        code = visitor()
        items = _items(request.form.getlist("item"))
        shown = {"free_shipping": variation(code, "free_shipping")}
        value = sum(PRICES[item] for item in items)
        paid = value + _shipping(shown["free_shipping"], value)
        client.track_conversion(code, PURCHASE, revenue=paid / 100)
        return render_template("thanks.html", text="Your order is on its way.", paid=paid, shown=shown)

    return app


@contextmanager
def serving(app: WSGIApplication, listening: socket.socket) -> Iterator[None]:
    """Serve *app* in a thread, each connection in one of its own, on a socket of 127.0.0.1 that is bound and listens already."""
    host, port = listening.getsockname()
    server = make_server(host, port, app, threaded=True, request_handler=_Handler, fd=listening.fileno())
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="demo-shop")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(WSGIRequestHandler):
    """Keeps connections open, says nothing of each request, and does not let small packets wait for each other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def _device(user_agent: str) -> Device:
    if "iPad" in user_agent:
        return Device(DeviceType.TABLET)
    return Device(DeviceType.PHONE if "Mobile" in user_agent else DeviceType.DESKTOP)


def _items(given: list[str]) -> list[str]:
    if not given or len(given) > len(PRICES) or not set(given) <= set(PRICES):
        abort(400, f"Choose one to {len(PRICES)} of: {', '.join(PRICES)}")
    return given


def _shipping(free: Variation, value: int) -> int:
    """What shipping costs, in cents; free from the flag's threshold on, which is in euros."""
    return 0 if free.is_active and value >= 100 * _value(free.variables, "threshold", 0) else SHIPPING


def _value(variables: Any, key: str, default: Any) -> Any:
    return variables[key].value if key in variables else default

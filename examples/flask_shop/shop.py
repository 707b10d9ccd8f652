"""
A shop in Flask that shows one of three checkouts, counts orders, and asks for consent.

    python examples/run_shop.py flask
"""

import os
import secrets

from flask import Flask, g, redirect, render_template, request
from werkzeug.wrappers import Response

from kameleoon.integrations.flask import Kameleoon

app = Flask(__name__)
app.config.update(
    KAMELEOON_SITE_CODE="demoshop01",
    KAMELEOON_CLIENT_ID="shop",
    KAMELEOON_CLIENT_SECRET="secret",  # noqa: S106 - of the local server, which takes any
    KAMELEOON_BASE_URL=os.environ.get("KAMELEOON_BASE_URL", "http://127.0.0.1:8085"),
    KAMELEOON_COOKIE_REMOVED_ON_REFUSAL=True,
)
Kameleoon(app)


@app.before_request
def told_consent() -> None:
    """Say with each request what the visitor said about consent; the shop keeps it in a cookie of its own."""
    if "shop_consent" in request.cookies:
        g.kameleoon.consent = request.cookies["shop_consent"] == "yes"


@app.get("/")
def cart() -> tuple[str, dict[str, str]]:
    """Show the cart, with a Content-Security-Policy that allows only our script."""
    nonce = secrets.token_urlsafe()
    return render_template("cart.html", nonce=nonce), {"Content-Security-Policy": f"script-src 'nonce-{nonce}'"}


@app.post("/buy")
def buy() -> Response:
    """Pay."""
    g.kameleoon.track_conversion(1001, 49.9)
    return redirect("/")


@app.post("/consent")
def consent() -> Response:
    """Hear what the visitor says about consent."""
    said = request.form["said"]
    g.kameleoon.consent = said == "yes"
    response = redirect("/")
    response.set_cookie("shop_consent", said)
    return response

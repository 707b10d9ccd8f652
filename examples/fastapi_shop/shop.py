"""
A shop in FastAPI that shows one of three checkouts, counts orders, and asks for consent.

    python examples/run_shop.py fastapi
"""

import os
import secrets
from html import escape
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Body, Cookie, Depends, FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

from kameleoon import KameleoonClientConfig, KameleoonClientFactory
from kameleoon.integrations.fastapi import Kameleoon, Visitor


def told_consent(visitor: Visitor, shop_consent: Annotated[str | None, Cookie()] = None) -> None:
    """Say with each request what the visitor said about consent; the shop keeps it in a cookie of its own."""
    if shop_consent is not None:
        visitor.consent = shop_consent == "yes"


app = FastAPI(dependencies=[Depends(told_consent)])
Kameleoon(
    app,
    lambda: KameleoonClientFactory.create(
        "demoshop01",
        KameleoonClientConfig(
            "shop",
            "secret",
            base_url=os.environ.get("KAMELEOON_BASE_URL", "http://127.0.0.1:8085"),
            cookie_removed_on_refusal=True,
        ),
    ),
)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Shop</title>
<h1>{title}</h1>
{recommendations}
{shipping}
<form method="post" action="/buy"><button id="buy">Buy</button></form>
<form method="post" action="/consent">
  <button id="yes" name="said" value="yes">Count me</button>
  <button id="no" name="said" value="no">Do not count me</button>
</form>
<p>Visitor <code id="code">{code}</code></p>
{script}
</html>
"""


@app.get("/")
async def cart(visitor: Visitor) -> HTMLResponse:
    """Show the cart, with a Content-Security-Policy that allows only our script."""
    nonce = secrets.token_urlsafe()
    socks = '<p id="recommendations">You may also like: socks.</p>'
    page = PAGE.format(
        title=escape(visitor.variable("checkout_design", "title", "Cart")),
        recommendations=socks if visitor.is_active("recommendations") else "",
        shipping="<p>Free shipping!</p>" if visitor.is_active("free_shipping") else "<p>Shipping: 5 €</p>",
        code=escape(visitor.code),
        script=visitor.tracking_script(nonce),
    )
    return HTMLResponse(page, headers={"Content-Security-Policy": f"script-src 'nonce-{nonce}'"})


@app.post("/buy")
async def buy(visitor: Visitor) -> RedirectResponse:
    """Pay."""
    visitor.track_conversion(1001, 49.9)
    return RedirectResponse("/", 303)


@app.post("/consent")
async def consent(
    visitor: Visitor, form: Annotated[bytes, Body(media_type="application/x-www-form-urlencoded")]
) -> RedirectResponse:
    """Hear what the visitor says about consent."""
    said = parse_qs(form.decode())["said"][0]
    visitor.consent = said == "yes"
    response = RedirectResponse("/", 303)
    response.set_cookie("shop_consent", said)
    return response

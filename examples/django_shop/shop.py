"""
A shop in Django that shows one of three checkouts, counts orders, and asks for consent.

    python examples/run_shop.py django
    python examples/django_shop/shop.py kameleoon_flags some-visitor     # with a local server on port 8085
"""

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

View: TypeAlias = Callable[[HttpRequest], HttpResponse]

settings.configure(
    SECRET_KEY=os.environ.get("SECRET_KEY") or secrets.token_hex(),
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["kameleoon.integrations.django"],
    MIDDLEWARE=[
        "django.middleware.csrf.CsrfViewMiddleware",
        "kameleoon.integrations.django.KameleoonMiddleware",
        f"{__name__}.policy",
        f"{__name__}.told_consent",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [Path(__file__).parent / "templates"],
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
    KAMELEOON={
        "site_code": "demoshop01",
        "client_id": "shop",
        "client_secret": "secret",
        "base_url": os.environ.get("KAMELEOON_BASE_URL", "http://127.0.0.1:8085"),
        "cookie_removed_on_refusal": True,
    },
)


def policy(get_response: View) -> View:
    """Give each page a Content-Security-Policy with a nonce."""

    def handle(request: HttpRequest) -> HttpResponse:
        request.csp_nonce = secrets.token_urlsafe()
        response = get_response(request)
        response["Content-Security-Policy"] = f"script-src 'nonce-{request.csp_nonce}'"
        return response

    return handle


def told_consent(get_response: View) -> View:
    """Say with each request what the visitor said about consent; the shop keeps it in a cookie of its own."""

    def handle(request: HttpRequest) -> HttpResponse:
        if "shop_consent" in request.COOKIES:
            request.kameleoon.consent = request.COOKIES["shop_consent"] == "yes"
        return get_response(request)

    return handle


def cart(request: HttpRequest) -> HttpResponse:
    """Show the cart."""
    return render(request, "cart.html")


@require_POST
def buy(request: HttpRequest) -> HttpResponse:
    """Pay."""
    request.kameleoon.track_conversion(1001, 49.9)
    return redirect("/")


@require_POST
def consent(request: HttpRequest) -> HttpResponse:
    """Hear what the visitor says about consent."""
    said = request.POST["said"]
    request.kameleoon.consent = said == "yes"
    response = redirect("/")
    response.set_cookie("shop_consent", said)
    return response


urlpatterns = [path("", cart), path("buy", buy), path("consent", consent)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
else:
    application = get_wsgi_application()

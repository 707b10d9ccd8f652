"""System checks: what is wrong with the project, told before the first request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's names
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from kameleoon.factory import KameleoonClientFactory
from kameleoon.integrations.django import conf
from kameleoon.integrations.django.middleware import KameleoonMiddleware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.apps import AppConfig


def check_settings(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001
    """Check that the settings can be used."""
    try:
        conf.read()
        conf.default_visitor_code()
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="See docs/django.md for what KAMELEOON may hold.", id="kameleoon.E001")]
    return []


def check_middleware(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001
    """Check that requests get their visitor."""
    if any(_is_ours(path) for path in settings.MIDDLEWARE):
        return []
    return [
        Warning(
            "The middleware is missing: no request has request.kameleoon.",
            hint="Add 'kameleoon.integrations.django.KameleoonMiddleware' to MIDDLEWARE.",
            id="kameleoon.W001",
        )
    ]


def check_client(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:  # noqa: ARG001
    """Check that no client was made while the project was loaded."""
    try:
        is_ours = conf.lazy_client().is_made
        site_code = conf.read().site_code
    except ImproperlyConfigured:
        return []
    if is_ours or site_code not in KameleoonClientFactory.site_codes():
        return []
    return [
        Warning(
            f"A client of {site_code!r} was made while the project was loaded.",
            hint="runserver loads a project in two processes, so that there are two clients, and every command makes one. "
            "Call kameleoon.integrations.django.get_client() where a client is needed, not in modules and not in ready().",
            id="kameleoon.W002",
        )
    ]


def _is_ours(path: str) -> bool:
    try:
        middleware = import_string(path)
    except ImportError:  # Django tells of it
        return False
    return isinstance(middleware, type) and issubclass(middleware, KameleoonMiddleware)

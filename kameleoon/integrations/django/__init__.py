"""
Django: ``request.kameleoon`` in every request, flags in templates, checks, a command and helpers for tests.

``INSTALLED_APPS += ["kameleoon.integrations.django"]``, ``MIDDLEWARE += ["kameleoon.integrations.django.KameleoonMiddleware"]`` and
settings in ``KAMELEOON = {"site_code": …}``, see docs/django.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kameleoon.integrations.override import override_flag

if TYPE_CHECKING:
    from kameleoon.integrations.django.conf import get_client
    from kameleoon.integrations.django.middleware import KameleoonMiddleware

__all__ = ["KameleoonMiddleware", "get_client", "override_flag"]


def __getattr__(name: str) -> Any:
    # Django imports this package before its settings may be used.
    if name == "get_client":
        from kameleoon.integrations.django.conf import get_client  # noqa: PLC0415

        return get_client
    if name == "KameleoonMiddleware":
        from kameleoon.integrations.django.middleware import KameleoonMiddleware  # noqa: PLC0415

        return KameleoonMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

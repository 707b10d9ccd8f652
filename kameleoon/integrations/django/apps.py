"""The application that ``INSTALLED_APPS`` names."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import register
from django.core.signals import setting_changed


class KameleoonAppConfig(AppConfig):
    """Registers the checks. It makes no client: one made here would exist before the server forks, and in every command."""

    name = "kameleoon.integrations.django"
    label = "kameleoon"
    verbose_name = "Kameleoon"

    def ready(self) -> None:
        """Register what Django calls later."""
        from kameleoon.integrations.django import checks  # noqa: PLC0415 - needs the applications to be loaded

        register(checks.check_settings, "kameleoon")
        register(checks.check_middleware, "kameleoon")
        register(checks.check_client, "kameleoon")
        setting_changed.connect(_forget_settings)


def _forget_settings(*, setting: str, **_: Any) -> None:
    if setting == "KAMELEOON":
        from kameleoon.integrations.django import conf  # noqa: PLC0415 - needs the applications to be loaded

        conf.forget()

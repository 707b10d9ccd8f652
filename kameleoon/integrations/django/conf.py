"""The settings ``KAMELEOON = {…}`` and the client made from them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from kameleoon.exceptions import KameleoonError
from kameleoon.integrations.settings import LazyClient, WebSettings

if TYPE_CHECKING:
    from kameleoon.client import KameleoonClient


def read() -> WebSettings:
    """
    Read the settings.

    Raises:
        ImproperlyConfigured: They are missing or wrong; the text says what.
    """
    values = getattr(settings, "KAMELEOON", None)
    if not isinstance(values, dict):
        raise ImproperlyConfigured("KAMELEOON must be a dict of settings, such as {'site_code': 'my-site-code', …}")
    try:
        return WebSettings(values)
    except (KameleoonError, ImportError) as error:
        raise ImproperlyConfigured(f"KAMELEOON: {error}") from error


@lru_cache(1)
def lazy_client() -> LazyClient:
    """
    Give the holder of the process's client.

    Raises:
        ImproperlyConfigured: As `read`.
    """
    read_settings = read()
    return LazyClient(read_settings.make_client, read_settings.wait_ms)


@lru_cache(1)
def default_visitor_code() -> Any:
    """
    Give the setting ``default_visitor_code``: a text, or a callable of the request, which may be given by its dotted path.

    Raises:
        ImproperlyConfigured: As `read`, or the path cannot be imported.
    """
    default = read().default_visitor_code
    if isinstance(default, str) and "." in default:
        try:
            return import_string(default)
        except ImportError as error:
            raise ImproperlyConfigured(f"KAMELEOON: default_visitor_code: {error}") from error
    return default


def get_client() -> KameleoonClient:
    """
    Give the client of this process, made at the first call.

    Raises:
        ImproperlyConfigured: The settings are missing or wrong.
    """
    return lazy_client().get()


def forget() -> None:
    """Read the settings again at the next use. A client that was made stays with `KameleoonClientFactory`."""
    lazy_client.cache_clear()
    default_visitor_code.cache_clear()

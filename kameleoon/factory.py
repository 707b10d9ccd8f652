"""One client for each site code and environment."""

from __future__ import annotations

import threading
from dataclasses import fields
from typing import TYPE_CHECKING

from kameleoon.client import KameleoonClient
from kameleoon.config import DEFAULT_CONFIG_PATH, KameleoonClientConfig, Settings
from kameleoon.exceptions import ConfigException, SiteCodeIsEmpty

if TYPE_CHECKING:
    from os import PathLike

_lock = threading.Lock()
_clients: dict[tuple[str, str | None], KameleoonClient] = {}


class KameleoonClientFactory:
    """Makes clients and keeps them, so that an application may ask for its client wherever it needs it."""

    @staticmethod
    def create(
        site_code: str,
        config: KameleoonClientConfig | None = None,
        config_path: str | PathLike[str] = DEFAULT_CONFIG_PATH,
    ) -> KameleoonClient:
        """
        The client of a site and environment, made at the first call. Does not wait for the network.

        Args:
            site_code: The site.
            config: Its settings; without them *config_path* is read.
            config_path: A YAML file, see ``sample-config/client-python.yaml``.

        Raises:
            SiteCodeIsEmpty: *site_code* is empty.
            ConfigFileNotFound: There is no such file, and no *config*.
            ConfigException: The settings cannot be used, or differ from those of the client that is there; the text names
                each that does.
            ConfigCredentialsInvalid: Client id or secret is missing.
        """
        if config is not None and not isinstance(config, KameleoonClientConfig):
            raise ConfigException(
                f"config: expected a KameleoonClientConfig, got {type(config).__name__}; the path of a file is config_path"
            )
        settings = config if config is not None else KameleoonClientConfig.read_from_yaml(config_path)
        if not site_code:
            raise SiteCodeIsEmpty("Provided site_code is empty")
        key = (site_code, settings.environment)
        with _lock:
            client = _clients.get(key)
            if client is None or client.is_closed:
                client = _clients[key] = KameleoonClient(site_code, settings)
            else:
                _check_same(site_code, client, settings)
        return client

    @staticmethod
    def site_codes() -> frozenset[str]:
        """The sites that have a client now."""
        with _lock:
            return frozenset(site_code for (site_code, _), client in _clients.items() if not client.is_closed)

    @staticmethod
    def forget(site_code: str) -> None:
        """
        Close the clients of a site, in all environments, and let go of them.

        What is left is sent within the exit timeout. An unknown site code does nothing.
        """
        with _lock:
            forgotten = [_clients.pop(key) for key in list(_clients) if key[0] == site_code]
        for client in forgotten:
            client.close()


def _check_same(site_code: str, client: KameleoonClient, config: KameleoonClientConfig) -> None:
    """Refuse settings that the client does not have; silently ignoring them would hide a mistake."""
    wanted = config.freeze()
    different = [
        field.name
        for field in fields(Settings)
        if getattr(wanted, field.name) is not getattr(client.settings, field.name)
        and getattr(wanted, field.name) != getattr(client.settings, field.name)
    ]
    if different:
        raise ConfigException(
            f"the client of {site_code!r} exists with other settings ({', '.join(different)} differ): "
            "use the same settings, or KameleoonClientFactory.forget() before"
        )

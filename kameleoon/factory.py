"""One client for each site code and environment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kameleoon.client import KameleoonClient
from kameleoon.config import DEFAULT_CONFIG_PATH, KameleoonClientConfig
from kameleoon.exceptions import SiteCodeIsEmpty

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
            ConfigException: The settings cannot be used; the text names each that is wrong.
            ConfigCredentialsInvalid: Client id or secret is missing.
        """
        settings = config if config is not None else KameleoonClientConfig.read_from_yaml(config_path)
        if not site_code:
            raise SiteCodeIsEmpty("Provided site_code is empty")
        key = (site_code, settings.environment)
        client = _clients.get(key)
        if client is None:
            with _lock:
                client = _clients.get(key)
                if client is None:
                    client = _clients[key] = KameleoonClient(site_code, settings)
        return client

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

"""A client from the settings of a web framework, made when the first request needs it."""

from __future__ import annotations

import inspect
import threading
from typing import TYPE_CHECKING, Any, Final

from kameleoon._workers.background import in_event_loop
from kameleoon.config import KameleoonClientConfig
from kameleoon.exceptions import ConfigException
from kameleoon.factory import KameleoonClientFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kameleoon.client import KameleoonClient

DEFAULT_WAIT_MS: Final = 2000
"""How long the first request waits for the configuration, unless set otherwise."""

_CLIENT_SETTINGS: Final = frozenset(inspect.signature(KameleoonClientConfig).parameters)
_OURS: Final = ("site_code", "config_path", "default_visitor_code", "wait_init_millisecond")


class WebSettings:
    """
    Settings as a framework's configuration holds them.

    Args:
        values: ``{setting: value}``: ``site_code``; either ``config_path``, a YAML file, or arguments of `KameleoonClientConfig`;
            ``default_visitor_code``; and ``wait_init_millisecond``, how long the first request of a process waits for the
            configuration (2000 by default, 0 for not at all).

    Attributes:
        site_code: The site.
        config: The client's settings.
        default_visitor_code: As given.
        wait_ms: How long the first request waits, in milliseconds.

    Raises:
        ConfigException: A setting is missing, unknown or of a wrong type; the text names it.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        unknown = sorted(str(name) for name in values if name not in _CLIENT_SETTINGS and name not in _OURS)
        if unknown:
            allowed = ", ".join([*_OURS, *sorted(_CLIENT_SETTINGS)])
            raise ConfigException(f"no such setting: {', '.join(unknown)}; allowed are {allowed}")
        site_code = values.get("site_code")
        if not isinstance(site_code, str) or not site_code:
            raise ConfigException(f"site_code is {site_code!r}, allowed is the site's code as text")
        wait_ms = values.get("wait_init_millisecond", DEFAULT_WAIT_MS)
        if isinstance(wait_ms, bool) or not isinstance(wait_ms, int) or wait_ms < 0:
            raise ConfigException(f"wait_init_millisecond is {wait_ms!r}, allowed is a whole number of milliseconds")
        given = {name: value for name, value in values.items() if name in _CLIENT_SETTINGS}
        path = values.get("config_path")
        if path is not None and given:
            raise ConfigException(f"config_path excludes the settings that the file gives: {', '.join(sorted(given))}")
        self.config = KameleoonClientConfig(**given) if path is None else KameleoonClientConfig.read_from_yaml(path)
        self.config.freeze()
        self.site_code = site_code
        self.wait_ms = wait_ms
        self.default_visitor_code = values.get("default_visitor_code")

    def make_client(self) -> KameleoonClient:
        """Give the client of these settings, from `KameleoonClientFactory`."""
        return KameleoonClientFactory.create(self.site_code, self.config)


class LazyClient:
    """
    A client that is made, and waited for, when it is first asked for.

    An application that is loaded before its server forks has no client yet then; each worker process makes its own.

    Args:
        make: Makes the client, or gives one that is there.
        wait_ms: How long the first caller waits for the configuration, in milliseconds.
    """

    def __init__(self, make: Callable[[], KameleoonClient], wait_ms: int = DEFAULT_WAIT_MS) -> None:
        self._make = make
        self._wait_ms = wait_ms
        self._client: KameleoonClient | None = None
        self._lock = threading.Lock()

    @property
    def is_made(self) -> bool:
        """Whether the client was asked for."""
        return self._client is not None

    def get(self) -> KameleoonClient:
        """Give the client. The first call waits for its configuration, unless an event loop runs in this thread."""
        client = self._client
        if client is not None:
            return client
        with self._lock:
            if self._client is None:
                client = self._make()
                if self._wait_ms and not client.is_ready() and not in_event_loop():
                    client.wait_init(self._wait_ms)
                self._client = client
            return self._client

    async def get_async(self) -> KameleoonClient:
        """Give the client. The first call waits for its configuration without holding up the event loop."""
        if self._client is None:
            client = self._make()
            if self._wait_ms and not client.is_ready():
                await client.wait_init_async(self._wait_ms)
            self._client = client
        return self._client

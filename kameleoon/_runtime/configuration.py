"""The configuration in force: fetched, compiled, published by assigning one attribute, and waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kameleoon._engine.ruleset import REGEX_TIMEOUT_S, Ruleset, compile_ruleset
from kameleoon._transport.message import FetchFailed
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon._datafile.model import Problem
    from kameleoon._sources.protocol import Source
    from kameleoon._transport.configuration import Fetched
    from kameleoon._transport.endpoints import Endpoints
    from kameleoon._transport.flow import Flow


class Configuration:
    """
    One client's configuration.

    Args:
        source: Where it comes from.
        endpoints: The service's addresses before any configuration named another data host.
        on_update: Called after a new one is in force, with whether a stream announced it.
        regex_timeout_s: For matching one pattern of it, in seconds.

    Attributes:
        ruleset: What is in force; empty before the first one. Readers take it once and need no lock.
        endpoints: The service's addresses, the data host as the configuration has it.
        failure: Why the last fetch brought nothing, ``None`` when it did not fail.
    """

    def __init__(
        self,
        source: Source,
        endpoints: Endpoints,
        on_update: Callable[[bool], None],
        regex_timeout_s: float = REGEX_TIMEOUT_S,
    ) -> None:
        self.ruleset: Ruleset = compile_ruleset({})
        self.endpoints = endpoints
        self.failure: str | None = None
        self._source = source
        self._on_update = on_update
        self._regex_timeout_s = regex_timeout_s
        self._known: Fetched | None = None
        self._changed = threading.Condition()
        self._attempted = False

    @property
    def is_ready(self) -> bool:
        """Whether any fetch brought a configuration; never ``False`` again after that."""
        return self._known is not None

    @property
    def is_attempted(self) -> bool:
        """Whether the first fetch is over, however it ended."""
        return self._attempted

    def wait(self, timeout_s: float) -> bool:
        """Wait until the first fetch is over, and say whether a configuration is in force."""
        with self._changed:
            self._changed.wait_for(lambda: self._attempted, timeout_s)
        return self.is_ready

    def after_fork_in_child(self) -> None:
        """In a forked child: waiters of the parent are not waited for here."""
        self._changed = threading.Condition()

    def refresh(self, ts: int | None = None) -> Flow[bool]:
        """
        Fetch once, and put what is new in force. Never raises.

        Args:
            ts: The version a stream announced, in milliseconds since 1970, if one did.

        Returns:
            Whether the fetch succeeded, with something new or without.
        """
        try:
            fetched = yield from self._source.fetch(self._known, ts)
            if fetched is not None:
                self._publish(fetched, announced=ts is not None)
        except FetchFailed as error:
            self._settle(error.reason)
            return False
        except Exception as error:  # a source of the application's own may raise anything
            self._settle(repr(error))
            return False
        self._settle(None)
        return True

    def _publish(self, fetched: Fetched, *, announced: bool) -> None:
        self.ruleset = compile_ruleset(fetched.root, _report, self._regex_timeout_s)
        self._known = fetched
        self.endpoints = self.endpoints.with_data_domain(self.ruleset.data_file.settings.data_api_domain)
        self._on_update(announced)

    def _settle(self, failure: str | None) -> None:
        if failure != self.failure:
            if failure is None:
                KameleoonLogger.info("The configuration is fetched again")
            else:
                KameleoonLogger.error("The configuration could not be fetched: %s", failure)
        with self._changed:
            self.failure = failure
            self._attempted = True
            self._changed.notify_all()


def _report(problem: Problem) -> None:
    KameleoonLogger.warning("Out of service in the configuration: %s", str(problem))

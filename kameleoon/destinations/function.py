"""Events to a function of the application."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kameleoon.destinations.protocol import SENT, Limits, Result, Verdict, compact
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event


class FunctionDestination:
    """
    `Destination` that calls a function with a list of events, each as `Event.plain` has it.

    Args:
        function: Called off the application's threads, with one batch at a time; the list is its own. When it raises, the batch is tried
            again later.
        name: For messages and counters.
        limits: How much at once.

    Raises:
        ConfigException: *function* cannot be called.
    """

    def __init__(
        self,
        function: Callable[[list[dict[str, Any]]], object],
        *,
        name: str = "function",
        limits: Limits | None = None,
    ) -> None:
        if not callable(function):
            raise ConfigException("FunctionDestination: function must be callable")
        self.name = name
        self.limits = limits or Limits()
        self._function = function

    def map(self, event: Event) -> dict[str, Any]:
        """All events, as they are."""
        return event.plain()

    def check(self, mapped: Any) -> bytes:
        """The event's bytes, kept until the function takes it."""
        return compact(mapped)

    def send(self, batch: Sequence[bytes]) -> Flow[Result]:
        """Call the function."""
        yield from ()
        try:
            self._function([json.loads(content) for content in batch])
        except Exception as error:
            return Result(Verdict.RETRY, f"{type(error).__name__} raised")
        return SENT

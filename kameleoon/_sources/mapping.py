"""A configuration handed over as a dictionary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kameleoon._datafile.decode import exhaust
from kameleoon._datafile.pieces import root_in_steps
from kameleoon._transport.configuration import Fetched
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from kameleoon._transport.flow import Flow


class MappingSource:
    """
    `Source` that gives one configuration and is not asked again.

    Args:
        mapping: The service's configuration JSON, decoded. It is copied: later changes to it have no effect.

    Raises:
        ConfigException: *mapping* is empty, or holds what JSON has no form for.
    """

    name = "dictionary"
    interval_s = None

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        if not mapping:
            raise ConfigException(
                "source: the dictionary is empty; it must hold the service's configuration JSON, decoded"
            )
        try:
            body = json.dumps(mapping, allow_nan=False, default=_plain).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigException(f"source: the dictionary holds what JSON has no form for: {error}") from error
        self._fetched = Fetched(body, exhaust(root_in_steps(body)), self.name)

    def fetch(self, known: Fetched | None, ts: int | None) -> Flow[Fetched | None]:
        """Give the configuration, unless *known* is it."""
        del ts  # There is one version only.
        yield from ()
        return None if known is self._fetched else self._fetched


def _plain(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__}")

"""The ``source`` setting to a source."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kameleoon._sources.file import FileSource
from kameleoon._sources.mapping import MappingSource
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from kameleoon._sources.protocol import Source

_ALLOWED = (
    "None (the service), the path of a JSON or YAML file, a dictionary with the configuration, "
    "or an object with name, interval_s and fetch(known, ts)"
)


def make_source(value: object, *, service: Source) -> Source:
    """
    Turn the ``source`` setting into a source.

    Args:
        value: ``None``, a path, a mapping, or a source.
        service: What ``None`` stands for.

    Raises:
        ConfigException: *value* is none of these, or a dictionary that cannot be a configuration.
    """
    if value is None:
        return service
    if isinstance(value, (str, Path)) and str(value):
        return FileSource(Path(value))
    if isinstance(value, Mapping):
        return MappingSource(value)
    if not isinstance(value, (type, str)) and callable(getattr(value, "fetch", None)):
        missing = [name for name in ("name", "interval_s") if not hasattr(value, name)]
        if missing:
            raise ConfigException(
                f"source: {type(value).__name__} has no {' and no '.join(missing)}; allowed: {_ALLOWED}"
            )
        return cast("Source", value)
    raise ConfigException(f"source: {reprlib.repr(value)} is not allowed; allowed: {_ALLOWED}")

"""The ``source`` setting to a source."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kameleoon._settings.values import InFile
from kameleoon._sources.convert import NAME as CONVERT
from kameleoon._sources.convert import ConvertSource
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
        value: ``None``, a path, a mapping, a source, or what a settings file says of one.
        service: What ``None`` stands for.

    Raises:
        ConfigException: *value* is none of these, or a dictionary that cannot be a configuration.
    """
    if value is None:
        return service
    if isinstance(value, InFile):
        return _from_file(value)
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


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_CODE_ALONE = frozenset({"providers", "clock"})


def _from_file(entry: InFile) -> Source:
    """A Convert source by its options; ``${NAME}`` as a whole value stands for an environment variable."""
    options = dict(entry.value)
    kind = options.pop("type", None)
    if kind != CONVERT:
        given = "missing" if kind is None else reprlib.repr(kind)
        raise ConfigException(f"{entry.place}.type is {given}, allowed is {CONVERT}")
    allowed = [one.name for one in fields(ConvertSource) if one.name not in _CODE_ALONE]
    for key, value in options.items():
        if key not in allowed:
            raise ConfigException(f"{entry.place}: {key!r} is no option of {CONVERT}; allowed are {', '.join(allowed)}")
        variable = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
        if variable is not None:
            options[key] = os.environ.get(variable[1])
            if options[key] is None:
                raise ConfigException(f"{entry.place}.{key}: environment variable {variable[1]} is not set")
    try:
        return ConvertSource(**options)
    except ConfigException as error:
        raise ConfigException(f"{entry.place}: {error.args[0]}") from None

"""A settings file, read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kameleoon.exceptions import ConfigException, ConfigFileNotFound


def load(path: Path) -> Mapping[Any, Any]:
    """Read a YAML file that must hold a mapping; raises as `KameleoonClientConfig.read_from_yaml` says."""
    import yaml  # noqa: PLC0415  # costs more than all the rest, and most processes read no file

    try:
        # A stream, not a string: from a string the parser quotes lines in its errors, and one may hold the secret.
        with path.open("rb") as stream:
            content = yaml.safe_load(stream)
    except FileNotFoundError as error:
        raise ConfigFileNotFound(f"No config file {path} or config object is found") from error
    except OSError as error:
        raise ConfigException(f"{path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ConfigException(f"{path} is not YAML{_position(error)}") from error
    except (ValueError, LookupError, AttributeError, RecursionError):
        # A value that does not fit its tag raises whatever it meets. These errors quote it, and it may be the secret.
        raise ConfigException(f"{path} is not YAML") from None
    if not isinstance(content, Mapping) or not content:
        kind = "empty" if content is None or (isinstance(content, Iterable) and not content) else type(content).__name__
        raise ConfigException(f"{path} must hold settings such as 'client_id: ...', it is {kind}")
    return content


def _position(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return (
        "" if mark is None else f": {getattr(error, 'problem', None)}, line {mark.line + 1}, column {mark.column + 1}"
    )

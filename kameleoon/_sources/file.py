"""A file that holds the service's configuration JSON, or the same as YAML, and is read again when it changes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from kameleoon._datafile.pieces import root_in_steps
from kameleoon._transport.configuration import Fetched
from kameleoon._transport.flow import at_leisure
from kameleoon._transport.message import FetchFailed

if TYPE_CHECKING:
    from pathlib import Path

    from kameleoon._transport.flow import Flow

_YAML_SUFFIXES = frozenset({".yaml", ".yml"})


class FileSource:
    """
    `Source` that reads a file whose name ends in ``.yaml`` or ``.yml`` as YAML, and any other as JSON.

    Twice a second it looks whether the file's time, size or inode changed, and reads it only then. A version that cannot be read
    is refused with file and position, once read; replace files by renaming, and none is ever seen half written.

    Args:
        path: The file. It need not exist yet.
    """

    interval_s = 0.5

    def __init__(self, path: Path) -> None:
        self._path = path
        self._refused: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """``file`` and its path."""
        return f"file {self._path}"

    def fetch(self, known: Fetched | None, ts: int | None) -> Flow[Fetched | None]:
        """
        Read the file if it is not the one that *known* came from.

        Raises:
            FetchFailed: The file is missing, unreadable, neither JSON nor YAML, empty, or holds no object.
        """
        del ts  # A file is always the newest version of itself.
        revision, body = self._read(known)
        if body is None:
            return None
        try:
            if self._path.suffix.lower() in _YAML_SUFFIXES:
                body = _yaml_to_json(body)
            root = yield from _decode(body)
        except ValueError as error:
            reason = f"{self._path}: {error}"
            self._refused = (revision, reason)
            raise FetchFailed(reason) from error
        self._refused = None
        return Fetched(body, root, self.name, revision=revision)

    def _read(self, known: Fetched | None) -> tuple[str, bytes | None]:
        """Give the file's revision and content; no content when it is what is *known*."""
        try:
            with self._path.open("rb") as file:
                # Taken before reading: a file that changes meanwhile looks changed the next time.
                status = os.fstat(file.fileno())
                revision = f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
                if known is not None and (known.source_name, known.revision) == (self.name, revision):
                    return revision, None
                refused = self._refused
                if refused is not None and refused[0] == revision:
                    raise FetchFailed(refused[1])
                return revision, file.read()
        except OSError as error:
            raise FetchFailed(f"{self._path}: {error.strerror or error}") from error


def _decode(body: bytes) -> Flow[dict[str, Any]]:
    try:
        root = yield from at_leisure(root_in_steps(body))
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start}: not {error.encoding} text") from error
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(root, dict) or not root:
        raise ValueError("must hold an object with members, as the configuration service gives it")
    return root


def _yaml_to_json(body: bytes) -> bytes:
    import yaml  # noqa: PLC0415 - imported when a YAML file is given

    try:
        # JSON and back gives what the service would give: text keys, and neither dates nor shared pieces.
        return json.dumps(yaml.safe_load(body), allow_nan=False).encode()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{place}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"holds what JSON has no form for: {error}") from error
    except (LookupError, AttributeError) as error:
        # What the parser makes of `!!bool maybe` or `!!timestamp never`.
        raise ValueError(f"not YAML: a value does not fit its tag ({error!r})") from error
    except RecursionError:
        raise ValueError("nested too deeply") from None

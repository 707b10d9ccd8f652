"""Events to a file, one JSON object a line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kameleoon.destinations.protocol import SENT, Limits, Result, Verdict, compact
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event


class JsonLines:
    """
    `Destination` that appends to a file. The file belongs to one process.

    A batch is written whole or, when the disk refuses, not at all and tried again.

    Args:
        path: The file; its directory must exist.
        max_bytes: Before it would grow beyond, it is renamed to ``<name>.1``, the one before to ``<name>.2``, and so on.
        keep: So many renamed files are kept, the oldest goes first.

    Raises:
        ConfigException: *max_bytes* or *keep* is below 1.
    """

    def __init__(self, path: str | Path, *, max_bytes: int = 64 * 1024 * 1024, keep: int = 5) -> None:
        if max_bytes < 1 or keep < 1:
            raise ConfigException("JsonLines: max_bytes and keep must be 1 or more")
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._keep = keep
        self.name = f"file {self._path.name}"
        self.limits = Limits(batch_events=1000, batch_bytes=1_000_000, frame_bytes=1)

    def map(self, event: Event) -> dict[str, Any]:
        """All events, as they are."""
        return event.plain()

    def check(self, mapped: Any) -> bytes:
        """The event's line, without its end; JSON escapes line ends within."""
        return compact(mapped)

    def send(self, batch: Sequence[bytes]) -> Flow[Result]:
        """Append one batch."""
        yield from ()
        content = b"\n".join(batch) + b"\n"
        try:
            size = self._path.stat().st_size if self._path.exists() else 0
            if size and size + len(content) > self._max_bytes:
                self._rotate()
                size = 0
            with self._path.open("ab", buffering=0) as file:
                try:
                    self._write(file, content)
                except OSError:
                    with contextlib.suppress(OSError):
                        file.truncate(size)
                    raise
        except OSError as error:
            return Result(Verdict.RETRY, error.strerror or type(error).__name__)
        return SENT

    def _write(self, file: Any, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

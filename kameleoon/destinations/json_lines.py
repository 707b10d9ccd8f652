"""Events to a file, one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from kameleoon._transport.message import Pause
from kameleoon.destinations.protocol import SENT, Limits, Result, Verdict, compact
from kameleoon.exceptions import ConfigException

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kameleoon._transport.flow import Flow
    from kameleoon.destinations.events import Event

try:
    import fcntl
except ImportError:  # there is none on Windows: a file belongs to one process there
    fcntl = None  # type: ignore[assignment]

_LOOKS = 100
_LOOK_AGAIN_S = 0.01
"""So often, and after so long, it is tried to get a file that another process writes at this moment."""

_LONGEST_LINE = 1 << 20
_BEGINNING = b'{"type":"'


class JsonLines:
    """
    `Destination` that appends to a file. Where files can be locked several processes may write to the same.

    A batch is written whole or, when the disk refuses, not at all and tried again. What a process that was killed left of a line is removed.

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
        content = b"\n".join(batch) + b"\n"
        for _ in range(_LOOKS):
            try:
                if fcntl is None and self._path.exists() and self._is_full(self._path.stat().st_size, content):
                    self._rotate()  # an open file cannot be renamed on Windows
                with self._opened() as file:
                    if file is not None and self._append(file, content):
                        return SENT
            except OSError as error:
                return Result(Verdict.RETRY, error.strerror or type(error).__name__)
            yield Pause(_LOOK_AGAIN_S)
        return Result(Verdict.RETRY, "another process keeps the file locked")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[IO[bytes] | None]:
        """The file, nobody else's as long as it is open; ``None`` while somebody else has it."""
        with self._path.open("a+b", buffering=0) as file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield None
                    return
                try:
                    yield file if self._is_in_place(file) else None
                finally:
                    # Closing is not enough: a process that was forked meanwhile has the same lock, and might never end.
                    fcntl.flock(file, fcntl.LOCK_UN)
            else:
                yield file

    def _is_in_place(self, file: IO[bytes]) -> bool:
        """Whether *file* has still its name, rather than that of a full one."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _append(self, file: IO[bytes], content: bytes) -> bool:
        """``False`` when the file was full and has moved on, so that another one is to be opened."""
        size = _whole_lines(file)
        if self._is_full(size, content):
            self._rotate()
            return False
        try:
            self._write(file, content)
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(size)
            raise
        return True

    def _is_full(self, size: int, content: bytes) -> bool:
        return size > 0 and size + len(content) > self._max_bytes

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


def _whole_lines(file: IO[bytes]) -> int:
    """The file's size, once its last line is ended, or removed if it is what was begun of one of ours."""
    size = file.seek(0, os.SEEK_END)
    if not size:
        return 0
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return size
    start = max(0, size - _LONGEST_LINE)
    file.seek(start)
    line = file.read(size - start).rpartition(b"\n")[2]
    if _is_begun(line):
        file.truncate(size - len(line))
        return size - len(line)
    return size + file.write(b"\n")


def _is_begun(line: bytes) -> bool:
    if not line.startswith(_BEGINNING[: len(line)]):
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False

"""Server-sent events: bytes in, events out. Pure; nothing is read or sent here."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

MAX_EVENT_BYTES = 64 * 1024
"""Bound of one event. Those of the service hold a number; a stream without line ends must not fill the memory (faults D11)."""

UPDATE_EVENT = "configuration-update-event"

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event: its name, ``message`` when it has none, and its data, lines joined with line feeds."""

    name: str
    data: str


class EventParser:
    """
    Takes a stream apart, however it was cut into pieces.

    Attributes:
        lines: Lines seen so far, comments and empty ones too: the sign that the stream is alive.

    Source:
        HTML standard, 9.2.6 "Interpreting an event stream".
    """

    def __init__(self) -> None:
        self.lines = 0
        self._rest = bytearray()
        self._name = ""
        self._data: list[str] = []
        self._size_bytes = 0
        self._after_return = False

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """
        Take the next piece of the stream.

        Returns:
            The events that it completed.

        Raises:
            ValueError: A line or an event is above `MAX_EVENT_BYTES`.
        """
        if self._after_return and piece:
            # A carriage return ended the last line at once, without waiting for the line feed that may belong to it.
            piece = piece.removeprefix(b"\n")
            self._after_return = False
        self._after_return = piece.endswith(b"\r") if piece else self._after_return
        *ends, rest = _LINE_END.split(piece)
        lines = [bytes(self._rest + end) if number == 0 else end for number, end in enumerate(ends)]
        if ends:
            self._rest.clear()
        self._rest += rest
        events = [event for line in lines if (event := self._take(line)) is not None]
        if len(self._rest) + self._size_bytes > MAX_EVENT_BYTES:
            raise ValueError(f"an event above {MAX_EVENT_BYTES} bytes")
        return events

    def _take(self, line: bytes) -> ServerEvent | None:
        self.lines += 1
        if self.lines == 1:
            line = line.removeprefix(_BOM)
        if not line:
            event = ServerEvent(self._name or "message", "\n".join(self._data)) if self._data else None
            self._name, self._data, self._size_bytes = "", [], 0
            return event
        self._size_bytes += len(line)
        if self._size_bytes > MAX_EVENT_BYTES:
            raise ValueError(f"an event above {MAX_EVENT_BYTES} bytes")
        if line.startswith(b":"):
            self._size_bytes -= len(line)
            return None
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        return None


def announced_version(event: ServerEvent) -> int | None:
    """
    The version that an update event announces, in milliseconds, ``None`` when it names none that can be read.

    Source:
        docs/service/network.md 4.4.
    """
    try:
        content = json.loads(event.data)
    except (ValueError, RecursionError):
        return None
    version = content.get("ts") if isinstance(content, dict) else None
    is_usable = isinstance(version, int) and not isinstance(version, bool) and 0 <= version < 10**18
    return version if is_usable else None

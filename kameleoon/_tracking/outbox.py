"""
Lines waiting to be sent.

A line is in the outbox until the service took it, or it is given up. Whoever sends takes a batch out on loan and says what became of
it; only a batch that was settled or given up is gone.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon._tracking.lines import Line

MAX_LINES = 1_000_000
"""Lines kept in memory at most; beyond it the oldest are given up."""

MAX_BATCH_BYTES = 2_621_440
"""
Size of a request's body at most.

Source:
    The service's own SDK keeps to 2.5 MiB a request.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines on loan, oldest first."""

    lines: tuple[Line, ...]

    def body(self) -> bytes:
        """The request's body: each visitor's first line carries his user agent."""
        texts = []
        announced: set[str] = set()
        for line in self.lines:
            if line.user_agent and line.visitor not in announced:
                texts.append(f"{line.text}&userAgent={line.user_agent}")
            else:
                texts.append(line.text)
            announced.add(line.visitor)
        return "\n".join(texts).encode()

    def halves(self) -> tuple[Batch, Batch]:
        """Two batches of about the same number of lines, each visitor's kept together where there are several."""
        visitors = {line.visitor for line in self.lines}
        if len(visitors) < 2:
            middle = len(self.lines) // 2
            return Batch(self.lines[:middle]), Batch(self.lines[middle:])
        first: set[str] = set()
        for line in self.lines:
            if len(first) < len(visitors) // 2:
                first.add(line.visitor)
        return (
            Batch(tuple(line for line in self.lines if line.visitor in first)),
            Batch(tuple(line for line in self.lines if line.visitor not in first)),
        )

    @property
    def is_of_one_visitor(self) -> bool:
        """Whether all lines are of the same visitor."""
        return all(line.visitor == self.lines[0].visitor for line in self.lines)


class Outbox(Protocol):
    """Keeps lines until they are sent. Any thread may call any method, and none loses a line but by saying so."""

    def put(self, lines: Sequence[Line]) -> int:
        """
        Add *lines* at the end.

        Returns:
            How many lines, the oldest, had to be given up to make room.
        """

    def take(self, *, max_lines: int | None = None, max_bytes: int = MAX_BATCH_BYTES) -> Batch | None:
        """
        The oldest lines on loan, ``None`` when there are none. Lines on loan are not handed out again until `give_back`.

        Args:
            max_lines: How many at most; ``None`` for as many as *max_bytes* takes.
            max_bytes: Size of their body at most; a single larger line comes alone.
        """

    def settle(self, batch: Batch) -> None:
        """The lines of *batch* are done with: the service took them, or they are given up."""

    def give_back(self, batch: Batch) -> None:
        """The lines of *batch* wait again, before all others."""

    def __len__(self) -> int:
        """Lines waiting or on loan."""


class MemoryOutbox:
    """
    An `Outbox` in this process.

    Args:
        max_lines: Lines kept at most, 1 or more.
    """

    def __init__(self, max_lines: int = MAX_LINES) -> None:
        self._max_lines = max_lines
        self._lock = threading.Lock()
        self._waiting: deque[Line] = deque()
        self._on_loan = 0

    def __len__(self) -> int:
        return len(self._waiting) + self._on_loan

    def put(self, lines: Sequence[Line]) -> int:
        """See `Outbox.put`."""
        with self._lock:
            self._waiting.extend(lines)
            return self._make_room()

    def take(self, *, max_lines: int | None = None, max_bytes: int = MAX_BATCH_BYTES) -> Batch | None:
        """See `Outbox.take`."""
        with self._lock:
            count = size = 0
            for line in islice(self._waiting, max_lines):
                size += len(line.text) + len(line.user_agent or "") + len("&userAgent=\n")
                if count and size > max_bytes:
                    break
                count += 1
            if not count:
                return None
            batch = Batch(tuple(self._waiting.popleft() for _ in range(count)))
            self._on_loan += count
            return batch

    def settle(self, batch: Batch) -> None:
        """See `Outbox.settle`."""
        with self._lock:
            self._on_loan -= len(batch.lines)

    def give_back(self, batch: Batch) -> None:
        """See `Outbox.give_back`."""
        with self._lock:
            self._on_loan -= len(batch.lines)
            self._waiting.extendleft(reversed(batch.lines))

    def _make_room(self) -> int:
        excess = min(len(self) - self._max_lines, len(self._waiting))
        for _ in range(excess):
            self._waiting.popleft()
        return max(excess, 0)

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

from kameleoon._tracking.queues import MemoryQueue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kameleoon._tracking.lines import Line
    from kameleoon._tracking.queues import Bounds, Queue

MAX_LINES = 1_000_000
"""Lines kept in memory at most; beyond it the oldest are given up."""

MAX_BYTES = 256 * 1024 * 1024
"""Size of all lines kept in memory at most; beyond it the oldest are given up."""

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


def size_of(line: Line) -> int:
    """Bytes that *line* takes in a body at most; lines are ASCII."""
    return len(line.text) + len(line.user_agent or "") + len("&userAgent=\n")


class Outbox(Protocol):
    """
    Keeps lines until they are sent. Any thread may call any method; none raises, and none loses a line but by saying so.

    Attributes:
        is_durable: Whether lines outlive the process once `put` is back.
    """

    @property
    def is_durable(self) -> bool:
        """See the class."""

    def queue(self, name: str, bounds: Bounds) -> Queue:
        """
        A queue of events beside the lines, for `put`.

        Args:
            name: The destination's; no two of an outbox may have the same.
            bounds: What it holds at most.
        """

    def put(self, lines: Sequence[Line], events: Mapping[Queue, Sequence[str]] | None = None) -> int:
        """
        Add *lines* at the end, and *events* to their queues; on disk all of them or none.

        Args:
            lines: Lines, may be none.
            events: ``{queue of this outbox: events}``; what a queue has no room for it counts itself.

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

    def hold(self, batch: Batch) -> None:
        """The lines of *batch* are needed for one more request; to be called before each one."""

    def settle(self, batch: Batch) -> None:
        """The lines of *batch* are done with: the service took them."""

    def refuse(self, batch: Batch, status: int) -> None:
        """The service refused the lines of *batch* for good, with *status*; an outbox may keep them for people to look at."""

    def give_back(self, batch: Batch) -> None:
        """The lines of *batch* wait again, before all others."""

    def __len__(self) -> int:
        """Lines waiting or on loan, of all processes that share the outbox."""

    def close(self) -> None:
        """Free what the outbox holds open. Lines that are kept on disk stay there. Calling it again does nothing."""


class MemoryOutbox:
    """
    An `Outbox` in this process.

    Args:
        max_lines: Lines kept at most, 1 or more.
        max_bytes: Size of all lines together at most.
    """

    is_durable = False

    def __init__(self, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> None:
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._waiting: deque[Line] = deque()
        self._waiting_bytes = 0
        self._on_loan = 0

    def __len__(self) -> int:
        return len(self._waiting) + self._on_loan

    def queue(self, name: str, bounds: Bounds) -> Queue:
        """See `Outbox.queue`."""
        return MemoryQueue(name, bounds)

    def put(self, lines: Sequence[Line], events: Mapping[Queue, Sequence[str]] | None = None) -> int:
        """See `Outbox.put`."""
        for queue, texts in (events or {}).items():
            queue.put(texts)
        with self._lock:
            self._waiting.extend(lines)
            self._waiting_bytes += sum(map(size_of, lines))
            return self._make_room()

    def take(self, *, max_lines: int | None = None, max_bytes: int = MAX_BATCH_BYTES) -> Batch | None:
        """See `Outbox.take`."""
        with self._lock:
            count = size = 0
            for line in islice(self._waiting, max_lines):
                more = size_of(line)
                if count and size + more > max_bytes:
                    break
                count += 1
                size += more
            if not count:
                return None
            batch = Batch(tuple(self._waiting.popleft() for _ in range(count)))
            self._waiting_bytes -= size
            self._on_loan += count
            return batch

    def hold(self, batch: Batch) -> None:
        """See `Outbox.hold`. A loan within the process has no end."""

    def settle(self, batch: Batch) -> None:
        """See `Outbox.settle`."""
        with self._lock:
            self._on_loan -= len(batch.lines)

    def refuse(self, batch: Batch, status: int) -> None:  # noqa: ARG002 - nothing is kept of what is refused
        """See `Outbox.refuse`."""
        self.settle(batch)

    def give_back(self, batch: Batch) -> None:
        """See `Outbox.give_back`."""
        with self._lock:
            self._on_loan -= len(batch.lines)
            self._waiting.extendleft(reversed(batch.lines))
            self._waiting_bytes += sum(map(size_of, batch.lines))

    def close(self) -> None:
        """See `Outbox.close`. What waits stays counted, so that `stats` tells what was left."""

    def _make_room(self) -> int:
        given_up = 0
        while self._waiting and (len(self) > self._max_lines or self._waiting_bytes > self._max_bytes):
            self._waiting_bytes -= size_of(self._waiting.popleft())
            given_up += 1
        return given_up

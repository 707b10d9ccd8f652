"""
Queues beside the outbox: what destinations are to be told, each with its own place, bounds and dead letters.

An event is a text here. The outbox takes events together with the lines of the same visitors (`Outbox.put`), on disk in one transaction, and
makes the queues (`Outbox.queue`): in memory, or rows of the same SQLite file, leased as lines are.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

MAX_EVENTS = 100_000
"""Events that one queue holds at most, unless it is told otherwise; beyond it new ones are turned away."""

MAX_BYTES = 64 * 1024 * 1024
"""Size of the events that one queue holds at most, unless it is told otherwise."""

MAX_DEAD_LETTERS = 10_000
"""Dead letters of one queue kept on disk for people to look at; beyond it the oldest are removed."""

LEASE_S = 60.0
"""So long the events of one delivery are out of reach of other processes, unless `Queue.renew` is called meanwhile."""

LONGEST_LEASE_MS = 3_600_000
"""A lease further in the future was given before the clock was set back."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS forwarded (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    event TEXT NOT NULL,
    added_ms INTEGER NOT NULL,
    leased_until_ms INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS forwarded_in_order ON forwarded (destination, id);
CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT NOT NULL,
    event TEXT NOT NULL,
    reason TEXT NOT NULL,
    refused_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_letters_in_order ON dead_letters (destination, id);
CREATE TABLE IF NOT EXISTS forwarded_totals (destination TEXT PRIMARY KEY, events INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS forwarded_added AFTER INSERT ON forwarded BEGIN
    INSERT INTO forwarded_totals VALUES (NEW.destination, 1, length(NEW.event))
        ON CONFLICT (destination) DO UPDATE SET events = events + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER IF NOT EXISTS forwarded_removed AFTER DELETE ON forwarded BEGIN
    UPDATE forwarded_totals SET events = events - 1, bytes = bytes - length(OLD.event) WHERE destination = OLD.destination;
END;
"""

_ARE_THERE = "SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = 'forwarded_removed'"
_IS_ANY_FREE = "SELECT 1 FROM forwarded WHERE destination = ? AND (leased_until_ms <= ? OR leased_until_ms > ?) LIMIT 1"
_FREE = """
SELECT event, id FROM forwarded WHERE destination = ? AND (leased_until_ms <= ? OR leased_until_ms > ?) ORDER BY id LIMIT ?
"""
_INSERT = "INSERT INTO forwarded (destination, event, added_ms) VALUES (?, ?, ?)"
_BURY = "INSERT INTO dead_letters (destination, event, reason, refused_ms) VALUES (?, ?, ?, ?)"
_FORGET_DEAD = """
DELETE FROM dead_letters WHERE destination = ?1 AND id <= (
    SELECT id FROM dead_letters WHERE destination = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2
)
"""


class Entry(NamedTuple):
    """
    An event on loan.

    Attributes:
        text: The event, ASCII.
        key: Its place in the queue on disk, above 0; 0 for none.
    """

    text: str
    key: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """
    What a queue holds at most.

    Attributes:
        events: Number of events, 1 or more.
        bytes: Size of all of them together.
    """

    events: int = MAX_EVENTS
    bytes: int = MAX_BYTES

    def room(self, events: int, size: int, texts: Iterable[str]) -> int:
        """How many of *texts*, from the first on, there is room for beside *events* of *size* bytes."""
        count = 0
        for text in texts:
            size += len(text)
            if events + count >= self.events or size > self.bytes:
                break
            count += 1
        return count


class Queue(Protocol):
    """
    Events for one destination. Any thread may call any method; none raises, and none loses an event but by saying so.

    Attributes:
        name: The destination's; on disk the queue is found by it again.
        is_durable: Whether events outlive the process once `Outbox.put` is back.
        turned_away: Events so far that there was no room for.
    """

    @property
    def name(self) -> str:
        """See the class."""

    @property
    def is_durable(self) -> bool:
        """See the class."""

    @property
    def turned_away(self) -> int:
        """See the class."""

    def put(self, texts: Sequence[str]) -> None:
        """Add events at the end, as far as there is room."""

    def take(self, most: int) -> list[Entry]:
        """The oldest events on loan, up to *most*. They are not handed out again until `give_back`."""

    def renew(self) -> None:
        """All that is on loan is still needed; to be called more often than every `LEASE_S` seconds while somebody works on it."""

    def settle(self, entries: Sequence[Entry]) -> None:
        """*entries* are done with."""

    def refuse(self, letters: Sequence[tuple[Entry, str]]) -> None:
        """These are given up, each with its reason."""

    def give_back(self, entries: Sequence[Entry]) -> None:
        """Put *entries* back where they were: nothing became of them."""

    def __len__(self) -> int:
        """Events in the queue, those on loan too; on disk those of all processes."""


class MemoryQueue:
    """
    A `Queue` in this process.

    Args:
        name: The destination's name.
        bounds: What it holds at most.
    """

    is_durable = False

    def __init__(self, name: str, bounds: Bounds | None = None) -> None:
        self.name = name
        self.turned_away = 0
        self._bounds = bounds or Bounds()
        self._lock = threading.Lock()
        self._waiting: deque[Entry] = deque()
        self._events = 0
        self._bytes = 0

    def __len__(self) -> int:
        return self._events

    def put(self, texts: Sequence[str]) -> None:
        """See `Queue.put`."""
        with self._lock:
            count = self._bounds.room(self._events, self._bytes, texts)
            self._waiting.extend(Entry(text) for text in texts[:count])
            self._events += count
            self._bytes += sum(len(text) for text in texts[:count])
            self.turned_away += len(texts) - count

    def take(self, most: int) -> list[Entry]:
        """See `Queue.take`."""
        with self._lock:
            taken = list(islice(self._waiting, most))
            for _ in taken:
                self._waiting.popleft()
            return taken

    def renew(self) -> None:
        """See `Queue.renew`. A loan within the process has no end."""

    def settle(self, entries: Sequence[Entry]) -> None:
        """See `Queue.settle`."""
        with self._lock:
            self._events -= len(entries)
            self._bytes -= sum(len(entry.text) for entry in entries)

    def refuse(self, letters: Sequence[tuple[Entry, str]]) -> None:
        """See `Queue.refuse`. Nothing is kept of what is given up."""
        self.settle([entry for entry, _ in letters])

    def give_back(self, entries: Sequence[Entry]) -> None:
        """See `Queue.give_back`."""
        with self._lock:
            self._waiting.extendleft(reversed(entries))


class DiskQueue:
    """
    A `Queue` in the outbox's SQLite file; made by `DiskOutbox.queue`. While the disk cannot be used it goes on in memory.

    Args:
        name: The destination's name.
        bounds: What it holds at most, all processes together.
        disk: The outbox's connection, for one use; gives ``None`` while there is none.
        now_ms: Milliseconds since 1970.
    """

    is_durable = True

    def __init__(
        self,
        name: str,
        bounds: Bounds,
        disk: Callable[[], AbstractContextManager[sqlite3.Connection | None]],
        now_ms: Callable[[], int],
    ) -> None:
        self.name = name
        self._bounds = bounds
        self._disk = disk
        self._now_ms = now_ms
        self._memory = MemoryQueue(name, bounds)
        self._turned_away = 0
        self._known = 0
        self._on_loan: set[int] = set()
        self._lease_ms = int(LEASE_S * 1000)
        self._renewed_ms = 0
        # Done with, but SQLite could not remove them: they must not be handed out again.
        self._done: set[int] = set()

    @property
    def turned_away(self) -> int:
        """See `Queue`."""
        return self._turned_away + self._memory.turned_away

    def turn_away(self, count: int) -> None:
        """Count events that `insert` had no room for, once the transaction is done."""
        self._turned_away += count

    def __len__(self) -> int:
        with self._disk() as disk:
            if disk is not None:
                self._known, _ = self._totals(disk)
        return max(0, self._known - len(self._done)) + len(self._memory)

    def put(self, texts: Sequence[str]) -> None:
        """See `Queue.put`: in memory, for when the outbox could not write to disk."""
        self._memory.put(texts)

    def insert(self, disk: sqlite3.Connection, texts: Sequence[str]) -> int:
        """Add events within a transaction of the outbox. Gives how many there was no room for."""
        events, size = self._totals(disk)
        count = self._bounds.room(events, size, texts)
        now_ms = self._now_ms()
        disk.executemany(_INSERT, [(self.name, text, now_ms) for text in texts[:count]])
        self._known = events + count
        return len(texts) - count

    def take(self, most: int) -> list[Entry]:
        """See `Queue.take`. Events that had to be kept in memory go first."""
        taken = self._memory.take(most)
        if taken:
            return taken
        is_leased = False
        with self._disk() as disk:
            if disk is not None:
                self._remove_done(disk)
                now_ms = self._now_ms()
                asked = (self.name, now_ms, now_ms + LONGEST_LEASE_MS)
                # Most looks find nothing; they need not wait for the right to write.
                if disk.execute(_IS_ANY_FREE, asked).fetchone() is not None:
                    disk.execute("BEGIN IMMEDIATE")
                    taken = [Entry(text, key) for text, key in disk.execute(_FREE, (*asked, most))]
                    self._lease(disk, [entry.key for entry in taken], now_ms + self._lease_ms)
                    disk.execute("COMMIT")
                    is_leased = True
        if not is_leased:
            return []
        if not self._on_loan:
            self._renewed_ms = now_ms
        self._on_loan.update(entry.key for entry in taken)
        return taken

    def renew(self) -> None:
        """See `Queue.renew`: the leases begin anew, unless they did a moment ago."""
        now_ms = self._now_ms()
        if self._on_loan and not 0 <= now_ms - self._renewed_ms < self._lease_ms // 6:
            self._renewed_ms = now_ms
            self._set_lease(list(self._on_loan), now_ms + self._lease_ms)

    def settle(self, entries: Sequence[Entry]) -> None:
        """See `Queue.settle`."""
        self._memory.settle([entry for entry in entries if not entry.key])
        keys = {entry.key for entry in entries if entry.key}
        self._done |= keys
        self._on_loan -= keys
        with self._disk() as disk:
            if disk is not None:
                self._remove_done(disk)

    def refuse(self, letters: Sequence[tuple[Entry, str]]) -> None:
        """See `Queue.refuse`: they are kept in the table ``dead_letters``."""
        with self._disk() as disk:
            if disk is not None:
                now_ms = self._now_ms()
                disk.execute("BEGIN IMMEDIATE")
                disk.executemany(_BURY, [(self.name, entry.text, reason, now_ms) for entry, reason in letters])
                disk.execute(_FORGET_DEAD, (self.name, MAX_DEAD_LETTERS))
                disk.execute("COMMIT")
        self.settle([entry for entry, _ in letters])

    def give_back(self, entries: Sequence[Entry]) -> None:
        """See `Queue.give_back`."""
        self._memory.give_back([entry for entry in entries if not entry.key])
        keys = [entry.key for entry in entries if entry.key]
        self._on_loan.difference_update(keys)
        self._set_lease(keys, 0)

    def _set_lease(self, keys: Sequence[int], until_ms: int) -> None:
        if keys:
            with self._disk() as disk:
                if disk is not None:
                    disk.execute("BEGIN IMMEDIATE")
                    self._lease(disk, keys, until_ms)
                    disk.execute("COMMIT")

    def _lease(self, disk: sqlite3.Connection, keys: Sequence[int], until_ms: int) -> None:
        disk.executemany("UPDATE forwarded SET leased_until_ms = ? WHERE id = ?", [(until_ms, key) for key in keys])

    def _remove_done(self, disk: sqlite3.Connection) -> None:
        keys = list(self._done)
        if keys:
            disk.execute("BEGIN IMMEDIATE")
            disk.executemany("DELETE FROM forwarded WHERE id = ?", [(key,) for key in keys])
            disk.execute("COMMIT")
            self._done.difference_update(keys)
            self._known -= len(keys)

    def _totals(self, disk: sqlite3.Connection) -> tuple[int, int]:
        found = disk.execute(
            "SELECT events, bytes FROM forwarded_totals WHERE destination = ?", (self.name,)
        ).fetchone()
        return (0, 0) if found is None else (found[0], found[1])


def set_up(disk: sqlite3.Connection) -> None:
    """Make the tables, unless they are there."""
    if disk.execute(_ARE_THERE).fetchone() is None:
        disk.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")

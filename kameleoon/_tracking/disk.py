"""
The outbox on disk: lines outlive the process, and processes that share the directory share the lines.

A SQLite file in WAL mode, one row a line. Whoever sends holds a lease on the rows it took; when it dies, they are free again once the
lease is over. What SQLite cannot do at the moment (disk full, read-only, locked for long) is done in memory, and said once.

The file is made to be looked at: ``sqlite3 events-….sqlite3 'SELECT * FROM events LIMIT 10'``.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from weakref import WeakSet

from kameleoon._tracking import queues
from kameleoon._tracking.lines import Line
from kameleoon._tracking.outbox import MAX_BATCH_BYTES, Batch, MemoryOutbox, size_of
from kameleoon._tracking.queues import Bounds, DiskQueue, Queue
from kameleoon.logging.kameleoon_logger import KameleoonLogger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

MAX_DISK_LINES = 5_000_000
"""Lines kept on disk at most, all processes together; beyond it the oldest are given up."""

MAX_DISK_BYTES = 1024 * 1024 * 1024
"""Size of the lines kept on disk at most; beyond it the oldest are given up. The file is about a third larger."""

MAX_REFUSED = 10_000
"""Refused lines kept for people to look at; beyond it the oldest are removed."""

_LOCK_WAIT_S = 2.0
_TRY_AGAIN_S = 5.0
_MOST_IN_BATCH = 50_000
_VERSION = 1
"""What ``PRAGMA user_version`` says of a file with this schema."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    visitor TEXT NOT NULL,
    line TEXT NOT NULL,
    user_agent TEXT,
    added_ms INTEGER NOT NULL,
    leased_until_ms INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS refused (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    line TEXT NOT NULL,
    user_agent TEXT,
    status INTEGER NOT NULL,
    refused_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS totals (lines INTEGER NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO totals SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM totals);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON events BEGIN
    UPDATE totals SET lines = lines + 1, bytes = bytes + length(NEW.line) + length(NEW.visitor);
END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON events BEGIN
    UPDATE totals SET lines = lines - 1, bytes = bytes - length(OLD.line) - length(OLD.visitor);
END;
PRAGMA user_version = 1;
"""

_IS_ANY_FREE = "SELECT 1 FROM events WHERE leased_until_ms <= ? OR leased_until_ms > ? LIMIT 1"
_FREE = """
SELECT visitor, line, user_agent, id FROM events WHERE leased_until_ms <= ? OR leased_until_ms > ? ORDER BY id LIMIT ?
"""

_outboxes: WeakSet[DiskOutbox] = WeakSet()
_held_for_fork: list[DiskOutbox] = []
_is_watching_forks = False


def _watch_forks() -> None:
    global _is_watching_forks  # noqa: PLW0603 - once per process is what this is for
    if not _is_watching_forks and hasattr(os, "register_at_fork"):
        _is_watching_forks = True
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _before_fork() -> None:
    # SQLite keeps in the process's memory which locks it has. A child with a copy of an open connection would believe it has those of
    # its parent; so nothing is open, and nobody is in the middle of anything, while the process forks.
    for outbox in list(_outboxes):
        outbox.hold_for_fork()
        _held_for_fork.append(outbox)


def _after_fork() -> None:
    while _held_for_fork:
        _held_for_fork.pop().go_on_after_fork()


def outbox_path(data_dir: Path, site_code: str) -> Path:
    """The file of one site's events; what of *site_code* no file name can have is replaced."""
    return data_dir / f"events-{re.sub(r'[^A-Za-z0-9_-]', '_', site_code)}.sqlite3"


class DiskOutbox:
    """
    An `Outbox` in a SQLite file.

    A forked child makes one of its own; its parent's goes on in the parent.

    Args:
        path: The file; it and its directory are made when missing, readable by the user alone.
        lease_s: How long the lines of one request are out of reach of other processes; longer than a request may last.
        max_lines: Lines kept at most.
        max_bytes: Size of all lines together at most.
        wall_clock: Seconds since 1970, as all processes that share the file see them.
        clock: Monotonic seconds.
    """

    is_durable = True

    def __init__(
        self,
        path: Path,
        lease_s: float,
        *,
        max_lines: int = MAX_DISK_LINES,
        max_bytes: int = MAX_DISK_BYTES,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._lease_ms = int(lease_s * 1000)
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._wall_clock = wall_clock
        self._clock = clock
        self._lock = threading.Lock()
        self._memory = MemoryOutbox()
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False
        self._is_failing = False
        self._try_again_at_s = 0.0
        self._known_lines = 0
        self._has_queues = False
        # Sent or refused, but SQLite could not remove them: they must not be sent again.
        self._done: set[int] = set()
        _watch_forks()
        _outboxes.add(self)
        with self._disk():
            pass

    def __len__(self) -> int:
        with self._disk() as disk:
            if disk is not None:
                (self._known_lines,) = disk.execute("SELECT lines FROM totals").fetchone()
        return max(0, self._known_lines - len(self._done)) + len(self._memory)

    def queue(self, name: str, bounds: Bounds) -> DiskQueue:
        """See `Outbox.queue`. It finds again what an earlier process left under this name."""
        if not self._has_queues:
            self._has_queues = True
            with self._disk() as disk:
                if disk is not None:
                    queues.set_up(disk)
        return DiskQueue(name, bounds, self._disk, self._now_ms)

    def put(self, lines: Sequence[Line], events: Mapping[Queue, Sequence[str]] | None = None) -> int:
        """See `Outbox.put`. The lines and events are on disk when this returns."""
        given_up = 0
        is_kept = False
        turned_away: list[tuple[DiskQueue, int]] = []
        with self._disk() as disk:
            if disk is not None:
                added_ms = self._now_ms()
                disk.execute("BEGIN IMMEDIATE")
                disk.executemany(
                    "INSERT INTO events (visitor, line, user_agent, added_ms) VALUES (?, ?, ?, ?)",
                    [(line.visitor, line.text, line.user_agent, added_ms) for line in lines],
                )
                given_up = self._make_room(disk)
                for queue, texts in (events or {}).items():
                    assert isinstance(queue, DiskQueue)
                    turned_away.append((queue, queue.insert(disk, texts)))
                disk.execute("COMMIT")
                self._known_lines += len(lines) - given_up
                is_kept = True
        if not is_kept:
            return self._memory.put(lines, events)
        for own, count in turned_away:
            own.turn_away(count)
        if self._is_failing:
            self._is_failing = False
            KameleoonLogger.info("Events are kept on disk again, in %s", str(self._path))
        return given_up

    def take(self, *, max_lines: int | None = None, max_bytes: int = MAX_BATCH_BYTES) -> Batch | None:
        """See `Outbox.take`. Lines that had to be kept in memory go first."""
        batch = self._memory.take(max_lines=max_lines, max_bytes=max_bytes)
        if batch is not None:
            return batch
        taken: list[Line] = []
        is_leased = False
        with self._disk() as disk:
            if disk is not None:
                self._remove_done(disk)
                now_ms = self._now_ms()
                bounds = (now_ms, now_ms + queues.LONGEST_LEASE_MS)
                # Most looks find nothing; they need not wait for the right to write.
                if disk.execute(_IS_ANY_FREE, bounds).fetchone() is not None:
                    disk.execute("BEGIN IMMEDIATE")
                    rows = disk.execute(_FREE, (*bounds, _MOST_IN_BATCH if max_lines is None else max_lines))
                    taken = list(_up_to(max_bytes, rows))
                    self._lease(disk, taken, now_ms + self._lease_ms)
                    disk.execute("COMMIT")
                    is_leased = True
        return Batch(tuple(taken)) if taken and is_leased else None

    def hold(self, batch: Batch) -> None:
        """See `Outbox.hold`: the lease begins anew."""
        if batch.lines[0].key:
            with self._disk() as disk:
                if disk is not None:
                    disk.execute("BEGIN IMMEDIATE")
                    self._lease(disk, batch.lines, self._now_ms() + self._lease_ms)
                    disk.execute("COMMIT")

    def settle(self, batch: Batch) -> None:
        """See `Outbox.settle`."""
        if not batch.lines[0].key:
            self._memory.settle(batch)
            return
        self._done.update(line.key for line in batch.lines)
        with self._disk() as disk:
            if disk is not None:
                self._remove_done(disk)

    def refuse(self, batch: Batch, status: int) -> None:
        """See `Outbox.refuse`: they are kept in the table ``refused``."""
        with self._disk() as disk:
            if disk is not None:
                now_ms = self._now_ms()
                disk.execute("BEGIN IMMEDIATE")
                disk.executemany(
                    "INSERT INTO refused (line, user_agent, status, refused_ms) VALUES (?, ?, ?, ?)",
                    [(line.text, line.user_agent, status, now_ms) for line in batch.lines],
                )
                disk.execute("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?", (MAX_REFUSED,))
                disk.execute("COMMIT")
        self.settle(batch)

    def give_back(self, batch: Batch) -> None:
        """See `Outbox.give_back`."""
        if not batch.lines[0].key:
            self._memory.give_back(batch)
            return
        with self._disk() as disk:
            if disk is not None:
                disk.execute("BEGIN IMMEDIATE")
                self._lease(disk, batch.lines, 0)
                disk.execute("COMMIT")

    def close(self) -> None:
        """See `Outbox.close`."""
        left = len(self)
        with self._lock:
            self._is_closed = True
            self._known_lines = left - len(self._memory) + len(self._done)
            self._hang_up()

    def hold_for_fork(self) -> None:
        """Before a fork: end the connection, and let nobody open another until `go_on_after_fork`."""
        self._lock.acquire()
        self._hang_up()

    def go_on_after_fork(self) -> None:
        """After a fork, in both processes: the next use opens a connection again."""
        self._lock.release()

    @contextmanager
    def _disk(self) -> Iterator[sqlite3.Connection | None]:
        """
        The connection, ``None`` while the disk cannot be used. What goes wrong inside is undone and ends the block quietly.

        Yields:
            In autocommit mode, to be used by this thread only and only inside the block.
        """
        with self._lock:
            connection = None
            if not self._is_closed and self._clock() >= self._try_again_at_s:
                try:
                    connection = self._connection or self._connect()
                except (sqlite3.Error, OSError) as error:
                    self._fail(error)
            if connection is None:
                yield None
                return
            try:
                yield connection
            except sqlite3.Error as error:
                with suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                self._fail(error)

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            self._connection = self._open()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            # No database any more. Whoever wants to look for lines in it finds it beside the new one.
            aside = self._path.with_suffix(f".broken-{self._now_ms()}")
            self._path.rename(aside)
            KameleoonLogger.error("%s is damaged; it was renamed to %s", str(self._path), aside.name)
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        connection = _connect(self._path)
        try:
            if self._has_queues:
                queues.set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _fail(self, error: Exception) -> None:
        self._try_again_at_s = self._clock() + _TRY_AGAIN_S
        if not self._is_failing:
            self._is_failing = True
            KameleoonLogger.error("Events cannot be kept on disk, only in memory: %s: %s", str(self._path), str(error))

    def _remove_done(self, disk: sqlite3.Connection) -> None:
        if self._done:
            keys = list(self._done)
            disk.execute("BEGIN IMMEDIATE")
            disk.executemany("DELETE FROM events WHERE id = ?", [(key,) for key in keys])
            disk.execute("COMMIT")
            self._done.difference_update(keys)
            self._known_lines -= len(keys)

    def _make_room(self, disk: sqlite3.Connection) -> int:
        lines, size = disk.execute("SELECT lines, bytes FROM totals").fetchone()
        before = lines
        while lines > self._max_lines or (size > self._max_bytes and lines > 1):
            # In steps, the smallest being one line, until both bounds hold.
            excess = max(lines - self._max_lines, (lines * (size - self._max_bytes)) // (2 * size), 1)
            disk.execute("DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?)", (excess,))
            lines, size = disk.execute("SELECT lines, bytes FROM totals").fetchone()
        return int(before - lines)

    def _lease(self, disk: sqlite3.Connection, lines: Iterable[Line], until_ms: int) -> None:
        disk.executemany("UPDATE events SET leased_until_ms = ? WHERE id = ?", [(until_ms, line.key) for line in lines])

    def _now_ms(self) -> int:
        return int(self._wall_clock() * 1000)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # Each commit waits for the disk: a line that was handed over survives a loss of power too.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise sqlite3.OperationalError(f"made by a newer version of the library (format {version})")
    if version < _VERSION:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")


def _up_to(max_bytes: int, rows: Iterable[tuple[str, str, str | None, int]]) -> Iterator[Line]:
    """As many lines as *max_bytes* take, at least one if there is one."""
    size = 0
    for visitor, text, user_agent, key in rows:
        line = Line(visitor, text, user_agent, key)
        size += size_of(line)
        if size > max_bytes and size > size_of(line):
            return
        yield line

"""
Events and what is counted from them, in one SQLite file or in memory.

Every request is one transaction, so that an answered request is stored. A line is stored once however often it is sent.
Counts are kept as events arrive; reading results never walks over events.

How a conversion finds its variation:

- The first variation a visitor is seen with in an experiment is the one that counts.
- A conversion counts for every experiment the visitor had been assigned in when it arrived.
- Lines of one request have arrived together: its exposures come before its conversions, wherever they stand in the body.
- A conversion that arrived in an earlier request than the exposure does not count, because the variation cannot have caused it.
- Events of bots are kept and count for nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kameleoon.server.lines import Body, Conversion, Event, Exposure, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MEMORY = ":memory:"

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE visitors (id INTEGER PRIMARY KEY, site TEXT NOT NULL, code TEXT NOT NULL, UNIQUE (site, code));
CREATE TABLE links (site TEXT NOT NULL, identifier TEXT NOT NULL, visitor INTEGER NOT NULL, PRIMARY KEY (site, identifier)) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, sent_as TEXT NOT NULL, nonce TEXT NOT NULL, visitor INTEGER NOT NULL,
    request INTEGER NOT NULL, time_ms INTEGER NOT NULL, type TEXT NOT NULL, parameters TEXT NOT NULL, is_bot INTEGER NOT NULL,
    UNIQUE (site, sent_as, nonce)
);
CREATE INDEX events_of_visitor ON events (visitor, time_ms);
CREATE TABLE assignments (
    visitor INTEGER NOT NULL, experiment INTEGER NOT NULL, variation INTEGER NOT NULL, PRIMARY KEY (visitor, experiment)
) WITHOUT ROWID;
CREATE TABLE visitor_goals (
    visitor INTEGER NOT NULL, experiment INTEGER NOT NULL, goal INTEGER NOT NULL,
    conversions INTEGER NOT NULL, revenue REAL NOT NULL, PRIMARY KEY (visitor, experiment, goal)
) WITHOUT ROWID;
CREATE TABLE variation_totals (
    site TEXT NOT NULL, experiment INTEGER NOT NULL, variation INTEGER NOT NULL, visitors INTEGER NOT NULL,
    PRIMARY KEY (site, experiment, variation)
) WITHOUT ROWID;
CREATE TABLE goal_totals (
    site TEXT NOT NULL, experiment INTEGER NOT NULL, variation INTEGER NOT NULL, goal INTEGER NOT NULL,
    converted INTEGER NOT NULL, conversions INTEGER NOT NULL, revenue REAL NOT NULL, revenue_squares REAL NOT NULL,
    PRIMARY KEY (site, experiment, variation, goal)
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_COUNTERS = ("requests", "lines", "stored", "duplicates", "refused", "bots")


class StorageError(Exception):
    """The database cannot be opened, or was written by another version of the server."""


@dataclass(frozen=True, slots=True)
class GoalTotals:
    """
    What the visitors of one variation did for one goal.

    Attributes:
        converted: Visitors with at least one conversion.
        conversions: All conversions.
        revenue: Sum over all conversions, signed.
        revenue_squares: Sum over visitors of the square of each visitor's revenue; gives the variance of revenue per visitor.
    """

    converted: int = 0
    conversions: int = 0
    revenue: float = 0.0
    revenue_squares: float = 0.0


@dataclass(frozen=True, slots=True)
class VariationTotals:
    """
    What is counted for one variation of one experiment.

    Attributes:
        visitors: Distinct visitors assigned to it.
        goals: `{goal id: totals}`, of goals with a conversion.
    """

    visitors: int
    goals: dict[int, GoalTotals]


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """
    An event as it was stored.

    Attributes:
        id: Rises in the order of arrival.
        request: Number of the request it came with.
        visitor: The visitor's code, after links of identifiers were followed.
    """

    id: int
    request: int
    visitor: str
    time_ms: int
    type: str
    parameters: dict[str, str]
    is_bot: bool


class Storage:
    """
    The database of one server.

    Any thread may call any method; a lock lets one in at a time.

    Args:
        database: A file, made when it does not exist, or `MEMORY`.
        now_ms: The time, in ms since 1970.

    Raises:
        StorageError: The file cannot be opened or is no database of this server.
    """

    def __init__(self, database: str | Path = MEMORY, *, now_ms: Callable[[], int] | None = None) -> None:
        self._now_ms = now_ms or _now_ms
        self._lock = threading.Lock()
        self._name = str(database)
        try:
            self._connection = sqlite3.connect(self._name, isolation_level=None, check_same_thread=False, timeout=2.0)
        except (sqlite3.Error, ValueError) as error:
            raise StorageError(f"{self._name}: cannot be opened: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise StorageError(f"{self._name}: cannot be used as a database: {error}") from error
        except StorageError:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        if self._name != MEMORY:
            # Readers of the file, such as a backup, do not stop the writer. A commit survives the end of the process; the
            # last ones before a power cut may be lost, in return for not waiting for the disk with every request.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in {0, _SCHEMA_VERSION}:
                raise StorageError(f"{self._name}: written by another version of the server (schema {version})")
            if version == 0:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise StorageError(f"{self._name}: is a database, but not of this server")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.executemany("INSERT INTO counters VALUES (?, 0)", [(name,) for name in _COUNTERS])
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One writer, all or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file; later calls fail."""
        with self._lock:
            self._connection.close()

    def add(self, site: str, body: Body) -> None:
        """
        Store a request's events and count them; when this returns they are stored.

        Args:
            site: Site code of the request.
            body: What the request carried.

        Raises:
            sqlite3.Error: The database is full, locked or damaged; nothing of the request was stored.
        """
        with self._transaction() as connection:
            request = _Request(connection, site, self._now_ms())
            for event in body.events:
                request.store(event)
            request.count(body)

    def totals(self, site: str) -> dict[int, dict[int, VariationTotals]]:
        """What is counted: `{experiment id: {variation id: totals}}`."""
        with self._lock:
            goals: dict[tuple[int, int], dict[int, GoalTotals]] = {}
            for experiment, variation, goal, *counts in self._connection.execute(
                "SELECT experiment, variation, goal, converted, conversions, revenue, revenue_squares FROM goal_totals WHERE site = ?",
                (site,),
            ):
                goals.setdefault((experiment, variation), {})[goal] = GoalTotals(*counts)
            found: dict[int, dict[int, VariationTotals]] = {}
            for experiment, variation, visitors in self._connection.execute(
                "SELECT experiment, variation, visitors FROM variation_totals WHERE site = ?", (site,)
            ):
                totals = VariationTotals(visitors, goals.get((experiment, variation), {}))
                found.setdefault(experiment, {})[variation] = totals
            return found

    def counters(self) -> dict[str, int]:
        """
        What has arrived since the database was made.

        Returns:
            ``requests``; ``lines`` = ``stored`` + ``duplicates`` + ``refused``; ``bots``, the stored ones that count for nothing.
        """
        with self._lock:
            found = dict(self._connection.execute("SELECT name, value FROM counters"))
        return {name: found[name] for name in _COUNTERS}

    def events(self, site: str, visitor: str | None = None) -> list[StoredEvent]:
        """Events of a site, or of one visitor by code, in the order of arrival."""
        query = (
            "SELECT events.id, request, code, time_ms, type, parameters, is_bot"
            " FROM events JOIN visitors ON visitors.id = events.visitor WHERE visitors.site = :site"
        )
        if visitor is not None:
            query += " AND visitors.code = :visitor"
        with self._lock:
            rows = self._connection.execute(
                f"{query} ORDER BY events.id", {"site": site, "visitor": visitor}
            ).fetchall()
        return [
            StoredEvent(number, request, code, time_ms, kind, json.loads(parameters), bool(is_bot))
            for number, request, code, time_ms, kind, parameters, is_bot in rows
        ]

    def linked(self, site: str, identifier: str) -> str | None:
        """Code of the visitor last linked to *identifier*, if any was."""
        with self._lock:
            row = self._connection.execute(
                "SELECT code FROM links JOIN visitors ON visitors.id = links.visitor WHERE links.site = ? AND identifier = ?",
                (site, identifier),
            ).fetchone()
        return str(row[0]) if row else None


class _Request:
    """Stores the events of one request inside its transaction."""

    def __init__(self, connection: sqlite3.Connection, site: str, now_ms: int) -> None:
        self._connection = connection
        self._site = site
        self._now_ms = now_ms
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._visitors: dict[str, int] = {}
        self._exposures: list[tuple[int, Exposure]] = []
        self._conversions: list[tuple[int, Conversion]] = []
        (done,) = connection.execute("SELECT value FROM counters WHERE name = 'requests'").fetchone()
        self._number = done + 1

    def store(self, event: Event) -> None:
        """Store one event, unless its visitor sent this nonce before; what it says is counted by `count`."""
        visitor = self._visitor_of(event)
        # The nonce is remembered with the identity as it was sent: a link made in the meantime must not make a retry look new.
        # An event's own visitor code and a mapped identifier of the same text are different identities.
        sent_as = f"{'=' if event.mapped else ':'}{event.visitor}"
        stored = self._connection.execute(
            "INSERT OR IGNORE INTO events (site, sent_as, nonce, visitor, request, time_ms, type, parameters, is_bot)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._site,
                sent_as,
                event.nonce,
                visitor,
                self._number,
                event.time_ms if event.time_ms is not None else self._now_ms,
                event.type,
                json.dumps(event.parameters, ensure_ascii=False, separators=(",", ":")),
                event.is_bot,
            ),
        )
        if not stored.rowcount:
            self._counts["duplicates"] += 1
            return
        self._counts["stored"] += 1
        if isinstance(event.fact, Link):
            self._connection.execute(
                "INSERT OR REPLACE INTO links VALUES (?, ?, ?)", (self._site, event.fact.identifier, visitor)
            )
        if event.is_bot:
            self._counts["bots"] += 1
        elif isinstance(event.fact, Exposure):
            self._exposures.append((visitor, event.fact))
        elif isinstance(event.fact, Conversion):
            self._conversions.append((visitor, event.fact))

    def count(self, body: Body) -> None:
        """Count the request: first who was assigned what, then what they did."""
        for visitor, exposure in self._exposures:
            self._assign(visitor, exposure)
        for visitor, conversion in self._conversions:
            self._convert(visitor, conversion)
        self._counts["requests"] = 1
        self._counts["lines"] = body.received
        self._counts["refused"] = len(body.refused)
        self._connection.executemany(
            "UPDATE counters SET value = value + ? WHERE name = ?",
            [(number, name) for name, number in self._counts.items() if number],
        )

    def _visitor_of(self, event: Event) -> int:
        if event.mapped:
            linked = self._connection.execute(
                "SELECT visitor FROM links WHERE site = ? AND identifier = ?", (self._site, event.visitor)
            ).fetchone()
            if linked:
                return int(linked[0])
        known = self._visitors.get(event.visitor)
        if known is None:
            key = (self._site, event.visitor)
            self._connection.execute("INSERT OR IGNORE INTO visitors (site, code) VALUES (?, ?)", key)
            (known,) = self._connection.execute("SELECT id FROM visitors WHERE site = ? AND code = ?", key).fetchone()
            self._visitors[event.visitor] = known
        return int(known)

    def _assign(self, visitor: int, exposure: Exposure) -> None:
        first = self._connection.execute(
            "INSERT OR IGNORE INTO assignments VALUES (?, ?, ?)",
            (visitor, exposure.experiment_id, exposure.variation_id),
        )
        if first.rowcount:
            self._connection.execute(
                "INSERT INTO variation_totals VALUES (?, ?, ?, 1)"
                " ON CONFLICT (site, experiment, variation) DO UPDATE SET visitors = visitors + 1",
                (self._site, exposure.experiment_id, exposure.variation_id),
            )

    def _convert(self, visitor: int, conversion: Conversion) -> None:
        goal, revenue = conversion.goal_id, conversion.revenue
        assigned = self._connection.execute(
            "SELECT assignments.experiment, variation, coalesce(conversions, 0), coalesce(revenue, 0.0) FROM assignments"
            " LEFT JOIN visitor_goals ON visitor_goals.visitor = assignments.visitor"
            " AND visitor_goals.experiment = assignments.experiment AND goal = ? WHERE assignments.visitor = ?",
            (goal, visitor),
        ).fetchall()
        for experiment, variation, conversions, earlier in assigned:
            self._connection.execute(
                "INSERT OR REPLACE INTO visitor_goals VALUES (?, ?, ?, ?, ?)",
                (visitor, experiment, goal, conversions + 1, earlier + revenue),
            )
            squares = (earlier + revenue) ** 2 - earlier**2
            converted = 0 if conversions else 1
            self._connection.execute(
                "INSERT INTO goal_totals VALUES (?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (site, experiment, variation, goal) DO UPDATE"
                " SET converted = converted + excluded.converted, conversions = conversions + 1,"
                " revenue = revenue + excluded.revenue, revenue_squares = revenue_squares + excluded.revenue_squares",
                (self._site, experiment, variation, goal, converted, revenue, squares),
            )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

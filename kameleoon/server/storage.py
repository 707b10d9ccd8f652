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
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kameleoon.server.lines import Body, Conversion, Event, Exposure, Link, read_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

MEMORY = ":memory:"

_SCHEMA_VERSION = 2
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
CREATE TABLE minutes (
    site TEXT NOT NULL, experiment INTEGER NOT NULL, variation INTEGER NOT NULL, goal INTEGER NOT NULL, minute INTEGER NOT NULL,
    visitors INTEGER NOT NULL, converted INTEGER NOT NULL, conversions INTEGER NOT NULL,
    revenue REAL NOT NULL, revenue_squares REAL NOT NULL,
    PRIMARY KEY (site, experiment, minute, variation, goal)
) WITHOUT ROWID;
CREATE TABLE changes (id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, author TEXT NOT NULL, flag TEXT, said TEXT NOT NULL);
CREATE INDEX changes_of_flag ON changes (flag);
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE maps (
    site TEXT NOT NULL, key TEXT NOT NULL, content TEXT NOT NULL, expires_ms INTEGER NOT NULL, PRIMARY KEY (site, key)
) WITHOUT ROWID;
CREATE TABLE products (site TEXT NOT NULL, ean TEXT NOT NULL, attributes TEXT NOT NULL, PRIMARY KEY (site, ean)) WITHOUT ROWID;
CREATE TABLE product_events (
    site TEXT NOT NULL, ean TEXT NOT NULL, nonce TEXT NOT NULL, type TEXT NOT NULL, quantity INTEGER NOT NULL, time_ms INTEGER NOT NULL,
    PRIMARY KEY (site, ean, nonce)
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_COUNTERS = ("requests", "lines", "stored", "duplicates", "refused", "bots")


_MAX_POINTS = 200
_KEPT_CHANGES = 10_000


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

    def plus(self, more: GoalTotals) -> GoalTotals:
        """The totals of both."""
        return GoalTotals(
            self.converted + more.converted,
            self.conversions + more.conversions,
            self.revenue + more.revenue,
            self.revenue_squares + more.revenue_squares,
        )


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


@dataclass(frozen=True, slots=True)
class Moment:
    """
    What had been counted for an experiment up to a time.

    Attributes:
        time_ms: End of the span, in ms since 1970.
        variations: `{variation id: totals}` since the beginning.
    """

    time_ms: int
    variations: dict[int, VariationTotals]


@dataclass(frozen=True, slots=True)
class Change:
    """
    One change of the project.

    Attributes:
        author: Where it came from: the page, the API or the project file.
        flag: Key of the flag it concerns; None for the project as a whole.
        said: The change in words.
    """

    id: int
    time_ms: int
    author: str
    flag: str | None
    said: str


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

    def moments(self, site: str, experiment: int, *, most: int = _MAX_POINTS) -> list[Moment]:
        """
        How the totals of an experiment grew.

        Args:
            site: Site code.
            experiment: Its id.
            most: Points at most; a longer time is divided into equal spans.

        Returns:
            Oldest first; spans in which nothing arrived are left out. Times are those of the events.
        """
        with self._lock:
            first, last = self._connection.execute(
                "SELECT min(minute), max(minute) FROM minutes WHERE site = ? AND experiment = ?", (site, experiment)
            ).fetchone()
            if first is None:
                return []
            span = -(-(last - first + 1) // most)
            rows = self._connection.execute(
                "SELECT (minute - ?) / ?, variation, goal, sum(visitors), sum(converted), sum(conversions), sum(revenue),"
                " sum(revenue_squares) FROM minutes WHERE site = ? AND experiment = ? GROUP BY 1, 2, 3 ORDER BY 1",
                (first, span, site, experiment),
            ).fetchall()
        found: list[Moment] = []
        visitors: dict[int, int] = {}
        goals: dict[int, dict[int, GoalTotals]] = {}
        for place, of_span in groupby(rows, key=lambda row: row[0]):
            for _, variation, goal, came, *counts in of_span:
                visitors[variation] = visitors.get(variation, 0) + came
                known = goals.setdefault(variation, {})
                if goal != _NO_GOAL:
                    known[goal] = known.get(goal, GoalTotals()).plus(GoalTotals(*counts))
            totals = {
                variation: VariationTotals(count, dict(goals[variation])) for variation, count in visitors.items()
            }
            found.append(Moment((first + (place + 1) * span) * 60_000, totals))
        return found

    def remember_changes(
        self, changes: Iterable[tuple[str | None, str]], *, author: str, keep: Mapping[str, str]
    ) -> None:
        """
        Store changes of the project, and what it is now, in one transaction.

        Args:
            changes: ``(flag key or None, the change in words)``.
            author: Where they came from.
            keep: `{name: text}` to be found by `kept`.
        """
        now_ms = self._now_ms()
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO changes (time_ms, author, flag, said) VALUES (?, ?, ?, ?)",
                [(now_ms, author, flag, said) for flag, said in changes],
            )
            connection.execute("DELETE FROM changes WHERE id <= (SELECT max(id) FROM changes) - ?", (_KEPT_CHANGES,))
            connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?)", list(keep.items()))

    def kept(self, name: str) -> str | None:
        """A text that was kept under *name*."""
        with self._lock:
            row = self._connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def changes(self, flag: str | None = None, *, most: int = 50) -> list[Change]:
        """The last changes, newest first, of one flag or of all."""
        where = "WHERE flag = :flag" if flag is not None else ""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT id, time_ms, author, flag, said FROM changes {where} ORDER BY id DESC LIMIT :most",  # noqa: S608 - fixed texts
                {"flag": flag, "most": most},
            ).fetchall()
        return [Change(*row) for row in rows]

    def last_events(self, site: str, most: int = 50) -> list[StoredEvent]:
        """The events that arrived last, newest first."""
        # Without an index (+), as with one the database would sort all events of the site before it takes the last.
        return self._events("WHERE +events.site = :site", f"DESC LIMIT {int(most)}", site=site)

    def last_visitors(self, site: str, most: int = 20) -> list[str]:
        """Codes of the visitors whose events arrived last, newest first."""
        return list(dict.fromkeys(event.visitor for event in self.last_events(site, 10 * most)))[:most]

    def forget(self, site: str, codes: Iterable[str]) -> None:
        """
        Remove visitors: their events, links and maps, and what was counted for them. Unknown codes are left alone.

        Source:
            data-api.md, section 8.
        """
        with self._transaction() as connection:
            for code in codes:
                connection.execute("DELETE FROM maps WHERE site = ? AND key = ?", (site, code))
                row = connection.execute("SELECT id FROM visitors WHERE site = ? AND code = ?", (site, code)).fetchone()
                if row is None:
                    continue
                _uncount(connection, site, row[0])
                for table in ("events", "assignments", "visitor_goals", "links"):
                    connection.execute(f"DELETE FROM {table} WHERE visitor = ?", row)  # noqa: S608 - fixed names
                connection.execute("DELETE FROM visitors WHERE id = ?", row)

    def put_maps(self, site: str, maps: Mapping[str, Mapping[str, Any]], *, lifetime_ms: int) -> None:
        """Replace maps; an empty one is removed. Source: data-api.md, section 9."""
        now_ms = self._now_ms()
        with self._transaction() as connection:
            connection.execute("DELETE FROM maps WHERE expires_ms <= ?", (now_ms,))
            for key, content in maps.items():
                if content:
                    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
                    connection.execute(
                        "INSERT OR REPLACE INTO maps VALUES (?, ?, ?, ?)", (site, key, text, now_ms + lifetime_ms)
                    )
                else:
                    connection.execute("DELETE FROM maps WHERE site = ? AND key = ?", (site, key))

    def maps(self, site: str, keys: Iterable[str]) -> dict[str, Any]:
        """`{key: map}` of those that are there and have not expired."""
        found: dict[str, Any] = {}
        with self._lock:
            for key in keys:
                row = self._connection.execute(
                    "SELECT content FROM maps WHERE site = ? AND key = ? AND expires_ms > ?",
                    (site, key, self._now_ms()),
                ).fetchone()
                if row:
                    found[key] = json.loads(row[0])
        return found

    def add_products(self, site: str, events: Iterable[tuple[str, str, str, int, Mapping[str, Any]]]) -> None:
        """Store ``(ean, nonce, type, quantity, attributes)``; an event counts once however often it is sent."""
        now_ms = self._now_ms()
        with self._transaction() as connection:
            for ean, nonce, kind, quantity, attributes in events:
                stored = connection.execute(
                    "INSERT OR IGNORE INTO product_events VALUES (?, ?, ?, ?, ?, ?)",
                    (site, ean, nonce, kind, quantity, now_ms),
                )
                if stored.rowcount and attributes:
                    text = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
                    connection.execute("INSERT OR REPLACE INTO products VALUES (?, ?, ?)", (site, ean, text))

    def product_counts(self, site: str, ean: str, begin_ms: int, end_ms: int) -> dict[str, int]:
        """`{event type: summed quantities}` of a product's events from *begin_ms* to before *end_ms*."""
        with self._lock:
            return dict(
                self._connection.execute(
                    "SELECT type, sum(quantity) FROM product_events WHERE site = ? AND ean = ? AND time_ms >= ? AND time_ms < ?"
                    " GROUP BY type",
                    (site, ean, begin_ms, end_ms),
                )
            )

    def product(self, site: str, ean: str) -> dict[str, Any] | None:
        """A product's latest attributes, None for an unknown one."""
        with self._lock:
            row = self._connection.execute(
                "SELECT attributes FROM products WHERE site = ? AND ean = ?", (site, ean)
            ).fetchone()
        return dict(json.loads(row[0])) if row else None

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
        where = "WHERE visitors.site = :site" + (" AND visitors.code = :visitor" if visitor is not None else "")
        return self._events(where, "", site=site, visitor=visitor)

    def _events(self, where: str, order: str, **values: str | None) -> list[StoredEvent]:
        with self._lock:
            rows = self._connection.execute(
                "SELECT events.id, request, code, time_ms, type, parameters, is_bot FROM events"  # noqa: S608 - fixed texts
                f" JOIN visitors ON visitors.id = events.visitor {where} ORDER BY events.id {order}",
                values,
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


_NO_GOAL = -(2**62)
"""Stands in `minutes` for the assignment itself; no line can name it."""


class _Tally:
    """
    What events change in the totals, added up so that a request writes each of them once.

    Args:
        sign: -1 takes away what was counted.
    """

    def __init__(self, site: str, sign: int = 1) -> None:
        self._site = site
        self._sign = sign
        self._sums: dict[tuple[int, int, int, int], list[float]] = {}

    def assigned(self, experiment: int, variation: int, minute: int) -> None:
        """A visitor was first seen with a variation."""
        self._add((experiment, variation, _NO_GOAL, minute), 1, 0, 0, 0.0, 0.0)

    def converted(
        self, experiment: int, variation: int, goal: int, minute: int, *, before: tuple[int, float], revenue: float
    ) -> None:
        """An assigned visitor converted; *before* is how often and for how much already."""
        conversions, earlier = before
        squares = (earlier + revenue) ** 2 - earlier**2
        self._add((experiment, variation, goal, minute), 0, 0 if conversions else 1, 1, revenue, squares)

    def _add(self, key: tuple[int, int, int, int], *amounts: float) -> None:
        sums = self._sums.setdefault(key, [0, 0, 0, 0.0, 0.0])
        for place, amount in enumerate(amounts):
            sums[place] += self._sign * amount

    def write(self, connection: sqlite3.Connection) -> None:
        """Add the sums to the totals and to the minutes."""
        visitors: dict[tuple[int, int], float] = {}
        goals: dict[tuple[int, int, int], list[float]] = {}
        for (experiment, variation, goal, _), (came, *counts) in self._sums.items():
            if goal == _NO_GOAL:
                visitors[experiment, variation] = visitors.get((experiment, variation), 0) + came
            else:
                sums = goals.setdefault((experiment, variation, goal), [0, 0, 0.0, 0.0])
                for place, amount in enumerate(counts):
                    sums[place] += amount
        connection.executemany(
            "INSERT INTO variation_totals VALUES (?, ?, ?, ?)"
            " ON CONFLICT (site, experiment, variation) DO UPDATE SET visitors = visitors + excluded.visitors",
            [(self._site, *key, came) for key, came in visitors.items()],
        )
        connection.executemany(
            "INSERT INTO goal_totals VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (site, experiment, variation, goal) DO UPDATE"
            " SET converted = converted + excluded.converted, conversions = conversions + excluded.conversions,"
            " revenue = revenue + excluded.revenue, revenue_squares = revenue_squares + excluded.revenue_squares",
            [(self._site, *key, *sums) for key, sums in goals.items()],
        )
        connection.executemany(
            "INSERT INTO minutes (site, experiment, variation, goal, minute, visitors, converted, conversions, revenue,"
            " revenue_squares) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (site, experiment, minute, variation, goal) DO UPDATE SET visitors = visitors + excluded.visitors,"
            " converted = converted + excluded.converted, conversions = conversions + excluded.conversions,"
            " revenue = revenue + excluded.revenue, revenue_squares = revenue_squares + excluded.revenue_squares",
            [(self._site, *key, *sums) for key, sums in self._sums.items()],
        )


class _Request:
    """Stores the events of one request inside its transaction."""

    def __init__(self, connection: sqlite3.Connection, site: str, now_ms: int) -> None:
        self._connection = connection
        self._site = site
        self._now_ms = now_ms
        self._counts = dict.fromkeys(_COUNTERS, 0)
        self._visitors: dict[str, int] = {}
        self._exposures: list[tuple[int, int, Exposure]] = []
        self._conversions: list[tuple[int, int, Conversion]] = []
        self._tally = _Tally(site)
        (done,) = connection.execute("SELECT value FROM counters WHERE name = 'requests'").fetchone()
        self._number = done + 1

    def store(self, event: Event) -> None:
        """Store one event, unless its visitor sent this nonce before; what it says is counted by `count`."""
        visitor = self._visitor_of(event)
        time_ms = event.time_ms if event.time_ms is not None else self._now_ms
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
                time_ms,
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
            self._exposures.append((visitor, time_ms // 60_000, event.fact))
        elif isinstance(event.fact, Conversion):
            self._conversions.append((visitor, time_ms // 60_000, event.fact))

    def count(self, body: Body) -> None:
        """Count the request: first who was assigned what, then what they did."""
        for visitor, minute, exposure in self._exposures:
            self._assign(visitor, minute, exposure)
        for visitor, minute, conversion in self._conversions:
            self._convert(visitor, minute, conversion)
        self._tally.write(self._connection)
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

    def _assign(self, visitor: int, minute: int, exposure: Exposure) -> None:
        first = self._connection.execute(
            "INSERT OR IGNORE INTO assignments VALUES (?, ?, ?)",
            (visitor, exposure.experiment_id, exposure.variation_id),
        )
        if first.rowcount:
            self._tally.assigned(exposure.experiment_id, exposure.variation_id, minute)

    def _convert(self, visitor: int, minute: int, conversion: Conversion) -> None:
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
            self._tally.converted(experiment, variation, goal, minute, before=(conversions, earlier), revenue=revenue)


def _uncount(connection: sqlite3.Connection, site: str, visitor: int) -> None:
    """Take a visitor out of the totals: go through what he sent as it was counted, and count it the other way."""
    tally = _Tally(site, -1)
    assigned: dict[int, int] = {}
    before: dict[tuple[int, int], tuple[int, float]] = {}
    rows = connection.execute(
        "SELECT time_ms / 60000, type, parameters FROM events WHERE visitor = ? AND NOT is_bot AND type IN ('experiment', 'conversion')"
        " ORDER BY request, type DESC, id",
        (visitor,),
    )
    for minute, kind, parameters in rows:
        fact = read_fact(kind, json.loads(parameters))
        if isinstance(fact, Exposure) and fact.experiment_id not in assigned:
            assigned[fact.experiment_id] = fact.variation_id
            tally.assigned(fact.experiment_id, fact.variation_id, minute)
        elif isinstance(fact, Conversion):
            for experiment, variation in assigned.items():
                key = (experiment, fact.goal_id)
                conversions, earlier = before.get(key, (0, 0.0))
                tally.converted(
                    experiment, variation, fact.goal_id, minute, before=(conversions, earlier), revenue=fact.revenue
                )
                before[key] = (conversions + 1, earlier + fact.revenue)
    tally.write(connection)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

"""
Events and what is counted from them, in one SQLite file or in memory.

Every request is one transaction, so that an answered request is stored. A line is stored once however often it is sent.
Counts are kept as events arrive (`counting.py`); reading results never walks over events.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kameleoon.server.counting import FINE_S, NO_GOAL, ArrivedRequest, uncount
from kameleoon.server.lines import Conversion, Exposure, read_fact
from kameleoon.server.schema import COUNTERS, SCHEMA, SCHEMA_VERSION
from kameleoon.server.stored import Change, GoalTotals, Moment, StoredEvent, VariationTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from kameleoon.server.lines import Body


MEMORY = ":memory:"

_MAX_POINTS = 200
_KEPT_CHANGES = 10_000


class StorageError(Exception):
    """The database cannot be opened, or was written by another version of the server."""


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
            if version not in {0, SCHEMA_VERSION}:
                raise StorageError(f"{self._name}: written by another version of the server (schema {version})")
            if version == 0:
                if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise StorageError(f"{self._name}: is a database, but not of this server")
                for statement in SCHEMA.split(";"):
                    connection.execute(statement)
                connection.executemany("INSERT INTO counters VALUES (?, 0)", [(name,) for name in COUNTERS])
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

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
            request = ArrivedRequest(connection, site, self._now_ms())
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
            most: Points at most; a longer time is divided into equal spans. A span is at least a second, or a minute when all takes nine
                minutes or more.

        Returns:
            Oldest first; spans in which nothing arrived are left out. Times are those of the events.
        """
        with self._lock:
            first, last = self._connection.execute(
                "SELECT min(at_s), max(at_s) FROM moments WHERE site = ? AND experiment = ?", (site, experiment)
            ).fetchone()
            if first is None:
                return []
            grain = 1
            if last - first >= FINE_S - 60:
                # Some of it may be counted by minutes, so spans are whole minutes.
                grain = 60
                first -= first % grain
            span = -(-(last - first + 1) // (most * grain)) * grain
            rows = self._connection.execute(
                "SELECT (at_s - ?) / ?, variation, goal, sum(visitors), sum(converted), sum(conversions), sum(revenue),"
                " sum(revenue_squares) FROM moments WHERE site = ? AND experiment = ? GROUP BY 1, 2, 3 ORDER BY 1",
                (first, span, site, experiment),
            ).fetchall()
        found: list[Moment] = []
        visitors: dict[int, int] = {}
        goals: dict[int, dict[int, GoalTotals]] = {}
        for place, of_span in groupby(rows, key=lambda row: row[0]):
            for _, variation, goal, came, *counts in of_span:
                visitors[variation] = visitors.get(variation, 0) + came
                known = goals.setdefault(variation, {})
                if goal != NO_GOAL:
                    known[goal] = known.get(goal, GoalTotals()).plus(GoalTotals(*counts))
            totals = {
                variation: VariationTotals(count, dict(goals[variation])) for variation, count in visitors.items()
            }
            found.append(Moment((first + (place + 1) * span) * 1000, totals))
        return found

    def started_ms(self, site: str, experiment: int) -> int | None:
        """When the first visitor of an experiment came, in ms since 1970; None before."""
        with self._lock:
            row = self._connection.execute(
                "SELECT first_s FROM experiments WHERE site = ? AND experiment = ?", (site, experiment)
            ).fetchone()
        return int(row[0]) * 1000 if row else None

    def remember_changes(
        self, site: str, changes: Iterable[tuple[str | None, str]], *, author: str, keep: Mapping[str, str]
    ) -> None:
        """
        Store changes of a project, and what it is now, in one transaction.

        Args:
            site: Site code of the project.
            changes: ``(flag key or None, the change in words)``.
            author: Where they came from.
            keep: `{name: text}` to be found by `kept`.
        """
        now_ms = self._now_ms()
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO changes (site, time_ms, author, flag, said) VALUES (?, ?, ?, ?, ?)",
                [(site, now_ms, author, flag, said) for flag, said in changes],
            )
            connection.execute("DELETE FROM changes WHERE id <= (SELECT max(id) FROM changes) - ?", (_KEPT_CHANGES,))
            connection.executemany(
                "INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", [(site, name, text) for name, text in keep.items()]
            )

    def kept(self, site: str, name: str) -> str | None:
        """A text that was kept for a site under *name*."""
        with self._lock:
            row = self._connection.execute(
                "SELECT value FROM kept WHERE site = ? AND name = ?", (site, name)
            ).fetchone()
        return str(row[0]) if row else None

    def keepers(self, name: str) -> list[str]:
        """Site codes for which something was kept under *name*, in their order."""
        with self._lock:
            return [site for (site,) in self._connection.execute("SELECT site FROM kept WHERE name = ?", (name,))]

    def keep_no_longer(self, site: str) -> None:
        """Forget all that was kept for a site."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM kept WHERE site = ?", (site,))

    def changes(self, site: str, flag: str | None = None, *, most: int = 50) -> list[Change]:
        """The last changes of a site's project, newest first, of one flag or of all."""
        where = "AND flag = :flag" if flag is not None else ""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT id, time_ms, author, flag, said FROM changes WHERE site = :site {where} ORDER BY id DESC LIMIT :most",  # noqa: S608 - fixed texts
                {"site": site, "flag": flag, "most": most},
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
                uncount(connection, site, row[0])
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
        return {name: found[name] for name in COUNTERS}

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

    def exposed_visitors(
        self, site: str, experiments: Iterable[int], *, after: int, most: int = 100
    ) -> tuple[int | None, list[list[tuple[int, Exposure | Conversion | None]]]]:
        """
        What is stored of visitors that were assigned in experiments, some at a time, so that nobody waits long meanwhile.

        Args:
            site: Site code.
            experiments: Their ids.
            after: 0 at first, then what the call before gave.
            most: Visitors at most.

        Returns:
            Where to go on, None at the end; and of each visitor the events of people, not bots, in the order of time, as
            `VisitResults.add` takes them.
        """
        numbers = list(experiments)
        # The cross join makes the database go through the assignments in their order and stop, instead of through all visitors first.
        with self._lock:
            visitors = [
                visitor
                for (visitor,) in self._connection.execute(
                    "SELECT DISTINCT visitor FROM assignments CROSS JOIN visitors ON visitors.id = visitor"  # noqa: S608 - question marks
                    f" WHERE visitor > ? AND site = ? AND experiment IN ({_places(numbers)}) ORDER BY visitor LIMIT ?",
                    (after, site, *numbers, most),
                )
            ]
            rows = self._connection.execute(
                "SELECT visitor, time_ms, type, parameters FROM events"  # noqa: S608 - question marks
                f" WHERE visitor IN ({_places(visitors)}) AND NOT is_bot ORDER BY visitor, time_ms, type = 'conversion', id",
                visitors,
            ).fetchall()
        found = [
            [(time_ms, _fact(kind, parameters)) for _, time_ms, kind, parameters in of_visitor]
            for _, of_visitor in groupby(rows, key=lambda row: row[0])
        ]
        return (visitors[-1] if len(visitors) == most else None), found

    def linked(self, site: str, identifier: str) -> list[str]:
        """Codes of the visitors that were linked to *identifier*, the last one first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT code FROM links JOIN visitors ON visitors.id = links.visitor WHERE links.site = ? AND identifier = ?"
                " ORDER BY links.id DESC",
                (site, identifier),
            ).fetchall()
        return [str(code) for (code,) in rows]


def _places(values: list[int]) -> str:
    return ",".join("?" * len(values))


def _fact(kind: str, parameters: str) -> Exposure | Conversion | None:
    if kind not in {"experiment", "conversion"}:
        return None
    fact = read_fact(kind, json.loads(parameters))
    return fact if isinstance(fact, Exposure | Conversion) else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

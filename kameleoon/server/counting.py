"""
What is counted from events.

How a conversion finds its variation:

- The first variation a visitor is seen with in an experiment is the one that counts.
- A conversion counts for every experiment the visitor had been assigned in when it arrived.
- Lines of one request have arrived together: its exposures come before its conversions, wherever they stand in the body.
- A conversion that arrived in an earlier request than the exposure does not count, because the variation cannot have caused it.
- Events of bots are kept and count for nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kameleoon.server.lines import Body, Conversion, Event, Exposure, Link, read_fact
from kameleoon.server.schema import COUNTERS

if TYPE_CHECKING:
    import sqlite3


NO_GOAL = -(2**62)
"""Stands in `moments` for the assignment itself; no line can name it."""

FINE_S = 600
"""So long after an experiment's first visitor each second is counted by itself, later each minute: what is over soon can be looked at too."""


def moment_of(second: int, first_s: int) -> int:
    """
    Where something is counted in time.

    Args:
        second: When it happened, in seconds since 1970.
        first_s: When the experiment's first visitor came, likewise.

    Returns:
        The second, or the first one of its minute.
    """
    return second if 0 <= second - first_s < FINE_S else second - second % 60


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

    def assigned(self, experiment: int, variation: int, at_s: int) -> None:
        """A visitor was first seen with a variation."""
        self._add((experiment, variation, NO_GOAL, at_s), 1, 0, 0, 0.0, 0.0)

    def converted(
        self, experiment: int, variation: int, goal: int, at_s: int, *, before: tuple[int, float], revenue: float
    ) -> None:
        """An assigned visitor converted; *before* is how often and for how much already."""
        conversions, earlier = before
        squares = (earlier + revenue) ** 2 - earlier**2
        self._add((experiment, variation, goal, at_s), 0, 0 if conversions else 1, 1, revenue, squares)

    def _add(self, key: tuple[int, int, int, int], *amounts: float) -> None:
        sums = self._sums.setdefault(key, [0, 0, 0, 0.0, 0.0])
        for place, amount in enumerate(amounts):
            sums[place] += self._sign * amount

    def write(self, connection: sqlite3.Connection) -> None:
        """Add the sums to the totals and to the moments."""
        visitors: dict[tuple[int, int], float] = {}
        goals: dict[tuple[int, int, int], list[float]] = {}
        for (experiment, variation, goal, _), (came, *counts) in self._sums.items():
            if goal == NO_GOAL:
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
            "INSERT INTO moments (site, experiment, variation, goal, at_s, visitors, converted, conversions, revenue,"
            " revenue_squares) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (site, experiment, at_s, variation, goal) DO UPDATE SET visitors = visitors + excluded.visitors,"
            " converted = converted + excluded.converted, conversions = conversions + excluded.conversions,"
            " revenue = revenue + excluded.revenue, revenue_squares = revenue_squares + excluded.revenue_squares",
            [(self._site, *key, *sums) for key, sums in self._sums.items()],
        )


class ArrivedRequest:
    """Stores the events of one request inside its transaction."""

    def __init__(self, connection: sqlite3.Connection, site: str, now_ms: int) -> None:
        self._connection = connection
        self._site = site
        self._now_ms = now_ms
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._visitors: dict[str, int] = {}
        self._first_s: dict[int, int] = {}
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
                "INSERT OR REPLACE INTO links (site, identifier, visitor) VALUES (?, ?, ?)",
                (self._site, event.fact.identifier, visitor),
            )
        if event.is_bot:
            self._counts["bots"] += 1
        elif isinstance(event.fact, Exposure):
            self._exposures.append((visitor, time_ms // 1000, event.fact))
        elif isinstance(event.fact, Conversion):
            self._conversions.append((visitor, time_ms // 1000, event.fact))

    def count(self, body: Body) -> None:
        """Count the request: first who was assigned what, then what they did."""
        for visitor, second, exposure in self._exposures:
            self._assign(visitor, second, exposure)
        for visitor, second, conversion in self._conversions:
            self._convert(visitor, second, conversion)
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
                "SELECT visitor FROM links WHERE site = ? AND identifier = ? ORDER BY id DESC LIMIT 1",
                (self._site, event.visitor),
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

    def _moment(self, experiment: int, second: int) -> int:
        first_s = self._first_s.get(experiment)
        if first_s is None:
            key = (self._site, experiment)
            self._connection.execute("INSERT OR IGNORE INTO experiments VALUES (?, ?, ?)", (*key, second))
            (first_s,) = self._connection.execute(
                "SELECT first_s FROM experiments WHERE site = ? AND experiment = ?", key
            ).fetchone()
            self._first_s[experiment] = first_s
        return moment_of(second, first_s)

    def _assign(self, visitor: int, second: int, exposure: Exposure) -> None:
        first = self._connection.execute(
            "INSERT OR IGNORE INTO assignments VALUES (?, ?, ?)",
            (visitor, exposure.experiment_id, exposure.variation_id),
        )
        if first.rowcount:
            at_s = self._moment(exposure.experiment_id, second)
            self._tally.assigned(exposure.experiment_id, exposure.variation_id, at_s)

    def _convert(self, visitor: int, second: int, conversion: Conversion) -> None:
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
            at_s = self._moment(experiment, second)
            self._tally.converted(experiment, variation, goal, at_s, before=(conversions, earlier), revenue=revenue)


def uncount(connection: sqlite3.Connection, site: str, visitor: int) -> None:
    """Take a visitor out of the totals: go through what he sent as it was counted, and count it the other way."""
    tally = _Tally(site, -1)
    assigned: dict[int, int] = {}
    before: dict[tuple[int, int], tuple[int, float]] = {}
    first_s = dict(connection.execute("SELECT experiment, first_s FROM experiments WHERE site = ?", (site,)))
    rows = connection.execute(
        "SELECT time_ms / 1000, type, parameters FROM events WHERE visitor = ? AND NOT is_bot AND type IN ('experiment', 'conversion')"
        " ORDER BY request, type DESC, id",
        (visitor,),
    )
    for second, kind, parameters in rows:
        fact = read_fact(kind, json.loads(parameters))
        if isinstance(fact, Exposure) and fact.experiment_id not in assigned:
            assigned[fact.experiment_id] = fact.variation_id
            at_s = moment_of(second, first_s[fact.experiment_id])
            tally.assigned(fact.experiment_id, fact.variation_id, at_s)
        elif isinstance(fact, Conversion):
            for experiment, variation in assigned.items():
                key = (experiment, fact.goal_id)
                conversions, earlier = before.get(key, (0, 0.0))
                at_s = moment_of(second, first_s[experiment])
                tally.converted(
                    experiment, variation, fact.goal_id, at_s, before=(conversions, earlier), revenue=fact.revenue
                )
                before[key] = (conversions + 1, earlier + fact.revenue)
    tally.write(connection)

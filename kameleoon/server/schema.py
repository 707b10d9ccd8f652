"""The tables of the server's database."""

from __future__ import annotations

SCHEMA_VERSION = 4
SCHEMA = """
CREATE TABLE visitors (id INTEGER PRIMARY KEY, site TEXT NOT NULL, code TEXT NOT NULL, UNIQUE (site, code));
CREATE TABLE links (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, identifier TEXT NOT NULL, visitor INTEGER NOT NULL, UNIQUE (site, identifier, visitor)
);
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
CREATE TABLE experiments (
    site TEXT NOT NULL, experiment INTEGER NOT NULL, first_s INTEGER NOT NULL, PRIMARY KEY (site, experiment)
) WITHOUT ROWID;
CREATE TABLE moments (
    site TEXT NOT NULL, experiment INTEGER NOT NULL, variation INTEGER NOT NULL, goal INTEGER NOT NULL, at_s INTEGER NOT NULL,
    visitors INTEGER NOT NULL, converted INTEGER NOT NULL, conversions INTEGER NOT NULL,
    revenue REAL NOT NULL, revenue_squares REAL NOT NULL,
    PRIMARY KEY (site, experiment, at_s, variation, goal)
) WITHOUT ROWID;
CREATE TABLE changes (
    id INTEGER PRIMARY KEY, site TEXT NOT NULL, time_ms INTEGER NOT NULL, author TEXT NOT NULL, flag TEXT, said TEXT NOT NULL
);
CREATE INDEX changes_of_flag ON changes (site, flag);
CREATE TABLE kept (site TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (site, name)) WITHOUT ROWID;
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


COUNTERS = ("requests", "lines", "stored", "duplicates", "refused", "bots")

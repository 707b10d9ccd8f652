"""The project as the page and the API changed it, read from a running server or from its database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import requests

from kameleoon.server.site import KEPT_PROJECT

_TIMEOUT_S = 10.0


class ExportError(Exception):
    """The project cannot be had; ``str()`` says in one line from where and why."""


def read_changed(*, url: str, database: str | None = None, token: str | None = None, site: str | None = None) -> str:
    """
    The project file's text.

    Args:
        url: Of a running server; not used when *database* is given.
        database: A server's file; it is only read.
        token: The server's token, if it asks for one.
        site: Site code; needed for a database with several sites, of a server the main one by default.

    Raises:
        ExportError: There is no such server or file, or it has no project.
    """
    return _from_database(database, site) if database is not None else _from_server(url, token, site)


def _from_server(url: str, token: str | None, site: str | None) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    query = {"siteCode": site} if site is not None else {}
    try:
        # Proxies of the machine are for the world outside.
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{url.rstrip('/')}/project.yaml", params=query, headers=headers, timeout=_TIMEOUT_S)
    except (requests.RequestException, ValueError) as error:
        raise ExportError(f"{url}: no local server answers: {type(error).__name__}") from error
    if answer.status_code == 404 and site is not None:
        raise ExportError(f"{url}: the server has no site {site!r}")
    if answer.status_code != 200:
        raise ExportError(f"{url}: the answer is {answer.status_code}, not a project")
    return answer.content.decode()


def _from_database(database: str, site: str | None) -> str:
    if not Path(database).is_file():
        raise ExportError(f"{database}: there is no such file")
    try:
        with closing(sqlite3.connect(f"{Path(database).absolute().as_uri()}?mode=ro", uri=True)) as connection:
            found = dict(connection.execute("SELECT site, value FROM kept WHERE name = ?", (KEPT_PROJECT,)))
    except sqlite3.Error as error:
        raise ExportError(f"{database}: cannot be read: {error}") from error
    if not found:
        raise ExportError(f"{database}: holds no project")
    if site is None and len(found) > 1:
        raise ExportError(f"{database}: holds several sites; say which with --site: {', '.join(sorted(found))}")
    if site is not None and site not in found:
        raise ExportError(f"{database}: holds no site {site!r}; it has {', '.join(sorted(found))}")
    return str(found[site] if site is not None else next(iter(found.values())))

"""Reads the project file again when it is saved. A new version that cannot be used is told of, and the old one stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kameleoon.server.project_file import ProjectError, read_project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kameleoon.server.project import Project

INTERVAL_S = 0.5
"""Time between looks at the file. Looking costs microseconds and works on every file system, also on shared ones."""


async def watch(path: Path, saved: Callable[[Project], None], broken: Callable[[ProjectError], None]) -> None:
    """
    Look at *path* until cancelled. It is read at the first look too: it may have been saved after the server read it and before this began.

    Args:
        path: The project file. One that vanishes is awaited: editors replace a file by another.
        saved: Called in a thread with the first version and each new one.
        broken: Called in a thread with what is wrong with a version; once per version.
    """
    seen = None
    while True:
        await asyncio.sleep(INTERVAL_S)
        state = _state(path)
        if state is None or state == seen:
            continue
        seen = state
        await asyncio.to_thread(_read, path, saved, broken)


def _read(path: Path, saved: Callable[[Project], None], broken: Callable[[ProjectError], None]) -> None:
    try:
        project = read_project(path)
    except ProjectError as error:
        broken(error)
    else:
        saved(project)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino

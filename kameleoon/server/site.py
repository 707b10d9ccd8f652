"""
One site of the server: its project as it is, how it is changed, and who is told.

What the page and the API changed is kept in the storage and goes on to hold at the next start, until the project that is given then is
another one: whoever edits the file wants what it says.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kameleoon.server.broadcast import Broadcast
from kameleoon.server.decisions import Decider
from kameleoon.server.differences import differences
from kameleoon.server.project_file import ProjectError, parse_project
from kameleoon.server.project_out import write_project
from kameleoon.server.results import Results, build_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon.server.differences import Said
    from kameleoon.server.project import Project
    from kameleoon.server.storage import Storage

KEPT_PROJECT = "project"
"""Name under which the storage keeps the project as it is."""
_BASE = "base"
"""And under which, what was given at first; a site that was made through the API has none."""


@dataclass(frozen=True, slots=True)
class Published:
    """
    A project as clients get it.

    Attributes:
        at_ms: Rules whose windows are open at this moment are given out, in ms since 1970.
        until_ms: When the next window opens or closes, and something else is given out; None without one.
        modified_s: Whole seconds since 1970, different for every publication, because `Last-Modified` knows only seconds.
    """

    project: Project
    modified_s: int
    at_ms: int
    until_ms: int | None


class Site:
    """
    A site of a running server.

    Args:
        project: What the site has, unless it was changed since this project was given first.
        storage: Keeps the project.
        environment: What a request that names none gets; by default the project's own default.
        now_s: The time, in seconds since 1970.
        is_given: Whether the project comes from outside, such as from a file, and not from the API or the database.

    Attributes:
        changed: Tells the time of each change, in ms since 1970.
        file_error: What is wrong with the project file as it was last saved; None when nothing is.
        is_given: As given.
    """

    def __init__(
        self,
        project: Project,
        storage: Storage,
        *,
        environment: str | None = None,
        now_s: Callable[[], float] = time.time,
        is_given: bool = True,
    ) -> None:
        self.changed: Broadcast[int] = Broadcast()
        self.file_error: ProjectError | None = None
        self.is_given = is_given
        self._storage = storage
        self._now_s = now_s
        self._decider: Decider | None = None
        self._environment = environment
        # The one is held while a change is stored, the other only while what is published is replaced.
        self._publishing = threading.Lock()
        self._replacing = threading.Lock()
        if is_given:
            project = self._continued(project)
        else:
            self._keep(project)
        self._published = self._publication(project, 0)

    @property
    def code(self) -> str:
        """Its site code."""
        return self._published.project.site_code

    @property
    def published(self) -> Published:
        """
        The project of this moment; one assignment replaces it, so a handler reads it once.

        Whoever reads it first after a window of a rule has opened or closed publishes it anew, and streaming clients are told.
        """
        if self._is_outdated():
            with self._replacing:
                # Another thread may have been faster.
                if is_outdated := self._is_outdated():
                    self._published = self._publication(self._published.project, self._published.modified_s + 1)
            if is_outdated:
                self.changed.send(self._published.at_ms)
        return self._published

    def edge_in_s(self) -> float:
        """Seconds until the next window of a rule opens or closes, infinity without one. Edges that are due are passed."""
        until_ms = self.published.until_ms
        return math.inf if until_ms is None else max(0.0, until_ms / 1000 - self._now_s())

    @property
    def decider(self) -> Decider:
        """The engine over the project of this moment."""
        decider = self._decider
        if decider is None or decider.published is not self._published:
            decider = self._decider = Decider(self._published)
        return decider

    @property
    def environment(self) -> str:
        """Environment of a request that names none."""
        project = self._published.project
        return self._environment if self._environment in project.environments else project.default_environment

    def publish(self, project: Project, *, author: str = "program") -> list[Said]:
        """
        Replace the project; the next request for the configuration gets it, and streaming clients are told. Any thread may call this.

        Returns:
            What changed, in words; empty when nothing did, and then nobody is told.
        """
        return self.change(lambda _: project, author=author)

    def change(self, edit: Callable[[Project], Project], *, author: str) -> list[Said]:
        """
        Change the project: the one way for page, API and programs. Any thread may call this; one change is made at a time.

        Args:
            edit: Makes the new project of the present one; what it raises is raised here, and nothing is changed.
            author: Who changes, for the history.

        Returns:
            As `publish`.
        """
        with self._publishing:
            return self._replace(edit(self._published.project), author, {})

    def publish_file(self, project: Project) -> list[Said]:
        """Publish what the project file says since it was saved. If it says what it said before, later changes stay."""
        written = write_project(project)
        with self._publishing:
            self.file_error = None
            if written == self._storage.kept(project.site_code, _BASE):
                return []
            return self._replace(project, "project file", {_BASE: written})

    def results(self, sent_with: str | None = None) -> Results:
        """Results of the project, from the events of its own site code or of *sent_with*."""
        project = self._published.project
        return build_results(project, self._storage.totals(sent_with or project.site_code))

    def _replace(self, project: Project, author: str, keep: dict[str, str]) -> list[Said]:
        said = differences(self._published.project, project)
        if said or keep:
            kept = {KEPT_PROJECT: write_project(project)} | keep
            self._storage.remember_changes(project.site_code, said, author=author, keep=kept)
        if said:
            with self._replacing:
                published = self._published = self._publication(project, self._published.modified_s + 1)
            self.changed.send(published.at_ms)
        return said

    def _publication(self, project: Project, least_s: int) -> Published:
        now_ms = int(self._now_s() * 1000)
        return Published(project, max(now_ms // 1000, least_s), now_ms, project.next_edge_ms(now_ms))

    def _is_outdated(self) -> bool:
        until_ms = self._published.until_ms
        return until_ms is not None and int(self._now_s() * 1000) >= until_ms

    def _continued(self, project: Project) -> Project:
        """The project as it was changed since *project* was given first, if it still is what is given."""
        base = write_project(project)
        changed = self._storage.kept(project.site_code, KEPT_PROJECT)
        if changed is not None and self._storage.kept(project.site_code, _BASE) == base:
            return parse_project(changed, source="the database")
        self._keep(project, {_BASE: base})
        return project

    def _keep(self, project: Project, more: dict[str, str] | None = None) -> None:
        kept = {KEPT_PROJECT: write_project(project)} | (more or {})
        self._storage.remember_changes(project.site_code, [], author="", keep=kept)


def made_sites(storage: Storage, given: set[str]) -> list[Project]:
    """Projects of the sites that were made through the API and not deleted since, without those that are *given* now."""
    codes = set(storage.keepers(KEPT_PROJECT)) - set(storage.keepers(_BASE)) - given
    return [
        parse_project(text, source="the database")
        for code in sorted(codes)
        if (text := storage.kept(code, KEPT_PROJECT)) is not None
    ]

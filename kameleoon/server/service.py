"""
What all HTTP handlers of one server share: the published project, the storage, the tokens and the clock.

Storage is used from one thread of its own, so that a slow disk delays the answer that waits for it and not the event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from kameleoon.server.broadcast import Broadcast
from kameleoon.server.decisions import Decider
from kameleoon.server.differences import differences
from kameleoon.server.faults import Faults
from kameleoon.server.project_file import ProjectError, parse_project
from kameleoon.server.project_out import write_project
from kameleoon.server.results import Results, build_results
from kameleoon.server.tokens import Grants, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon.server.differences import Said
    from kameleoon.server.limits import RateLimits
    from kameleoon.server.lines import Body, RefusedLine
    from kameleoon.server.project import Project
    from kameleoon.server.storage import Storage

_T = TypeVar("_T")
_KEPT_REFUSALS = 20
KEEP_ALIVE_S = 15.0
"""An idle stream gets a comment this often, so that whatever stands between does not take it for dead."""
KEPT_PROJECT = "project"
"""Name under which the storage keeps the project as it is."""
_BASE = "base"


@dataclass(frozen=True, slots=True)
class Published:
    """
    A project as clients get it.

    Attributes:
        modified_s: Whole seconds since 1970, different for every publication, because `Last-Modified` knows only seconds.
    """

    project: Project
    modified_s: int


class Service:
    """
    One running server.

    What the page and the API changed is kept in the storage and goes on to hold at the next start, until the project that is given then
    is another one: whoever edits the file wants what it says.

    Args:
        environment: What a request that names none gets; by default the project's own default.
        now_s: The time, in seconds since 1970.
        keep_alive_s: Time between comments on an idle stream.

    Attributes:
        faults: What goes wrong on purpose; may be replaced at any time.
        rate_limits: Kept when given.
        changed: Tells the time of each change, in ms since 1970.
        arrived: Tells what each tracking request brought.
        file_error: What is wrong with the project file as it was last saved; None when nothing is.

    Raises:
        ValueError: The project has no such environment.
    """

    def __init__(
        self,
        project: Project,
        storage: Storage,
        *,
        environment: str | None = None,
        now_s: Callable[[], float] = time.time,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        if environment is not None and environment not in project.environments:
            raise ValueError(
                f"there is no environment {environment!r}; the project has {', '.join(project.environments)}"
            )
        self.storage = storage
        self.tokens = Tokens()
        self.codes = Grants()
        self.refresh_tokens = Grants()
        self.now_s = now_s
        self.refusals: deque[RefusedLine] = deque(maxlen=_KEPT_REFUSALS)
        self.keep_alive_s = keep_alive_s
        self.changed: Broadcast[int] = Broadcast()
        self.arrived: Broadcast[tuple[str, Body]] = Broadcast()
        self.faults = Faults()
        self.rate_limits: RateLimits | None = None
        self.file_error: ProjectError | None = None
        self._decider: Decider | None = None
        self._environment = environment
        self._published = Published(self._continued(project), int(now_s()))
        self._publishing = threading.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kameleoon-server-storage")

    @property
    def published(self) -> Published:
        """The project of this moment; one assignment replaces it, so a handler reads it once."""
        return self._published

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
            if written == self.storage.kept(_BASE):
                return []
            return self._replace(project, "project file", {_BASE: written})

    def _replace(self, project: Project, author: str, keep: dict[str, str]) -> list[Said]:
        said = differences(self._published.project, project)
        if said or keep:
            self.storage.remember_changes(said, author=author, keep={KEPT_PROJECT: write_project(project)} | keep)
        if said:
            now_s = self.now_s()
            self._published = Published(project, max(int(now_s), self._published.modified_s + 1))
            self.changed.send(int(now_s * 1000))
        return said

    def _continued(self, project: Project) -> Project:
        """The project as it was changed since *project* was given first, if it still is what is given."""
        base = write_project(project)
        changed = self.storage.kept(KEPT_PROJECT)
        if changed is not None and self.storage.kept(_BASE) == base:
            return parse_project(changed, source="the database")
        self.storage.remember_changes([], author="", keep={KEPT_PROJECT: base, _BASE: base})
        return project

    def results(self, site_code: str | None = None) -> Results:
        """Results of the published project from events sent with *site_code*, by default the project's own."""
        project = self._published.project
        return build_results(project, self.storage.totals(site_code or project.site_code))

    async def with_storage(self, work: Callable[[], _T]) -> _T:
        """Run *work*, which uses the storage, in the storage's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def close(self) -> None:
        """End the storage's thread, after what it has begun, and close the database."""
        self.changed.close()
        self.arrived.close()
        self._writer.shutdown(wait=True)
        self.storage.close()


SERVICE = web.AppKey("service", Service)

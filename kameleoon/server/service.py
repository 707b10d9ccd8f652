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

from kameleoon.server.results import Results, build_results
from kameleoon.server.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from kameleoon.server.lines import RefusedLine
    from kameleoon.server.project import Project
    from kameleoon.server.storage import Storage

_T = TypeVar("_T")
_KEPT_REFUSALS = 20


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

    Args:
        environment: What a request that names none gets; by default the project's own default.
        now_s: The time, in seconds since 1970.

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
    ) -> None:
        if environment is not None and environment not in project.environments:
            raise ValueError(
                f"there is no environment {environment!r}; the project has {', '.join(project.environments)}"
            )
        self.storage = storage
        self.tokens = Tokens()
        self.now_s = now_s
        self.refusals: deque[RefusedLine] = deque(maxlen=_KEPT_REFUSALS)
        self._environment = environment
        self._published = Published(project, int(now_s()))
        self._publishing = threading.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kameleoon-server-storage")

    @property
    def published(self) -> Published:
        """The project of this moment; one assignment replaces it, so a handler reads it once."""
        return self._published

    @property
    def environment(self) -> str:
        """Environment of a request that names none."""
        project = self._published.project
        return self._environment if self._environment in project.environments else project.default_environment

    def publish(self, project: Project) -> None:
        """Replace the project; the next request for the configuration gets it. Any thread may call this."""
        with self._publishing:
            self._published = Published(project, max(int(self.now_s()), self._published.modified_s + 1))

    def results(self, site_code: str | None = None) -> Results:
        """Results of the published project from events sent with *site_code*, by default the project's own."""
        project = self._published.project
        return build_results(project, self.storage.totals(site_code or project.site_code))

    async def with_storage(self, work: Callable[[], _T]) -> _T:
        """Run *work*, which uses the storage, in the storage's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def close(self) -> None:
        """End the storage's thread, after what it has begun, and close the database."""
        self._writer.shutdown(wait=True)
        self.storage.close()


SERVICE = web.AppKey("service", Service)

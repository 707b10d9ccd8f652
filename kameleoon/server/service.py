"""
What all HTTP handlers of one server share: the sites, the storage, the tokens and the clock.

Storage is used from one thread of its own, so that a slow disk delays the answer that waits for it and not the event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from kameleoon.server.broadcast import Broadcast
from kameleoon.server.faults import Faults
from kameleoon.server.new_ids import with_new_ids
from kameleoon.server.site import Site, made_sites
from kameleoon.server.tokens import Grants, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kameleoon.server.differences import Said
    from kameleoon.server.limits import RateLimits
    from kameleoon.server.lines import Body, RefusedLine
    from kameleoon.server.project import Project
    from kameleoon.server.storage import Storage

_T = TypeVar("_T")
_KEPT_REFUSALS = 20
KEEP_ALIVE_S = 15.0
"""An idle stream gets a comment this often, so that whatever stands between does not take it for dead."""


class Service:
    """
    One running server.

    Args:
        projects: One for each site that is given; the first is the main one, meant by whoever names none. Sites that were made through
            the API are taken from *storage*.
        storage: Becomes the service's to close.
        environment: What a request that names none gets, in the sites that have it; by default the project's own default.
        now_s: The time, in seconds since 1970.
        keep_alive_s: Time between comments on an idle stream.

    Attributes:
        faults: What goes wrong on purpose; may be replaced at any time.
        rate_limits: Kept when given.
        is_strict: Whether the Data API refuses unknown sites and bots.
        arrived: Tells the site code and what each tracking request brought.

    Raises:
        ValueError: No project has such an environment, or two have the same site code.
    """

    def __init__(
        self,
        projects: Sequence[Project],
        storage: Storage,
        *,
        environment: str | None = None,
        now_s: Callable[[], float] = time.time,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        known = list(dict.fromkeys(name for project in projects for name in project.environments))
        if environment is not None and environment not in known:
            raise ValueError(f"there is no environment {environment!r}; the project has {', '.join(known)}")
        codes = [project.site_code for project in projects]
        if twice := next((code for code in codes if codes.count(code) > 1), None):
            raise ValueError(f"two projects have the site code {twice!r}")
        self.storage = storage
        self.tokens = Tokens()
        self.codes = Grants()
        self.refresh_tokens = Grants()
        self.now_s = now_s
        self.refusals: deque[RefusedLine] = deque(maxlen=_KEPT_REFUSALS)
        self.keep_alive_s = keep_alive_s
        self.arrived: Broadcast[tuple[str, Body]] = Broadcast()
        self.faults = Faults()
        self.rate_limits: RateLimits | None = None
        self.is_strict = False
        self._environment = environment
        self._sites = tuple(self._site(project, is_given=True) for project in projects)
        self._sites += tuple(self._site(project, is_given=False) for project in made_sites(storage, set(codes)))
        self._changing_sites = threading.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kameleoon-server-storage")

    def _site(self, project: Project, *, is_given: bool) -> Site:
        return Site(project, self.storage, environment=self._environment, now_s=self.now_s, is_given=is_given)

    @property
    def sites(self) -> tuple[Site, ...]:
        """All sites: the given ones in their order, then those made through the API."""
        return self._sites

    @property
    def main(self) -> Site:
        """The site of a request that names none."""
        return self._sites[0]

    def site(self, code: str) -> Site | None:
        """The site with a site code."""
        return next((site for site in self._sites if site.code == code), None)

    def add_site(self, project: Project) -> Site:
        """
        A new site, kept in the storage.

        Raises:
            ValueError: There is one with its site code.
        """
        with self._changing_sites:
            if self.site(project.site_code) is not None:
                raise ValueError(f"there is a site {project.site_code!r} already")
            site = self._site(project, is_given=False)
            self._sites = (*self._sites, site)
            return site

    def remove_site(self, site: Site) -> None:
        """Without a site that was made through the API; its events stay. Its streams end."""
        with self._changing_sites:
            self._sites = tuple(other for other in self._sites if other is not site)
            self.storage.keep_no_longer(site.code)
        site.changed.close()

    def change(self, site: Site, edit: Callable[[Project], Project], *, author: str) -> list[Said]:
        """`Site.change`; what is new gets ids that no other site has, so that an id alone says what is meant."""

        def edit_with_new_ids(project: Project) -> Project:
            taken = {
                number
                for other in self._sites
                if other is not site
                for _, _, number in other.published.project.numbered()
            }
            return with_new_ids(edit(project), before=project, taken=taken)

        return site.change(edit_with_new_ids, author=author)

    async def with_storage(self, work: Callable[[], _T]) -> _T:
        """Run *work*, which uses the storage, in the storage's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def end_streams(self) -> None:
        """Let all who listen know that nothing more will come."""
        for site in self._sites:
            site.changed.close()
        self.arrived.close()

    def close(self) -> None:
        """End the storage's thread, after what it has begun, and close the database."""
        self.end_streams()
        self._writer.shutdown(wait=True)
        self.storage.close()


SERVICE = web.AppKey("service", Service)

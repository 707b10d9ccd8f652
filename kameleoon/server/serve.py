"""
Runs the local server: `run` blocks until it is told to stop, `LocalServer` runs beside the code of a test or a demo.

The server listens on the loopback interface unless told otherwise; on others, page and API need a token.
"""

from __future__ import annotations

import asyncio
import errno
import signal
import threading
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aiohttp import web

from kameleoon.server.app import build_app
from kameleoon.server.faults import Faults
from kameleoon.server.guard import Guard, is_loopback_host
from kameleoon.server.limits import RateLimits
from kameleoon.server.project_file import read_project, refused
from kameleoon.server.service import Service
from kameleoon.server.storage import MEMORY, Storage, StorageError
from kameleoon.server.watch import watch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from types import TracebackType

    from kameleoon.server.project import Project
    from kameleoon.server.project_file import ProjectError
    from kameleoon.server.results import Results
    from kameleoon.server.site import Site
    from kameleoon.server.stored import StoredEvent

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8085

_GRACE_S = 2.0


class ServeError(Exception):
    """The server cannot start; ``str()`` says in one line what and where."""


def run(
    projects: Sequence[Project],
    *,
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    database: str | Path = MEMORY,
    environment: str | None = None,
    announce: Callable[[str], None] = lambda _url: None,
    watched: Sequence[Path] = (),
    report: Callable[[str], None] = lambda _line: None,
    token: str | None = None,
    faults: Faults | None = None,
    rate_limits: bool = False,
    strict: bool = False,
) -> None:
    """
    Serve until SIGINT or SIGTERM; requests under way are finished first, for at most two seconds.

    Args:
        projects: What is served, a site each; the first is meant by whoever names none.
        host: Address to listen on.
        port: 0 takes a free one.
        database: A file, or `MEMORY`.
        environment: What a request that names none gets; by default ``production`` or else the project's first.
        announce: Called with the server's URL once it takes requests.
        watched: The projects' files, in the same order: what is saved there is served from then on.
        report: Called with a line for each change of a file, and for what is wrong with it.
        token: Page and API ask for it. Needed unless *host* is of the loopback interface.
        faults: What goes wrong on purpose.
        rate_limits: Keep the service's rate limits.
        strict: Refuse events of unknown sites and of bots.

    Raises:
        ServeError: The port is taken, the host is none of this machine's, or the database cannot be used.
        ValueError: No project has such an environment, or two have one site code.
    """
    with _opened(projects, database, environment) as service:
        service.faults = faults or Faults()
        service.rate_limits = RateLimits() if rate_limits else None
        service.is_strict = strict
        guard = make_guard(host, token)
        asyncio.run(_run_until_signal(service, guard, host, port, announce, watched, report))


async def _run_until_signal(
    service: Service,
    guard: Guard,
    host: str,
    port: int,
    announce: Callable[[str], None],
    watched: Sequence[Path],
    report: Callable[[str], None],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    runner, url = await _start(service, guard, host, port)
    try:
        announce(url)
        async with _watching(service, watched, report):
            await stop.wait()
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _watching(service: Service, paths: Sequence[Path], report: Callable[[str], None]) -> AsyncIterator[None]:
    """Serve each version of a project file that is saved; one that cannot be used leaves the last one in place."""
    tasks = [
        asyncio.create_task(_watch_one(service, site, path, report))
        for path, site in zip(paths, service.sites, strict=False)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch_one(service: Service, site: Site, path: Path, report: Callable[[str], None]) -> None:
    is_first = True

    def saved(project: Project) -> None:
        nonlocal is_first
        was_first, is_first = is_first, False
        if service.site(project.site_code) not in {None, site}:
            broken(refused(path, f"another site of this server has the site code {project.site_code!r}"))
            return
        said = site.publish_file(project)
        for flag, change in said:
            report(f"{path}: {flag + ': ' if flag else ''}{change}")
        if not said and not was_first:
            report(f"{path}: saved, nothing changed")

    def broken(error: ProjectError) -> None:
        site.file_error = error
        for line in str(error).splitlines():
            report(line)
        report(f"{path}: not used; the version before is still served")

    await watch(path, saved, broken)


class LocalServer:
    """
    A server in a thread of its own.

        with LocalServer("demo-project.yaml") as server:
            client = make_client(base_url=server.url)

    Args:
        project: A project, or the path of its file.
        more: Projects of further sites, likewise.
        database: A file, or `MEMORY`.
        port: 0 takes a free one.
        token: As with `run`.
        rate_limits: As with `run`; or limits with a clock of their own.
        strict: As with `run`.
        watch_file: Serve the projects' files anew whenever they are saved; all of them are then given as paths.

    Attributes:
        url: ``http://127.0.0.1:<port>``, without a slash at the end.

    Raises:
        ProjectError: The file cannot be read (when built).
        ServeError: As with `run` (when entered).
    """

    def __init__(
        self,
        project: Project | str | Path,
        *more: Project | str | Path,
        database: str | Path = MEMORY,
        host: str = LOOPBACK,
        port: int = 0,
        environment: str | None = None,
        watch_file: bool = False,
        token: str | None = None,
        rate_limits: bool | RateLimits = False,
        strict: bool = False,
    ) -> None:
        given = (project, *more)
        self._projects = [read_project(one) if isinstance(one, str | Path) else one for one in given]
        self._watched = [Path(one) for one in given if watch_file and isinstance(one, str | Path)]
        self._strict = strict
        self._token = token
        self._rate_limits = RateLimits() if rate_limits is True else rate_limits or None
        self._database = database
        self._host = host
        self._port = port
        self._environment = environment
        self._service: Service | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self.url = ""

    def __enter__(self) -> Self:
        """Start; the server takes requests when this returns."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """
        Start serving.

        Raises:
            ServeError: As with `run`.
            RuntimeError: It was started before; a server is started once.
        """
        if self._thread is not None:
            raise RuntimeError("a server is started once; make another one")
        self._thread = threading.Thread(target=self._serve, name="kameleoon-local-server", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Stop serving and close the database; a server that does not run is left alone."""
        if self._thread is None or self._loop is None or self._stop is None or not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def project(self) -> Project:
        """The published project of the main site."""
        return self._running().main.published.project

    def publish(self, project: Project) -> None:
        """
        Replace the project of the site with its site code, or else of the main site; the next request for the configuration gets it, and
        streaming clients are told.
        """
        service = self._running()
        (service.site(project.site_code) or service.main).publish(project)

    def fail(self, faults: Faults) -> None:
        """Let requests of SDKs go wrong from now on; ``Faults()`` ends it."""
        self._running().faults = faults

    def results(self, site_code: str | None = None) -> Results:
        """Results of a site so far, by default of the main one; with an unknown site code from the events that were sent with it."""
        service = self._running()
        site = service.main if site_code is None else service.site(site_code) or service.main
        return site.results(site_code)

    def counters(self) -> dict[str, int]:
        """What has arrived; see `Storage.counters`."""
        return self._running().storage.counters()

    def events(self, site_code: str | None = None) -> list[StoredEvent]:
        """Stored events in the order of arrival, of the main site's code or another."""
        service = self._running()
        return service.storage.events(site_code or service.main.code)

    def _running(self) -> Service:
        if self._service is None:
            raise RuntimeError("the server is not running")
        return self._service

    def _serve(self) -> None:
        try:
            with _opened(self._projects, self._database, self._environment) as self._service:
                asyncio.run(self._serve_until_stopped())
        except BaseException as error:  # raised again in the thread that started the server
            self._failure = error
        finally:
            self._service = None
            self._started.set()

    async def _serve_until_stopped(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        assert self._service is not None, "opened by the caller"
        self._service.rate_limits = self._rate_limits
        self._service.is_strict = self._strict
        runner, self.url = await _start(self._service, make_guard(self._host, self._token), self._host, self._port)
        self._started.set()
        try:
            async with _watching(self._service, self._watched, lambda _line: None):
                await self._stop.wait()
        finally:
            await runner.cleanup()


def make_guard(host: str, token: str | None) -> Guard:
    """
    Who may use page and API of a server that listens on *host*.

    Raises:
        ServeError: Others than this machine can reach it, and it has no token.
    """
    is_loopback = is_loopback_host(host)
    if not is_loopback and not token:
        raise ServeError(
            f"{host}: can be reached by other machines, so page and API need a token; give one with --token"
        )
    return Guard(token or None, is_loopback=is_loopback)


@contextmanager
def _opened(projects: Sequence[Project], database: str | Path, environment: str | None) -> Iterator[Service]:
    try:
        storage = Storage(database)
    except StorageError as error:
        raise ServeError(str(error)) from error
    try:
        service = Service(projects, storage, environment=environment)
    except ValueError:
        storage.close()
        raise
    try:
        yield service
    finally:
        service.close()


async def _start(service: Service, guard: Guard, host: str, port: int) -> tuple[web.AppRunner, str]:
    """Listen; gives the runner, to be cleaned up, and the URL."""
    runner = web.AppRunner(build_app(service, guard), access_log=None, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        if error.errno == errno.EADDRINUSE:
            raise ServeError(
                f"{host}:{port}: the port is in use; choose another with --port, or 0 for a free one"
            ) from error
        raise ServeError(f"{host}:{port}: cannot listen: {error.strerror or error}") from error
    bound = runner.addresses[0]
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    return runner, f"http://{shown}:{bound[1]}"

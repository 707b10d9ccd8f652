"""
The asyncio sender, over ``aiohttp``: its life on the loops of the application.

``aiohttp`` is imported with the first request, by `kameleoon._transport.aiohttp_wire`, which knows how one request is sent.

Connections belong to the loop they were opened on, and applications make loops as they like, up to one ``asyncio.run`` for each
call (faults C3). So each loop has a wire of its own, and an asynchronous generator that was started on the loop and waits holds
it: ``asyncio.run`` and every server that ends its loop properly finish such generators (``loop.shutdown_asyncgens``), which
closes the wire while the loop can still do so. Until then its connections are kept alive. Who drives a loop by hand and closes it
without ``shutdown_asyncgens`` awaits `AiohttpSender.aclose` first.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from kameleoon._transport.adapter import tell
from kameleoon._transport.flow import arun
from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.message import TransportError, TransportErrorKind
from kameleoon._transport.redirect import following_redirects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from concurrent.futures import Future

    from kameleoon._transport.adapter import Observer
    from kameleoon._transport.aiohttp_wire import Wire
    from kameleoon._transport.message import Request, Response


class AiohttpSender:
    """
    `AsyncSender` with one set of kept-alive connections for each running loop, usable from any number of loops at once.

    Proxies and certificate authorities come from the usual environment variables. Cookies and ``.netrc`` are not used. A forked
    child leaves its parent's connections alone.

    Args:
        observer: Told of every attempt, on the loop that made it; it must not block.
        clock: Monotonic seconds.
    """

    def __init__(self, observer: Observer | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._observer = observer
        self._clock = clock
        self._lock = ForkSafeLock()
        # A wire refers to its loop, so weak keys would keep nothing from staying; entries leave with the end of their loop.
        self._lives: dict[tuple[int, asyncio.AbstractEventLoop], tuple[Wire, AsyncGenerator[Wire]]] = {}
        self._endings: set[Future[None]] = set()
        self._is_closed = False

    async def send(self, request: Request) -> Response:
        """
        Send *request* and wait for the whole response.

        Raises:
            TransportError: No complete response came in time, it was refused, or the sender is closed.
        """
        started_s = self._clock()
        outcome: Response | TransportError | None = None
        try:
            outcome = await arun(following_redirects(request, self._clock), await self._wire(request))
            return outcome
        except TransportError as error:
            outcome = error
            raise
        finally:
            if outcome is not None:
                tell(self._observer, request, outcome, self._clock() - started_s)

    async def pause(self, seconds: float) -> None:
        """Wait *seconds*."""
        await asyncio.sleep(seconds)

    async def aclose(self) -> None:
        """
        Free the connections of the running loop, and let other loops free theirs.

        Requests under way end with a `TransportError`. Calling it again does nothing.
        """
        with self._lock:
            own = self._lives.pop((os.getpid(), asyncio.get_running_loop()), None)
        if own is not None:
            await own[1].aclose()
        self.close()

    def close(self) -> None:
        """
        Let every running loop free its connections soon, without waiting. For code that cannot await.

        A loop that stands still frees them when it is shut down.
        """
        with self._lock:
            self._is_closed = True
            lives, self._lives = self._lives, {}
        for (pid, loop), (_, life) in lives.items():
            if pid == os.getpid() and loop.is_running():
                ending = asyncio.run_coroutine_threadsafe(_end(life), loop)
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)

    async def _wire(self, request: Request) -> Wire:
        key = (os.getpid(), asyncio.get_running_loop())
        found = self._lives.get(key)
        if found is not None:
            return found[0]
        with self._lock:
            is_closed = self._is_closed
            self._forget_ended_loops()
        if not is_closed:
            # Nothing before it is kept gives way to another task of this loop, so there is never a second wire.
            life = self._live(key)
            wire = await anext(life)
            with self._lock:
                # Another thread may have closed the sender while `aiohttp` was imported.
                if not self._is_closed:
                    self._lives[key] = (wire, life)
                    return wire
            await life.aclose()
        raise TransportError.of(request, TransportErrorKind.CONNECTION, "the client is closed")

    async def _live(self, key: tuple[int, asyncio.AbstractEventLoop]) -> AsyncGenerator[Wire]:
        from kameleoon._transport.aiohttp_wire import Wire  # noqa: PLC0415 - `aiohttp` costs time and memory

        wire = Wire()
        try:
            yield wire
        finally:
            with self._lock:
                self._lives.pop(key, None)
            await wire.aclose()

    def _forget_ended_loops(self) -> None:
        for key in [key for key in self._lives if key[1].is_closed()]:
            del self._lives[key]


async def _end(life: AsyncGenerator[Wire]) -> None:
    await life.aclose()

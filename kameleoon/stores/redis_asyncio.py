"""
Round trips to Redis without blocking an event loop.

Each running loop has one connection, and one trip at a time on it: what its tasks ask meanwhile goes together with the next. Like the
connections of the asyncio sender it is held by an asynchronous generator, which ends with its loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from kameleoon._transport.fork import ForkSafeLock

Exchange: TypeAlias = Callable[[list[tuple[str, ...]]], Any]


class LoopConnections:
    """
    The connections of all loops.

    Args:
        connect: Makes a ``redis.asyncio.Redis``, not yet connected.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._lock = ForkSafeLock()
        self._lives: dict[tuple[int, asyncio.AbstractEventLoop], tuple[_Connection, AsyncGenerator[_Connection]]] = {}

    async def exchange(self, commands: list[tuple[str, ...]]) -> list[Any]:
        """
        Do *commands* on the running loop; an exception stands in place of the answer of each that failed.

        Raises:
            RedisError: The trip failed.
            OSError: It failed below of that.
        """
        return await (await self._connection()).exchange(commands)

    async def aclose(self) -> None:
        """End the connection of the running loop."""
        with self._lock:
            own = self._lives.pop((os.getpid(), asyncio.get_running_loop()), None)
        if own is not None:
            await own[1].aclose()

    def close(self) -> None:
        """Let every running loop end its connection soon, for code that cannot await."""
        with self._lock:
            lives, self._lives = self._lives, {}
        for (pid, loop), (_, life) in lives.items():
            if pid == os.getpid() and loop.is_running():
                # A loop that ends just now ends its connection itself.
                with suppress(RuntimeError):
                    asyncio.run_coroutine_threadsafe(_end(life), loop)

    async def _connection(self) -> _Connection:
        key = (os.getpid(), asyncio.get_running_loop())
        found = self._lives.get(key)
        if found is not None:
            return found[0]
        with self._lock:
            for ended in [ended for ended in self._lives if ended[1].is_closed()]:
                del self._lives[ended]
        # Nothing below gives way to another task of this loop, so there is never a second connection.
        life = self._live(key)
        connection = await anext(life)
        with self._lock:
            self._lives[key] = (connection, life)
        return connection

    async def _live(self, key: tuple[int, asyncio.AbstractEventLoop]) -> AsyncGenerator[_Connection]:
        connection = _Connection(self._connect())
        try:
            yield connection
        finally:
            with self._lock:
                self._lives.pop(key, None)
            await connection.aclose()


class _Connection:
    """The trips of one loop, one at a time."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._waiting: list[tuple[list[tuple[str, ...]], asyncio.Future[list[Any]]]] = []
        self._work: asyncio.Task[None] | None = None

    async def exchange(self, commands: list[tuple[str, ...]]) -> list[Any]:
        """Have *commands* done with the next trip. A caller that is cancelled does not end the trip, which is others' too."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, future))
        if self._work is None:
            self._work = asyncio.create_task(self._travel())
        return await future

    async def aclose(self) -> None:
        """End the connection, and whatever waits for it."""
        if self._work is not None:
            self._work.cancel()
            with suppress(asyncio.CancelledError):
                await self._work
        await self._redis.aclose()

    async def _travel(self) -> None:
        batch: Sequence[tuple[list[tuple[str, ...]], asyncio.Future[list[Any]]]] = ()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._go(batch)
        finally:
            self._work = None
            for _, future in [*batch, *self._waiting]:
                future.cancel()
            self._waiting = []

    async def _go(self, batch: Sequence[tuple[list[tuple[str, ...]], asyncio.Future[list[Any]]]]) -> None:
        try:
            pipe = self._redis.pipeline(transaction=False)
            for commands, _ in batch:
                for command in commands:
                    pipe.execute_command(*command)
            answers = await pipe.execute(raise_on_error=False)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for commands, future in batch:
            if not future.done():
                future.set_result(answers[start : start + len(commands)])
            start += len(commands)


def is_on_loop() -> bool:
    """Whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _end(life: AsyncGenerator[_Connection]) -> None:
    await life.aclose()

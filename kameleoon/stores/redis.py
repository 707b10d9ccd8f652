"""
Visitors shared by all workers and hosts, in Redis.

What one worker writes the next request in another reads. An evaluation costs one round trip at most: it brings what changed of the
visitor since this worker last saw him, and takes along what earlier evaluations gave, which is not waited for. A visitor who was
brought ahead costs none: `RedisStore.bring` and, on an event loop, `RedisStore.abring`.

While Redis is away the worker goes on with what it knows; what it learns meanwhile goes to Redis when that is back.

What is asked is in `kameleoon.stores.redis_worker`, what is told on each trip in `redis_trips`, what Redis does with it in
`redis_scripts`.
"""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kameleoon.exceptions import KameleoonError
from kameleoon.stores.redis_asyncio import LoopConnections, is_on_loop
from kameleoon.stores.redis_worker import SharedVisitors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kameleoon._visitor.facts import Fact
    from kameleoon._visitor.record import Given, Visitor
    from kameleoon.stores.protocol import Claim, Ended
    from kameleoon.stores.redis_trips import Trips

T = TypeVar("T")

BROUGHT_S = 30.0
"""Visitors brought ahead answer without a round trip for so long, in the task or thread that brought them."""

_MOST_BROUGHT = 1_000

_serials = itertools.count()
_brought: ContextVar[Mapping[tuple[int, str], float]] = ContextVar("brought", default=MappingProxyType({}))
"""``{(store, visitor code): until when, in monotonic seconds}``"""


@dataclass(slots=True)
class _Result(Generic[T]):
    """What a conversation with Redis came to."""

    value: T


class RedisStore:
    """
    A `SharedVisitorStore` in Redis, for ``visitor_store=RedisStore(url="redis://…")``. Needs the extra ``redis``.

    A round trip is bounded by *timeout_s*; while Redis is away it is tried again after a second, so that evaluations do not wait for
    it each time. Any number of threads and event loops may use one store.

    Args:
        url: As ``redis.Redis.from_url`` takes it. It may hold a password and is never logged.
        session_s: A session's duration in seconds; the client's own setting without it.
        prefix: What all keys begin with; ``kameleoon:<site code>:`` without it.
        max_visitors: Codes kept at most, 0 for as many as Redis holds.
        timeout_s: Seconds for connecting and for each answer.
        merges_linked: Whether what was known of a code before it was linked to another is known of that too.
        wall_clock: Seconds since 1970, as all workers see them.

    Raises:
        KameleoonError: The package ``redis`` is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        session_s: float | None = None,
        prefix: str | None = None,
        max_visitors: int = 0,
        timeout_s: float = 0.25,
        merges_linked: bool = False,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
            import redis.asyncio  # noqa: PLC0415
            from redis.asyncio.retry import Retry as AsyncRetry  # noqa: PLC0415
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError as error:
            raise KameleoonError("RedisStore needs the extra redis: pip install 'kameleoon-sdk[redis]'") from error
        self._errors = (redis.RedisError, OSError)
        settings: dict[str, Any] = {
            "decode_responses": True,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
        }
        # A trip that is repeated behind our back would take twice as long, and might take what is then never told of.
        self._redis: Any = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **settings)
        self._loops = LoopConnections(
            lambda: redis.asyncio.Redis.from_url(url, retry=AsyncRetry(NoBackoff(), 0), **settings)
        )
        self._session_s = session_s
        self._prefix = prefix
        self._max_visitors = max_visitors
        self._merges_linked = merges_linked
        self._wall_clock = wall_clock
        self._serial = next(_serials)
        # Held for moments only, never during a trip.
        self._lock = threading.RLock()
        self._worker: SharedVisitors | None = None
        self._on_waiting: Callable[[], object] | None = None
        self._has_told_waiting = False

    def __repr__(self) -> str:
        return f"RedisStore(prefix={self._prefix!r})"

    def bind(
        self,
        site_code: str,
        session_s: float,
        *,
        on_waiting: Callable[[], object] | None = None,
    ) -> None:
        """
        Called by the client that uses the store: its site and its sessions, unless the store was told otherwise.

        Args:
            site_code: The site.
            session_s: A session's duration in seconds.
            on_waiting: Called when there is something that `push` should tell Redis soon, by any thread.
        """
        if self._prefix is None:
            self._prefix = f"kameleoon:{site_code}:"
        if self._session_s is None:
            self._session_s = session_s
        self._on_waiting = on_waiting

    def __len__(self) -> int:
        # Whoever asks on an event loop is told what the worker saw last, rather than kept waiting.
        return self._visitors.count if is_on_loop() else self._run(self._visitors.number_of_codes())

    # --- blocking -----------------------------------------------------------------------------------------------------

    def read(self, code: str) -> Visitor | None:
        """See `VisitorStore.read`."""
        return self._local(code) if self._is_brought(code) else self._run(self._visitors.look(code, "touch"))

    def peek(self, code: str) -> Visitor | None:
        """See `VisitorStore.peek`."""
        return self._local(code) if self._is_brought(code) else self._run(self._visitors.look(code, "look"))

    def write(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """See `VisitorStore.write`. It is in Redis when this returns, unless Redis is away or the visitor was brought ahead."""
        if not self._is_brought(code):
            return self._run(self._visitors.write(code, facts, now_ms))
        with self._lock:
            visitor = self._visitors.apply(code, facts, now_ms)
        self._tell_waiting()
        return visitor

    def assign(
        self,
        code: str,
        visitor: Visitor | None,  # noqa: ARG002 - another thread may have replaced its record
        given: Given,
        unsent: bool,
        now_ms: int,
    ) -> Visitor:
        """See `VisitorStore.assign`. It goes to Redis with the next round trip, whichever that is, at the latest to send it."""
        with self._lock:
            return self._visitors.assign(code, given, unsent, now_ms)

    def link(self, code: str, other: str, now_ms: int) -> None:
        """See `VisitorStore.link`. While Redis is away the codes are linked in this worker alone."""
        if not self._is_brought(code):
            self._run(self._visitors.link(code, other, now_ms))
            return
        with self._lock:
            self._visitors.link_here(code, other, now_ms)
        self._mark_brought([other])
        self._tell_waiting()

    def bring(self, codes: Sequence[str], *, is_activity: bool = True) -> None:
        """See `SharedVisitorStore.bring`."""
        self._run(self._visitors.bring(codes, "touch" if is_activity else "look"))
        self._mark_brought(codes)

    def push(self) -> None:
        """See `SharedVisitorStore.push`."""
        self._has_told_waiting = False
        self._run(self._visitors.push())

    def claim(self, codes: Sequence[str], *, consent_required: bool) -> list[Claim]:
        """See `VisitorStore.claim`. Two round trips for all *codes* together."""
        return self._run(self._visitors.claim(codes, consent_required=consent_required))

    def codes(self) -> list[tuple[str, bool]]:
        """See `VisitorStore.codes`."""
        return self._run(self._visitors.codes())

    def pending(self) -> list[str]:
        """See `VisitorStore.pending`."""
        return self._run(self._visitors.pending())

    def expire(self) -> Iterator[list[Ended]]:
        """See `VisitorStore.expire`. What a worker took here and had not sent when it died, another takes after a minute."""
        visitors = self._visitors
        self._run(visitors.expire())
        return self._hand_out(visitors)

    def after_fork_in_child(self) -> None:
        """See `VisitorStore.after_fork_in_child`: what is in Redis is anybody's, what is not there yet is the parent's."""
        self._lock = threading.RLock()
        self._worker = None
        self._has_told_waiting = False

    def close(self) -> None:
        """See `VisitorStore.close`. The visitors stay in Redis."""
        if self._worker is not None:
            self._run(self._worker.finish())
        self._worker = None
        self._redis.close()
        self._loops.close()

    # --- asyncio ------------------------------------------------------------------------------------------------------

    async def aread(self, code: str) -> Visitor | None:
        """`read` without blocking the event loop."""
        return self._local(code) if self._is_brought(code) else await self._arun(self._visitors.look(code, "touch"))

    async def apeek(self, code: str) -> Visitor | None:
        """`peek` without blocking the event loop."""
        return self._local(code) if self._is_brought(code) else await self._arun(self._visitors.look(code, "look"))

    async def awrite(self, code: str, facts: Iterable[Fact], now_ms: int) -> Visitor:
        """`write` without blocking the event loop. It is in Redis when this returns, also of a visitor who was brought ahead."""
        return await self._arun(self._visitors.write(code, facts, now_ms))

    async def alink(self, code: str, other: str, now_ms: int) -> None:
        """`link` without blocking the event loop."""
        await self._arun(self._visitors.link(code, other, now_ms))

    async def abring(self, codes: Sequence[str], *, is_activity: bool = True) -> None:
        """`bring` without blocking the event loop."""
        await self._arun(self._visitors.bring(codes, "touch" if is_activity else "look"))
        self._mark_brought(codes)

    async def apush(self) -> None:
        """`push` without blocking the event loop."""
        self._has_told_waiting = False
        await self._arun(self._visitors.push())

    async def aclaim(self, codes: Sequence[str], *, consent_required: bool) -> list[Claim]:
        """`claim` without blocking the event loop."""
        return await self._arun(self._visitors.claim(codes, consent_required=consent_required))

    async def acodes(self) -> list[tuple[str, bool]]:
        """`codes` without blocking the event loop."""
        return await self._arun(self._visitors.codes())

    async def apending(self) -> list[str]:
        """`pending` without blocking the event loop."""
        return await self._arun(self._visitors.pending())

    async def aexpire(self) -> Iterator[list[Ended]]:
        """`expire` without blocking the event loop."""
        visitors = self._visitors
        await self._arun(visitors.expire())
        return self._hand_out(visitors)

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        if self._worker is not None:
            await self._arun(self._worker.finish())
        await self._loops.aclose()
        self.close()

    def _hand_out(self, visitors: SharedVisitors) -> Iterator[list[Ended]]:
        while True:
            with self._lock:
                ended = visitors.hand_out()
            if not ended:
                return
            yield ended

    # --- who was brought ahead ----------------------------------------------------------------------------------------

    def _is_brought(self, code: str) -> bool:
        until_s = _brought.get().get((self._serial, code))
        return until_s is not None and time.monotonic() < until_s

    def _mark_brought(self, codes: Sequence[str]) -> None:
        now_s = time.monotonic()
        before = {entry: until_s for entry, until_s in _brought.get().items() if until_s > now_s}
        for code in codes:
            before.pop((self._serial, code), None)
            before[self._serial, code] = now_s + BROUGHT_S
        _brought.set(dict(list(before.items())[-_MOST_BROUGHT:]))

    def _local(self, code: str) -> Visitor | None:
        with self._lock:
            known = self._visitors.local(code)
            return None if known is None else known.visitor

    def _tell_waiting(self) -> None:
        if self._on_waiting is not None and not self._has_told_waiting:
            self._has_told_waiting = True
            self._on_waiting()

    # --- trips --------------------------------------------------------------------------------------------------------

    @property
    def _visitors(self) -> SharedVisitors:
        worker = self._worker
        if worker is None:
            if self._prefix is None or self._session_s is None:
                raise KameleoonError("a RedisStore without session_s and prefix belongs to a client")
            with self._lock:
                worker = self._worker = self._worker or SharedVisitors(
                    self._prefix,
                    self._session_s,
                    max_visitors=self._max_visitors,
                    merges_linked=self._merges_linked,
                    wall_clock=self._wall_clock,
                    errors=self._errors,
                )
        return worker

    def _run(self, trips: Trips[T]) -> T:
        with self._closed_after(trips):
            answers: Any = None
            while not isinstance(commands := self._step(trips, answers), _Result):
                try:
                    answers = self._exchange(commands)
                except self._errors as error:
                    answers = error
            return commands.value

    async def _arun(self, trips: Trips[T]) -> T:
        with self._closed_after(trips):
            answers: Any = None
            while not isinstance(commands := self._step(trips, answers), _Result):
                try:
                    answers = await self._loops.exchange(commands)
                except self._errors as error:
                    answers = error
            return commands.value

    def _step(self, trips: Trips[T], answers: Any) -> list[tuple[str, ...]] | _Result[T]:
        """Go on with what Redis said, or with the error that came instead: the commands of the next trip, or the result."""
        with self._lock:
            try:
                return trips.throw(answers) if isinstance(answers, self._errors) else trips.send(answers)
            except StopIteration as stop:
                return _Result(stop.value)

    @contextmanager
    def _closed_after(self, trips: Trips[T]) -> Iterator[None]:
        try:
            yield
        finally:
            with self._lock:
                trips.close()

    def _exchange(self, commands: list[tuple[str, ...]]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        answers: list[Any] = pipe.execute(raise_on_error=False)
        return answers

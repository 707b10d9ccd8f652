"""
What a client asks of its store in background work and conversations, so that a store over the network holds up no event loop.

A store in this process is asked at once. Of one that waits, a thread waits for the blocking method, a loop for its twin.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from kameleoon._transport.flow import Call
from kameleoon.stores import SharedVisitorStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from kameleoon.stores import Claim, Ended, VisitorStore

T = TypeVar("T")

Calls: TypeAlias = Generator[Call[Any], Any, T]
"""A flow that makes no requests."""


class Waiting:
    """
    The waiting side of a store.

    Args:
        store: The store.

    Attributes:
        is_shared: Whether it waits at all.
    """

    __slots__ = ("_shared", "_store", "is_shared")

    def __init__(self, store: VisitorStore) -> None:
        self._store = store
        self._shared = store if isinstance(store, SharedVisitorStore) else None
        self.is_shared = self._shared is not None

    def claim(
        self,
        codes: Sequence[str],
        take: Callable[[list[Claim]], None],
        lock: AbstractContextManager[object],
        *,
        consent_required: bool,
    ) -> Calls[None]:
        """
        Give *take* what `VisitorStore.claim` gives.

        *lock* is held from before they are claimed until they are taken; on an event loop, where that may wait, only while they are taken.
        """
        shared = self._shared

        def claim() -> None:
            with lock:
                take(self._store.claim(codes, consent_required=consent_required))

        if shared is None:
            claim()
            return

        async def aclaim() -> None:
            claims = await shared.aclaim(codes, consent_required=consent_required)
            with lock:
                take(claims)

        yield Call(claim, aclaim)

    def codes(self) -> Calls[Iterable[tuple[str, bool]]]:
        """See `VisitorStore.codes`."""
        shared = self._shared
        return self._store.codes() if shared is None else (yield from _called(shared.codes, shared.acodes))

    def pending(self) -> Calls[Iterable[str]]:
        """See `VisitorStore.pending`."""
        shared = self._shared
        return self._store.pending() if shared is None else (yield from _called(shared.pending, shared.apending))

    def expire(self) -> Calls[Iterable[Sequence[Ended]]]:
        """See `VisitorStore.expire`."""
        shared = self._shared
        return self._store.expire() if shared is None else (yield from _called(shared.expire, shared.aexpire))

    def look(self, codes: Sequence[str]) -> Calls[None]:
        """Have *codes* at hand without counting it as activity, so that looking at each of them waits for nothing."""
        shared = self._shared
        if shared is not None and codes:
            yield from _called(
                lambda: shared.bring(codes, is_activity=False), lambda: shared.abring(codes, is_activity=False)
            )

    def bring_on_loop(self, codes: Sequence[str]) -> Calls[None]:
        """`bring` on an event loop; a thread asks for each when it comes to that."""
        shared = self._shared
        if shared is not None:
            yield from _called(lambda: None, lambda: shared.abring(codes))

    def bring(self, codes: Sequence[str]) -> Calls[None]:
        """See `SharedVisitorStore.bring`."""
        shared = self._shared
        if shared is not None:
            yield from _called(lambda: shared.bring(codes), lambda: shared.abring(codes))

    def push(self) -> Calls[None]:
        """Have the store tell what it has not told yet."""
        shared = self._shared
        if shared is not None:
            yield from _called(shared.push, shared.apush)


def _called(blocking: Callable[[], T], awaited: Callable[[], Awaitable[T]]) -> Calls[T]:
    call = Call(blocking, awaited)
    yield call
    return cast("T", call.result)

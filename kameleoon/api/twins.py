"""
A call written once, as a flow, and offered twice: it blocks on a `BlockingSide` and is awaited on an `AsyncSide`.

`call` and `pages` are descriptors: what a method gives depends on the class it is reached through, for people and for the type
checker alike. So blocking and asyncio clients cannot drift apart.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from kameleoon._transport.flow import arun, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
    from types import TracebackType

    from kameleoon._transport.flow import AsyncSender, Flow, Sender
    from kameleoon.api.caller import Caller

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Side:
    """What a group of calls works with."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller


class BlockingSide(Side):
    """Calls block. Usable by any number of threads at once."""

    def __init__(self, caller: Caller, sender: Sender) -> None:
        super().__init__(caller)
        self._sender = sender


class AsyncSide(Side):
    """Calls are awaited. Usable from any running loop."""

    def __init__(self, caller: Caller, sender: AsyncSender) -> None:
        super().__init__(caller)
        self._sender = sender


class BlockingClient(BlockingSide):
    """A client that owns its connections: close it, or use ``with``."""

    def close(self) -> None:
        """Free all connections. Calls under way fail; calling it again does nothing."""
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(AsyncSide):
    """A client that owns its connections: await `aclose`, or use ``async with``."""

    async def aclose(self) -> None:
        """Free all connections. Calls under way fail; calling it again does nothing."""
        await self._sender.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class call(Generic[P, T]):  # noqa: N801 - used as a decorator
    """
    Decorates a method that returns a flow: reached through a client it runs the flow and gives its result.

    Attributes:
        flow: The method itself, for other flows.
    """

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self.flow = flow
        functools.update_wrapper(self, flow)

    def __call__(self, side: Side, *args: P.args, **kwargs: P.kwargs) -> Any:
        """``Client.method(client, …)`` as for any method."""
        return self.__get__(side)(*args, **kwargs)  # type: ignore[call-overload]

    @overload
    def __get__(self, side: None, owner: object) -> Self: ...
    @overload
    def __get__(self, side: BlockingSide, owner: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, side: AsyncSide, owner: object = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, side: Side | None, owner: object = None) -> Any:
        if isinstance(side, BlockingSide):
            sender = side._sender  # noqa: SLF001 - the descriptor is part of the sides

            @functools.wraps(self.flow)
            def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
                return run(self.flow(side, *args, **kwargs), sender)

            return blocking
        if isinstance(side, AsyncSide):
            asender = side._sender  # noqa: SLF001 - the descriptor is part of the sides

            @functools.wraps(self.flow)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> T:
                return await arun(self.flow(side, *args, **kwargs), asender)

            return awaited
        return self


class Paging(Protocol[T_co]):
    """A collection that comes in pages."""

    def after(self, page: int) -> Flow[tuple[Sequence[T_co], bool]]:
        """Fetch the page after *page* (0: the first): its items, and whether there may be more."""


class pages(Generic[P, T]):  # noqa: N801 - used as a decorator
    """Decorates a method that returns a `Paging`: reached through a client it gives a lazy iterator over all items."""

    def __init__(self, paging: Callable[Concatenate[Any, P], Paging[T]]) -> None:
        self.paging = paging
        functools.update_wrapper(self, paging)

    def __call__(self, side: Side, *args: P.args, **kwargs: P.kwargs) -> Any:
        """``Client.method(client, …)`` as for any method."""
        return self.__get__(side)(*args, **kwargs)  # type: ignore[call-overload]

    @overload
    def __get__(self, side: None, owner: object) -> Self: ...
    @overload
    def __get__(self, side: BlockingSide, owner: object = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, side: AsyncSide, owner: object = None) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, side: Side | None, owner: object = None) -> Any:
        if isinstance(side, BlockingSide):
            sender = side._sender  # noqa: SLF001 - the descriptor is part of the sides

            @functools.wraps(self.paging)
            def blocking(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
                # Asked for outside the generator, so that wrong arguments are refused where they are given.
                paging = self.paging(side, *args, **kwargs)

                def each() -> Iterator[T]:
                    page, more = 0, True
                    while more:
                        items, more = run(paging.after(page), sender)
                        yield from items
                        page += 1

                return each()

            return blocking
        if isinstance(side, AsyncSide):
            asender = side._sender  # noqa: SLF001 - the descriptor is part of the sides

            @functools.wraps(self.paging)
            def awaited(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
                paging = self.paging(side, *args, **kwargs)

                async def each() -> AsyncIterator[T]:
                    page, more = 0, True
                    while more:
                        items, more = await arun(paging.after(page), asender)
                        for item in items:
                            yield item
                        page += 1

                return each()

            return awaited
        return self

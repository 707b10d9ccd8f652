"""
Conversations of several requests, written once for threads and for asyncio.

A flow is a generator that yields a `Request`, a `Pause` or a `Call` and is sent the `Response` (``None`` after the others). A
failure is thrown into it. `run` and `arun` are the only code that is written twice on purpose.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from kameleoon._transport.message import Pause, Request, Response

if TYPE_CHECKING:
    from kameleoon._datafile.decode import Steps

T = TypeVar("T")

_REST = Pause(0.0001)


class Call(Generic[T]):
    """
    A flow's wish for something that waits for others than the service, such as a store.

    Args:
        blocking: Does it in a thread that may wait.
        awaited: Does the same on an event loop.

    Attributes:
        result: What came of it, once the flow goes on.
    """

    __slots__ = ("_awaited", "_blocking", "result")

    def __init__(self, blocking: Callable[[], T], awaited: Callable[[], Awaitable[T]]) -> None:
        self._blocking = blocking
        self._awaited = awaited
        self.result: T | None = None

    def perform(self) -> None:
        """Do it, and wait."""
        self.result = self._blocking()

    async def aperform(self) -> None:
        """Do it without blocking the event loop."""
        self.result = await self._awaited()


Flow: TypeAlias = Generator[Request | Pause | Call[Any], Response | None, T]


class Sender(Protocol):
    """
    Sends requests and waits, blocking the calling thread. Any number of threads may call it at once.

    ``send`` gives a complete response of any status, redirects followed, within the request's ``timeout_s``, and keeps to its
    ``max_body_bytes``. Nothing is repeated by the sender.
    """

    def send(self, request: Request) -> Response:
        """
        Send *request* and wait for the whole response.

        Raises:
            TransportError: No complete response came in time, or it was refused.
        """

    def pause(self, seconds: float) -> None:
        """Wait *seconds*, or less when the sender is closed meanwhile."""

    def close(self) -> None:
        """Free all connections. Later requests fail; calling it again does nothing."""


class AsyncSender(Protocol):
    """`Sender` for asyncio: the same promises, usable from any running loop."""

    async def send(self, request: Request) -> Response:
        """
        Send *request* and wait for the whole response.

        Raises:
            TransportError: No complete response came in time, or it was refused.
        """

    async def pause(self, seconds: float) -> None:
        """Wait *seconds*."""

    async def aclose(self) -> None:
        """Free all connections. Later requests fail; calling it again does nothing."""


def run(flow: Flow[T], sender: Sender) -> T:
    """
    Drive *flow* with a blocking sender, to its end.

    Returns:
        What the flow returns.

    Raises:
        Exception: What the flow raises. An exception of the sender is thrown into the flow first. However the run ends, the
            flow is closed.
    """
    try:
        step = next(flow)
        while True:
            try:
                answer = _perform(step, sender)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


async def arun(flow: Flow[T], sender: AsyncSender) -> T:
    """Drive *flow* like `run`, with an asyncio sender. Cancelling closes the flow."""
    try:
        step = next(flow)
        while True:
            try:
                answer = await _aperform(step, sender)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


def exchange(request: Request) -> Flow[Response]:
    """
    Ask the driver for *request* and hand back its response.

    Raises:
        TransportError: As the driver throws it in.
        TypeError: The driver sent no response, which is a fault of the driver.
    """
    response = yield request
    if response is None:
        raise TypeError("a driver answers a Request with a Response, not with None")
    return response


def at_leisure(steps: Steps[T]) -> Flow[T]:
    """Do work that comes in steps, resting after each so that other threads, or the other tasks of an event loop, get their turn."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield _REST


def _perform(step: Request | Pause | Call[Any], sender: Sender) -> Response | None:
    if isinstance(step, Request):
        return sender.send(step)
    if isinstance(step, Call):
        step.perform()
    else:
        sender.pause(step.seconds)
    return None


async def _aperform(step: Request | Pause | Call[Any], sender: AsyncSender) -> Response | None:
    if isinstance(step, Request):
        return await sender.send(step)
    if isinstance(step, Call):
        await step.aperform()
    else:
        await sender.pause(step.seconds)
    return None

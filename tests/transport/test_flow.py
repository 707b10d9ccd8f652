"""Both drivers run every flow alike."""

import asyncio

import pytest
from canned import Canned, broken

from kameleoon._transport.flow import arun, exchange, run
from kameleoon._transport.message import Pause, Request, Response, TransportError
from kameleoon.events import RequestType

REQUEST = Request(RequestType.DATAFILE, "GET", "https://h/")


class AsyncCanned(Canned):
    """The canned sender with coroutines."""

    async def send(self, request):
        await asyncio.sleep(0)
        return super().send(request)

    async def pause(self, seconds):
        super().pause(seconds)


def drive_blocking(flow, *answers):
    """Drive *flow* with `run`."""
    sender = Canned(*answers)
    return run(flow, sender), sender


def drive_asyncio(flow, *answers):
    """Drive *flow* with `arun`."""
    sender = AsyncCanned(*answers)
    return asyncio.run(arun(flow, sender)), sender


@pytest.fixture(params=[drive_blocking, drive_asyncio])
def drive(request):
    """Give one of both drivers."""
    return request.param


def test_requests_and_pauses_take_turns(drive):
    """A request is answered with its response, a pause with None, and the flow's value comes back."""

    def flow():
        first = yield REQUEST
        nothing = yield Pause(3)
        second = yield REQUEST
        return first.status, nothing, second.status

    value, sender = drive(flow(), Response(200), Response(404))
    assert value == (200, None, 404)
    assert sender.paused == [3]


def test_a_failure_is_thrown_into_the_flow(drive):
    """A flow may catch a transport failure and go on."""

    def flow():
        try:
            yield REQUEST
        except TransportError:
            return (yield from exchange(REQUEST)).status
        return None

    assert drive(flow(), broken(), Response(204))[0] == 204


def test_a_flow_without_requests(drive):
    """A flow that asks for nothing gives its value."""

    def flow():
        yield from ()
        return 7

    assert drive(flow())[0] == 7


def test_an_uncaught_failure_comes_out_and_the_flow_is_closed(drive):
    """What the flow does not catch is raised to the caller, after the flow cleaned up."""
    closed = []

    def flow():
        try:
            yield REQUEST
        finally:
            closed.append(True)

    with pytest.raises(TransportError):
        drive(flow(), broken())
    assert closed == [True]


def test_an_interrupt_closes_the_flow():
    """Ctrl-C during a request ends the flow without being thrown into it."""
    seen = []

    class Interrupted(Canned):
        def send(self, request):
            del request
            raise KeyboardInterrupt

    def flow():
        try:
            yield REQUEST
        except BaseException as error:
            seen.append(type(error))
            raise

    running = flow()  # Held, so that only the driver can have closed it.
    with pytest.raises(KeyboardInterrupt):
        run(running, Interrupted())
    assert seen == [GeneratorExit]


def test_cancelling_closes_the_flow():
    """A cancelled task closes its flow."""
    closed = []

    class Slow(AsyncCanned):
        async def send(self, request):
            del request
            await asyncio.sleep(60)

    def flow():
        try:
            yield REQUEST
        finally:
            closed.append(True)

    running = flow()  # Held, so that only the driver can have closed it.

    async def scene():
        task = asyncio.create_task(arun(running, Slow()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert closed == [True]


def test_a_driver_must_answer_a_request():
    """A driver that sends None for a request is told off."""
    flow = exchange(REQUEST)
    next(flow)
    with pytest.raises(TypeError, match="driver"):
        flow.send(None)

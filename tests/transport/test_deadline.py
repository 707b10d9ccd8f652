"""One deadline for several requests, and a lock for several processes."""

import os

import pytest
from clocks import Clock

from kameleoon._transport.deadline import Deadline
from kameleoon._transport.fork import ForkSafeLock
from kameleoon._transport.message import Request, TransportError, TransportErrorKind
from kameleoon.events import RequestType


def test_time_left_shrinks_to_nothing():
    """What is left is never negative."""
    clock = Clock()
    deadline = Deadline(clock, 3)
    clock.now += 2
    assert deadline.remaining() == 1
    clock.now += 2
    assert deadline.remaining() == 0


def test_a_request_gets_no_more_than_is_left():
    """A request keeps a shorter timeout of its own, and cannot be sent after the end."""
    clock = Clock()
    deadline = Deadline(clock, 3)
    request = Request(RequestType.DATAFILE, "GET", "https://h/", timeout_s=2)
    assert deadline.limit(request).timeout_s == 2
    clock.now += 2
    assert deadline.limit(request).timeout_s == 1
    clock.now += 2
    with pytest.raises(TransportError) as caught:
        deadline.limit(request)
    assert caught.value.kind is TransportErrorKind.TIMEOUT


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_finds_the_lock_open():
    """A lock held at the fork is open in the child and still held in the parent."""
    lock = ForkSafeLock()
    with lock:
        pid = os.fork()
        if pid == 0:
            with lock:
                os._exit(17)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17
        assert lock._own().locked()
    assert not lock._own().locked()

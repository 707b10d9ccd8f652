"""A fork waits for an import that another thread is in the middle of."""

import os
import threading
import warnings

import pytest

from kameleoon._transport.fork import importing


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_fork_waits_for_an_import():
    """A child is not forked while a thread imports, and finds imports open when it is."""
    inside, leave, forked = threading.Event(), threading.Event(), threading.Event()
    status = []

    def hold():
        with importing:
            inside.set()
            leave.wait()

    def fork():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which is what this is about
            pid = os.fork()
        if pid == 0:
            os._exit(0 if importing.acquire(blocking=False) else 1)
        status.append(os.waitpid(pid, 0)[1])
        forked.set()

    holder, forker = threading.Thread(target=hold), threading.Thread(target=fork)
    holder.start()
    inside.wait()
    forker.start()
    assert not forked.wait(0.1)
    leave.set()
    assert forked.wait(10)
    holder.join()
    forker.join()
    assert status == [0]

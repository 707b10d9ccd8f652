"""The limiter: never more than the service takes in any window, and never slower than that."""

import heapq
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon.api.limiter import Limiter, Rate

RATES = st.lists(st.builds(Rate, st.integers(1, 6), st.sampled_from([0.5, 1.0, 3.0])), min_size=1, max_size=3)
# For each request: how long after the last one it is wanted, how long it is under way, and when in that time it arrives.
REQUESTS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 4), st.floats(0, 1)), min_size=1, max_size=40)


@given(RATES, REQUESTS)
def test_no_window_of_the_service_holds_more_than_its_rate(rates, requests):
    """However long requests are under way and whenever in that time they arrive, each window has at most its count of them."""
    limiter, now, arrivals, ends = Limiter(*rates), 0.0, [], []
    for gap, way, part in requests:
        now += gap
        while True:
            while ends and ends[0] <= now:
                limiter.ended(heapq.heappop(ends))
            wait = limiter.take(now)
            if not wait:
                break
            now += wait
        arrivals.append(now + way * part)
        heapq.heappush(ends, now + way)
    arrivals.sort()
    for rate in rates:
        for first, later in zip(arrivals, arrivals[rate.count :], strict=False):
            assert later - first >= rate.period_s - 1e-9


def moments(limiter, count):
    """When requests that take no time go out, wanted all at once."""
    now, found = 0.0, []
    while len(found) < count:
        wait = limiter.take(now)
        now += wait
        if not wait:
            found.append(now)
            limiter.ended(now)
    return found


def test_a_burst_runs_at_the_limit():
    """A hundred requests at once leave in bursts of the full rate, one window apart."""
    assert moments(Limiter(Rate(50, 1.0), margin_s=0.0), 101) == [0.0] * 50 + [1.0] * 50 + [2.0]


def test_both_windows_hold():
    """The long window counts what the short one let through."""
    assert moments(Limiter(Rate(2, 1.0), Rate(3, 100.0), margin_s=0.0), 4) == [0.0, 0.0, 1.0, 100.0]


def test_what_is_under_way_takes_its_place():
    """A request without an answer may still arrive, so it keeps its place."""
    limiter = Limiter(Rate(1, 1.0), margin_s=0.0)
    assert limiter.take(0.0) == 0.0
    assert limiter.take(50.0) > 0
    limiter.ended(60.0)
    assert limiter.take(60.0) == 1.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_does_not_wait_for_its_parents_requests():
    """What the parent has under way at a fork is ended there; what had ended before still counts for both."""
    limiter = Limiter(Rate(2, 1.0), margin_s=0.0)
    assert limiter.take(0.0) == 0.0
    limiter.ended(0.5)
    assert limiter.take(0.6) == 0.0
    pid = os.fork()
    if pid == 0:
        taken = [limiter.take(0.7), limiter.take(0.8)]
        limiter.ended(0.9)
        os._exit(17 if taken == [0.0, pytest.approx(0.7)] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17
    assert limiter.take(0.7) > 0


def test_a_refusal_closes_it_for_everybody():
    """After a 429 nothing goes before the moment that was asked for."""
    limiter = Limiter(Rate(50, 1.0))
    limiter.close_until(7.0)
    assert limiter.take(2.0) == 5.0

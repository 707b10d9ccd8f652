"""When to try again."""

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kameleoon._transport.retry import (
    MAX_RETRY_AFTER_S,
    Verdict,
    jittered,
    judge,
    next_delay,
    parse_retry_after,
    retry_wait,
)

waits = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).map(sorted)


@example(10**9, [1.0, 60.0], 1)
@given(st.integers(1, 10**6), waits, st.integers())
def test_delays_grow_within_their_bounds(failures, bounds, seed):
    """A delay is never below the first nor above the ceiling, never shrinks, and jitter takes at most half of it."""
    first_s, ceiling_s = bounds
    delay_s = next_delay(failures, first_s=first_s, ceiling_s=ceiling_s)
    assert first_s <= delay_s <= ceiling_s
    assert next_delay(failures + 1, first_s=first_s, ceiling_s=ceiling_s) >= delay_s
    assert delay_s / 2 <= jittered(delay_s, random.Random(seed)) <= delay_s


def test_delays_double():
    """Each failure doubles the wait, up to the ceiling."""
    assert [next_delay(n, first_s=5, ceiling_s=60) for n in range(1, 7)] == [5, 10, 20, 40, 60, 60]


@pytest.mark.parametrize(("failures", "first_s", "ceiling_s"), [(0, 1, 2), (1, 0, 2), (1, 3, 2), (1, float("nan"), 2)])
def test_senseless_waits_are_refused(failures, first_s, ceiling_s):
    """Arguments out of their range raise."""
    with pytest.raises(ValueError, match="must"):
        next_delay(failures, first_s=first_s, ceiling_s=ceiling_s)


def test_many_workers_do_not_wait_alike():
    """Workers draw from the system's randomness, so seeding the shared generator does not bring them into step."""
    drawn = set()
    for _ in range(50):
        random.seed(1)
        drawn.add(jittered(60.0, random.SystemRandom()))
    assert len(drawn) > 45
    assert max(drawn) - min(drawn) > 10


@given(st.integers(1, 50), st.none() | st.floats(0, MAX_RETRY_AFTER_S), st.integers())
def test_the_service_is_waited_for(failures, asked_s, seed):
    """No wait is shorter than what the service asked for, nor 0, and a little jitter is put on top."""
    wait_s = retry_wait(failures, first_s=5, ceiling_s=300, retry_after_s=asked_s, source=random.Random(seed))
    if asked_s is None:
        assert 2.5 <= wait_s <= 300
    else:
        assert max(asked_s, 5) <= wait_s <= 1.25 * max(asked_s, 5)


NOW_S = 1445412480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("999999", MAX_RETRY_AFTER_S),
        ("9" * 5000, MAX_RETRY_AFTER_S),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:28:30", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2065 07:27:00 GMT", MAX_RETRY_AFTER_S),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_in_both_forms(value, expected):
    """Seconds and HTTP dates are read, bounded; anything else is as if absent."""
    assert parse_retry_after(value, NOW_S) == expected


@given(st.text())
def test_retry_after_never_raises(value):
    """Whatever a server sends, it is a wait within the bounds or none."""
    seconds = parse_retry_after(value, NOW_S)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER_S


def test_every_status_has_its_verdict():
    """The table of faults D1, with everything else refused."""
    expected = dict.fromkeys(range(200, 300), Verdict.ACCEPTED)
    expected |= dict.fromkeys(range(500, 600), Verdict.RETRY)
    expected |= dict.fromkeys((304, 403), Verdict.ACCEPTED)
    expected |= dict.fromkeys((408, 425, 429), Verdict.RETRY)
    expected |= dict.fromkeys((400, 404, 413), Verdict.SPLIT)
    expected[401] = Verdict.UNAUTHORISED
    for status in range(100, 700):
        assert judge(status) is expected.get(status, Verdict.REFUSED)

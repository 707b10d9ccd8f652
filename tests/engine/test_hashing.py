"""Where a visitor falls, to the last bit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference import share_of

from kameleoon._engine.hashing import ALWAYS, NEVER, digest, fraction, limit

EXAMPLE = json.loads(Path(__file__).with_name("worked_example.json").read_text("utf-8"))
HASH = 0.4877803114513168  # of "v100"


@pytest.mark.parametrize(("text", "first_bytes", "place"), EXAMPLE["vectors"])
def test_vectors(text, first_bytes, place):
    """A text's digest and its place between 0 and 1 are the recorded ones, to the last bit."""
    assert digest(text).hex()[:16] == first_bytes
    assert fraction(digest(text)) == share_of(text) == place


@pytest.mark.parametrize("code", EXAMPLE["hashes"])
def test_worked_hashes(code):
    """The hashes behind the worked example are the recorded ones."""
    for suffix, place in EXAMPLE["hashes"][code].items():
        assert fraction(digest(code + suffix)) == place


def test_equal_is_included_and_the_double_below_is_not():
    """A share equal to the hash takes the visitor in, the next double below leaves him out."""
    assert digest("v100") <= limit(HASH)
    assert not digest("v100") <= limit(math.nextafter(HASH, 0.0))
    assert digest("v1") <= limit(0.23431626464747307)
    assert not digest("v1") <= limit(math.nextafter(0.23431626464747307, 0.0))


def test_lone_surrogates_cannot_be_hashed():
    """A code that UTF-8 cannot encode is told, not guessed at."""
    with pytest.raises(UnicodeEncodeError):
        digest("a\ud800")


def as_digest(number):
    """A 256-bit number as a digest, kept in range."""
    return min(max(number, 0), 2**256 - 1).to_bytes(32, "big")


# Shares as they are configured, any double in between, subnormal ones, and the edges of the range.
shares = st.one_of(
    st.floats(0.0, 1.0),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-3, 3),
    st.integers(0, 1000).map(lambda n: n / 1000),
    st.floats(0.0, 1e-70),
)


@given(shares, st.integers(-3, 3), st.integers(0, 2**256 - 1))
@example(1.0, 0, 2**256 - 1)
@example(math.nextafter(1.0, 0.0), 0, 2**256 - 1)
@example(0.0, 1, 0)
@example(5e-324, 0, 1)
@example(2.0**-256, 1, 1)
@example(2.0**-204, 0, 1)
@example(math.nan, 0, 0)
@example(10**400, 0, 0)
@example(-(10**400), 0, 0)
def test_limit_is_the_comparison_of_doubles(share, step, anywhere):
    """Comparing a digest with the limit is comparing its double with the share, beside the limit as anywhere."""
    bound = limit(share)
    beside = anywhere if bound in (ALWAYS, NEVER) else int.from_bytes(bound, "big") + step
    for value in (as_digest(beside), as_digest(anywhere), as_digest(0), as_digest(2**256 - 1)):
        assert (value <= bound) is (fraction(value) <= share)


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_limit_is_tight(share):
    """The limit itself passes and the next digest does not."""
    bound = int.from_bytes(limit(share), "big")
    assert fraction(as_digest(bound)) <= share
    assert bound == 2**256 - 1 or not fraction((bound + 1).to_bytes(32, "big")) <= share

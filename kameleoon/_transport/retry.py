"""When to try again and what an answer to a tracking request means. Pure: clock and randomness are arguments."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

MAX_RETRY_AFTER_S = 3600.0
"""Longest wait that a ``Retry-After`` can ask of us; a mistaken header must not silence a client for days."""


class Verdict(Enum):
    """What a status says about a batch of tracking lines."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    SPLIT = "split"
    UNAUTHORISED = "unauthorised"
    REFUSED = "refused"


def judge(status: int) -> Verdict:
    """
    Decide what becomes of a batch that was answered with *status*.

    Returns:
        ``ACCEPTED`` for 2xx, 304 and 403 (a bot: taken, but not counted), ``RETRY`` for 408, 425, 429 and 5xx (the same
        bytes later), ``SPLIT`` for 400, 404 and 413 (some line of it, or its size, is refused), ``UNAUTHORISED`` for 401
        (again with another token), ``REFUSED`` for all else.

    Source:
        docs/service/network.md 4.2; faults D1.
    """
    if 200 <= status <= 299 or status in {304, 403}:
        return Verdict.ACCEPTED
    if status in {408, 425, 429} or 500 <= status <= 599:
        return Verdict.RETRY
    if status in {400, 404, 413}:
        return Verdict.SPLIT
    if status == 401:
        return Verdict.UNAUTHORISED
    return Verdict.REFUSED


def next_delay(failures: int, *, first_s: float, ceiling_s: float) -> float:
    """
    Wait before the next attempt: doubles with each failure, never above *ceiling_s*. The caller adds jitter.

    Args:
        failures: Failures in a row so far, 1 or more.
        first_s: Wait after the first failure, in seconds, above 0.
        ceiling_s: Longest wait, in seconds, at least *first_s*.

    Returns:
        Seconds, in ``[first_s, ceiling_s]``.

    Raises:
        ValueError: An argument is out of its range.
    """
    if failures < 1:
        raise ValueError(f"failures must be 1 or more, not {failures}")
    if not 0 < first_s <= ceiling_s:
        raise ValueError(f"waits must satisfy 0 < first_s <= ceiling_s, not {first_s} and {ceiling_s}")
    doublings = min(failures - 1, 1000)  # A float holds 2.0 ** 1000; more would overflow.
    return float(min(ceiling_s, first_s * 2.0**doublings))


def jittered(delay_s: float, source: random.Random) -> float:
    """
    Draw a wait from the upper half of *delay_s*, so that many workers do not come back in step (faults D3).

    Args:
        delay_s: Seconds, 0 or more.
        source: ``random.SystemRandom()``, or another generator of one's own: an application that seeds the shared one in
            every worker would bring them into step again.

    Returns:
        Seconds, in ``[delay_s / 2, delay_s]``.
    """
    return min(delay_s, delay_s * (0.5 + 0.5 * source.random()))


def retry_wait(
    failures: int, *, first_s: float, ceiling_s: float, retry_after_s: float | None, source: random.Random
) -> float:
    """
    Choose the wait before the next attempt, jitter included.

    Args:
        failures: As for `next_delay`.
        first_s: As for `next_delay`.
        ceiling_s: As for `next_delay`.
        retry_after_s: What the service asked for, from `parse_retry_after`, or ``None``.
        source: As for `jittered`.

    Returns:
        Seconds: at least *retry_after_s* and at most a quarter above it if the service asked for a wait, which also holds
        when our own wait would be longer; else as `jittered` of `next_delay`.

    Raises:
        ValueError: As `next_delay`.
    """
    own_s = next_delay(failures, first_s=first_s, ceiling_s=ceiling_s)
    if retry_after_s is None:
        return jittered(own_s, source)
    # A wait of 0 would let a service that always answers so be asked without end.
    asked_s = max(retry_after_s, first_s)
    return asked_s + 0.25 * asked_s * source.random()


def parse_retry_after(value: str | None, now_s: float) -> float | None:
    """
    Read a ``Retry-After`` header.

    Args:
        value: The header's text, seconds or an HTTP date, or ``None`` when there was none.
        now_s: Wall-clock time in seconds since 1970.

    Returns:
        Seconds to wait from *now_s*, in ``[0, MAX_RETRY_AFTER_S]``, or ``None`` when the text cannot be read.

    Source:
        RFC 9110, 10.2.3.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        # Ten digits are 300 years; more would only cost time to convert.
        return MAX_RETRY_AFTER_S if len(text) > 10 else min(float(text), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is in GMT, as all HTTP dates are.
        at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, at_s - now_s), MAX_RETRY_AFTER_S)

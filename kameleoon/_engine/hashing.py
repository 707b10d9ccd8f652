"""
Where a visitor falls: SHA-256 digests compared with thresholds that were worked out beforehand.

Source:
    The service takes the digest as a 256-bit number, rounds it to a double and divides by 2**256, then compares with ``<=``.
    `limit` finds the largest digest that this rounding still lets pass, so that no double need be made for a visitor.
    Vectors in ``tests/vectors/bucketing_edges.json``.
"""

from __future__ import annotations

import math
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def _own_sha256() -> Callable[[bytes], Any]:
    """The interpreter's own SHA-256: for a text of one block it takes two thirds of the time of OpenSSL's."""
    for module in ("_sha2", "_sha256"):  # its name from Python 3.12 on, and before
        try:
            own: Callable[[bytes], Any] = import_module(module).sha256
        except ImportError:  # left out when the interpreter was built
            continue
        return own
    return sha256


short_sha256 = _own_sha256()
"""SHA-256 for texts below `SHORT`; the same digests as any other."""

SHORT = 56
"""Texts below this length, in bytes, are one block of SHA-256."""

ALWAYS = b"\xff" * 33
"""A limit that every digest passes."""

NEVER = b""
"""A limit that no digest passes."""

_RANGE = 1 << 256


def digest(text: str) -> bytes:
    """SHA-256 of the UTF-8 of *text*, 32 bytes. A lone surrogate raises `UnicodeEncodeError`."""
    data = text.encode()
    return (short_sha256 if len(data) < SHORT else sha256)(data).digest()


def fraction(value: bytes) -> float:
    """The place of a digest between 0 and 1, both included, as the service computes it."""
    return int.from_bytes(value, "big") / _RANGE


def limit(share: float) -> bytes:
    """
    The largest digest whose fraction is at most *share*, to be compared with ``digest <= limit``.

    Args:
        share: Any number, also negative, above 1, infinite or not a number.

    Returns:
        32 bytes, or `ALWAYS` or `NEVER`.
    """
    if isinstance(share, int):
        share = min(max(share, -1), 1)  # an integer may be beyond any double
    if share >= 1.0:
        return ALWAYS
    if not share >= 0.0:
        return NEVER
    exact = math.ldexp(share, 256)
    following = math.nextafter(exact, math.inf)
    # Digests up to the middle between this double and the next round to this one, the middle itself when ties go to it.
    middle = (int(exact) + int(following)) // 2 if exact >= 1 << 53 else int(exact)
    largest = middle if middle / _RANGE <= share else middle - 1
    return largest.to_bytes(32, "big")

"""Percent-encoding of values, the same for URLs and for tracking lines."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

# Beside letters, digits and "-_.~", which `quote` always leaves alone.
_SAFE = "!*'()"


def encode(value: str) -> str:
    """
    Encode *value* as JavaScript's ``encodeURIComponent`` does.

    Returns:
        UTF-8 with upper-case hex; letters, digits and ``-_.~!*'()`` stay.

    Raises:
        UnicodeEncodeError: *value* holds half of a surrogate pair, which has no UTF-8 form.

    Source:
        docs/service/network.md 4.2.
    """
    return quote(value, safe=_SAFE)


def query(pairs: Iterable[tuple[str, str | None]]) -> str:
    """
    Join *pairs* to a query string without ``?``, in their order.

    Args:
        pairs: ``(name, value)``. Names go out as they are. A pair with an empty value or ``None`` is left out.

    Raises:
        UnicodeEncodeError: As `encode`.

    Source:
        docs/service/network.md 4.2, "empty query values".
    """
    return "&".join(f"{name}={encode(value)}" for name, value in pairs if value)

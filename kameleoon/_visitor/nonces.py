"""What the service tells repeated events by."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import TypeAlias

ItemKey: TypeAlias = tuple[int | None, Hashable]
"""
One item on its way out: ``(kind, key)`` as `VisitorRecord.unsent` has them, but a conversion by its place among those that go out
together, and an assignment as ``(None, experiment id)``.
"""

Nonces: TypeAlias = Mapping[ItemKey, str]
"""``{item: the nonce its line is to have}``; every other line gets a new one."""

NO_NONCES: Nonces = MappingProxyType({})


def make_nonce() -> str:
    """16 upper-case hexadecimal digits from the system's source, which no seed of the application touches."""
    return os.urandom(8).hex().upper()

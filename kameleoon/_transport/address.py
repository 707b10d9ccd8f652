"""Whether a text is an address that requests can go to."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_BLANK = re.compile(r"[\x00-\x20\x7f]")


def is_address(value: object) -> bool:
    """Whether *value* is an ``http`` or ``https`` address with a host, without blanks, and with a port that is one if it has any."""
    if not isinstance(value, str) or _BLANK.search(value):
        return False
    try:
        parts = urlsplit(value)
        value.encode()
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False

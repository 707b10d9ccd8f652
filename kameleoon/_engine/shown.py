"""Values of a configuration or a visitor as they are shown in problems and explanations: short, whatever they are."""

from __future__ import annotations

from reprlib import Repr
from typing import Any

_LENGTH = 100
_repr = Repr()
_repr.maxlevel = 3
_repr.maxstring = _repr.maxother = _repr.maxlong = _LENGTH
_repr.maxlist = _repr.maxdict = _repr.maxtuple = _repr.maxset = _repr.maxfrozenset = 10


def shown(value: Any) -> str:
    """A short text for *value*; never raises, however large or deep it is."""
    try:
        return _repr.repr(value)
    except Exception:
        return f"a {type(value).__name__}"

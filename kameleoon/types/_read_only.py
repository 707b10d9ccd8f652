"""A dictionary that cannot change: results are shared between callers, so that none may alter another's."""

from collections.abc import Mapping
from typing import NoReturn, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ReadOnlyDict(dict[Key, Value]):
    """A ``dict``, for ``isinstance`` and ``json`` as for the eye, whose every change raises ``TypeError``."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("this dict is read-only: it is shared between callers; copy it with dict(...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type["ReadOnlyDict[Key, Value]"], tuple[dict[Key, Value]]]:
        # The usual way fills an empty dict, which is refused here.
        return type(self), (dict(self),)


def read_only(mapping: Mapping[Key, Value]) -> ReadOnlyDict[Key, Value]:
    """Give *mapping* itself when it is read-only already, else a read-only copy."""
    return mapping if isinstance(mapping, ReadOnlyDict) else ReadOnlyDict(mapping)

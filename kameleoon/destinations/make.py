"""The ``destinations`` setting to feeds: objects as they are, entries of a settings file checked option by option."""

from __future__ import annotations

import importlib
import os
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from kameleoon._settings.values import InFile
from kameleoon._transport.address import is_address
from kameleoon.destinations.commanders_act import MOST_REQUESTS_PER_S, CommandersAct
from kameleoon.destinations.feed import ConsentRule, Feed
from kameleoon.destinations.function import FunctionDestination
from kameleoon.destinations.json_lines import JsonLines
from kameleoon.destinations.webhook import Webhook
from kameleoon.exceptions import ConfigException

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class _Option:
    """
    One option of an entry.

    Attributes:
        allowed: For people.
        is_allowed: Whether a value is.
        is_needed: Whether there must be one.
        is_secret: Whether it gets into no message.
        read: What the destination takes for it.
    """

    allowed: str
    is_allowed: Callable[[Any], bool]
    is_needed: bool = False
    is_secret: bool = False
    read: Callable[[Any], Any] = lambda value: value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_rate(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= MOST_REQUESTS_PER_S


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _one_of(*texts: str) -> _Option:
    return _Option(" or ".join(texts), lambda value: value in texts)


def _is_place(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", value) is not None


def _load(place: str) -> object:
    """What ``module:name`` names; raises `ConfigException` without a place."""
    module, _, name = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module may raise anything while it is imported
        raise ConfigException(f"it cannot be imported ({type(error).__name__})") from error
    if not callable(found):
        raise ConfigException("it is no function")
    return found


_TEXT = _Option("a text", _is_text)
_COUNT = _Option("a whole number above 0", _is_count)
_FLAG = _Option("true or false", lambda value: isinstance(value, bool))
_URL = _Option("an http or https address", is_address)

_COMMON = {
    "name": _TEXT,
    "consent": _one_of(*ConsentRule),
    "most_events": _COUNT,
    "most_bytes": _COUNT,
}
_TYPES: dict[str, tuple[Callable[..., Any], dict[str, _Option]]] = {
    "commanders_act": (
        CommandersAct,
        {
            "site_id": _Option(
                "a text or a whole number", lambda value: _is_text(value) or _is_count(value), is_needed=True
            ),
            "source_key": _Option("a text", _is_text, is_needed=True, is_secret=True),
            "base_url": _URL,
            "auth": _one_of("query", "header"),
            "mode": _one_of("single", "batch"),
            "exposure_name": _TEXT,
            "conversion_name": _TEXT,
            "currency": _Option(
                "three capital letters",
                lambda value: isinstance(value, str) and re.fullmatch("[A-Z]{3}", value) is not None,
            ),
            "kameleoon_goals": _Option("a list of texts", _is_texts),
            "is_strict": _FLAG,
            "test_code": _TEXT,
            "requests_per_s": _Option(f"a number above 0 and up to {MOST_REQUESTS_PER_S:g}", _is_rate),
        },
    ),
    "webhook": (
        Webhook,
        {
            "url": _Option(_URL.allowed, _URL.is_allowed, is_needed=True, is_secret=True),  # its path often is one
            "secret": _Option("a text", _is_text, is_needed=True, is_secret=True),
        },
    ),
    "json_lines": (
        JsonLines,
        {"path": _Option("the path of a file", _is_text, is_needed=True), "max_bytes": _COUNT, "keep": _COUNT},
    ),
    "function": (
        FunctionDestination,
        {"function": _Option("module:name of a function", _is_place, is_needed=True, read=_load)},
    ),
}


def make_feeds(given: Sequence[object]) -> list[Feed]:
    """
    Turn the ``destinations`` setting into feeds.

    Args:
        given: Destinations, feeds, and entries of a settings file.

    Raises:
        ConfigException: One of them is none, or cannot be used; names file, option, value and what is allowed. Or two have one name.
    """
    feeds: list[Feed] = []
    for place, one in enumerate(given):
        if isinstance(one, InFile):
            feed = _from_file(one)
        elif isinstance(one, Feed):
            feed = one
        else:
            try:
                feed = Feed(one)  # type: ignore[arg-type]  # it is checked there
            except ConfigException as error:
                raise ConfigException(f"destinations[{place}]: {error.args[0]}") from None
        if any(other.name == feed.name for other in feeds):
            raise ConfigException(
                f"destinations[{place}]: another one has the name {feed.name!r} already; give it one with name"
            )
        feeds.append(feed)
    return feeds


def _from_file(entry: InFile) -> Feed:
    options = entry.value
    if not isinstance(options, Mapping) or "type" not in options:
        shown = "without type" if isinstance(options, Mapping) else reprlib.repr(options)
        _refuse(entry, shown, f"type: {', '.join(_TYPES)}")
    if not isinstance(options["type"], str) or options["type"] not in _TYPES:
        _refuse(entry, reprlib.repr(options["type"]), ", ".join(_TYPES), ".type")
    make, own = _TYPES[options["type"]]
    allowed = {**own, **_COMMON}
    values: dict[str, Any] = {}
    for key, value in options.items():
        if key == "type":
            continue
        if key not in allowed:
            raise ConfigException(
                f"{entry.place}: {key!r} is no option of {options['type']}; allowed are {', '.join(allowed)}"
            )
        values[key] = _read(entry, key, value, allowed[key])
    for key, option in allowed.items():
        if option.is_needed and key not in values:
            raise ConfigException(f"{entry.place}.{key} is missing, allowed is {option.allowed}")
    for_feed = {key: values.pop(key) for key in _COMMON if key in values}
    try:
        return Feed(make(**values), **for_feed)
    except ConfigException as error:
        raise ConfigException(f"{entry.place}: {error.args[0]}") from None


def _read(entry: InFile, key: str, value: object, option: _Option) -> object:
    where = f".{key}"
    if isinstance(value, str) and (variable := _VARIABLE.fullmatch(value)):
        where = f".{key} (environment variable {variable[1]})"
        value = os.environ.get(variable[1])
        if value is None:
            raise ConfigException(f"{entry.place}{where} is not set, allowed is {option.allowed}")
    if not option.is_allowed(value):
        kind = f"of type {type(value).__name__}" if not isinstance(value, str) else "no such text"
        _refuse(entry, kind if option.is_secret else reprlib.repr(value), option.allowed, where)
    try:
        return option.read(value)
    except ConfigException as error:
        raise ConfigException(f"{entry.place}{where} is {value!r}: {error.args[0]}") from error


def _refuse(entry: InFile, shown: str, allowed: str, where: str = "") -> NoReturn:
    raise ConfigException(f"{entry.place}{where} is {shown}, allowed is {allowed}")

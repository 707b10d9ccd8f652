"""
Each setting: its default, and how a value from an argument, a variable or a file is checked and kept.

Source:
    docs/service/network.md 2.
"""

import logging
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from kameleoon._settings.values import InFile, SameSite
from kameleoon.exceptions import ConfigCredentialsInvalid, ConfigException
from kameleoon.logging.kameleoon_logger import KameleoonLogger

CREDENTIALS: Final = {"client_id": "Client ID", "client_secret": "Client secret"}

# Waits of the operating system overflow far above this; nobody means more.
_CENTURY_S: Final = 3_153_600_000


class RefusedError(Exception):
    """A value is not allowed; the argument says what is."""


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One setting.

    Attributes:
        default: Used when nothing is given.
        read: Gives the value to keep, or raises `RefusedError`. It may warn and correct.
        read_yaml: The same for a value in a file, where the vendor's SDK is stricter about types.
        parse: Gives what *read* takes for the text of an environment variable; ``None`` when text will not do.
    """

    default: Any
    read: Callable[[str, Any], Any]
    read_yaml: Callable[[str, Any], Any] | None = None
    parse: Callable[[str], Any] | None = str


def _refuse(allowed: str) -> NoReturn:
    raise RefusedError(allowed)


def _duration(
    *, default: float, unit: str, per_second: float, zero: bool = False, whole_in_file: bool = False
) -> Setting:
    """Setting for a time. One that is too short becomes the default, one beyond a century a century, with a warning."""
    least = "0 or more" if zero else "above 0"
    allowed = f"a number of {unit}s, {least}"
    longest = _CENTURY_S * per_second

    def read(name: str, value: object) -> float:
        number = _number(value, allowed)
        if number < 0 or (number == 0 and not zero):
            _warn_out_of_range(name, value, f"{least} {unit}s", default)
            return default
        if number > longest:
            _warn_out_of_range(name, value, f"{least} and at most {longest:.0f} {unit}s", longest)
            return longest
        return number

    def read_yaml(name: str, value: object) -> float:
        if whole_in_file and not isinstance(value, int):
            _refuse(f"a whole number of {unit}s, {least}")
        return read(name, value)

    return Setting(default, read, read_yaml, _parse_number)


def _read_tracking_interval(name: str, value: object) -> float:
    number = _number(value, "a number of milliseconds from 1000 to 5000")
    kept = min(max(number, 1000), 5000)
    if kept != number:
        _warn_out_of_range(name, value, "from 1000 to 5000 milliseconds", kept)
    return kept


def _read_tracking_interval_yaml(name: str, value: object) -> float:
    if not isinstance(value, int):
        _refuse("a whole number of milliseconds from 1000 to 5000")
    return _read_tracking_interval(name, value)


def _read_max_visitors(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        _refuse("a whole number of visitors, above 0")
    if value < 1:
        _warn_out_of_range(name, value, "above 0", 1_000_000)
        return 1_000_000
    return int(value)


def _number(value: object, allowed: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, Real)):
        _refuse(allowed)
    try:
        number = value if isinstance(value, int) else float(value)
        finite = math.isfinite(number)
    except OverflowError:  # an integer beyond a float's range
        finite = False
    if not finite:
        _refuse(allowed)
    return number


def _warn_out_of_range(name: str, value: object, allowed: str, used: float) -> None:
    KameleoonLogger.warning(f"Setting {name} is {value!r}, allowed is {allowed}; {used:g} is used")


def _parse_number(text: str) -> float:
    return int(text) if re.fullmatch(r"\s*[+-]?[0-9]{1,300}\s*", text) else float(text)


def _parse_flag(text: str) -> bool:
    return {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}[
        text.strip().lower()
    ]


def _read_text(_: str, value: object) -> str:
    return value if isinstance(value, str) else _refuse("text")


def _read_credential(_: str, value: object) -> object:
    return value if isinstance(value, str) else _refuse("text; put a number in quotes")


def _read_flag(_: str, value: object) -> bool:
    return value if isinstance(value, bool) else _refuse("true or false")


def _read_object(_: str, value: object) -> object:
    return value


def _refuse_in_file(_: str, __: object) -> NoReturn:
    _refuse("nothing in a file: it is given as an argument")


def _read_source_yaml(name: str, value: object) -> object:
    if isinstance(value, dict):
        return InFile(name, value)
    return value if isinstance(value, str) else _refuse("the path of a file, or type and options")


def _read_destinations(_: str, value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, (list, tuple)) else _refuse("a list of destinations")


def _read_destinations_yaml(_: str, value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        _refuse("a list, each with type and options")
    return tuple(InFile(f"destinations[{place}]", one) for place, one in enumerate(value))


def _read_logger(_: str, value: object) -> logging.Logger:
    return value if isinstance(value, logging.Logger) else _refuse("a logging.Logger, given as an argument")


def _read_path(_: str, value: object) -> Path | None:
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes) or "\0" in os.fspath(value):
        _refuse("the path of a directory")
    return Path(value) if os.fspath(value) else None


def _read_samesite(_: str, value: object) -> SameSite:
    for choice in ("Strict", "Lax", "None"):
        if isinstance(value, str) and value.lower() == choice.lower():
            return choice
    _refuse("Strict, Lax or None")


def _read_base_url(_: str, value: object) -> str | None:
    allowed = "an http or https URL without user, query and fragment, such as http://localhost:8080"
    if value == "":
        return None
    if not isinstance(value, str) or re.search(r"[\x00-\x20\x7f]", value):
        _refuse(allowed)
    try:
        url = urlsplit(value)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable or "@" in url.netloc or "?" in value or "#" in value:
        _refuse(allowed)
    return value.rstrip("/")


_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"localhost|\.?{_LABEL}(?:\.{_LABEL}){{1,126}}", re.ASCII)


def _read_top_level_domain(name: str, value: object) -> str:
    domain = _without_scheme(name, value)
    if not domain:
        KameleoonLogger.warning("Setting top_level_domain is empty: the visitor cookie will have no Domain")
    elif not _DOMAIN.fullmatch(domain):
        KameleoonLogger.error(f"Setting top_level_domain is {domain!r}, which is no domain; it is used all the same")
    return domain


def _read_network_domain(name: str, value: object) -> str | None:
    given = _without_scheme(name, value)
    domain = given.strip(".")
    if _DOMAIN.fullmatch(domain):
        return domain
    if given:
        KameleoonLogger.error(f"Setting network_domain is {given!r}, which is no domain; it is not used")
    return None


def _without_scheme(name: str, value: object) -> str:
    """
    Lower a domain's case and take a leading ``http://`` or ``https://`` off, once.

    Source:
        docs/service/network.md 2.3.
    """
    # What would end the attribute or the header in ``Set-Cookie`` is refused, though it be no worse a domain than others.
    if not isinstance(value, str) or re.search(r"[\x00-\x1f\x7f;]", value):
        _refuse("a domain such as example.com")
    lowered = value.lower()
    domain = re.sub(r"https?://", "", lowered, count=1) if re.match(r"https?://", lowered) else lowered
    if domain != lowered:
        KameleoonLogger.warning(f"Setting {name} is {value!r}; {domain!r} is used, without its scheme")
    return domain


_MINUTES: Final = 1 / 60
_MILLISECONDS: Final = 1000

SETTINGS: Final[dict[str, Setting]] = {
    "client_id": Setting("", _read_credential),
    "client_secret": Setting("", _read_credential),
    "refresh_interval_minute": _duration(default=60, unit="minute", per_second=_MINUTES),
    "session_duration_minute": _duration(default=30, unit="minute", per_second=_MINUTES),
    "default_timeout_millisecond": _duration(
        default=10_000, unit="millisecond", per_second=_MILLISECONDS, whole_in_file=True
    ),
    "environment": Setting(None, _read_text),
    "top_level_domain": Setting("", _read_top_level_domain),
    "logger": Setting(None, _read_logger, parse=None),
    "multi_threading": Setting(None, _read_flag, parse=_parse_flag),
    "tracking_interval_millisecond": Setting(
        1000, _read_tracking_interval, _read_tracking_interval_yaml, _parse_number
    ),
    "network_domain": Setting(None, _read_network_domain),
    "data_dir": Setting(None, _read_path),
    "max_visitors": Setting(1_000_000, _read_max_visitors, parse=_parse_number),
    "visitor_store": Setting(None, _read_object, _refuse_in_file, parse=None),
    "exit_timeout_millisecond": _duration(default=2000, unit="millisecond", per_second=_MILLISECONDS, zero=True),
    "source": Setting(None, _read_object, _read_source_yaml),
    "base_url": Setting(None, _read_base_url),
    "regex_timeout_millisecond": _duration(default=50, unit="millisecond", per_second=_MILLISECONDS),
    "cookie_secure": Setting(False, _read_flag, parse=_parse_flag),
    "cookie_samesite": Setting(None, _read_samesite),
    "cookie_removed_on_refusal": Setting(False, _read_flag, parse=_parse_flag),
    "destinations": Setting((), _read_destinations, _read_destinations_yaml, parse=None),
}


def read_or_raise(name: str, place: str, read: Callable[[str, Any], Any], value: object) -> object:
    try:
        return read(name, value)
    except RefusedError as refusal:
        kind = ConfigCredentialsInvalid if name in CREDENTIALS else ConfigException
        raise kind(f"{place} is {displayed(name, value)}, allowed is {refusal}") from None


def read_variable(name: str, variable: str, setting: Setting) -> object:
    text = os.environ[variable]
    assert setting.parse is not None
    try:
        value = setting.parse(text)
    except (ValueError, KeyError):
        value = text  # refused next, with what is allowed
    return read_or_raise(name, f"environment variable {variable}", setting.read, value)


def displayed(name: str, value: object) -> str:
    """
    Show a value, cut when long.

    Of a credential only stars and the last four characters are shown, and its type if wrong; of a URL nothing before an ``@``; of
    destinations their types.
    """
    if name == "base_url" and isinstance(value, str) and "@" in value:
        value = f"****@{value.rpartition('@')[2]}"
    if name == "source" and isinstance(value, dict):
        return "a dictionary"  # large, or with secrets in it
    if name == "destinations" and isinstance(value, (list, tuple)):
        return f"[{', '.join(type(one).__name__ for one in value)}]"  # they may hold secrets
    if name not in CREDENTIALS:
        shown = repr(value)
        return shown if len(shown) <= 100 else f"{shown[:97]}..."
    if not isinstance(value, str):
        return f"of type {type(value).__name__}"
    return repr(f"****{value[-4:]}" if len(value) >= 5 else "*" * len(value))

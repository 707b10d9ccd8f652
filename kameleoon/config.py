"""
Settings: as given by arguments, environment variables or a file, and frozen into what the client works with.

`KameleoonClientConfig` shows settings under the names and units users know and remembers what was wrong with a file;
`KameleoonClientConfig.freeze` refuses that and gives `Settings`, in seconds, which nothing changes any more.

Source:
    docs/service/network.md 2.
"""

import logging
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias, cast
from urllib.parse import urlsplit

from kameleoon.exceptions import ConfigCredentialsInvalid, ConfigException, ConfigFileNotFound
from kameleoon.logging.kameleoon_logger import KameleoonLogger

__all__ = ["DEFAULT_CONFIG_PATH", "KameleoonClientConfig", "Settings"]

DEFAULT_CONFIG_PATH: Final = "/etc/kameleoon/client-python.yaml"

_VARIABLE_PREFIX: Final = "KAMELEOON_"
_CREDENTIALS: Final = {"client_id": "Client ID", "client_secret": "Client secret"}
_PLACEHOLDERS: Final = {"client_id": "1", "client_secret": "2"}

# Waits of the operating system overflow far above this; nobody means more.
_CENTURY_S: Final = 3_153_600_000

SameSite: TypeAlias = Literal["Strict", "Lax", "None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What a client works with. Times are in seconds.

    Attributes:
        client_id: Identifier for the service; empty without network.
        client_secret: Secret for the service; empty without network.
        refresh_interval_s: Between two fetches of the configuration.
        session_duration_s: Of inactivity, after which a visitor is forgotten.
        timeout_s: For one call to the service.
        tracking_interval_s: Between two sendings of tracking data, 1 to 5.
        exit_timeout_s: For sending what is left when the process ends.
        regex_timeout_s: For matching one pattern.
        environment: Name of the environment, ``None`` for the default one.
        top_level_domain: ``Domain`` of the visitor cookie, empty for none.
        network_domain: Own domain in place of the service's, ``None`` for none.
        base_url: One base URL for all services, without a slash at its end; ``None`` for the service's own hosts.
        multi_threading: ``False`` when no thread may be started.
        data_dir: Where the last configuration and unsent events are kept, ``None`` for nowhere.
        max_visitors: How many visitors are remembered at once.
        visitor_store: Where they are remembered, ``None`` for memory.
        source: Where configuration comes from, ``None`` for the service.
        cookie_secure: Whether the visitor cookie has ``Secure``.
        cookie_samesite: The visitor cookie's ``SameSite``, ``None`` for none.
        cookie_removed_on_refusal: Whether refused consent deletes the visitor cookie.
        logger: The standard logger to use in place of ``Kameleoon SDK``, ``None`` for that one.
    """

    client_id: str
    client_secret: str = field(repr=False)
    refresh_interval_s: float
    session_duration_s: float
    timeout_s: float
    tracking_interval_s: float
    exit_timeout_s: float
    regex_timeout_s: float
    environment: str | None
    top_level_domain: str
    network_domain: str | None
    base_url: str | None
    multi_threading: bool | None
    data_dir: Path | None
    max_visitors: int
    visitor_store: object | None
    source: object | None
    cookie_secure: bool
    cookie_samesite: SameSite | None
    cookie_removed_on_refusal: bool
    logger: logging.Logger | None


class _RefusedError(Exception):
    """A value is not allowed; the argument says what is."""


@dataclass(frozen=True, slots=True)
class _Setting:
    """
    One setting.

    Attributes:
        default: Used when nothing is given.
        read: Gives the value to keep, or raises `_RefusedError`. It may warn and correct.
        read_yaml: The same for a value in a file, where the vendor's SDK is stricter about types.
        parse: Gives what *read* takes for the text of an environment variable; ``None`` when text will not do.
    """

    default: Any
    read: Callable[[str, Any], Any]
    read_yaml: Callable[[str, Any], Any] | None = None
    parse: Callable[[str], Any] | None = str


def _refuse(allowed: str) -> NoReturn:
    raise _RefusedError(allowed)


def _duration(
    *, default: float, unit: str, per_second: float, zero: bool = False, whole_in_file: bool = False
) -> _Setting:
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

    return _Setting(default, read, read_yaml, _parse_number)


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

_SETTINGS: Final[dict[str, _Setting]] = {
    "client_id": _Setting("", _read_credential),
    "client_secret": _Setting("", _read_credential),
    "refresh_interval_minute": _duration(default=60, unit="minute", per_second=_MINUTES),
    "session_duration_minute": _duration(default=30, unit="minute", per_second=_MINUTES),
    "default_timeout_millisecond": _duration(
        default=10_000, unit="millisecond", per_second=_MILLISECONDS, whole_in_file=True
    ),
    "environment": _Setting(None, _read_text),
    "top_level_domain": _Setting("", _read_top_level_domain),
    "logger": _Setting(None, _read_logger, parse=None),
    "multi_threading": _Setting(None, _read_flag, parse=_parse_flag),
    "tracking_interval_millisecond": _Setting(
        1000, _read_tracking_interval, _read_tracking_interval_yaml, _parse_number
    ),
    "network_domain": _Setting(None, _read_network_domain),
    "data_dir": _Setting(None, _read_path),
    "max_visitors": _Setting(1_000_000, _read_max_visitors, parse=_parse_number),
    "visitor_store": _Setting(None, _read_object, _refuse_in_file, parse=None),
    "exit_timeout_millisecond": _duration(default=2000, unit="millisecond", per_second=_MILLISECONDS, zero=True),
    "source": _Setting(None, _read_object, _read_text),
    "base_url": _Setting(None, _read_base_url),
    "regex_timeout_millisecond": _duration(default=50, unit="millisecond", per_second=_MILLISECONDS),
    "cookie_secure": _Setting(False, _read_flag, parse=_parse_flag),
    "cookie_samesite": _Setting(None, _read_samesite),
    "cookie_removed_on_refusal": _Setting(False, _read_flag, parse=_parse_flag),
}


class KameleoonClientConfig:
    """
    Settings of a client, under the names users know.

    An argument counts before the environment variable ``KAMELEOON_<SETTING>``, that before the default. ``None`` and
    an empty variable stand for nothing given. A time out of its range is replaced with a logged warning.

    Args:
        client_id: Identifier from the service. Needed, unless *source* is given.
        client_secret: Secret from the service. Needed, unless *source* is given.
        refresh_interval_minute: Between two fetches of the configuration; above 0, 60 by default.
        session_duration_minute: Of inactivity, after which a visitor is forgotten; above 0, 30 by default.
        default_timeout_millisecond: For one call to the service; above 0, 10000 by default.
        environment: Name of the environment; the default one without it.
        top_level_domain: Domain of the visitor cookie, such as ``example.com``; the cookie has none without it.
        logger: Deprecated; use ``KameleoonLogger.set_logger``.
        multi_threading: ``False`` when the SDK must not start a thread.
        tracking_interval_millisecond: Between two sendings of tracking data; 1000 (default) to 5000.
        network_domain: Own domain in place of the service's, such as ``kameleoon.example.com``.
        data_dir: Directory for the last configuration and unsent events; nothing is kept on disk without it.
        max_visitors: How many visitors are remembered at once; 1,000,000 by default.
        visitor_store: A ``VisitorStore``; memory without it.
        exit_timeout_millisecond: For sending what is left when the process ends; 2000 by default.
        source: Where configuration comes from, in place of the service; a path when a file or variable names it.
        base_url: One base URL for all services, for the local server or a relay; ``http`` is allowed.
        regex_timeout_millisecond: For matching one pattern; above 0, 50 by default.
        cookie_secure: Whether the visitor cookie has ``Secure``; off by default.
        cookie_samesite: The visitor cookie's ``SameSite``: ``Strict``, ``Lax`` or ``None``, this as a string.
        cookie_removed_on_refusal: Whether refused consent deletes the visitor cookie; off by default.

    Raises:
        ConfigCredentialsInvalid: Client id or secret is missing, empty or no string.
        ConfigException: A value is of a wrong type, NaN, or no URL; names the setting or the variable.

    Source:
        docs/service/network.md 2.1, 2.3.
    """

    def __init__(
        self,
        client_id: str | None = None,
        client_secret: str | None = None,
        refresh_interval_minute: float | None = None,
        session_duration_minute: float | None = None,
        default_timeout_millisecond: float | None = None,
        environment: str | None = None,
        top_level_domain: str | None = None,
        logger: logging.Logger | None = None,
        multi_threading: bool | None = None,
        tracking_interval_millisecond: float | None = None,
        network_domain: str | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        max_visitors: int | None = None,
        visitor_store: object | None = None,
        exit_timeout_millisecond: float | None = None,
        source: object | None = None,
        base_url: str | None = None,
        regex_timeout_millisecond: float | None = None,
        cookie_secure: bool | None = None,
        cookie_samesite: SameSite | None = None,
        cookie_removed_on_refusal: bool | None = None,
    ) -> None:
        if logger is not None:
            warnings.warn(
                "the logger argument is deprecated, use KameleoonLogger.set_logger", DeprecationWarning, stacklevel=2
            )
        arguments = {
            "client_id": client_id,
            "client_secret": client_secret,
            "refresh_interval_minute": refresh_interval_minute,
            "session_duration_minute": session_duration_minute,
            "default_timeout_millisecond": default_timeout_millisecond,
            "environment": environment,
            "top_level_domain": top_level_domain,
            "logger": logger,
            "multi_threading": multi_threading,
            "tracking_interval_millisecond": tracking_interval_millisecond,
            "network_domain": network_domain,
            "data_dir": data_dir,
            "max_visitors": max_visitors,
            "visitor_store": visitor_store,
            "exit_timeout_millisecond": exit_timeout_millisecond,
            "source": source,
            "base_url": base_url,
            "regex_timeout_millisecond": regex_timeout_millisecond,
            "cookie_secure": cookie_secure,
            "cookie_samesite": cookie_samesite,
            "cookie_removed_on_refusal": cookie_removed_on_refusal,
        }
        self._take({name: value for name, value in arguments.items() if value is not None}, {}, None)

    @classmethod
    def read_from_yaml(cls, config_path: str | os.PathLike[str] = DEFAULT_CONFIG_PATH) -> "KameleoonClientConfig":
        """
        Read the settings of a YAML file; environment variables count before it.

        What is wrong with single settings (an unknown name, a wrong type, a missing credential) is shown as the
        vendor's SDK shows it, remembered, and refused by `freeze`.

        Raises:
            ConfigFileNotFound: There is no such file.
            ConfigException: The file cannot be read, is empty, no mapping, or not YAML; names the file. Or an
                environment variable is wrong; names the variable.
            ConfigCredentialsInvalid: A credential is there and empty.

        Source:
            docs/service/network.md 2.2; docs/architecture.md, "Settings that are wrong".
        """
        config = cls.__new__(cls)
        config._take({}, _load(Path(config_path)), Path(config_path))  # noqa: SLF001  # an object of this very class
        return config

    def _take(self, arguments: Mapping[str, Any], in_file: Mapping[Any, Any], path: Path | None) -> None:
        """Settle each setting from the first place that has it."""
        self._values: dict[str, Any] = {}
        self._problems: dict[str, str] = {}
        for name, setting in _SETTINGS.items():
            variable = _VARIABLE_PREFIX + name.upper()
            if name in arguments:
                self._values[name] = _read_or_raise(name, f"argument {name}", setting.read, arguments[name])
            elif setting.parse is not None and os.environ.get(variable):
                self._values[name] = _read_variable(name, variable, setting)
            elif name in in_file and (in_file[name] is not None or name in _CREDENTIALS):
                self._values[name] = self._read_in_file(name, setting, in_file[name], path)
            elif name == "top_level_domain":
                self._values[name] = setting.read(name, "")  # says that the cookie will have no Domain
            else:
                self._values[name] = setting.default
        for name in in_file:
            if name not in _SETTINGS:
                self._problems[str(name)] = f"{path}: {name!r} is no setting; allowed are {', '.join(_SETTINGS)}"
        self._check_credentials(in_file, path)

    def _read_in_file(self, name: str, setting: _Setting, value: object, path: Path | None) -> object:
        try:
            return (setting.read_yaml or setting.read)(name, value)
        except _RefusedError as refusal:
            self._problems[name] = f"{path}: {name} is {_displayed(name, value)}, allowed is {refusal}"
            if name in _CREDENTIALS:
                return value
            # The vendor's SDK takes a boolean for the number it is equal to.
            if isinstance(value, bool) and name in ("refresh_interval_minute", "session_duration_minute"):
                return setting.read(name, int(value))
            return setting.default

    def _check_credentials(self, in_file: Mapping[Any, Any], path: Path | None) -> None:
        for name, title in _CREDENTIALS.items():
            if self._values[name]:
                continue
            if self._values["source"] is not None:
                self._values[name] = ""
                self._problems.pop(name, None)
                continue
            if path is None:
                raise ConfigCredentialsInvalid(f"{title} is not specified")
            if name in in_file:
                raise ConfigCredentialsInvalid(f"{title} is not specified: {path}: {name} is empty")
            self._values[name] = _PLACEHOLDERS[name]
            self._problems[name] = f"{path}: {name} is missing, allowed is text"

    def _set(self, name: str, value: object) -> None:
        setting = _SETTINGS[name]
        if value is not None:
            self._values[name] = _read_or_raise(name, f"argument {name}", setting.read, value)
        else:
            self._values[name] = setting.default
        self._problems.pop(name, None)

    def freeze(self) -> Settings:
        """
        Give the settings to build a client with.

        Raises:
            ConfigCredentialsInvalid: A file's credentials are missing or no strings; lists all that is wrong.
            ConfigException: A file holds an unknown setting or a wrong type, or settings contradict each other;
                lists all that is wrong.
        """
        values = self._values
        problems = list(self._problems.values())
        if values["cookie_samesite"] == "None" and not values["cookie_secure"]:
            problems.append("cookie_samesite is None, allowed is that only with cookie_secure: browsers refuse it else")
        if problems:
            kind = ConfigCredentialsInvalid if _CREDENTIALS.keys() & self._problems.keys() else ConfigException
            raise kind("; ".join(problems))
        return Settings(
            client_id=values["client_id"],
            client_secret=values["client_secret"],
            refresh_interval_s=self.refresh_interval_second,
            session_duration_s=self.session_duration_second,
            timeout_s=self.default_timeout_second,
            tracking_interval_s=self.tracking_interval_second,
            exit_timeout_s=self.exit_timeout_second,
            regex_timeout_s=self.regex_timeout_second,
            environment=values["environment"] or None,
            top_level_domain=values["top_level_domain"],
            network_domain=values["network_domain"],
            base_url=values["base_url"],
            multi_threading=values["multi_threading"],
            data_dir=values["data_dir"],
            max_visitors=values["max_visitors"],
            visitor_store=values["visitor_store"],
            source=values["source"],
            cookie_secure=values["cookie_secure"],
            cookie_samesite=values["cookie_samesite"],
            cookie_removed_on_refusal=values["cookie_removed_on_refusal"],
            logger=values["logger"],
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_displayed(name, value)}" for name, value in self._values.items())
        return f"KameleoonClientConfig({shown})"

    @property
    def client_id(self) -> str:
        """Identifier for the service; ``1`` when a file lacks it, empty without network."""
        return cast("str", self._values["client_id"])

    @property
    def client_secret(self) -> str:
        """Secret for the service; ``2`` when a file lacks it, empty without network."""
        return cast("str", self._values["client_secret"])

    @property
    def refresh_interval_second(self) -> float:
        """Seconds between two fetches of the configuration."""
        return cast("float", self._values["refresh_interval_minute"]) * 60

    @property
    def session_duration_second(self) -> float:
        """Seconds of inactivity after which a visitor is forgotten."""
        return cast("float", self._values["session_duration_minute"]) * 60

    @property
    def default_timeout_second(self) -> float:
        """Seconds for one call to the service, with their fraction."""
        return cast("float", self._values["default_timeout_millisecond"]) / 1000

    @property
    def tracking_interval_second(self) -> float:
        """Seconds between two sendings of tracking data."""
        return cast("float", self._values["tracking_interval_millisecond"]) / 1000

    @property
    def exit_timeout_second(self) -> float:
        """Seconds for sending what is left when the process ends."""
        return cast("float", self._values["exit_timeout_millisecond"]) / 1000

    @property
    def regex_timeout_second(self) -> float:
        """Seconds for matching one pattern."""
        return cast("float", self._values["regex_timeout_millisecond"]) / 1000

    @property
    def environment(self) -> str | None:
        """Name of the environment, ``None`` for the default one."""
        return cast("str | None", self._values["environment"])

    @property
    def top_level_domain(self) -> str:
        """``Domain`` of the visitor cookie, empty for none."""
        return cast("str", self._values["top_level_domain"])

    @property
    def network_domain(self) -> str | None:
        """Own domain in place of the service's, ``None`` for none."""
        return cast("str | None", self._values["network_domain"])

    @property
    def logger(self) -> logging.Logger | None:
        """The standard logger given, ``None`` for ``Kameleoon SDK``."""
        return cast("logging.Logger | None", self._values["logger"])

    @property
    def multi_threading(self) -> bool | None:
        """``False`` when the SDK must not start a thread, ``None`` when nothing was said."""
        return cast("bool | None", self._values["multi_threading"])

    @property
    def data_dir(self) -> Path | None:
        """Directory for the last configuration and unsent events, ``None`` for none."""
        return cast("Path | None", self._values["data_dir"])

    @property
    def max_visitors(self) -> int:
        """How many visitors are remembered at once."""
        return cast("int", self._values["max_visitors"])

    @property
    def visitor_store(self) -> object | None:
        """Where visitors are remembered, ``None`` for memory."""
        return cast("object | None", self._values["visitor_store"])

    @property
    def source(self) -> object | None:
        """Where configuration comes from, ``None`` for the service; a path as text from a file or variable."""
        return cast("object | None", self._values["source"])

    @property
    def base_url(self) -> str | None:
        """One base URL for all services, without a slash at its end; ``None`` for the service's own hosts."""
        return cast("str | None", self._values["base_url"])

    @property
    def cookie_secure(self) -> bool:
        """Whether the visitor cookie has ``Secure``."""
        return cast("bool", self._values["cookie_secure"])

    @property
    def cookie_samesite(self) -> SameSite | None:
        """The visitor cookie's ``SameSite``, ``None`` for none."""
        return cast("SameSite | None", self._values["cookie_samesite"])

    @property
    def cookie_removed_on_refusal(self) -> bool:
        """Whether refused consent deletes the visitor cookie."""
        return cast("bool", self._values["cookie_removed_on_refusal"])

    # The setters follow the constructor's rules and raise what it raises; None goes back to the default.

    def set_refresh_interval_minute(self, value: float | None) -> None:
        """Set the minutes between two fetches of the configuration."""
        self._set("refresh_interval_minute", value)

    def set_session_duration_minute(self, value: float | None) -> None:
        """Set the minutes of inactivity after which a visitor is forgotten."""
        self._set("session_duration_minute", value)

    def set_default_timeout_millisecond(self, value: float | None) -> None:
        """Set the milliseconds for one call to the service."""
        self._set("default_timeout_millisecond", value)

    def set_tracking_interval_millisecond(self, value: float | None) -> None:
        """Set the milliseconds between two sendings of tracking data, 1000 to 5000."""
        self._set("tracking_interval_millisecond", value)

    def set_environment(self, value: str | None) -> None:
        """Set the name of the environment."""
        self._set("environment", value)

    def set_top_level_domain(self, value: str | None) -> None:
        """Set the domain of the visitor cookie."""
        self._set("top_level_domain", value)

    def set_network_domain(self, value: str | None) -> None:
        """Set the domain used in place of the service's."""
        self._set("network_domain", value)

    def set_logger(self, value: logging.Logger | None) -> None:
        """Set the standard logger. Deprecated like the constructor's argument."""
        if value is not None:
            warnings.warn("set_logger is deprecated, use KameleoonLogger.set_logger", DeprecationWarning, stacklevel=2)
        self._set("logger", value)

    def set_multi_threading(self, value: bool | None) -> None:
        """Set whether the SDK may start threads."""
        self._set("multi_threading", value)


def _read_or_raise(name: str, place: str, read: Callable[[str, Any], Any], value: object) -> object:
    try:
        return read(name, value)
    except _RefusedError as refusal:
        kind = ConfigCredentialsInvalid if name in _CREDENTIALS else ConfigException
        raise kind(f"{place} is {_displayed(name, value)}, allowed is {refusal}") from None


def _read_variable(name: str, variable: str, setting: _Setting) -> object:
    text = os.environ[variable]
    assert setting.parse is not None
    try:
        value = setting.parse(text)
    except (ValueError, KeyError):
        value = text  # refused next, with what is allowed
    return _read_or_raise(name, f"environment variable {variable}", setting.read, value)


def _displayed(name: str, value: object) -> str:
    """Show a value, cut when long; of a credential only stars and the last four characters, and its type if wrong."""
    if name not in _CREDENTIALS:
        shown = repr(value)
        return shown if len(shown) <= 100 else f"{shown[:97]}..."
    if not isinstance(value, str):
        return f"of type {type(value).__name__}"
    return repr(f"****{value[-4:]}" if len(value) >= 5 else "*" * len(value))


def _load(path: Path) -> Mapping[Any, Any]:
    """Read a YAML file that must hold a mapping; raises as `KameleoonClientConfig.read_from_yaml` says."""
    import yaml  # noqa: PLC0415  # costs more than all the rest, and most processes read no file

    try:
        # A stream, not a string: from a string the parser quotes lines in its errors, and one may hold the secret.
        with path.open("rb") as stream:
            content = yaml.safe_load(stream)
    except FileNotFoundError as error:
        raise ConfigFileNotFound(f"No config file {path} or config object is found") from error
    except OSError as error:
        raise ConfigException(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigException(f"{path} is not YAML{_position(error)}") from error
    if not isinstance(content, Mapping) or not content:
        kind = "empty" if content is None or (isinstance(content, Iterable) and not content) else type(content).__name__
        raise ConfigException(f"{path} must hold settings such as 'client_id: ...', it is {kind}")
    return content


def _position(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return (
        "" if mark is None else f": {getattr(error, 'problem', None)}, line {mark.line + 1}, column {mark.column + 1}"
    )

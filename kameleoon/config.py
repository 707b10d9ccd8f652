"""
Settings: as given by arguments, environment variables or a file, and frozen into what the client works with.

`KameleoonClientConfig` shows settings under the names and units users know and remembers what was wrong with a file;
`KameleoonClientConfig.freeze` refuses that and gives `Settings`, in seconds, which nothing changes any more.

Source:
    docs/service/network.md 2.
"""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from kameleoon._settings.file import load
from kameleoon._settings.readers import (
    CREDENTIALS,
    SETTINGS,
    RefusedError,
    Setting,
    displayed,
    read_or_raise,
    read_variable,
)
from kameleoon._settings.values import InFile, SameSite, Settings
from kameleoon.exceptions import ConfigCredentialsInvalid, ConfigException

__all__ = ["DEFAULT_CONFIG_PATH", "KameleoonClientConfig", "Settings"]

DEFAULT_CONFIG_PATH: Final = "/etc/kameleoon/client-python.yaml"

_VARIABLE_PREFIX: Final = "KAMELEOON_"
_PLACEHOLDERS: Final = {"client_id": "1", "client_secret": "2"}


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
        source: Where configuration comes from, in place of the service; a path when a file or variable names it, in a file also
            ``type: convert`` with the options of `kameleoon.sources.ConvertSource`.
        base_url: One base URL for all services, for the local server or a relay; ``http`` is allowed.
        regex_timeout_millisecond: For matching one pattern; above 0, 50 by default.
        cookie_secure: Whether the visitor cookie has ``Secure``; off by default.
        cookie_samesite: The visitor cookie's ``SameSite``: ``Strict``, ``Lax`` or ``None``, this as a string.
        cookie_removed_on_refusal: Whether refused consent deletes the visitor cookie; off by default.
        destinations: Where exposures and conversions go beside the service, see `kameleoon.destinations`; in a file a list of
            entries with ``type`` and options.

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
        destinations: Sequence[object] | None = None,
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
            "destinations": destinations,
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
        config._take({}, load(Path(config_path)), Path(config_path))  # noqa: SLF001  # an object of this very class
        return config

    def _take(self, arguments: Mapping[str, Any], in_file: Mapping[Any, Any], path: Path | None) -> None:
        """Settle each setting from the first place that has it."""
        self._values: dict[str, Any] = {}
        self._problems: dict[str, str] = {}
        for name, setting in SETTINGS.items():
            variable = _VARIABLE_PREFIX + name.upper()
            if name in arguments:
                self._values[name] = read_or_raise(name, f"argument {name}", setting.read, arguments[name])
            elif setting.parse is not None and os.environ.get(variable):
                self._values[name] = read_variable(name, variable, setting)
            elif name in in_file and (in_file[name] is not None or name in CREDENTIALS):
                self._values[name] = self._read_in_file(name, setting, in_file[name], path)
            elif name == "top_level_domain":
                self._values[name] = setting.read(name, "")  # says that the cookie will have no Domain
            else:
                self._values[name] = setting.default
        for name in in_file:
            if name not in SETTINGS:
                self._problems[str(name)] = f"{path}: {name!r} is no setting; allowed are {', '.join(SETTINGS)}"
        self._check_credentials(in_file, path)

    def _read_in_file(self, name: str, setting: Setting, value: object, path: Path | None) -> object:
        try:
            found = (setting.read_yaml or setting.read)(name, value)
            if isinstance(found, InFile):
                return replace(found, place=f"{path}: {found.place}")
            if name == "destinations":
                return tuple(replace(one, place=f"{path}: {one.place}") for one in found)
            return found
        except RefusedError as refusal:
            self._problems[name] = f"{path}: {name} is {displayed(name, value)}, allowed is {refusal}"
            if name in CREDENTIALS:
                return value
            # The vendor's SDK takes a boolean for the number it is equal to.
            if isinstance(value, bool) and name in ("refresh_interval_minute", "session_duration_minute"):
                return setting.read(name, int(value))
            return setting.default

    def _check_credentials(self, in_file: Mapping[Any, Any], path: Path | None) -> None:
        for name, title in CREDENTIALS.items():
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
        setting = SETTINGS[name]
        if value is not None:
            self._values[name] = read_or_raise(name, f"argument {name}", setting.read, value)
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
            kind = ConfigCredentialsInvalid if CREDENTIALS.keys() & self._problems.keys() else ConfigException
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
            destinations=values["destinations"],
            logger=values["logger"],
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={displayed(name, value)}" for name, value in self._values.items())
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
    def destinations(self) -> tuple[object, ...]:
        """Where exposures and conversions go beside the service, as given."""
        return cast("tuple[object, ...]", self._values["destinations"])

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

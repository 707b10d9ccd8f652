"""The process-wide switch between the SDK's messages and their sink."""

from collections.abc import Callable, Collection, Mapping
from typing import ClassVar

from kameleoon.logging.log_level import LogLevel
from kameleoon.logging.logger import DefaultLogger, Logger


class KameleoonLogger:
    """
    Process-wide logging of the SDK. A message above the level costs one comparison.

    *data* of the methods below is either a text, filled with *args* by ``%`` when there are any, or a callable that
    gives the text and is only called for a message that is logged. Nothing here raises for a message.
    """

    _level: ClassVar[LogLevel] = LogLevel.WARNING
    _sink: ClassVar[Logger] = DefaultLogger()

    @classmethod
    def set_log_level(cls, level: LogLevel) -> None:
        """
        Log messages up to *level*, and let the standard logger behind the default sink pass them too.

        Raises:
            ValueError: *level* is not a `LogLevel`.
        """
        cls._level = LogLevel(level)
        if isinstance(cls._sink, DefaultLogger):
            cls._sink.set_level(cls._level)

    @classmethod
    def set_logger(cls, logger: Logger) -> None:
        """
        Send messages to *logger* from now on.

        Raises:
            TypeError: *logger* has no ``log`` method.
        """
        if not callable(getattr(logger, "log", None)):
            raise TypeError(f"KameleoonLogger.set_logger needs a Logger, not {type(logger).__name__}")
        cls._sink = logger

    @classmethod
    def is_enabled(cls, level: LogLevel) -> bool:
        """Whether a message of *level* would be logged."""
        return LogLevel.NONE < level <= cls._level

    @classmethod
    def log(cls, level: LogLevel, data: str | Callable[[], str], *args: object) -> None:
        """Log *data* at *level*; ``NONE`` logs nothing."""
        if level > cls._level or level == LogLevel.NONE:
            return
        try:
            cls._sink.log(level, f"Kameleoon [{level.name}]: {_message(data, args)}")
        except Exception as error:
            # The sink is the application's code: its failure must not become the failure of what is being logged.
            DefaultLogger().log(LogLevel.ERROR, f"Kameleoon [ERROR]: the logger raised {type(error).__name__}")

    @classmethod
    def error(cls, data: str | Callable[[], str], *args: object) -> None:
        """Log something that does not work."""
        cls.log(LogLevel.ERROR, data, *args)

    @classmethod
    def warning(cls, data: str | Callable[[], str], *args: object) -> None:
        """Log something that works otherwise than asked."""
        cls.log(LogLevel.WARNING, data, *args)

    @classmethod
    def info(cls, data: str | Callable[[], str], *args: object) -> None:
        """Log a change of state."""
        cls.log(LogLevel.INFO, data, *args)

    @classmethod
    def debug(cls, data: str | Callable[[], str], *args: object) -> None:
        """Log a detail for whoever looks for a fault."""
        cls.log(LogLevel.DEBUG, data, *args)


def _message(data: str | Callable[[], str], args: tuple[object, ...]) -> str:
    try:
        text = data if isinstance(data, str) else data()
        return text % tuple(_shown(arg) for arg in args) if args else text
    except Exception as error:
        # A message that cannot be made (a wrong placeholder, a value whose str() fails) is no reason to fail.
        return f"{data!r} (could not be filled in: {type(error).__name__})"


def _shown(value: object) -> object:
    """
    Make *value* plain to read: strings quoted, booleans as in JSON, containers expanded; the rest is left to ``%``.

    Source:
        docs/service/network.md 1.4.
    """
    if isinstance(value, str):
        return f"'{value}'"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_shown(key)}: {_shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Collection) and not isinstance(value, (bytes, bytearray)):
        return "[" + ", ".join(str(_shown(item)) for item in value) + "]"
    return value

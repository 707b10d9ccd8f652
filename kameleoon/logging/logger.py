"""Where messages go: a base class for the application's own, and the standard library's logger named ``Kameleoon SDK``."""

import logging
from abc import ABC, abstractmethod
from typing import Final

from kameleoon.logging.log_level import LogLevel

LOGGER_NAME: Final = "Kameleoon SDK"

_STANDARD_LEVELS: Final = {
    LogLevel.NONE: logging.CRITICAL + 10,  # above all that is ever logged
    LogLevel.ERROR: logging.ERROR,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.INFO: logging.INFO,
    LogLevel.DEBUG: logging.DEBUG,
}

logging.getLogger(LOGGER_NAME).addHandler(logging.NullHandler())


class Logger(ABC):
    """Base for an application's own sink, given to ``KameleoonLogger.set_logger``."""

    @abstractmethod
    def log(self, level: LogLevel, message: str) -> None:
        """Take one message. It starts with ``Kameleoon [<LEVEL>]: `` and is called from any thread."""


class DefaultLogger(Logger):
    """
    Hands messages to the standard library's logging.

    Args:
        logger: Where to; ``None`` (default) for the one named ``Kameleoon SDK``.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logging.getLogger(LOGGER_NAME) if logger is None else logger

    def log(self, level: LogLevel, message: str) -> None:
        """Log *message* at the standard level of the same name."""
        self._logger.log(_STANDARD_LEVELS[level], "%s", message)

    def set_level(self, level: LogLevel) -> None:
        """Set the standard logger's level to the one of the same name; ``NONE`` is above all levels."""
        self._logger.setLevel(_STANDARD_LEVELS[level])

"""How much the SDK logs."""

from enum import IntEnum


class LogLevel(IntEnum):
    """Levels of messages; the SDK logs those up to its own level, ``WARNING`` unless set."""

    NONE = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    DEBUG = 4

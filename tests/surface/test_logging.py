"""The log names users know, and the application's logging left alone."""

import logging
import subprocess
import sys

import pytest

from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.log_level import LogLevel
from kameleoon.logging.logger import DefaultLogger, Logger


class Kept(Logger):
    """Keeps what it is given."""

    def __init__(self):
        self.messages = []

    def log(self, level, message):
        self.messages.append((level, message))


@pytest.fixture(autouse=True)
def _restored():
    level, sink, standard = KameleoonLogger._level, KameleoonLogger._sink, logging.getLogger("Kameleoon SDK").level
    yield
    KameleoonLogger._level, KameleoonLogger._sink = level, sink
    logging.getLogger("Kameleoon SDK").setLevel(standard)


@pytest.fixture
def kept():
    """Give the list of messages that the application's logger was given."""
    sink = Kept()
    KameleoonLogger.set_logger(sink)
    return sink.messages


def test_level_is_warning(kept):
    """Errors and warnings are logged unless something else is set."""
    for level in LogLevel:
        KameleoonLogger.log(level, "x")
    assert kept == [(LogLevel.ERROR, "Kameleoon [ERROR]: x"), (LogLevel.WARNING, "Kameleoon [WARNING]: x")]
    assert [level for level in LogLevel if KameleoonLogger.is_enabled(level)] == [LogLevel.ERROR, LogLevel.WARNING]


@pytest.mark.parametrize("level", LogLevel)
def test_levels(kept, level):
    """A level lets itself and the graver ones through; NONE is never logged."""
    KameleoonLogger.set_log_level(level)
    KameleoonLogger.log(LogLevel.NONE, "none")
    KameleoonLogger.error("e")
    KameleoonLogger.warning("w")
    KameleoonLogger.info("i")
    KameleoonLogger.debug("d")
    assert [logged for logged, _ in kept] == [other for other in LogLevel if LogLevel.NONE < other <= level]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        (None, "None"),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (1.5, "1.5"),
        ({"a": [True, None]}, "{'a': [true, None]}"),
        (("a", {"b": "c"}), "['a', {'b': 'c'}]"),
        ({"a"}, "['a']"),
        (b"a", "b'a'"),
    ],
)
def test_values_are_plain_to_read(kept, value, shown):
    """Strings are quoted, booleans as in JSON, containers expanded."""
    KameleoonLogger.error("got %s", value)
    assert kept == [(LogLevel.ERROR, f"Kameleoon [ERROR]: got {shown}")]


def test_a_percent_sign_without_values(kept):
    """A text without values is logged as it is."""
    KameleoonLogger.error("100% s%")
    assert kept[0][1] == "Kameleoon [ERROR]: 100% s%"


def test_callable_is_called_only_when_logged(kept):
    """A costly text is not made for nobody."""
    made = []

    def text():
        made.append(1)
        return "made"

    KameleoonLogger.info(text)
    assert made == []
    KameleoonLogger.error(text)
    assert made == [1]
    assert kept == [(LogLevel.ERROR, "Kameleoon [ERROR]: made")]


def test_values_are_not_shown_when_off():
    """A message above the level touches none of its values."""

    class Untouchable:
        def __str__(self):
            raise AssertionError

    KameleoonLogger.debug("%s", Untouchable())


def test_a_message_never_fails(kept):
    """A wrong placeholder or a value that cannot be shown is said and raises nothing."""

    class Broken:
        def __str__(self):
            raise RuntimeError

    KameleoonLogger.error("%d %s", "x")
    KameleoonLogger.error("%s", Broken())
    KameleoonLogger.error(lambda: 1 / 0)
    assert len(kept) == 3
    assert all("could not be filled in" in message for _, message in kept)


def test_a_logger_that_raises(caplog):
    """The application's logger may fail without harm to what is being logged."""

    class Broken(Logger):
        def log(self, level, message):
            raise OSError(f"{level} {message}")

    KameleoonLogger.set_logger(Broken())
    KameleoonLogger.error("x")
    assert caplog.messages == ["Kameleoon [ERROR]: the logger raised OSError"]


def test_default_goes_to_the_standard_logger(caplog):
    """Without a logger of the application messages go to the one named Kameleoon SDK."""
    KameleoonLogger.set_logger(DefaultLogger())
    KameleoonLogger.warning("50%% of %s", "x")
    assert caplog.record_tuples == [("Kameleoon SDK", logging.WARNING, "Kameleoon [WARNING]: 50% of 'x'")]


def test_default_to_another_standard_logger(caplog):
    """The application may name a standard logger of its own."""
    KameleoonLogger.set_logger(DefaultLogger(logging.getLogger("mine")))
    KameleoonLogger.warning("x")
    assert caplog.record_tuples[0][0] == "mine"


def test_level_reaches_the_standard_logger(caplog):
    """After set_log_level the standard logger passes that level, too."""
    KameleoonLogger.set_logger(DefaultLogger())
    KameleoonLogger.debug("before")
    KameleoonLogger.set_log_level(LogLevel.DEBUG)
    KameleoonLogger.debug("after")
    assert [message for _, _, message in caplog.record_tuples] == ["Kameleoon [DEBUG]: after"]


def test_wrong_arguments():
    """A level or a logger that cannot work is refused at once."""
    with pytest.raises(ValueError, match="9"):
        KameleoonLogger.set_log_level(9)
    with pytest.raises(TypeError, match="Logger"):
        KameleoonLogger.set_logger("stderr")


def test_application_logging_is_left_alone():
    """Importing adds a NullHandler and sets no level, and a warning prints nothing by itself."""
    code = """
import logging
from kameleoon.logging.kameleoon_logger import KameleoonLogger
KameleoonLogger.error("quiet")
ours, root = logging.getLogger("Kameleoon SDK"), logging.getLogger()
print([type(handler).__name__ for handler in ours.handlers], ours.level, ours.propagate, root.handlers, root.level)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "['NullHandler'] 0 True [] 30"
    assert result.stderr == ""

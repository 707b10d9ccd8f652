"""One thread that listens, and opens another connection when one ends."""

import threading

import pytest

from kameleoon._transport.message import TransportError, TransportErrorKind
from kameleoon._workers.listener import Listener
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.log_level import LogLevel
from kameleoon.logging.logger import Logger

FAILURE = TransportError(TransportErrorKind.CONNECTION, "the line is dead")


class Told(Logger):
    """The log: the level and the text of each message."""

    def __init__(self):
        self.messages = []

    def log(self, level, message):
        self.messages.append((level.name, message))

    @property
    def levels(self):
        return [level for level, _ in self.messages]


@pytest.fixture
def told():
    """The log, news included."""
    level, sink = KameleoonLogger._level, KameleoonLogger._sink
    kept = Told()
    KameleoonLogger.set_logger(kept)
    KameleoonLogger.set_log_level(LogLevel.INFO)
    yield kept
    KameleoonLogger._level, KameleoonLogger._sink = level, sink


class Line:
    """A connection that says what it is given; an exception ends it, and ``None`` says that it is open."""

    def __init__(self, *said):
        self.said = said
        self.is_aborted = threading.Event()

    def events(self):
        for item in self.said:
            if isinstance(item, Exception):
                raise item
            yield item() if callable(item) else item

    def abort(self):
        self.is_aborted.set()


class Waiting(Line):
    """A connection on which nothing comes until it is aborted."""

    def __init__(self, is_idle):
        super().__init__()
        self.is_idle = is_idle

    def events(self):
        yield None
        self.is_idle.set()
        assert self.is_aborted.wait(10)


class Exchange:
    """Gives connections in line, then ones that wait, and keeps what was heard."""

    def __init__(self, *lines, **settings):
        self.lines = list(lines)
        self.opened = 0
        self.heard = []
        self.is_idle = threading.Event()
        given = {"first_wait_s": 0.001, "longest_wait_s": 0.002, **settings}
        self.listener = Listener("test", self.connect, self.open, self.heard.append, **given)

    def connect(self):
        return self.lines.pop(0) if self.lines else Waiting(self.is_idle)

    def open(self):
        self.opened += 1

    def run(self):
        """Listen until all lines were used up and one waits."""
        self.listener.start()
        assert self.is_idle.wait(10)
        assert self.listener.is_open
        assert self.listener.stop(10)
        assert not self.listener.is_open


def test_events_of_one_connection_after_the_other_are_heard():
    """Every opening is told, every event is handed over, however a connection ends."""
    exchange = Exchange(Line(None, 1, 2), Line(FAILURE), Line(None, 3, FAILURE), Line(None, ValueError("garbled"), 4))
    exchange.run()
    assert exchange.heard == [1, 2, 3]
    assert exchange.opened == 4


def test_a_handler_that_breaks_costs_its_connection(told):
    """What the handlers raise ends a connection and not the thread."""

    def broken():
        raise KeyError("handler")

    exchange = Exchange(Line(None, broken, 7), Line(None, 8), Line(None))
    exchange.run()
    assert exchange.heard == [8]
    assert "KeyError('handler')" in told.messages[0][1]


@pytest.mark.parametrize(
    ("failures", "levels"),
    [(1, ["INFO"]), (2, ["INFO", "WARNING"]), (5, ["INFO", "WARNING"])],
)
def test_a_line_that_stays_dead_is_told_twice(failures, levels, told):
    """The first failure is news, the second a warning, and the rest would only fill the log."""
    Exchange(*[Line(FAILURE)] * failures).run()
    assert told.levels == levels
    assert all("the line is dead" in text for _, text in told.messages)


def test_a_connection_that_lasted_starts_the_count_anew(told):
    """After a good connection the next failure is a first one again; a short one is one more failure."""
    Exchange(*[Line(None)] * 3, steady_s=0.0).run()
    assert told.levels == ["INFO"] * 3
    assert all("ended by the other side" in text for _, text in told.messages)
    told.messages.clear()
    Exchange(*[Line(None)] * 3, steady_s=3600.0).run()
    assert told.levels == ["INFO", "WARNING"]


def test_waits_grow_with_each_failure():
    """The thread waits between two connections, at first as told, then longer, up to the longest."""
    exchange = Exchange(*[Line(FAILURE)] * 6, first_wait_s=0.01, longest_wait_s=0.04)
    waits = []
    exchange.listener._stopping.wait = waits.append
    exchange.run()
    bounds = [0.01, 0.02, 0.04, 0.04, 0.04, 0.04]
    assert len(waits) == 6
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_stopping_while_a_connection_is_made_listens_to_nothing():
    """A connection made at the moment of the stop is not opened."""
    exchange = Exchange()
    late = Line(None, 1)

    def connect():
        exchange.listener._stopping.set()
        return late

    exchange.listener._connect = connect
    exchange.listener.start()
    assert exchange.listener.stop(10)
    assert (exchange.opened, exchange.heard) == (0, [])


def test_stopping_from_within_does_not_wait_for_itself():
    """A handler may stop the listener that calls it."""
    stopped = []
    exchange = Exchange(Line(None, 1, 2))
    exchange.listener._on_event = lambda event: stopped.append((event, exchange.listener.stop(10)))
    exchange.listener.start()
    exchange.listener._thread.join(10)
    assert not exchange.listener._thread.is_alive()
    assert stopped[0] == (1, False)

"""Queues of events for destinations: the same promises in memory and on disk, and what only the disk has to keep."""

import sqlite3
from contextlib import closing

import pytest
from clocks import Clock

from kameleoon._tracking.disk import DiskOutbox
from kameleoon._tracking.lines import Line
from kameleoon._tracking.outbox import MemoryOutbox
from kameleoon._tracking.queues import LEASE_S, Bounds

LINE = Line("visitorCode=a", "nonce=1&eventType=activity&visitorCode=a", None)


@pytest.fixture
def clock():
    """A clock."""
    return Clock(1_700_000_000.0)


@pytest.fixture
def open_disk(tmp_path, clock):
    """Open an outbox in the same file, as another process would."""
    opened = []

    def make():
        opened.append(DiskOutbox(tmp_path / "events.sqlite3", 15.0, wall_clock=clock, clock=clock))
        return opened[-1]

    yield make
    for outbox in opened:
        outbox.close()


@pytest.fixture(params=["memory", "disk"])
def outbox(request, open_disk):
    """An outbox of each kind."""
    return MemoryOutbox() if request.param == "memory" else open_disk()


def texts(entries):
    """What the entries hold."""
    return [entry.text for entry in entries]


def test_events_come_out_in_order_and_once(outbox):
    """On loan they are not handed out again; given back they are where they were."""
    one, other = outbox.queue("one", Bounds()), outbox.queue("other", Bounds())
    outbox.put([LINE], {one: ["a", "b", "c"], other: ["x"]})
    first = one.take(2)
    assert (texts(first), texts(one.take(5)), one.take(5)) == (["a", "b"], ["c"], [])
    assert (len(one), len(other), len(outbox)) == (3, 1, 1)
    one.give_back(first)
    assert texts(one.take(1)) == ["a"]
    one.settle(first[:1])
    assert (len(one), texts(one.take(5)), texts(other.take(5))) == (2, ["b"], ["x"])


@pytest.mark.parametrize("bounds", [Bounds(events=3), Bounds(bytes=3)])
def test_beyond_its_bounds_new_events_are_turned_away(outbox, bounds):
    """Also while some are on loan; each queue by itself."""
    one, other = outbox.queue("one", bounds), outbox.queue("other", Bounds())
    outbox.put([], {one: ["a", "b"]})
    taken = one.take(1)
    outbox.put([], {one: ["c", "d"], other: ["x", "y", "z", "u"]})
    assert (len(one), one.turned_away, len(other), other.turned_away) == (3, 1, 4, 0)
    one.settle(taken)
    outbox.put([], {one: ["e", "f"]})
    assert (texts(one.take(9)), one.turned_away) == (["b", "c", "e"], 2)


def test_refused_events_are_gone(outbox):
    """They count no longer."""
    queue = outbox.queue("one", Bounds())
    outbox.put([], {queue: ["a", "b"]})
    queue.refuse([(queue.take(1)[0], "why")])
    assert (len(queue), texts(queue.take(9))) == (1, ["b"])


def test_what_a_dead_process_had_is_free_when_its_lease_is_over(open_disk, clock):
    """What it had not taken, at once."""
    dead = open_disk()
    queue = dead.queue("one", Bounds())
    dead.put([], {queue: ["a", "b"]})
    queue.take(1)
    next_one = open_disk().queue("one", Bounds())
    taken = next_one.take(9)
    assert texts(taken) == ["b"]
    next_one.settle(taken)
    clock.now += LEASE_S - 1
    assert next_one.take(9) == []
    clock.now += 1
    assert texts(next_one.take(9)) == ["a"]


def test_a_lease_that_is_renewed_does_not_end(open_disk, clock):
    """Whoever takes long over an event keeps it."""
    mine = open_disk()
    queue = mine.queue("one", Bounds())
    mine.put([], {queue: ["a"]})
    taken = queue.take(1)
    other = open_disk().queue("one", Bounds())
    for _ in range(100):
        clock.now += LEASE_S / 4
        queue.renew()
        assert other.take(1) == []
    queue.settle(taken)
    clock.now += 2 * LEASE_S
    queue.renew()
    assert (other.take(1), len(other)) == ([], 0)


def test_taking_more_does_not_put_off_the_renewal_of_what_was_taken(open_disk, clock):
    """A destination that gets events all the time keeps the oldest of them, too."""
    mine = open_disk()
    queue = mine.queue("one", Bounds())
    mine.put([], {queue: ["a"]})
    queue.take(1)
    other = open_disk().queue("one", Bounds())
    for _ in range(20):
        clock.now += LEASE_S / 8
        mine.put([], {queue: ["x"]})
        queue.settle(queue.take(1))
        queue.renew()
        assert other.take(1) == []


def test_lines_and_events_are_put_together_or_not_at_all(open_disk, tmp_path):
    """When the events cannot be written neither are the lines: both are in memory then."""
    outbox = open_disk()
    queue = outbox.queue("one", Bounds())
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as other:
        other.execute("DROP TABLE forwarded")
    outbox.put([LINE], {queue: ["a"]})
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as other:
        assert other.execute("SELECT count(*) FROM events").fetchone() == (0,)
    assert (outbox.take().lines, texts(queue.take(9))) == ((LINE,), ["a"])


def test_the_bound_holds_in_memory_too(open_disk, tmp_path):
    """While the disk cannot be used; what is turned away there counts with what was turned away before."""
    outbox = open_disk()
    queue = outbox.queue("one", Bounds(events=3))
    outbox.put([], {queue: ["a", "b", "c", "too many"]})
    queue.settle(queue.take(1))
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as other:
        other.execute("DROP TABLE forwarded")
    outbox.put([], {queue: ["d", "e", "f", "too many"]})
    assert queue.turned_away == 2
    taken = queue.take(9)
    assert texts(taken) == ["d", "e", "f"]
    queue.settle(taken)
    outbox.put([], {queue: ["g"]})
    assert texts(queue.take(9)) == ["g"]


def test_an_event_that_cannot_be_removed_is_not_sent_twice(open_disk, tmp_path, clock):
    """It is removed as soon as the disk can be written again."""
    outbox = open_disk()
    queue = outbox.queue("one", Bounds())
    outbox.put([], {queue: ["a", "b"]})
    taken = queue.take(1)
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as other:
        other.execute("CREATE TRIGGER full BEFORE DELETE ON forwarded BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    queue.settle(taken)
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as other:
        other.execute("DROP TRIGGER full")
    clock.now += 2 * LEASE_S
    assert texts(queue.take(9)) == ["b"]
    assert len(queue) == 1


def test_dead_letters_are_kept_for_people(open_disk, tmp_path, monkeypatch):
    """With the reason, the newest of each destination."""
    monkeypatch.setattr("kameleoon._tracking.queues.MAX_DEAD_LETTERS", 2)
    outbox = open_disk()
    one, other = outbox.queue("one", Bounds()), outbox.queue("other", Bounds())
    outbox.put([], {one: ["a", "b", "c"], other: ["x"]})
    for queue in (other, one):
        queue.refuse([(entry, f"not {entry.text}") for entry in queue.take(9)])
    with closing(sqlite3.connect(tmp_path / "events.sqlite3")) as found:
        letters = found.execute("SELECT destination, event, reason FROM dead_letters ORDER BY event").fetchall()
    assert letters == [("one", "b", "not b"), ("one", "c", "not c"), ("other", "x", "not x")]

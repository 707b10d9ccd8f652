"""The outbox on disk keeps what the protocol promises, across processes, crashes and disks that fail."""

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from clocks import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kameleoon._tracking.disk import DiskOutbox, outbox_path
from kameleoon._tracking.lines import Line
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.log_level import LogLevel


def line(number, size=0):
    """A line told by its number."""
    return Line("visitorCode=v", f"nonce={number:06}&visitorCode=v{'x' * size}", "UA")


def texts(batch):
    """Texts of a batch, of nothing when there is none."""
    return [entry.text for entry in batch.lines] if batch else []


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock(1_750_000_000.0)


@pytest.fixture
def make_outbox(tmp_path, clock):
    """A function that opens one and the same outbox anew, as another process would."""
    made = []

    def make(**arguments):
        made.append(DiskOutbox(tmp_path / "events.sqlite3", 10.0, wall_clock=clock, clock=clock, **arguments))
        return made[-1]

    yield make
    for outbox in made:
        outbox.close()


class DiskOutboxMachine(RuleBasedStateMachine):
    """Two processes' outboxes in one file, against one list of what waits and one of what is on loan."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.open = [DiskOutbox(Path(self.folder) / "e.sqlite3", 60.0) for _ in range(2)]
        self.waiting = []
        self.loans = []
        self.count = 0

    @rule(which=st.integers(0, 1), number=st.integers(0, 4))
    def put(self, which, number):
        """Add some lines."""
        lines = [line(self.count + offset) for offset in range(number)]
        self.count += number
        assert self.open[which].put(lines) == 0
        self.waiting += [entry.text for entry in lines]

    @rule(which=st.integers(0, 1), max_lines=st.one_of(st.none(), st.integers(1, 3)))
    def take(self, which, max_lines):
        """Take a batch out on loan: the oldest that nobody else has."""
        batch = self.open[which].take(max_lines=max_lines)
        assert texts(batch) == self.waiting[:max_lines]
        if batch:
            self.loans.append((which, batch))
            del self.waiting[: len(batch.lines)]

    @rule()
    def settle(self):
        """Be done with a batch."""
        if self.loans:
            which, batch = self.loans.pop()
            self.open[which].settle(batch)

    @rule()
    def give_back(self):
        """Give a batch back: each line waits in its old place."""
        if self.loans:
            which, batch = self.loans.pop()
            self.open[which].hold(batch)
            self.open[which].give_back(batch)
            self.waiting = sorted([*texts(batch), *self.waiting])

    @rule(which=st.integers(0, 1))
    def reopen(self, which):
        """A process ends and another begins."""
        self.open[which].close()
        self.open[which] = DiskOutbox(Path(self.folder) / "e.sqlite3", 60.0)

    @invariant()
    def nothing_is_lost(self):
        """Every line waits, is on loan, or was settled, and both see it."""
        expected = len(self.waiting) + sum(len(batch.lines) for _, batch in self.loans)
        assert [len(outbox) for outbox in self.open] == [expected] * 2

    def teardown(self):
        """Leave nothing behind."""
        for outbox in self.open:
            outbox.close()
        shutil.rmtree(self.folder)


DiskOutboxMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestDiskOutboxMachine = DiskOutboxMachine.TestCase


def test_a_line_comes_back_as_it_was(make_outbox):
    """Visitor, text and user agent survive the disk."""
    lines = [Line("visitorCode=a", "nonce=1", None), Line("mappingValue=b", "nonce=2", "UA")]
    make_outbox().put(lines)
    assert [entry._replace(key=0) for entry in make_outbox().take().lines] == lines


def test_lines_of_a_process_that_died_are_free_when_its_lease_is_over(make_outbox, clock):
    """Nobody else gets them before; then they come again, the same."""
    dead = make_outbox()
    dead.put([line(1), line(2)])
    first = dead.take()
    other = make_outbox()
    clock.now += 9.9
    assert other.take() is None
    clock.now += 0.2
    assert texts(other.take()) == texts(first)


def test_a_lease_is_renewed_before_each_request(make_outbox, clock):
    """Lines that are held stay out of reach of others."""
    sender, other = make_outbox(), make_outbox()
    sender.put([line(1)])
    batch = sender.take()
    for _ in range(5):
        clock.now += 8
        sender.hold(batch)
        assert other.take() is None


def test_a_clock_that_was_set_back_keeps_no_line_for_ever(make_outbox, clock):
    """A lease that ends in the far future is none."""
    outbox = make_outbox()
    outbox.put([line(1)])
    outbox.take()
    clock.now -= 86_400
    assert texts(make_outbox().take()) == [line(1).text]


@pytest.mark.parametrize("bounds", [{"max_lines": 3}, {"max_bytes": 3 * len("visitorCode=v" + line(1).text)}])
def test_the_oldest_lines_make_room(make_outbox, bounds):
    """Beyond each bound the oldest are given up, and their number is told."""
    outbox = make_outbox(**bounds)
    assert outbox.put([line(number) for number in range(5)]) == 2
    assert texts(outbox.take()) == [line(number).text for number in (2, 3, 4)]


def test_a_batch_keeps_within_its_size(make_outbox):
    """Requests are split between lines, and a line larger than the bound goes alone."""
    outbox = make_outbox()
    outbox.put([line(1, 50), line(2, 50), line(3, 500), line(4)])
    sizes = []
    while (batch := outbox.take(max_bytes=200)) is not None:
        sizes.append(len(batch.lines))
        outbox.settle(batch)
    assert sizes == [2, 1, 1]


def test_refused_lines_are_kept_for_people(make_outbox, tmp_path):
    """What the service refused for good is out of the way, and in a table of its own with the status."""
    outbox = make_outbox()
    outbox.put([line(1), line(2)])
    outbox.refuse(outbox.take(max_lines=1), 400)
    assert texts(outbox.take()) == [line(2).text]
    with sqlite3.connect(tmp_path / "events.sqlite3") as file:
        assert file.execute("SELECT line, status FROM refused").fetchall() == [(line(1).text, 400)]
    file.close()


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 shell")
def test_the_file_can_be_read_with_the_shell(make_outbox, tmp_path):
    """While the outbox is open, people can look into it."""
    make_outbox().put([line(7)])
    command = ["sqlite3", str(tmp_path / "events.sqlite3"), "SELECT line FROM events"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == line(7).text


def test_only_the_user_may_read_it(tmp_path):
    """Visitors' events are nobody else's business."""
    outbox = DiskOutbox(tmp_path / "new" / "events.sqlite3", 10.0)
    assert [path.stat().st_mode & 0o077 for path in (tmp_path / "new", tmp_path / "new" / "events.sqlite3")] == [0, 0]
    outbox.close()


def test_site_codes_make_file_names(tmp_path):
    """Whatever the site code, its file stays in the directory."""
    assert outbox_path(tmp_path, "../a b").parent == tmp_path
    assert outbox_path(tmp_path, "abc").name == "events-abc.sqlite3"


def full(outbox):
    """Let the file grow no more, as on a full disk."""
    with outbox._lock:
        (pages,) = outbox._connection.execute("PRAGMA page_count").fetchone()
        outbox._connection.execute(f"PRAGMA max_page_count = {pages}")


@pytest.fixture
def logged(caplog):
    """What is logged, changes of state included."""
    before = KameleoonLogger._level
    KameleoonLogger.set_log_level(LogLevel.INFO)
    with caplog.at_level(logging.INFO, logger="Kameleoon SDK"):
        yield caplog
    KameleoonLogger.set_log_level(before)


def test_a_full_disk_degrades_to_memory_and_says_so_once(make_outbox, clock, logged):
    """Lines are kept in memory meanwhile, each sent once, and the disk is used again when it can be."""
    outbox = make_outbox()
    outbox.put([line(1)])
    full(outbox)
    for number in range(2, 6):
        assert outbox.put([line(number, 20_000)]) == 0
        clock.now += 6
    assert sum("only in memory" in record.getMessage() for record in logged.records) == 1
    assert len(outbox) == 5
    taken = []
    while (batch := outbox.take(max_lines=1)) is not None:
        taken += texts(batch)
        outbox.settle(batch)
    assert sorted(text[:12] for text in taken) == [line(number).text[:12] for number in range(1, 6)]
    outbox._connection.execute("PRAGMA max_page_count = 100000")
    clock.now += 6
    outbox.put([line(9, 20_000)])
    assert "Events are kept on disk again" in logged.text
    assert len(make_outbox()) == 1


class ReadOnly:
    """A connection that refuses to write, as a disk that became read-only does."""

    in_transaction = False

    def __init__(self, connection):
        self.connection = connection

    def execute(self, statement, *arguments):
        if statement.startswith("BEGIN"):
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return self.connection.execute(statement, *arguments)


def test_what_was_sent_is_not_sent_again_when_the_disk_cannot_forget_it(make_outbox, clock):
    """The disk becomes read-only between sending and removing: the line is not handed out again, and removed later."""
    outbox = make_outbox()
    outbox.put([line(1)])
    batch = outbox.take()
    connection, outbox._connection = outbox._connection, ReadOnly(outbox._connection)
    outbox.settle(batch)
    clock.now += 3600
    assert (outbox.take(), len(outbox)) == (None, 0)
    outbox._connection = connection
    clock.now += 3600
    assert outbox.take() is None
    assert len(make_outbox()) == 0


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_degrades_to_memory(tmp_path):
    """Without the right to write the outbox works in memory."""
    script = f"""
from pathlib import Path
from kameleoon._tracking.disk import DiskOutbox
from kameleoon._tracking.lines import Line
from kameleoon.logging.kameleoon_logger import KameleoonLogger
from kameleoon.logging.log_level import LogLevel
outbox = DiskOutbox(Path({str(tmp_path / "locked" / "events.sqlite3")!r}), 10.0)
assert outbox.put([Line("v", "nonce=1", None)]) == 0
assert [line.text for line in outbox.take().lines] == ["nonce=1"]
"""
    (tmp_path / "locked").mkdir(mode=0o500)
    user = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    tmp_path.chmod(0o755)
    done = subprocess.run([*user, sys.executable, "-c", script], capture_output=True, text=True, cwd="/", check=False)
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip("another user cannot read the library here")
    assert done.returncode == 0, done.stderr


def test_a_damaged_file_is_put_aside(tmp_path, clock):
    """A file that is no database is kept under another name, and a new one takes its place."""
    path = tmp_path / "events.sqlite3"
    path.write_bytes(b"no database at all, " * 100)
    outbox = DiskOutbox(path, 10.0, wall_clock=clock)
    outbox.put([line(1)])
    assert texts(outbox.take()) == [line(1).text]
    outbox.close()
    assert len(list(tmp_path.glob("events.broken-*"))) == 1


def test_a_closed_outbox_loses_nothing_and_still_counts(make_outbox):
    """After closing, what is on disk stays there, and the number is still told."""
    outbox = make_outbox()
    outbox.put([line(1)])
    outbox.close()
    outbox.close()
    assert len(outbox) == 1
    assert texts(make_outbox().take()) == [line(1).text]


def test_eight_threads_with_two_outboxes_hand_out_each_line_once(make_outbox):
    """Putting and taking at once, through two connections, no line is lost or handed out twice."""
    outboxes = [make_outbox(), make_outbox()]
    taken, lock = [], threading.Lock()

    def put(first):
        for number in range(first, first + 60, 20):
            outboxes[first % 2].put([line(number + offset) for offset in range(20)])

    def take(which):
        for _ in range(8):
            batch = outboxes[which].take(max_lines=20)
            if batch:
                outboxes[which].settle(batch)
                with lock:
                    taken.extend(texts(batch))

    work = [threading.Thread(target=put, args=(first,)) for first in (0, 101, 200, 301)]
    work += [threading.Thread(target=take, args=(which % 2,)) for which in range(4)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    while (batch := outboxes[0].take()) is not None:
        outboxes[0].settle(batch)
        taken += texts(batch)
    assert sorted(taken) == sorted(line(first + offset).text for first in (0, 101, 200, 301) for offset in range(60))


def test_each_commit_waits_for_the_disk(make_outbox):
    """What a finished `put` was given survives a loss of power: SQLite's ``FULL``, over a write-ahead log."""
    outbox = make_outbox()
    with outbox._disk() as disk:
        assert disk.execute("PRAGMA synchronous").fetchone() == (2,)
        assert disk.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_refused_lines_are_bounded(make_outbox, tmp_path, monkeypatch):
    """The table for people keeps the latest."""
    monkeypatch.setattr("kameleoon._tracking.disk.MAX_REFUSED", 3)
    outbox = make_outbox()
    for number in range(5):
        outbox.put([line(number)])
        outbox.refuse(outbox.take(), 400)
    file = sqlite3.connect(tmp_path / "events.sqlite3")
    assert [text for (text,) in file.execute("SELECT line FROM refused ORDER BY id")] == [
        line(number).text for number in (2, 3, 4)
    ]
    file.close()


def test_a_file_of_a_newer_version_is_left_alone(make_outbox, tmp_path, logged):
    """An older library does not write into what it does not know: it goes on in memory and says why."""
    make_outbox().close()
    file = sqlite3.connect(tmp_path / "events.sqlite3")
    file.execute("PRAGMA user_version = 99")
    outbox = make_outbox()
    assert outbox.put([line(1)]) == 0
    assert "newer version" in logged.text
    assert texts(outbox.take()) == [line(1).text]
    assert file.execute("SELECT count(*) FROM events").fetchone() == (0,)
    file.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_forked_child_has_none_of_its_parent_s_connections(make_outbox, tmp_path):
    """A copy of an open connection would believe that it has its parent's locks."""
    outbox = make_outbox()
    outbox.put([line(1)])
    pid = os.fork()
    if pid == 0:
        links = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
        os._exit(sum(str(tmp_path) in link for link in links))
    assert os.waitpid(pid, 0)[1] == 0
    assert texts(outbox.take()) == [line(1).text]

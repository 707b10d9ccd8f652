"""The outbox hands out lines once, oldest first, and loses none but by saying so."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kameleoon._tracking.lines import Line
from kameleoon._tracking.outbox import Batch, MemoryOutbox, size_of


def line(number, visitor="v", user_agent=None):
    """A line told by its number."""
    return Line(f"visitorCode={visitor}", f"nonce={number}&visitorCode={visitor}", user_agent)


def test_the_user_agent_goes_with_each_visitor_s_first_line_of_a_request():
    """Only the first line of a visitor in a batch carries his user agent."""
    batch = Batch((line(1, "a", "UA1"), line(2, "b"), line(3, "a", "UA1"), line(4, "b", "UA2")))
    assert batch.body().decode().split("\n") == [
        "nonce=1&visitorCode=a&userAgent=UA1",
        "nonce=2&visitorCode=b",
        "nonce=3&visitorCode=a",
        "nonce=4&visitorCode=b",
    ]


def test_a_batch_keeps_within_its_size_unless_one_line_is_larger():
    """Requests are split between lines, and a line larger than the bound goes alone."""
    outbox = MemoryOutbox()
    outbox.put([line("x" * 50), line("y" * 50), line("z" * 500)])
    sizes = []
    while (batch := outbox.take(max_bytes=200)) is not None:
        sizes.append(len(batch.lines))
        outbox.settle(batch)
    assert sizes == [2, 1]


def test_the_oldest_lines_make_room():
    """Beyond the bound the oldest lines are given up, and their number is told."""
    outbox = MemoryOutbox(max_lines=3)
    assert outbox.put([line(number) for number in range(5)]) == 2
    assert [entry.text for entry in outbox.take().lines] == [line(number).text for number in (2, 3, 4)]


def test_halves_keep_visitors_together_until_there_is_one():
    """A batch of several visitors is split between them, one of a single visitor in the middle."""
    first, second = Batch((line(1, "a"), line(2, "b"), line(3, "a"), line(4, "b"))).halves()
    assert ({entry.visitor for entry in first.lines}, {entry.visitor for entry in second.lines}) == (
        {"visitorCode=a"},
        {"visitorCode=b"},
    )
    first, second = Batch((line(1), line(2), line(3))).halves()
    assert (len(first.lines), len(second.lines)) == (1, 2)


class OutboxMachine(RuleBasedStateMachine):
    """The outbox against a plain list of what waits and what is on loan."""

    def __init__(self):
        super().__init__()
        self.outbox = MemoryOutbox()
        self.waiting = []
        self.loans = []
        self.count = 0

    @rule(number=st.integers(0, 5))
    def put(self, number):
        """Add some lines."""
        lines = [line(self.count + offset) for offset in range(number)]
        self.count += number
        assert self.outbox.put(lines) == 0
        self.waiting += lines

    @rule(max_lines=st.one_of(st.none(), st.integers(1, 4)))
    def take(self, max_lines):
        """Take a batch out on loan: the oldest."""
        batch = self.outbox.take(max_lines=max_lines)
        expected = self.waiting[:max_lines]
        assert (list(batch.lines) if batch else []) == expected
        if batch:
            self.loans.append(batch)
            del self.waiting[: len(expected)]

    @rule()
    def settle(self):
        """Be done with a batch."""
        if self.loans:
            self.outbox.settle(self.loans.pop())

    @rule()
    def give_back(self):
        """Give a batch back: it waits before all others."""
        if self.loans:
            batch = self.loans.pop()
            self.outbox.give_back(batch)
            self.waiting = [*batch.lines, *self.waiting]

    @invariant()
    def nothing_is_lost(self):
        """Every line waits, is on loan, or was settled."""
        assert len(self.outbox) == len(self.waiting) + sum(len(batch.lines) for batch in self.loans)


TestOutboxMachine = OutboxMachine.TestCase


def test_the_oldest_lines_make_room_for_large_ones():
    """Beyond the size of all lines together the oldest are given up too, and what is given back counts."""
    outbox = MemoryOutbox(max_bytes=3 * size_of(line(0)))
    assert outbox.put([line(number) for number in range(5)]) == 2
    batch = outbox.take(max_lines=1)
    outbox.give_back(batch)
    assert outbox.put([line(5)]) == 1
    assert [entry.text for entry in outbox.take().lines] == [line(number).text for number in (3, 4, 5)]

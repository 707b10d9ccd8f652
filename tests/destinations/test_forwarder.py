"""One destination's deliveries: consent, bounds, retries, pauses, and whose fault stays whose."""

import threading
from collections import OrderedDict

import pytest
from clocks import Clock

from kameleoon._tracking.queues import MemoryQueue
from kameleoon._transport.flow import run
from kameleoon.destinations import EventRefused, Feed, Forwarder, FunctionDestination, Limits, Result, Verdict
from kameleoon.destinations.events import to_text

RETRY = Result(Verdict.RETRY, "down")


class Scripted:
    """A destination whose answers are given beforehand, ``SENT`` when there are none left; it takes no network."""

    name = "scripted"

    def __init__(self, *answers, **limits):
        self.answers = list(answers)
        self.limits = Limits(**limits)
        self.batches = []

    def map(self, event):
        return event.plain()["experiment_id"]

    def check(self, mapped):
        if mapped == "13":
            raise EventRefused("unlucky", "thirteen")
        return mapped.encode()

    def send(self, batch):
        yield from ()
        self.batches.append([content.decode() for content in batch])
        answer = self.answers.pop(0) if self.answers else Result(Verdict.SENT)
        if isinstance(answer, Exception):
            raise answer
        return answer


class NoNetwork:
    """A sender for flows that send nothing; it notes their pauses and lets the clock run."""

    def __init__(self, clock):
        self.clock = clock
        self.paused = []

    def pause(self, seconds):
        self.paused.append(seconds)
        self.clock.now += seconds


@pytest.fixture
def feed(exposure):
    """Build ``(forwarder, destination, clock, deliver)`` with some events taken in."""

    def make(destination, count=0, remembered=100, **settings):
        clock = Clock()
        forwarder = Forwarder(Feed(destination, **settings), clock=clock, remembered=remembered)
        for number in range(1, count + 1):
            assert forwarder.offer(exposure(number))
        sender = NoNetwork(clock)
        return forwarder, clock, lambda **how: run(forwarder.deliver(**how), sender), sender

    return make


def test_events_wait_for_others_but_not_long(feed, exposure):
    """A second, or fifty events, whichever comes first; a flush waits for nothing."""
    destination = Scripted()
    forwarder, clock, deliver, _ = feed(destination, 3)
    deliver()
    assert (destination.batches, forwarder.due_in_s) == ([], 1.0)
    clock.now += 1
    deliver()
    assert destination.batches == [["1", "2", "3"]]
    assert forwarder.due_in_s is None
    for number in range(100, 150):
        forwarder.offer(exposure(number))
    deliver()
    assert len(destination.batches[1]) == 50
    forwarder.offer(exposure(1000))
    deliver(at_once=True)
    assert destination.batches[2] == ["1000"]


def test_batches_keep_to_both_limits(feed):
    """Number and bytes, frame and commas counted."""
    destination = Scripted(batch_events=3)
    feed(destination, 8)[2](at_once=True)
    assert destination.batches == [["1", "2", "3"], ["4", "5", "6"], ["7", "8"]]
    destination = Scripted(batch_bytes=5, frame_bytes=2)
    feed(destination, 10)[2](at_once=True)
    assert destination.batches == [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"], ["9"], ["10"]]


@pytest.mark.parametrize(("answer", "expected"), [(True, 1), (False, 0), (None, 0), ("yes", 0), (ValueError(), 0)])
def test_a_function_decides_on_consent(feed, exposure, answer, expected):
    """Only a clear yes lets an event go; an exception is none. It is asked where the destination is, not where events come from."""
    asked = []

    def consent(code):
        asked.append(code)
        if isinstance(answer, Exception):
            raise answer
        return answer

    destination = Scripted()
    forwarder, _, deliver, _ = feed(destination, consent=consent)
    forwarder.offer(exposure())
    assert asked == []
    deliver(at_once=True)
    assert asked == ["7f3a9c1e5b2d8f60"]
    assert (len(destination.batches), forwarder.pending) == (expected, 0)


def test_an_exposure_is_told_once(feed, exposure, conversion):
    """Again only when the variation changes; conversions each time."""
    forwarder, *_ = feed(FunctionDestination(print))
    assert [
        forwarder.offer(exposure(1)),
        forwarder.offer(exposure(1)),
        forwarder.offer(exposure(1, variation_id="other")),
    ] == [True, False, True]
    assert [forwarder.offer(conversion()), forwarder.offer(conversion())] == [True, True]


def test_what_is_remembered_is_bounded(feed, exposure):
    """Of the visitors seen long ago the oldest are forgotten, and each with the end of his session."""
    forwarder, *_ = feed(Scripted(), remembered=2)
    for code in ("a", "b", "c"):
        forwarder.offer(exposure(visitor_code=code))
    assert forwarder.offer(exposure(visitor_code="c")) is False
    assert forwarder.offer(exposure(visitor_code="a")) is True
    forwarder.forget("a")
    assert forwarder.offer(exposure(visitor_code="a")) is True


def test_the_queue_is_bounded(feed, exposure):
    """Beyond, new events are dropped and counted; by number and by bytes."""
    size = len(to_text(exposure(1)))
    for settings in ({"most_events": 2}, {"most_bytes": 2 * size}):
        forwarder, _, deliver, _ = feed(Scripted(), 2, **settings)
        assert forwarder.offer(exposure(3)) is False
        assert forwarder.counters["dropped full"] == 1
        deliver(at_once=True)
        assert forwarder.offer(exposure(4)) is True
        assert forwarder.counters["dropped full"] == 1


def test_what_cannot_be_taken_is_counted_by_why(feed, exposure, conversion):
    """A refusal by its code, an event that no batch could hold, and a mapper that raises; the rest goes out."""
    dead = []
    destination = Scripted(batch_bytes=3)
    forwarder, _, deliver, _ = feed(destination, on_dead_letter=dead.append)
    for event in (exposure(13), exposure(1234), exposure(5), conversion()):
        assert forwarder.offer(event)
    assert forwarder.offer(exposure(6, details={"no": object()})) is False
    deliver(at_once=True)
    assert destination.batches == [["5"]]
    found = {name: count for name, count in forwarder.counters.items() if name.startswith("dropped")}
    assert found == {"dropped unlucky": 1, "dropped size": 1, "dropped fault": 2}
    assert [letter.reason for letter in dead] == [
        "unlucky: thirteen",
        "size: it is larger than all that may be sent at once",
        "KeyError",
    ]
    assert forwarder.pending == 0


def test_a_failed_batch_is_sent_again(feed, exposure):
    """After growing waits, in order, with what came meanwhile behind it."""
    destination = Scripted(RETRY, RETRY)
    forwarder, clock, deliver, _ = feed(destination, 2)
    deliver(at_once=True)
    forwarder.offer(exposure(3))
    assert 0 <= forwarder.due_in_s <= 0.5
    clock.now += 0.5
    deliver()
    assert forwarder.due_in_s <= 1.0
    clock.now += 1
    deliver()
    assert destination.batches == [["1", "2"], ["1", "2", "3"], ["1", "2", "3"]]
    assert (forwarder.counters["sent"], forwarder.counters["retried"], forwarder.pending) == (3, 2, 0)


@pytest.mark.parametrize("nonsense", [ValueError("bug"), None, True, "sent"])
def test_code_that_fails_on_one_event_holds_up_no_others(feed, nonsense):
    """After five attempts smaller batches are tried, until the event stands alone; five more, and it is a dead letter."""

    class Poisoned(Scripted):
        def send(self, batch):
            self.answers = [nonsense] if b"5" in batch else []
            return super().send(batch)

    dead = []
    destination = Poisoned()
    forwarder, clock, deliver, _ = feed(destination, 8, on_dead_letter=dead.append)
    for _ in range(40):
        deliver(at_once=True)
        clock.now += 60
    sent = [number for batch in destination.batches if "5" not in batch for number in batch]
    assert sorted(sent) == ["1", "2", "3", "4", "6", "7", "8"]
    assert destination.batches.count(["5"]) == 5
    assert [letter.content for letter in dead] == [b"5"]
    assert (forwarder.counters["dropped fault"], forwarder.pending) == (1, 0)


def test_a_wait_that_was_asked_for_is_kept(feed):
    """Also by a flush, which only skips our own waits."""
    destination = Scripted(Result(Verdict.RETRY, "busy", 20.0))
    forwarder, clock, deliver, _ = feed(destination, 1)
    deliver(at_once=True)
    clock.now += 19
    deliver(at_once=True)
    assert len(destination.batches) == 1
    clock.now += 1
    deliver(at_once=True)
    assert len(destination.batches) == 2
    assert forwarder.pending == 0


def test_a_destination_that_is_down_for_long_loses_nothing(feed):
    """As long as there is room, a batch that it wants later is kept."""
    destination = Scripted(*[RETRY] * 500)
    forwarder, clock, deliver, _ = feed(destination, 3)
    for _ in range(502):
        deliver()
        clock.now += 31
    assert destination.batches == [["1", "2", "3"]] * 501
    assert (forwarder.counters["sent"], forwarder.pending) == (3, 0)


def test_a_batch_is_given_up_after_its_attempts(feed):
    """If the destination says so. Its events become dead letters; what these raise changes nothing, and the next batch begins anew."""
    destination = Scripted(*[RETRY] * 5, batch_events=2, attempts=5)
    dead = []

    def bury(letter):
        dead.append(letter.content)
        raise ValueError

    forwarder, clock, deliver, _ = feed(destination, 3, on_dead_letter=bury)
    for _ in range(6):
        deliver(at_once=True)
        clock.now += 60
    assert destination.batches == [["1", "2"]] * 5 + [["3"]]
    assert dead == [b"1", b"2"]
    assert (forwarder.counters["dropped exhausted"], forwarder.counters["sent"], forwarder.pending) == (2, 1, 0)


def test_what_became_of_events_is_counted(feed):
    """Taken in, sent, left out, retried, given up: each once."""
    destination = Scripted(RETRY, batch_events=2)
    destination.map = lambda event: None if event.experiment_id == "2" else event.experiment_id
    forwarder, clock, deliver, _ = feed(destination, 3)
    assert forwarder.counters == {"queued": 3}
    deliver(at_once=True)
    clock.now += 1
    deliver(at_once=True)
    assert forwarder.counters == {"queued": 3, "left out": 1, "requests": 2, "retried": 1, "sent": 2, "bytes": 2}


def test_a_fault_is_counted_as_a_retry(feed):
    """As is any attempt that is made again."""
    forwarder, clock, deliver, _ = feed(Scripted(ValueError()), 1)
    deliver(at_once=True)
    clock.now += 1
    deliver(at_once=True)
    assert (forwarder.counters["retried"], forwarder.counters["requests"], forwarder.counters["sent"]) == (1, 2, 1)


def test_a_closed_destination_is_left_alone(feed):
    """One batch is given up, the others wait for the end of the pause."""
    destination = Scripted(Result(Verdict.CLOSED, "status 403", 60.0), batch_events=1)
    forwarder, clock, deliver, _ = feed(destination, 2)
    deliver(at_once=True)
    deliver(at_once=True)
    assert (destination.batches, forwarder.due_in_s) == ([["1"]], 60.0)
    clock.now += 60
    deliver()
    assert destination.batches == [["1"], ["2"]]


def test_what_other_processes_left_is_looked_for(exposure):
    """Every few seconds where events outlive a process, though not before the destination wants to be asked again."""
    queue = MemoryQueue("scripted")
    queue.is_durable = True
    clock = Clock()
    forwarder = Forwarder(Feed(Scripted(Result(Verdict.CLOSED, "status 403", 60.0))), queue, clock=clock)
    sender = NoNetwork(clock)
    assert forwarder.due_in_s == 5
    queue.put([to_text(exposure(1))])
    run(forwarder.deliver(), sender)
    assert forwarder.due_in_s == 60
    clock.now += 58
    assert forwarder.due_in_s == 2
    clock.now += 2
    queue.put([to_text(exposure(2))])
    run(forwarder.deliver(), sender)
    assert (forwarder.counters["sent"], forwarder.due_in_s) == (1, 5)


def test_requests_keep_to_their_rate(feed):
    """Between two requests lies at least the rate's share of a second."""
    _, _, deliver, sender = feed(Scripted(batch_events=1, requests_per_s=10), 5)
    deliver(at_once=True)
    assert sender.paused == pytest.approx([0.1] * 4)


def test_a_delivery_that_is_cut_off_loses_nothing(feed):
    """A flow that is closed half way leaves its batch to the next; one delivery runs at a time."""
    destination = Scripted(batch_events=1, requests_per_s=1)
    forwarder, _, deliver, _ = feed(destination, 2)
    flow = forwarder.deliver(at_once=True)
    next(flow)  # the pause before the second request
    assert deliver(at_once=True) is False
    flow.close()
    assert forwarder.pending == 1
    deliver(at_once=True)
    assert destination.batches == [["1"], ["2"]]


def test_threads_may_offer_at_once(exposure):
    """Nothing is lost or told twice between eight threads and a delivery."""
    taken = []
    forwarder = Forwarder(FunctionDestination(taken.extend))
    events = [exposure(number) for number in range(400)]
    threads = [threading.Thread(target=lambda: [forwarder.offer(event) for event in events]) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        run(forwarder.deliver(at_once=True), NoNetwork(Clock()))
    run(forwarder.deliver(at_once=True), NoNetwork(Clock()))
    assert sorted(int(event["experiment_id"]) for event in taken) == list(range(400))
    assert forwarder.pending == 0


def test_a_session_that_ends_while_its_exposure_is_taken_in_breaks_nothing(exposure):
    """Another thread forgets the visitor at that moment: the exposure is taken in all the same."""
    forwarder = Forwarder(Scripted())
    others = []

    class Meddled(OrderedDict):
        def setdefault(self, code, default):
            found = super().setdefault(code, default)
            others.append(threading.Thread(target=forwarder.forget, args=(code,)))
            others[-1].start()
            others[-1].join(0.1)
            return found

    forwarder._exposed = Meddled()
    assert forwarder.offer(exposure())
    others[0].join()
    assert not forwarder._exposed

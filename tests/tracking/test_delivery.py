"""What answers of the service mean for the lines of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._tracking.delivery import LONGEST_WAIT_S, Counters, Delivery
from kameleoon._tracking.lines import Line
from kameleoon._tracking.outbox import MemoryOutbox
from kameleoon._transport.message import Response, TransportError, TransportErrorKind


class Service:
    """Takes bodies as the backend does: *answer* says what it answers to the lines of a request."""

    def __init__(self, answer=lambda _: 204):
        self.answer = answer
        self.bodies = []
        self.now = 0.0
        self.outbox = MemoryOutbox()
        self.counters = Counters()
        self.delivery = Delivery(self.outbox, self.send, self.counters, lambda: self.now, lambda: 0.0)

    def put(self, *names, visitor=None):
        """Add a line for each name."""
        lines = [Line(f"visitorCode={visitor or name}", f"nonce={name}", None) for name in names]
        self.counters.produced += len(lines)
        self.outbox.put(lines)

    def send(self, body):
        """One request."""
        lines = [line.removeprefix("nonce=") for line in body.content.decode().split("\n")]
        self.bodies.append(lines)
        answer = self.answer(lines)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else Response(answer)
        yield

    def deliver(self, **arguments):
        """One round."""
        for _ in self.delivery.deliver(**arguments):
            raise AssertionError("this service answers at once")


NO_ANSWER = TransportError(TransportErrorKind.TIMEOUT, "no answer")


def test_all_lines_go_in_one_request():
    """What waits is sent together, and counted."""
    service = Service()
    service.put("a", "b", "c")
    service.deliver()
    assert service.bodies == [["a", "b", "c"]]
    assert (service.counters.sent, len(service.outbox)) == (3, 0)


@pytest.mark.parametrize("failure", [408, 425, 429, 500, 503, 401, NO_ANSWER])
def test_a_failure_that_may_pass_keeps_every_line(failure):
    """The lines wait, in their order, and are not sent again before the wait is over."""
    service = Service(lambda _: failure)
    service.put("a", "b")
    service.deliver()
    service.deliver()
    assert service.bodies == [["a", "b"]]
    assert (service.counters.sent, service.counters.dropped, service.counters.retried) == (0, 0, 1)
    assert 0 < service.delivery.waits_s <= 1.0
    service.now += 1.0
    service.answer = lambda _: 204
    service.deliver()
    assert service.bodies[1:] == [["a"], ["b"]]
    assert len(service.outbox) == 0


def test_after_an_outage_one_probe_and_then_full_batches():
    """Recovery costs one line alone; the rest follows at once in one request."""
    service = Service(lambda _: 500)
    service.put(*"abcdef")
    for _ in range(5):
        service.deliver(at_once=True)
    service.answer = lambda _: 204
    service.bodies.clear()
    service.deliver(at_once=True)
    assert service.bodies == [["a"], list("bcdef")]


def test_waits_grow_to_their_ceiling():
    """Each failure in a row makes the wait longer, up to a minute."""
    service = Service(lambda _: 500)
    service.put("a")
    waits = []
    for _ in range(12):
        service.deliver(at_once=True)
        waits.append(service.delivery.waits_s)
    assert waits[0] <= 1.0
    assert LONGEST_WAIT_S / 2 <= waits[-1] <= LONGEST_WAIT_S


def test_the_service_may_ask_for_a_longer_wait():
    """Retry-After is honoured."""
    service = Service(lambda _: Response(429, {"retry-after": "30"}))
    service.put("a")
    service.deliver()
    assert 30 <= service.delivery.waits_s <= 37.5


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_poisonous_line_is_found_and_given_up_alone(status):
    """A refused batch is split until only what is refused remains; the others arrive, each once."""
    service = Service(lambda lines: status if "bad" in lines else 204)
    service.put("a", "b", "bad", "c", "d")
    service.deliver()
    accepted = [name for body in service.bodies if "bad" not in body for name in body]
    assert sorted(accepted) == ["a", "b", "c", "d"]
    assert (service.counters.sent, service.counters.dropped, len(service.outbox)) == (4, 1, 0)


def test_a_bot_takes_nobody_with_it():
    """403 for a batch of several visitors is split; for one visitor alone it means that he is a bot, and is accepted."""
    service = Service(lambda lines: 403 if any(name.startswith("bot") for name in lines) else 204)
    service.put("a", "b")
    service.put("bot1", "bot2", visitor="bot")
    service.put("c")
    service.deliver()
    accepted = [name for body in service.bodies if not any(name.startswith("bot") for name in body) for name in body]
    assert sorted(accepted) == ["a", "b", "c"]
    assert (service.counters.sent, len(service.outbox)) == (5, 0)


def test_a_flow_that_is_closed_gives_its_lines_back():
    """Lines on loan wait again when whoever sends them is stopped."""
    service = Service()
    service.put("a", "b")

    def stuck(_body):
        yield

    delivery = Delivery(service.outbox, stuck, service.counters, lambda: 0.0, lambda: 0.0)
    flow = delivery.deliver()
    next(flow)
    flow.close()
    assert [line.text for line in service.outbox.take().lines] == ["nonce=a", "nonce=b"]


@given(st.lists(st.sampled_from([204, 204, 500, 413, 400, 403, NO_ANSWER]), max_size=30), st.integers(1, 12))
def test_whatever_is_answered_each_line_is_sent_or_given_up_once(answers, number):
    """After any sequence of answers, and a service that recovers, every line arrived or was counted as dropped."""
    remaining = list(answers)
    arrived = []

    def answer(lines):
        status = remaining.pop(0) if remaining else 204
        if status == 204 or (status == 403 and len(set(lines)) == 1):
            arrived.extend(lines)
        return status

    service = Service(answer)
    service.put(*(str(place) for place in range(number)))
    for _ in range(len(answers) + 2):
        service.deliver(at_once=True)
    assert len(service.outbox) == 0
    assert len(arrived) == len(set(arrived)) == service.counters.sent
    assert service.counters.sent + service.counters.dropped == number

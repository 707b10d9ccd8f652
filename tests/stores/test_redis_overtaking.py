"""Trips to Redis that overtake one another: conversations led by hand, so that each order of events can be had for certain."""

import pytest
import redis

from kameleoon import Conversion, CustomData
from kameleoon._visitor.facts import Told
from kameleoon._visitor.unsent import take_unsent
from kameleoon.stores.redis_worker import SharedVisitors


@pytest.fixture
def link(redis_server):
    """A connection to a Redis, empty."""
    redis_server.flush()
    connection = redis.Redis.from_url(redis_server.url, decode_responses=True)
    yield connection
    connection.close()


@pytest.fixture
def now():
    """The time, in seconds, to be set by the test."""
    return [1000.0]


@pytest.fixture
def make_worker(now):
    """A function that makes workers."""

    def make():
        return SharedVisitors(
            "o:",
            60.0,
            max_visitors=0,
            merges_linked=False,
            wall_clock=lambda: now[0],
            errors=(redis.RedisError, OSError),
        )

    return make


class Conversation:
    """One conversation of a worker, step by step."""

    def __init__(self, trips, link):
        self.trips, self.link = trips, link
        self.is_over, self.result = False, None
        self._step(lambda: next(trips))

    def ask(self):
        """Redis does what is asked; its answer is under way."""
        pipe = self.link.pipeline(transaction=False)
        for command in self.asked:
            pipe.execute_command(*command)
        self.answers = pipe.execute(raise_on_error=False)
        return self

    def hear(self):
        """The answer arrives."""
        answers = self.answers
        self._step(lambda: self.trips.send(answers))
        return self

    def lose(self):
        """The answer does not arrive."""
        self._step(lambda: self.trips.throw(redis.ConnectionError("lost")))
        return self

    def finish(self):
        """Whatever is left happens at once."""
        while not self.is_over:
            self.ask().hear()
        return self.result

    def _step(self, go):
        try:
            self.asked = go()
        except StopIteration as stop:
            self.is_over, self.result = True, stop.value


@pytest.fixture
def begin(link):
    """A function that begins a conversation."""
    return lambda trips: Conversation(trips, link)


def told(value):
    """A fact: the application told *value*."""
    return Told(value, 5)


def goals(claims):
    """Goal ids of what was claimed."""
    return [item.conversion.goal_id for claim in claims for item in claim.unsent.conversions]


def claim(worker, code="v"):
    """The conversation of a claim."""
    return worker.claim([code], consent_required=False)


def test_an_older_write_that_arrives_late_changes_nothing(make_worker, begin):
    """The later one said everything; the earlier one's values do not come back."""
    one, two = make_worker(), make_worker()
    begin(one.write("v", [told(CustomData(1, "first"))], 1)).finish()
    one.apply("v", [told(CustomData(1, "second"))], 2)
    late = begin(one.push(["v"]))
    one.apply("v", [told(CustomData(1, "third"))], 3)
    begin(one.push(["v"])).finish()
    late.ask().hear()
    assert begin(two.look("v", "look")).finish().record.custom_data[1].values == ("third",)
    assert begin(one.look("v", "look")).finish().record.custom_data[1].values == ("third",)


def test_an_older_look_that_arrives_late_takes_nothing_back(make_worker, begin):
    """What this worker told meanwhile stays known, although Redis did not have it when it answered."""
    one, two = make_worker(), make_worker()
    begin(one.write("v", [told(CustomData(1, "x"))], 1)).finish()
    begin(two.write("v", [told(CustomData(2, "y"))], 1)).finish()
    late = begin(one.look("v", "look")).ask()
    begin(two.write("v", [told(CustomData(3, "z"))], 1)).finish()
    one.apply("v", [told(Conversion(7))], 2)
    begin(one.push(["v"])).finish()
    late.hear()
    assert [item.conversion.goal_id for item in one.local("v").visitor.record.conversions] == [7]


def test_a_look_that_was_answered_before_he_was_made_does_not_forget_him(make_worker, begin):
    """A new visitor was told to Redis while an older trip found nobody."""
    one = make_worker()
    late = begin(one.look("v", "look")).ask()
    one.apply("v", [told(CustomData(1, "x"))], 1)
    begin(one.push(["v"])).finish()
    late.hear()
    assert one.local("v").visitor.record.custom_data[1].values == ("x",)


def test_a_claim_brings_along_what_another_trip_is_about_to_tell(make_worker, begin):
    """A conversion whose write is still under way is claimed, and the write that comes late does not bring it back."""
    one, two = make_worker(), make_worker()
    begin(one.write("v", [told(CustomData(1, "x"))], 1)).finish()
    one.apply("v", [told(Conversion(7))], 2)
    late = begin(one.push(["v"]))
    assert goals(begin(claim(one)).finish()) == [7]
    late.ask().hear()
    assert goals(begin(claim(one)).finish()) == goals(begin(claim(two)).finish()) == []


def test_what_is_marked_again_while_it_is_claimed_is_sent_again(make_worker, begin):
    """The same item with a newer mark is not taken with the older one."""
    one, two = make_worker(), make_worker()
    begin(one.write("v", [told(CustomData(1, "x"))], 1)).finish()
    slow = begin(claim(two)).ask().hear()
    assert goals(begin(claim(one)).finish()) == []
    begin(one.write("v", [told(CustomData(1, "y"))], 2)).finish()
    slow.finish()
    (again,) = begin(claim(one)).finish()
    assert [datum.values for datum in again.unsent.custom_data] == [("y",)]


def test_two_workers_that_make_a_visitor_lose_nothing_of_what_comes_meanwhile(make_worker, begin):
    """Who comes second goes on in the record of the first, with what he learnt while his write was under way."""
    one, two = make_worker(), make_worker()
    one.apply("v", [told(CustomData(1, "x"))], 1)
    two.apply("v", [told(CustomData(2, "y"))], 1)
    second = begin(two.push(["v"]))
    begin(one.push(["v"])).finish()
    second.ask()
    two.apply("v", [told(CustomData(3, "z"))], 2)
    second.hear()
    assert set(two.local("v").visitor.record.custom_data) >= {2, 3}
    begin(two.push()).finish()
    for worker in (one, two):
        assert set(begin(worker.look("v", "look")).finish().record.custom_data) == {1, 2, 3}


def test_what_redis_lost_comes_back_but_for_what_may_be_claimed(make_worker, begin, link):
    """Redis was started anew: what is known for targeting is told again, marks that it had confirmed are not."""
    one, two = make_worker(), make_worker()
    begin(one.write("v", [told(CustomData(1, "x")), told(Conversion(7))], 1)).finish()
    begin(one.look("v", "look")).finish()
    link.flushall()
    one.apply("v", [told(CustomData(2, "y"))], 2)
    begin(one.push()).finish()
    begin(one.push()).finish()
    assert set(begin(two.look("v", "look")).finish().record.custom_data) == {1, 2}
    (found,) = begin(claim(two)).finish()
    assert [datum.index for datum in found.unsent.custom_data] == [2]
    assert found.unsent.conversions == ()


def test_a_claim_that_was_not_done_is_told_again(make_worker, begin):
    """The worker sends what it asked for; Redis is told so until it has heard it, and gives it to nobody else."""
    one, two = make_worker(), make_worker()
    begin(one.write("v", [told(Conversion(7))], 1)).finish()
    asked = begin(claim(one)).ask().hear()
    assert goals(asked.lose().result) == [7]
    one._away_until_s = 0.0
    begin(one.look("v", "look")).finish()
    assert goals(begin(claim(two)).finish()) == []


def test_a_trip_that_fails_takes_what_it_had_to_tell_again_along(make_worker, begin):
    """A claim that is to be told again stays so when the trip that told it is lost too."""
    one, two = make_worker(), make_worker()
    begin(one.write("v", [told(Conversion(7))], 1)).finish()
    begin(claim(one)).ask().hear().lose()
    one._away_until_s = 0.0
    begin(one.look("v", "look")).lose()
    one._away_until_s = 0.0
    begin(one.look("v", "look")).finish()
    assert goals(begin(claim(two)).finish()) == []


def test_sessions_that_are_done_with_leave_redis(make_worker, begin, link, now):
    """Nothing of an ended session stays once its worker asked for the next ones."""
    one = make_worker()
    begin(one.write("v", [told(Conversion(7))], 1)).finish()
    now[0] += 61
    begin(one.expire()).finish()
    assert [entry.code for entry in one.hand_out()] == ["v"]
    assert link.zcard("o:over") == 1
    begin(one.expire()).finish()
    assert one.hand_out() == []
    assert (link.zcard("o:over"), link.keys("o:e:*")) == (0, [])


def test_who_comes_back_while_redis_is_away_loses_nothing_of_his_ended_session(make_worker, begin, now):
    """What of it Redis had not heard goes out, and the visitor starts anew."""
    one = make_worker()
    begin(one.write("v", [told(CustomData(1, "x"))], 1)).finish()
    begin(one.look("v", "look")).lose()
    one.apply("v", [told(Conversion(7))], 2)
    now[0] += 61
    one.apply("v", [told(CustomData(2, "y"))], 3)
    begin(one.expire()).finish()
    ((_, visitor, _),) = one.hand_out()
    left = take_unsent(visitor, consent_required=False)
    assert [item.conversion.goal_id for item in left.conversions] == [7]
    assert set(one.local("v").visitor.record.custom_data) == {2}

"""What becomes of writes and claims whose answer is lost on the way: nothing is lost, and nothing is sent under two names."""

import random
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from kameleoon import Conversion, CustomData
from kameleoon._tracking.lines import make_lines
from kameleoon._visitor.facts import Told
from kameleoon._visitor.unsent import take_unsent
from kameleoon.stores import RedisStore
from kameleoon.stores.redis_scripts import SHAS

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import Sink, until
from redis_proxy import Lossy


@pytest.fixture
def lossy(redis_server):
    """A Redis, empty, whose answers may be lost."""
    redis_server.flush()
    with Lossy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def make_store(lossy, redis_server):
    """A function that makes stores as workers would, over a way that loses answers or, for comparison, a good one."""
    made = []

    def make(*, is_lossy=True, **more):
        url = lossy.url if is_lossy else redis_server.url
        made.append(RedisStore(url, **{"session_s": 60.0, "prefix": "l:", "timeout_s": 5.0, **more}))
        return made[-1]

    yield make
    lossy.is_lost = lambda _asked: False
    for store in made:
        store.close()


def told(value):
    """A fact: the application told *value*."""
    return Told(value, 5)


def again(store):
    """Let *store* try Redis again without waiting for its second to be over."""
    store._visitors._away_until_s = 0.0


def lose_once(lossy, *scripts):
    """Lose the next answer to a trip with one of *scripts*."""
    shas = [SHAS[name].encode() for name in scripts]

    def is_lost(asked):
        if any(sha in asked for sha in shas):
            lossy.is_lost = lambda _asked: False
            return True
        return False

    lossy.is_lost = is_lost


def lines_of(claim):
    """``{goal id: nonce}`` of the conversions of a claim, as they are sent."""
    return lines(claim.code, claim.unsent, claim.nonces)


def lines(code, unsent, nonces):
    """``{goal id: nonce}`` of what is sent."""
    found = {}
    for line in make_lines(code, unsent, nonces=nonces):
        fields = dict(part.split("=", 1) for part in line.text.split("&"))
        if fields["eventType"] == "conversion":
            found[int(fields["goalId"])] = fields["nonce"]
    return found


def claim(store, code="v"):
    """What is unsent of one code."""
    return store.claim([code], consent_required=False)[0]


def ended_of(store):
    """All whose session ended since the last call."""
    return [entry for some in store.expire() for entry in some]


def test_a_write_whose_answer_was_lost_is_not_done_again(make_store, lossy):
    """Redis did it, another worker claimed what it brought; the first worker tells it again, and nothing comes back to life."""
    one, two = make_store(), make_store(is_lossy=False)
    one.write("v", [told(CustomData(1, "x"))], 1)
    lose_once(lossy, "write")
    one.write("v", [told(Conversion(7))], 2)
    assert one._visitors.is_away
    assert list(lines_of(claim(two))) == [7]
    two.write("v", [told(CustomData(1, "y"))], 3)
    again(one)
    assert one.read("v").record.custom_data[1].values == ("y",)
    assert not one._visitors._dirty
    assert lines_of(claim(one)) == lines_of(claim(two)) == {}


def test_a_write_that_never_arrived_is_done_later(make_store, lossy):
    """What Redis has not heard of it is told when it can be reached again."""
    one, two = make_store(), make_store(is_lossy=False)
    one.write("v", [told(CustomData(1, "x"))], 1)
    lossy.port, port = 1, lossy.port
    one._redis.connection_pool.disconnect()
    one.write("v", [told(Conversion(7))], 2)
    assert lines_of(claim(two)) == {}
    lossy.port = port
    again(one)
    one.read("v")
    assert list(lines_of(claim(two))) == [7]


def test_a_claim_whose_answer_was_lost_is_sent_under_the_name_it_has(make_store, lossy):
    """The worker that asked sends it; whoever else does, does so with the same nonce."""
    one, two = make_store(), make_store(is_lossy=False)
    one.write("v", [told(Conversion(7))], 1)
    before = one._visitors._known["v"].shared.fields
    nonce = next(text for name, text in before.items() if name.startswith("!8:"))
    lose_once(lossy, "take")
    assert lines_of(claim(one)) == {7: nonce}
    again(one)
    one.read("v")
    assert lines_of(claim(one)) == lines_of(claim(two)) == {}


def test_while_redis_is_away_what_it_may_have_heard_of_goes_out_under_one_name(make_store, lossy):
    """A write's answer was lost; its worker sends the item, and so does another, with the same nonce."""
    one, two = make_store(), make_store(is_lossy=False)
    one.write("v", [told(CustomData(1, "x"))], 1)
    lose_once(lossy, "write")
    one.write("v", [told(Conversion(7))], 2)
    assert lines_of(claim(one)) == lines_of(claim(two)) != {}
    again(one)
    one.read("v")
    assert lines_of(claim(one)) == {}


def test_sessions_that_a_dead_worker_took_are_another_s_after_a_minute(make_store):
    """Until it asks again it may have died; what it had taken goes out with the same nonces."""
    now = [1000.0]
    one, two = (make_store(wall_clock=lambda: now[0]) for _ in range(2))
    one.write("v", [told(Conversion(7))], 1)
    now[0] += 61
    ended = ended_of(one)
    assert ended_of(two) == []
    now[0] += 59
    assert ended_of(two) == []
    now[0] += 2
    taken = ended_of(two)

    def nonces(entries):
        return [lines(one.code, take_unsent(one.visitor, consent_required=False), one.nonces) for one in entries]

    assert nonces(ended) == nonces(taken) != [{}]
    ended_of(two)
    now[0] += 120
    assert ended_of(one) == ended_of(two) == []


def test_what_was_not_handed_out_comes_with_the_next_call(make_store, monkeypatch):
    """Whoever stops half way is given the rest later, and what he was not given he is not taken to be done with."""
    monkeypatch.setattr("kameleoon.stores.redis_worker._STEP", 2)
    now = [1000.0]
    one, two = (make_store(wall_clock=lambda: now[0]) for _ in range(2))
    for code in "abc":
        one.write(code, [told(Conversion(7))], 1)
    now[0] += 61
    assert [entry.code for entry in next(iter(one.expire()))] == ["a", "b"]
    one.expire()
    now[0] += 61
    one.expire()
    now[0] += 61
    assert [entry.code for entry in ended_of(two)] == ["c"]
    assert [entry.code for entry in ended_of(one)] == ["c"]
    now[0] += 120
    assert ended_of(one) == ended_of(two) == []


def test_sessions_whose_way_was_lost_are_handed_out_again(make_store, lossy):
    """An answer with ended sessions that nobody got is given to the next who asks, a minute later."""
    now = [1000.0]
    one, two = (make_store(wall_clock=lambda: now[0]) for _ in range(2))
    one.write("v", [told(Conversion(7))], 1)
    now[0] += 61
    lose_once(lossy, "expire")
    assert ended_of(one) == []
    now[0] += 61
    assert [entry.code for entry in ended_of(two)] == ["v"]


def test_what_only_this_worker_knows_of_an_ended_session_goes_out_while_redis_is_away(make_store, lossy):
    """Events do not wait for a Redis that may never come back."""
    now = [1000.0]
    store = make_store(wall_clock=lambda: now[0])
    store.write("v", [told(CustomData(1, "x"))], 1)
    lossy.is_lost = lambda _asked: True
    store.write("v", [told(Conversion(7))], 2)
    now[0] += 61
    ((code, visitor, nonces),) = ended_of(store)
    assert list(lines(code, take_unsent(visitor, consent_required=False), nonces)) == [7]
    assert ended_of(store) == []


def test_no_trip_is_repeated_behind_our_back(make_store, lossy):
    """Whatever the client library would do by itself: a lost answer costs one trip, and ``timeout_s``."""
    store = make_store(timeout_s=0.2)
    store.write("v", [told(CustomData(1, "x"))], 1)
    lossy.is_lost = lambda _asked: True
    before = lossy.trips
    store.read("v")
    assert lossy.trips == before + 1


@pytest.mark.parametrize("seed", range(4))
def test_whatever_answers_are_lost_each_item_has_one_name(make_store, lossy, seed):
    """Two workers write and claim, a fifth of the answers lost: every conversion goes out, all its lines with one nonce."""
    chance = random.Random(seed)
    stores = [make_store(), make_store()]
    lossy.is_lost = lambda _asked: chance.random() < 0.2
    sent = defaultdict(set)

    def take(store):
        for goal, nonce in lines_of(claim(store)).items():
            sent[goal].add(nonce)

    for goal in range(120):
        store = chance.choice(stores)
        if chance.random() < 0.7:
            again(store)
        store.write("v", [told(Conversion(goal))], goal)
        if chance.random() < 0.5:
            take(chance.choice(stores))
    lossy.is_lost = lambda _asked: False
    for store in stores * 2:
        again(store)
        take(store)
    assert sorted(sent) == list(range(120))
    assert [goal for goal, nonces in sent.items() if len(nonces) > 1] == []


def test_two_clients_over_a_lossy_way_send_each_event_under_one_name(lossy):
    """The same with whole clients and their workers: every conversion arrives, with one nonce."""
    chance = random.Random(3)
    with Sink() as sink:
        clients = [sink.client(visitor_store=RedisStore(lossy.url, timeout_s=5.0)) for _ in range(2)]
        lossy.is_lost = lambda _asked: chance.random() < 0.1
        for goal in range(60):
            client = clients[goal % 2]
            again(client._core.store)
            client.track_conversion(f"v{goal % 5}", goal)
            if goal % 7 == 0:
                client.flush(instant=True)
        lossy.is_lost = lambda _asked: False
        for client in clients:
            again(client._core.store)
            until(lambda client=client: client.flush(timeout=5.0).pending == 0)
            client.close()
        nonces = defaultdict(set)
        for fields in sink.taken("conversion"):
            nonces[int(fields["goalId"])].add(fields["nonce"])
        assert sorted(nonces) == list(range(60))
        assert {len(found) for found in nonces.values()} == {1}

"""The store in Redis, over a real one: what workers share, what a round trip costs, and what happens while Redis is away."""

import json
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon import Conversion, CustomData
from kameleoon._visitor.facts import Told
from kameleoon._visitor.record import Assignment, Visitor, VisitorRecord
from kameleoon._visitor.unsent import take_unsent
from kameleoon.stores import RedisStore
from kameleoon.stores.redis_record import decode_record, encode_record

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
sys.path.insert(0, str(Path(__file__).parents[1] / "visitor"))
from event_sink import Sink, until
from every_fact import FACTS, all_of_record
from redis_process import BINARY, RedisProcess


def known(record):
    """All that a record says; `is_plain` follows from it."""
    found = all_of_record(record)
    del found["is_plain"]
    return found


@given(st.lists(st.sampled_from(FACTS), max_size=12))
def test_a_record_comes_back_from_its_fields_as_it_was(facts):
    """Whatever is known of a visitor, everything of it survives, and so does what is unsent."""
    visitor = Visitor(VisitorRecord(77), 0.0)
    for fact in facts:
        fact.apply(visitor)
    fields = encode_record(visitor.record, tokens := [], {})
    back, names = decode_record(json.loads(json.dumps(fields)))
    assert names == tokens
    assert known(back) == known(visitor.record)
    assert encode_record(back, names, fields) == fields
    expected = take_unsent(visitor, consent_required=False)
    found = take_unsent(Visitor(back, 0.0), consent_required=False)
    assert {*found.custom_data} == {*expected.custom_data}
    assert found.conversions == expected.conversions


def test_a_field_that_cannot_be_read_is_left_out():
    """Rubbish in Redis costs only itself."""
    record, _ = decode_record(
        {"t": "5", "c:1": "{", "c:2": '[2,null,true,["x"]]', "br": '["NETSCAPE",1]', "zz": "1", "a:x": "[]"}
    )
    assert (record.started_ms, list(record.custom_data), record.browser) == (5, [2], None)


@pytest.fixture
def make_store(redis_server):
    """A function that makes stores of one Redis, as several workers would."""
    redis_server.flush()
    made = []

    def make(**settings):
        made.append(RedisStore(redis_server.url, **{"session_s": 60.0, "prefix": "t:", "timeout_s": 5.0, **settings}))
        return made[-1]

    yield make
    for store in made:
        store.close()


def told(value):
    """A fact: the application told *value*."""
    return Told(value, 5)


def test_what_one_worker_writes_the_other_reads(make_store):
    """At once, in both directions, and neither undoes the other's work."""
    one, two = make_store(), make_store()
    one.write("v", [told(CustomData(1, "x"))], 1)
    two.write("v", [told(CustomData(2, "y"))], 2)
    assert set(one.read("v").record.custom_data) == set(two.read("v").record.custom_data) == {1, 2}
    assert one.read("v").record.started_ms == 1


def test_workers_that_meet_a_visitor_at_the_same_moment_share_him(make_store):
    """Each of them made him; what both know ends up in one record."""
    one, two = make_store(), make_store()
    one.assign("v", None, Assignment(1, 10, False, 0, False), True, 5)
    two.assign("v", None, Assignment(2, 20, False, 0, False), True, 6)
    claimed = [store.claim(["v"], consent_required=False)[0].unsent for store in (one, two)]
    assert sorted(given.experiment_id for unsent in claimed for given in unsent.assignments) == [1, 2]
    assert set(one.read("v").record.assignments) == set(two.read("v").record.assignments) == {1, 2}


def test_each_item_is_claimed_by_one_of_all_workers(make_store):
    """Eight threads of two workers write and claim at once: every conversion is handed out exactly once."""
    stores = [make_store(), make_store()]
    found, lock = [], threading.Lock()

    def work(place):
        store = stores[place % 2]
        for number in range(25):
            store.write("v", [told(Conversion(100 * place + number))], 1)
            unsent = store.claim(["v"], consent_required=False)[0].unsent
            with lock:
                found.extend(item.conversion.goal_id for item in unsent.conversions)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        found += [item.conversion.goal_id for item in store.claim(["v"], consent_required=False)[0].unsent.conversions]
    assert sorted(found) == sorted(100 * place + number for place in range(8) for number in range(25))


def test_an_ended_session_is_handed_out_by_one_worker(make_store):
    """Its unsent data is not lost, and not sent by both."""
    now = [1000.0]
    stores = [make_store(wall_clock=lambda: now[0]) for _ in range(2)]
    stores[0].write("v", [told(Conversion(7))], 1)
    now[0] += 61
    ended = [entry for store in stores for some in store.expire() for entry in some]
    assert [(code, visitor.record.conversions[0].conversion.goal_id) for code, visitor, _ in ended] == [("v", 7)]


def test_an_evaluation_costs_one_round_trip(make_store):
    """A look and a variation to remember: one request to Redis, however many evaluations came before."""
    store = make_store()
    store.write("v", [told(CustomData(1, "x"))], 1)
    trips = []
    execute = store._redis.connection_pool.get_connection

    def counted(*arguments, **more):
        trips.append(1)
        return execute(*arguments, **more)

    store._redis.connection_pool.get_connection = counted
    for number in range(10):
        visitor = store.read("v")
        store.assign("v", visitor, Assignment(1, 10, False, 0, False), True, number)
    assert len(trips) == 10


def test_scripts_that_redis_forgot_are_loaded_again(make_store, redis_server):
    """Redis was started anew, or somebody flushed its scripts."""
    store = make_store()
    store.write("v", [told(CustomData(1, "x"))], 1)
    redis_server.command("SCRIPT FLUSH")
    assert store.read("v").record.custom_data[1].values == ("x",)
    assert not store._visitors.is_away


def test_keys_have_an_end(make_store, redis_server):
    """When no worker comes any more, Redis forgets by itself."""
    store = make_store()
    store.write("v", [told(CustomData(1, "x"))], 1)
    rid = store._visitors._known["v"].shared.rid
    for key in ("t:c:v", f"t:r:{rid}"):
        assert int(redis_server.command(f"PTTL {key}")[1:]) > 60_000


@pytest.mark.skipif(BINARY is None, reason="there is no redis-server on this machine")
def test_while_redis_is_away_the_worker_goes_on(caplog):
    """It answers from what it knows, says so once, sends what it learns itself, and shares again when Redis is back."""
    server = RedisProcess().start()
    with Sink() as sink:
        stores = [RedisStore(server.url, timeout_s=0.5) for _ in range(2)]
        clients = [sink.client(visitor_store=store) for store in stores]
        try:
            one, two = clients
            one.wait_init()
            two.wait_init()
            one.add_data("v", CustomData(1, "x"))
            assert stores[1].read("v").record.custom_data[1].values == ("x",)
            server.stop()
            for _ in range(20):
                assert one.get_variation("v", "flag").key == "on"
            one.add_data("v", CustomData(2, "y"))
            one.track_conversion("v", 5)
            assert set(one._core.store.read("v").record.custom_data) == {1, 2}
            assert one.flush("v", timeout=5.0).pending == 0
            assert sink.goals() == [5]
            assert sum("Redis cannot be reached" in record.getMessage() for record in caplog.records) == 1 + (
                stores[1]._visitors.is_away
            )
            server.start()
            until(lambda: one._core.store.read("v") is not None and not stores[0]._visitors.is_away)
            until(lambda: (visitor := stores[1].read("v")) is not None and 2 in visitor.record.custom_data)
            one.flush("v", timeout=5.0)
            two.flush("v", timeout=5.0)
            assert sink.goals() == [5]
        finally:
            for client in clients:
                client.close()
            server.stop()


def test_the_url_s_password_is_not_shown():
    """Neither the store's text nor its errors tell it."""
    assert "secret" not in repr(RedisStore("redis://:secret@127.0.0.1:1/0"))

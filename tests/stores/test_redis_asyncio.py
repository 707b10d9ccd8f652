"""The store in Redis on an event loop: the loop goes on while Redis does not answer, and visitors brought ahead cost no trip."""

import asyncio
import gc
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kameleoon import Conversion, CustomData, UniqueIdentifier
from kameleoon._visitor.facts import Told
from kameleoon._visitor.record import Assignment
from kameleoon._visitor.unsent import take_unsent
from kameleoon.destinations import ConsentRule, Feed, FunctionDestination
from kameleoon.integrations.asgi import VISITOR_KEY, KameleoonASGIMiddleware
from kameleoon.stores import RedisStore, SharedVisitorStore
from kameleoon.stores.redis_scripts import SHAS

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
from event_sink import Sink, until
from redis_proxy import Lossy

STALL_MS = 800
"""How long Redis answers nobody."""

HELD_S = 0.35
"""Longest time a loop may stand still; far less than Redis stalls, and more than a busy machine takes."""


@pytest.fixture
def server(redis_server):
    """A Redis, empty."""
    redis_server.flush()
    return redis_server


@pytest.fixture
def make_store(server):
    """A function that makes stores of one Redis, as several workers would."""
    made = []

    def make(**settings):
        made.append(RedisStore(server.url, **{"session_s": 60.0, "prefix": "a:", "timeout_s": 5.0, **settings}))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def sink():
    """A service that takes everything."""
    with Sink() as running:
        yield running


@asynccontextmanager
async def heartbeat():
    """Watch the loop while the block lasts; the list gets the longest time that it stood still, in seconds."""
    longest = [0.0]

    async def beat():
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.002)
            longest[0] = max(longest[0], time.monotonic() - before)
            before = time.monotonic()

    task = asyncio.create_task(beat())
    try:
        yield longest
    finally:
        task.cancel()


def told(value):
    """A fact: the application told *value*."""
    return Told(value, 5)


def count_trips(store):
    """A list that grows with every blocking trip."""
    trips = []
    exchange = store._exchange
    store._exchange = lambda commands: trips.append(threading.current_thread()) or exchange(commands)
    return trips


def test_it_is_a_store_that_waits(make_store):
    """The store has all that the protocol of shared stores asks for."""
    assert isinstance(make_store(), SharedVisitorStore)


def test_the_loop_goes_on_while_redis_stalls(sink, server):
    """Evaluations, data and conversions of a visitor brought ahead wait for nothing; bringing others takes Redis' time, not the loop's."""

    async def application():
        async with sink.client(visitor_store=RedisStore(server.url, timeout_s=5.0)) as client:
            await client.prepare_async("v")
            async with heartbeat() as longest:
                server.command(f"CLIENT PAUSE {STALL_MS} ALL")
                started = time.monotonic()
                for goal in range(20):
                    assert client.get_variation("v", "flag").key == "on"
                    client.add_data("v", CustomData(1, str(goal)))
                    client.track_conversion("v", goal)
                    client.set_legal_consent("v", True)
                    client.flush()
                    client.flush("v", instant=True)
                    client.stats()
                    await asyncio.sleep(0)
                assert time.monotonic() - started < STALL_MS / 2000
                await asyncio.gather(*(client.prepare_async(f"w{number}") for number in range(20)))
                assert time.monotonic() - started > STALL_MS / 2000
            assert longest[0] < HELD_S
            assert (await client.flush_async(timeout=5.0)).pending == 0

    asyncio.run(application())
    assert sorted(sink.goals()) == list(range(20))


def test_background_work_on_the_loop_goes_on_while_redis_stalls(sink, server):
    """A client without threads claims and pushes on the loop, and does not hold it."""

    async def application():
        settings = {"multi_threading": False, "tracking_interval_millisecond": 1000}
        async with sink.client(visitor_store=RedisStore(server.url, timeout_s=5.0), **settings) as client:
            client._core.schedule._job("tracking").wait_s = lambda: 0.01
            await client.get_remote_data_async("what is imported then takes longer than any test here")
            work = asyncio.create_task(client.run_background())
            await client.prepare_async("v")
            async with heartbeat() as longest:
                client._core.schedule.hasten("tracking")
                await asyncio.sleep(0.02)
                server.command(f"CLIENT PAUSE {STALL_MS} ALL")
                for goal in range(20):
                    client.track_conversion("v", goal)
                    await asyncio.sleep(0)
                await asyncio.to_thread(until, lambda: client.stats().events_sent == 20)
            assert longest[0] < HELD_S
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    asyncio.run(asyncio.wait_for(application(), 20))
    assert sorted(sink.goals()) == list(range(20))


@pytest.mark.parametrize("feed", [False, True], ids=["the service alone", "a destination"])
def test_background_work_on_the_loop_makes_no_blocking_trip(sink, server, feed):
    """Whatever it looks at on its way: identifiers that map themselves, words that destinations wait for, visitors who are gone."""
    source = {"featureFlags": [], "customData": [{"index": 3, "name": "user", "isMappingIdentifier": True}]}
    heard = []
    feeds = [Feed(FunctionDestination(heard.extend), consent=ConsentRule.GIVEN)] if feed else []

    async def application():
        store = RedisStore(server.url, timeout_s=5.0, session_s=1.0)
        async with sink.client(visitor_store=store, source=source, multi_threading=False, destinations=feeds) as client:
            client._core.schedule._job("tracking").wait_s = lambda: 0.01
            work = asyncio.create_task(client.run_background())
            await client.prepare_async("v", "u")
            trips = count_trips(store)
            client.add_data("u", UniqueIdentifier(True))
            client._core.schedule.hasten("tracking")
            for code in "vu":
                client.track_conversion(code, 7)
            for _ in range(2):
                client.flush()
                await asyncio.to_thread(until, lambda: not client._core.tracker._asked)
            await asyncio.to_thread(until, lambda: client.stats().events_sent >= 3)
            client.set_legal_consent("v", True)
            await asyncio.to_thread(until, lambda: heard or not feed)
            await asyncio.to_thread(until, lambda: client.stats().visitors == 0)
            await asyncio.sleep(0.05)
            assert threading.current_thread() not in trips
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    asyncio.run(asyncio.wait_for(application(), 20))
    assert sink.goals() == [7, 7]
    assert [event["visitor_code"] for event in heard] == ["v"] * feed


def test_a_round_that_is_cancelled_forgets_nobody(sink, server):
    """The loop ended while the round looked at visitors: whoever it had taken from the register is told of by the next round."""
    source = {"featureFlags": [], "customData": [{"index": 3, "name": "user", "isMappingIdentifier": True}]}

    async def interrupted(client, proxy):
        work = asyncio.create_task(client.run_background())
        client.track_conversion("v", 7)
        loop = asyncio.get_running_loop()

        def cancel(asked):
            if b"look" in asked and not client._core.tracker._registered:
                loop.call_soon_threadsafe(work.cancel)
            return False

        proxy.is_lost = cancel
        client._core.schedule.hasten("tracking")
        await asyncio.gather(work, return_exceptions=True)
        proxy.is_lost = lambda _asked: False

    async def resumed(client):
        work = asyncio.create_task(client.run_background())
        client._core.schedule.hasten("tracking")
        await asyncio.to_thread(until, lambda: client.stats().events_sent)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    with Lossy(server.port) as proxy:
        store = RedisStore(proxy.url, timeout_s=5.0)
        with sink.client(visitor_store=store, source=source, multi_threading=False) as client:
            asyncio.run(asyncio.wait_for(interrupted(client, proxy), 20))
            asyncio.run(asyncio.wait_for(resumed(client), 20))
            assert sink.goals() == [7]


def test_a_flush_of_one_visitor_is_waited_for(sink, server):
    """What the background claims for the caller counts in what he is told."""
    with sink.client(visitor_store=RedisStore(server.url, timeout_s=5.0), tracking_interval_millisecond=5000) as client:
        assert client.wait_init()
        client.add_data("v", Conversion(7))
        result = client.flush("v", timeout=5.0)
        assert (result.sent, result.pending) == (1, 0)


def test_methods_that_ask_the_service_do_not_hold_the_loop_for_redis(sink, server):
    """The awaited methods look the visitor up, and add to him, while Redis stalls."""

    async def application():
        async with sink.client(visitor_store=RedisStore(server.url, timeout_s=5.0)) as client:
            await client.get_remote_data_async("what is imported then takes longer than any test here")
            async with heartbeat() as longest:
                server.command(f"CLIENT PAUSE {STALL_MS} ALL")
                await client.get_remote_visitor_data_async("v", timeout=3.0)
                await client.get_visitor_warehouse_audience_async("v", 1, timeout=3.0)
            assert longest[0] < HELD_S

    asyncio.run(application())


def test_a_visitor_brought_ahead_costs_no_trip(make_store):
    """Evaluations, data and links answer from what was brought, in this task only; writing reaches other workers with `push`."""
    store, other = make_store(), make_store()
    other.write("v", [told(CustomData(1, "x"))], 1)
    waiting = []
    store.bind("site", 60.0, on_waiting=lambda: waiting.append(1))

    async def application():
        await store.abring(["v", "unknown"])
        trips = count_trips(store)
        assert store.read("v").record.custom_data[1].values == ("x",)
        assert store.peek("unknown") is None
        store.assign("v", store.read("v"), Assignment(1, 10, False, 0, False), True, 5)
        store.write("v", [told(CustomData(2, "y"))], 2)
        store.write("unknown", [told(CustomData(3, "z"))], 2)
        store.link("v", "user", 3)
        assert set(store.read("user").record.custom_data) == {1, 2}
        assert (trips, waiting) == ([], [1])
        assert other.read("unknown") is None
        await store.apush()
        assert trips == []
        await asyncio.create_task(inherits())

    async def inherits():
        trips = count_trips(store)
        assert set(store.read("v").record.custom_data) == {1, 2}
        assert trips == []

    asyncio.run(application())
    assert set(other.read("v").record.custom_data) == {1, 2}
    assert set(other.read("unknown").record.custom_data) == {3}
    assert other.read("user").record is other.read("v").record
    trips = count_trips(store)
    store.read("v")
    assert len(trips) == 1


def test_what_was_brought_is_not_answered_from_for_ever(make_store, monkeypatch):
    """After half a minute a task that lives on asks again."""
    store, other = make_store(), make_store()
    store.bring(["v"])
    other.write("v", [told(CustomData(1, "x"))], 1)
    assert store.read("v") is None
    now_s = time.monotonic()
    monkeypatch.setattr("kameleoon.stores.redis.time.monotonic", lambda: now_s + 31)
    assert store.read("v").record.custom_data[1].values == ("x",)


def test_many_are_brought_in_one_trip(make_store):
    """A job that goes through visitors asks once for all of them, and looking again does not bring what is known."""
    store = make_store()
    for number in range(100):
        store.write(f"v{number}", [told(CustomData(1, str(number)))], 1)
    reader = make_store()
    trips = count_trips(reader)
    reader.bring([f"v{number}" for number in range(100)])
    assert all(reader.read(f"v{number}").record.custom_data[1].values == (str(number),) for number in range(100))
    assert len(trips) == 1


def test_bringing_is_activity_unless_said_otherwise(make_store):
    """A session goes on when its visitor is brought for a request, and not when he is only looked at."""
    now = [1000.0]
    store = make_store(wall_clock=lambda: now[0])
    store.write("v", [], 1)
    store.write("w", [], 1)
    now[0] += 40
    store.bring(["v"])
    store.bring(["w"], is_activity=False)
    now[0] += 40
    other = make_store(wall_clock=lambda: now[0])
    assert (other.peek("v") is not None, other.peek("w") is not None) == (True, False)


def test_tasks_of_one_loop_share_trips(server):
    """A hundred tasks that ask at once are answered with a few trips over one connection."""
    with Lossy(server.port) as proxy:
        store = RedisStore(proxy.url, session_s=60.0, prefix="a:", timeout_s=5.0)

        async def application():
            await store.aread("warm")
            before = proxy.trips
            await asyncio.gather(*(store.abring([f"v{number}"]) for number in range(100)))
            assert proxy.trips - before <= 5
            await store.aclose()

        asyncio.run(application())


def test_loops_come_and_go(server):
    """One store serves a loop after the other, and several at once, without a connection or a warning left behind."""
    store = RedisStore(server.url, session_s=60.0, prefix="a:", timeout_s=5.0)
    connected = server.clients()

    async def work(number):
        await asyncio.gather(*(store.awrite("v", [told(Conversion(10 * number + part))], 1) for part in range(5)))

    for number in range(10):
        asyncio.run(work(number))
    threads = [threading.Thread(target=lambda number=number: asyncio.run(work(number))) for number in range(10, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    unsent = store.claim(["v"], consent_required=False)[0].unsent
    assert sorted(item.conversion.goal_id for item in unsent.conversions) == sorted(
        10 * number + part for number in range(14) for part in range(5)
    )
    store.close()
    until(lambda: server.clients() <= connected)


def test_a_cancelled_claim_loses_nothing(server):
    """Redis gave the item away to somebody who did not wait for it: it goes out with the sessions that ended."""
    with Lossy(server.port) as proxy:
        store = RedisStore(proxy.url, session_s=60.0, prefix="a:", timeout_s=5.0)
        store.write("v", [told(Conversion(7))], 1)

        async def application():
            claims = asyncio.create_task(store.aclaim(["v"], consent_required=False))
            loop = asyncio.get_running_loop()

            def cancel(asked):
                if SHAS["take"].encode() in asked:
                    loop.call_soon_threadsafe(claims.cancel)
                return False

            proxy.is_lost = cancel
            await asyncio.gather(claims, return_exceptions=True)
            assert claims.cancelled()
            return [entry for some in await store.aexpire() for entry in some]

        ((_, visitor, nonces),) = asyncio.run(application())
        unsent = take_unsent(visitor, consent_required=False)
        assert [item.conversion.goal_id for item in unsent.conversions] == [7]
        assert len(nonces) == 1
        assert store.claim(["v"], consent_required=False)[0].unsent.conversions == ()
        store.close()


def test_a_code_that_has_no_utf_8_form_is_nobody_s(make_store):
    """Half of a surrogate pair cannot be told to Redis; whoever asks for it is told of nobody, and others are not concerned."""
    store = make_store()
    store.write("v", [told(Conversion(7))], 1)
    assert store.read("half \ud800") is None
    store.bring(["half \ud800", "v"])
    claims = store.claim(["half \ud800", "v"], consent_required=False)
    assert claims[0].unsent is None
    assert [item.conversion.goal_id for item in claims[1].unsent.conversions] == [7]


def test_requests_of_an_asgi_application_make_no_blocking_trip(sink, server, make_store):
    """The middleware brings the visitor ahead: what the application asks and tells is done without waiting for Redis."""
    store = RedisStore(server.url, timeout_s=5.0)
    other = make_store(prefix="kameleoon:sink:")
    seen = []

    async def view(scope, _receive, send):
        visitor = scope[VISITOR_KEY]
        seen.append(visitor.is_active("flag"))
        visitor.add_data(CustomData(1, "x"))
        visitor.track_conversion(len(seen))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def application():
        async with sink.client(visitor_store=store) as client:
            middleware = KameleoonASGIMiddleware(view, client)
            trips = count_trips(store)
            for cookie in (b"", b"kameleoonVisitorCode=known"):
                scope = {"type": "http", "headers": [(b"cookie", cookie)] if cookie else []}

                async def ignore(*_):
                    pass

                await asyncio.create_task(middleware(scope, ignore, ignore))
            assert threading.current_thread() not in trips
            await asyncio.to_thread(until, lambda: other.read("known") is not None)
            assert (await client.flush_async(timeout=5.0)).pending == 0

    asyncio.run(application())
    assert seen == [True, True]
    assert sorted(sink.goals()) == [1, 2]


def test_a_flush_brings_nobody_ahead_for_its_caller(sink, server, make_store, tmp_path):
    """What a flush looks at on its way is not what the caller's next evaluations answer from."""
    other = make_store(prefix="kameleoon:sink:")
    with sink.client(visitor_store=RedisStore(server.url, timeout_s=5.0), data_dir=tmp_path) as client:
        client.add_data("v", CustomData(1, "x"))
        client.flush()
        client.flush(timeout=5.0)
        other.write("v", [told(CustomData(2, "y"))], 2)
        assert set(client._core.store.read("v").record.custom_data) == {1, 2}

"""What every `VisitorStore` promises, run over each store there is, blocking and awaited."""

import asyncio
import threading

import pytest
from clocks import Clock

from kameleoon._visitor.facts import Assigned, Consented, Identified, MappedFrom, Told
from kameleoon._visitor.record import Assignment
from kameleoon._visitor.unsent import take_unsent
from kameleoon.data import Conversion, CustomData, Device, DeviceType
from kameleoon.stores import MemoryStore, RedisStore, VisitorStore

SESSION_S = 60.0


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


class DrowsyStore(MemoryStore):
    """A `MemoryStore` in which everybody who can falls asleep before each call."""

    def _doze(self):
        with self._lock:
            while self._unfiled:
                self._file(self._unfiled.popleft())
            while self._drowsy:
                self._put_first_to_sleep()

    def read(self, code):
        self._doze()
        return super().read(code)

    def peek(self, code):
        self._doze()
        return super().peek(code)

    def write(self, code, facts, now_ms):
        self._doze()
        return super().write(code, facts, now_ms)

    def assign(self, code, visitor, *given):
        self._doze()
        return super().assign(code, visitor, *given)

    def link(self, code, other, now_ms):
        self._doze()
        super().link(code, other, now_ms)

    def claim(self, codes, *, consent_required):
        self._doze()
        return super().claim(codes, consent_required=consent_required)

    def codes(self):
        self._doze()
        return super().codes()

    def pending(self):
        self._doze()
        return super().pending()

    def expire(self):
        self._doze()
        return super().expire()

    def after_fork_in_child(self):
        self._doze()
        super().after_fork_in_child()


class Awaited:
    """The awaited side of a store as if it were blocking: each call is done on a loop that runs in another thread."""

    def __init__(self, store, loop):
        self._store, self._loop = store, loop

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def __len__(self):
        return len(self._store)

    def read(self, code):
        """Await `aread`."""
        return self._wait(self._store.aread(code))

    def peek(self, code):
        """Await `apeek`."""
        return self._wait(self._store.apeek(code))

    def write(self, code, facts, now_ms):
        """Await `awrite`."""
        return self._wait(self._store.awrite(code, facts, now_ms))

    def assign(self, *arguments):
        """Assign, which never waits."""
        return self._store.assign(*arguments)

    def link(self, code, other, now_ms):
        """Await `alink`."""
        self._wait(self._store.alink(code, other, now_ms))

    def claim(self, codes, *, consent_required):
        """Await `aclaim`."""
        return self._wait(self._store.aclaim(codes, consent_required=consent_required))

    def codes(self):
        """Await `acodes`."""
        return self._wait(self._store.acodes())

    def pending(self):
        """Await `apending`."""
        return self._wait(self._store.apending())

    def expire(self):
        """Await `aexpire`."""
        return self._wait(self._store.aexpire())

    def after_fork_in_child(self):
        """Do as after a fork."""
        self._store.after_fork_in_child()

    def close(self):
        """Await `aclose`."""
        self._wait(self._store.aclose())


@pytest.fixture(params=["memory", "drowsy", "redis", "redis awaited"])
def kind(request):
    """Which store."""
    return request.param


@pytest.fixture
def loop():
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def make_store(kind, clock, request):
    """A function that makes a store of one kind, for any number of visitors."""
    if kind in ("memory", "drowsy"):
        kept = DrowsyStore if kind == "drowsy" else MemoryStore
        yield lambda max_visitors=1_000_000, **more: kept(SESSION_S, max_visitors, clock, **more)
        return
    server = request.getfixturevalue("redis_server")
    server.flush()
    loop = request.getfixturevalue("loop") if kind == "redis awaited" else None
    made = []

    def make(max_visitors=1_000_000, **more):
        store = RedisStore(
            server.url,
            session_s=SESSION_S,
            prefix="contract:",
            max_visitors=max_visitors,
            timeout_s=5.0,
            wall_clock=clock,
            **more,
        )
        made.append(store if loop is None else Awaited(store, loop))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store):
    """An empty store."""
    return make_store()


def assigned(experiment_id=1, *, unsent=True, is_delivery=False):
    """A fact: a variation of an experiment was given."""
    return Assigned(Assignment(experiment_id, 10 * experiment_id, is_delivery, 5, unsent))


def told(value, **more):
    """A fact: the application told *value*."""
    return Told(value, 5, **more)


def claim(store, code, *, consent_required=False):
    """What is unsent of one code."""
    return store.claim([code], consent_required=consent_required)[0].unsent


def ended_of(store):
    """All whose session ended since the last call."""
    return [ended for some in store.expire() for ended in some]


def test_it_has_the_protocol(store):
    """The store has every method of the protocol."""
    assert isinstance(store, VisitorStore)


def test_an_unknown_code_is_nobody(store):
    """Neither reading nor claiming makes a visitor."""
    assert store.read("a") is None
    assert store.peek("a") is None
    assert claim(store, "a") is None
    assert len(store) == 0


def test_facts_are_kept_in_order(store):
    """Later facts replace earlier ones, and the visit starts with the first."""
    store.write("a", [told(CustomData(1, "x")), told(CustomData(1, "y")), Consented(consent=True)], 77)
    record = store.read("a").record
    assert (record.custom_data[1].values, record.consent, record.started_ms) == (("y",), True, 77)
    assert store.write("a", [], 99).record.started_ms == 77


def test_each_item_is_claimed_once(store):
    """A second claim has nothing, and what is added later is claimed later."""
    store.write("a", [told(Device(DeviceType.PHONE)), told(CustomData(1, "x")), assigned(), told(Conversion(5))], 1)
    unsent = claim(store, "a")
    assert unsent.device == Device(DeviceType.PHONE)
    assert [datum.index for datum in unsent.custom_data] == [1]
    assert [item.experiment_id for item in unsent.assignments] == [1]
    assert [item.conversion.goal_id for item in unsent.conversions] == [5]
    again = claim(store, "a")
    assert (again.device, again.custom_data, again.assignments, again.conversions) == (None, (), (), ())
    store.write("a", [told(Conversion(6))], 2)
    assert [item.conversion.goal_id for item in claim(store, "a").conversions] == [6]


def test_eight_threads_claim_each_item_once(store):
    """However many claim at once, every conversion is handed out exactly once."""
    for goal in range(200):
        store.write("a", [told(Conversion(goal))], 1)
    found = []
    lock = threading.Lock()

    def work():
        for _ in range(50):
            goals = [item.conversion.goal_id for item in claim(store, "a").conversions]
            with lock:
                found.extend(goals)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(200))


def test_what_counts_as_sent_is_not_claimed(store):
    """Data told as sent, and exposures that are not tracked, stay for targeting only."""
    store.write("a", [told(Device(DeviceType.PHONE), sent=True), assigned(unsent=False)], 1)
    unsent = claim(store, "a")
    assert (unsent.device, unsent.assignments) == (None, ())
    assert store.read("a").record.device is not None


def test_without_consent_only_deliveries_and_conversions_go(store):
    """The rest waits for the visitor's word, and goes when he gives it."""
    facts = [told(Device(DeviceType.PHONE)), assigned(1), assigned(2, is_delivery=True), told(Conversion(5))]
    store.write("a", facts, 1)
    unsent = claim(store, "a", consent_required=True)
    assert (unsent.device, unsent.may_announce) == (None, False)
    assert [item.experiment_id for item in unsent.assignments] == [2]
    assert len(unsent.conversions) == 1
    store.write("a", [Consented(consent=True)], 2)
    unsent = claim(store, "a", consent_required=True)
    assert (unsent.device, unsent.may_announce) == (Device(DeviceType.PHONE), True)
    assert [item.experiment_id for item in unsent.assignments] == [1]
    assert unsent.conversions == ()


def test_mapping_data_is_claimed_every_time(store):
    """Custom data that maps a visitor goes with each request until other data takes its place."""
    store.write("a", [MappedFrom("a"), told(CustomData(3, "user"), maps=True)], 1)
    assert [claim(store, "a").mapped for _ in range(2)] == [{3}, {3}]
    assert [datum.values for datum in claim(store, "a").custom_data] == [("user",)]
    store.write("a", [told(CustomData(3, ""))], 2)
    assert len(claim(store, "a").custom_data) == 1
    assert claim(store, "a").custom_data == ()


def test_linked_codes_share_one_record(store):
    """What one code learns the other knows; identifiers stay each code's own."""
    store.write("a", [told(CustomData(1, "x"))], 1)
    store.link("a", "user", 2)
    store.write("user", [told(CustomData(2, "y")), Identified(is_unique=True)], 3)
    assert set(store.read("a").record.custom_data) == {1, 2}
    assert store.read("user").record is store.read("a").record
    assert (store.read("user").is_unique, store.read("a").is_unique) == (True, False)


def test_a_link_hands_out_what_the_other_code_had(store):
    """What a code had unsent before it was linked is not lost."""
    store.write("user", [told(Conversion(7))], 1)
    store.link("a", "user", 2)
    ended = ended_of(store)
    assert [(code, len(visitor.record.conversions)) for code, visitor, _ in ended] == [("user", 1)]
    store.link("a", "user", 3)
    assert ended_of(store) == []


def test_a_store_that_merges_keeps_what_either_code_knew(make_store):
    """Told to, it adds what a code knew to what it is linked to, which knows better, as sent; nothing is added twice."""
    store = make_store(merges_linked=True)
    store.write("user", [told(CustomData(1, "old")), told(CustomData(2, "kept")), told(Conversion(7)), assigned(5)], 1)
    store.write("a", [told(CustomData(1, "new")), told(Conversion(8)), assigned(6)], 2)
    for _ in range(2):
        store.link("a", "user", 3)
        record = store.read("user").record
        assert {index: datum.values for index, datum in record.custom_data.items()} == {1: ("new",), 2: ("kept",)}
        assert sorted(item.conversion.goal_id for item in record.conversions) == [7, 8]
        assert set(record.assignments) == {5, 6}
        assert store.read("a").record is record
    ended = [(entry.code, take_unsent(entry.visitor, consent_required=False)) for entry in ended_of(store)]
    assert [(code, len(left.conversions), len(left.custom_data)) for code, left in ended] == [("user", 1, 2)]
    unsent = claim(store, "a")
    assert [item.conversion.goal_id for item in unsent.conversions] == [8]
    assert [datum.values for datum in unsent.custom_data] == [("new",)]
    assert [item.experiment_id for item in unsent.assignments] == [6]


def test_a_store_that_was_not_told_to_does_not_merge(store):
    """What a code knew before it was linked takes no part in decisions, as recorded in visitor_data-001-04."""
    store.write("user", [told(CustomData(2, "kept"))], 1)
    store.link("a", "user", 2)
    assert store.read("user").record.custom_data == {}


def test_a_session_ends_exactly_after_its_duration(store, clock):
    """One moment before the end the visitor is known, at the end he is not; activity begins the session anew."""
    store.write("a", [told(CustomData(1, "x"))], 1)
    clock.now += SESSION_S - 0.001
    assert store.read("a") is not None
    clock.now += SESSION_S - 0.001
    assert store.peek("a") is not None
    clock.now += 0.001
    assert store.peek("a") is None
    assert store.read("a") is None


def test_ended_sessions_are_handed_out_once_with_what_they_had(store, clock):
    """The store lets go of a visitor whose session is over, and says so once."""
    store.write("a", [told(Conversion(1))], 1)
    store.write("b", [told(Conversion(2))], 1)
    clock.now += SESSION_S / 2
    store.read("b")
    clock.now += SESSION_S / 2 + 1
    assert [(code, visitor.record.conversions[0].conversion.goal_id) for code, visitor, _ in ended_of(store)] == [
        ("a", 1)
    ]
    assert ended_of(store) == []
    assert len(store) == 1
    clock.now += SESSION_S + 1
    assert [code for code, *_ in ended_of(store)] == ["b"]
    assert len(store) == 0


def test_a_visitor_who_comes_back_late_starts_anew(store, clock):
    """After the session's end the same code is a new visitor, and the old data is handed out."""
    store.write("a", [told(Conversion(1))], 1)
    clock.now += SESSION_S + 5
    assert store.write("a", [], 500).record.started_ms == 500
    assert [code for code, *_ in ended_of(store)] == ["a"]
    assert not store.read("a").record.conversions


def test_those_with_something_unsent_are_known(store):
    """Whoever has an item, an exposure or mapping data to be sent, and nobody else; looking is no activity and takes nothing."""
    store.write("item", [told(Conversion(1))], 1)
    store.write("exposure", [assigned()], 1)
    store.write("mapped", [MappedFrom("mapped"), told(CustomData(3, "user"), sent=True, maps=True)], 1)
    store.write("sent", [told(Device(DeviceType.PHONE), sent=True), assigned(unsent=False)], 1)
    store.write("nothing", [], 1)
    assert sorted(store.pending()) == ["exposure", "item", "mapped"]
    claim(store, "item")
    assert sorted(store.pending()) == ["exposure", "mapped"]


def test_claiming_and_looking_through_all_is_no_activity(store, clock):
    """Sending does not keep a session alive."""
    store.write("a", [told(Conversion(1))], 1)
    clock.now += SESSION_S - 1
    store.claim(["a"], consent_required=False)
    assert list(store.codes()) == [("a", True)]
    store.peek("a")
    clock.now += 1
    assert store.read("a") is None


def test_the_longest_idle_leave_first_when_there_are_too_many(make_store, clock):
    """Beyond the bound the longest idle visitor makes room, and what he had is handed out."""
    store = make_store(max_visitors=3)
    for code in "abc":
        store.write(code, [told(Conversion(1))], 1)
        clock.now += 2
    store.read("a")
    clock.now += 2
    store.write("d", [], 1)
    assert len(store) == 3
    assert [code for code, *_ in ended_of(store)] == ["b"]
    assert store.read("a") is not None


def test_many_codes_stay_within_the_bound(make_store, kind):
    """Memory is bounded however many distinct visitors come."""
    store = make_store(max_visitors=100)
    number_of_visitors = 20_000 if kind == "memory" else 1_000
    for number in range(number_of_visitors):
        store.write(str(number), [], 1)
    assert len(store) == 100
    assert len(ended_of(store)) == number_of_visitors - 100


def test_a_forked_child_sends_nothing_that_its_parent_sends_too(store, kind):
    """After a fork the child knows its visitors; what is unsent is its parent's, or, when shared, whoever's claims it first."""
    store.write("a", [told(Conversion(1)), assigned()], 1)
    store.after_fork_in_child()
    unsent = claim(store, "a")
    expected = 0 if kind in ("memory", "drowsy") else 1
    assert (len(unsent.conversions), len(unsent.assignments)) == (expected, expected)
    assert claim(store, "a").conversions == ()
    assert 1 in store.read("a").record.assignments


def test_closing_frees_everything(store, kind):
    """A closed store in memory knows nobody, and every store may be closed again."""
    store.write("a", [], 1)
    store.close()
    store.close()
    assert store.peek("a") is None or kind not in ("memory", "drowsy")


def test_assign_is_write_with_one_assignment(store):
    """Whether the visitor is known or not, and whether the variation is new or the same again."""
    visitor = store.assign("a", None, Assignment(1, 10, False, 0, False), True, 5)
    assert store.peek("a").record is visitor.record or store.peek("a").record.assignments.keys() == {1}
    assert [item.variation_id for item in claim(store, "a").assignments] == [10]
    assert claim(store, "a").assignments == ()
    store.assign("a", store.read("a"), Assignment(1, 10, False, 0, False), True, 6)
    assert [(item.variation_id, item.time_ms) for item in claim(store, "a").assignments] == [(10, 6)]
    store.assign("a", store.read("a"), Assignment(1, 11, True, 0, False), True, 7)
    store.assign("a", store.read("a"), Assignment(1, 11, True, 0, False), False, 8)
    assert claim(store, "a").assignments == ()
    assert store.peek("a").record.assignments[1] == Assignment(1, 11, True, 8, False)


def test_assigned_visitors_end_and_make_room_like_others(make_store, clock):
    """Those whom an evaluation made are bounded, and handed out when their session is over."""
    store = make_store(max_visitors=3)
    for number in range(5):
        store.assign(f"v{number}", None, Assignment(1, 10, False, 0, False), True, 5)
        clock.now += 2
    assert len(store) == 3
    assert [code for code, *_ in ended_of(store)] == ["v0", "v1"]
    clock.now += SESSION_S + 5
    assert sorted(code for code, *_ in ended_of(store)) == ["v2", "v3", "v4"]
    assert len(store) == 0


def test_eight_threads_assign_and_no_exposure_is_lost(store):
    """Threads that meet the same new visitors at once leave every one of their assignments behind."""

    def work(experiment_id):
        for number in range(300):
            store.assign(
                f"v{number}",
                store.read(f"v{number}"),
                Assignment(experiment_id, experiment_id, False, 0, False),
                True,
                5,
            )

    threads = [threading.Thread(target=work, args=(experiment_id,)) for experiment_id in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Who falls asleep between another thread's look and word is made anew: what was known then is handed out.
    told = {f"v{number}": list(claim(store, f"v{number}").assignments) for number in range(300)}
    for code, visitor, _ in ended_of(store):
        told[code] += take_unsent(visitor, consent_required=False).assignments
    for assignments in told.values():
        assert sorted({item.experiment_id for item in assignments}) == list(range(8))

"""The store in memory: who sleeps and who is awake, and that nothing is lost between the two."""

import gc
import threading

import pytest
from clocks import Clock

from kameleoon._visitor.facts import Assigned, MappedFrom, Told
from kameleoon._visitor.record import Assignment
from kameleoon.data import Conversion, CustomData
from kameleoon.stores import MemoryStore
from kameleoon.stores import memory as module
from kameleoon.stores.memory import SLEEP_AFTER_S

SESSION_S = 1800.0


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def store(clock):
    """An empty store."""
    return MemoryStore(SESSION_S, 1_000_000, clock)


def expire(store):
    """Have the store do what is due; who was handed out."""
    return [ended for some in store.expire() for ended in some]


def idle(store, clock):
    """Let time pass until everybody who can sleeps."""
    expire(store)
    clock.now += SLEEP_AFTER_S + 1
    assert expire(store) == []


def told(value, **more):
    """A fact: the application told *value*."""
    return Told(value, 5, **more)


def test_who_is_idle_sleeps_and_the_next_look_wakes_him(store, clock):
    """All of him is there again, and he is known meanwhile."""
    store.write("a", [told(CustomData(1, "x"))], 5)
    store.assign("a", store.read("a"), Assignment(7, 70, False, 0, False), True, 6)
    idle(store, clock)
    assert (len(store._awake), len(store), list(store.codes())) == (0, 1, [("a", True)])
    visitor = store.read("a")
    assert (len(store._awake), len(store), list(store.codes())) == (1, 1, [("a", True)])
    assert (visitor.record.custom_data[1], visitor.record.started_ms) == (CustomData(1, "x"), 5)
    assert visitor.record.assignments[7] == Assignment(7, 70, False, 6, True)
    idle(store, clock)
    assert len(store._awake) == 0


def test_who_is_active_stays_awake(store, clock):
    """Looks keep a visitor awake, however long he has been."""
    visitor = store.write("a", [], 5)
    for _ in range(10):
        clock.now += SLEEP_AFTER_S - 1
        expire(store)
        assert store.read("a") is visitor


def test_looking_without_touching_wakes_nobody(store, clock):
    """Neither a peek nor a claim makes an object of a sleeper; the session of each ends in its time."""
    store.write("a", [told(Conversion(1))], 5)
    idle(store, clock)
    assert len(store.peek("a").record.conversions) == 1
    assert len(store.claim(["a"], consent_required=False)[0].unsent.conversions) == 1
    assert store.claim(["a"], consent_required=False)[0].unsent.conversions == ()
    assert len(store._awake) == 0
    clock.now = 1000.0 + SESSION_S
    assert store.peek("a") is None
    assert store.read("a") is None


def test_a_sleeper_is_handed_out_with_what_he_had_not_sent(store, clock):
    """Unsent items outlast the sleep, and the store is empty afterwards."""
    store.write("a", [told(Conversion(1))], 5)
    store.write("b", [told(CustomData(1, "x"), sent=True)], 5)
    idle(store, clock)
    clock.now += SESSION_S
    ended = {code: visitor for code, visitor, _ in expire(store)}
    assert ended.keys() == {"a", "b"}
    assert [item.conversion.goal_id for item in ended["a"].record.conversions] == [1]
    assert (len(store), store.peek("a"), list(store.codes())) == (0, None, [])


def test_of_too_many_awake_the_longest_idle_sleep_at_once(store, clock, monkeypatch):
    """However many come at the same time, the objects stay few."""
    monkeypatch.setattr(module, "MOST_AWAKE", 10)
    for number in range(100):
        store.assign(f"v{number}", None, Assignment(7, 70, False, 0, False), True, 5)
        clock.now += 1
    clock.now -= SLEEP_AFTER_S
    expire(store)
    assert [*store._awake] == [f"v{number}" for number in range(90, 100)]
    assert len(store) == 100


def test_who_cannot_be_packed_stays_awake_until_his_session_is_over(store, clock):
    """Linked codes share one record, so neither sleeps; each ends in its time."""
    store.write("a", [told(CustomData(1, "x"))], 5)
    idle(store, clock)
    store.link("a", "user", 6)
    store.write("a", [MappedFrom("a")], 6)
    idle(store, clock)
    assert store.read("a").record is store.read("user").record
    clock.now += SESSION_S + 1
    assert sorted(code for code, *_ in expire(store)) == ["a", "user"]
    assert len(store) == 0


def test_an_evaluation_that_holds_a_sleeper_says_its_word_again(store, clock):
    """Whoever was given the object before the visitor fell asleep, or ended, loses nothing."""
    visitor = store.assign("a", None, Assignment(7, 70, False, 0, False), False, 5)
    idle(store, clock)
    store.assign("a", visitor, Assignment(7, 70, False, 0, False), True, 6)
    assert store.peek("a").record.assignments[7] == Assignment(7, 70, False, 6, True)
    visitor = store.read("a")
    clock.now += SESSION_S + 1
    expire(store)
    store.assign("a", visitor, Assignment(8, 80, False, 0, False), True, 7)
    assert [*store.peek("a").record.assignments] == [8]


def test_a_thread_held_up_since_it_found_nobody_costs_nothing(store, clock):
    """Somebody made the visitor, and he fell asleep, before the thread makes him too: what he had unsent is handed out."""
    store.write("a", [told(Conversion(1))], 5)
    idle(store, clock)
    store.assign("a", None, Assignment(7, 70, False, 0, False), True, 6)
    store.write("a", [told(Conversion(2))], 7)
    clock.now += SLEEP_AFTER_S + 1
    ended = expire(store)
    goals = [item.conversion.goal_id for _, visitor, _ in ended for item in visitor.record.conversions]
    goals += [item.conversion.goal_id for item in store.peek("a").record.conversions]
    assert sorted(goals) == [1, 2]


class Interrupted(dict):
    """A dictionary after whose first `get` another thread has its turn."""

    def get(self, key):
        """Look up, then let the other have its turn."""
        found = super().get(key)
        turn, self.turn = self.turn, lambda: None
        turn()
        return found


def test_who_is_woken_up_just_while_he_is_looked_for_is_found(store, clock):
    """One thread has looked among those awake, where he was not yet, when another wakes him."""
    store.write("a", [told(CustomData(1, "x"))], 5)
    for look in (store.read, store.peek):
        idle(store, clock)
        store._awake = Interrupted(store._awake)
        store._awake.turn = lambda: store.write("a", [], 6)
        assert 1 in look("a").record.custom_data


def test_who_falls_asleep_just_while_he_is_looked_at_is_woken_up(store, clock):
    """What a look gives is what the store holds, and counts as activity."""
    store.write("a", [told(CustomData(1, "x"))], 5)
    expire(store)
    clock.now += SLEEP_AFTER_S + 1
    store._awake = Interrupted(store._awake)
    store._awake.turn = store._put_first_to_sleep
    visitor = store.read("a")
    assert visitor is store._awake["a"]
    assert (visitor.last_s, visitor.is_stale) == (clock.now, False)


def test_sleepers_are_nothing_for_the_garbage_collector(store, clock):
    """It goes through no more objects for two thousand sleeping visitors than for none."""
    gc.collect()
    before = len(gc.get_objects())
    for number in range(2_000):
        store.write(str(number), [told(CustomData(1, "x")), Assigned(Assignment(7, 70, False, 5, False))], 5)
    gc.collect()
    assert len(gc.get_objects()) - before > 2_000
    idle(store, clock)
    gc.collect()
    assert len(gc.get_objects()) - before < 100


def test_each_step_of_expiry_is_short(store, clock, monkeypatch):
    """A step looks at so many codes and no more, whether they are filed, put to sleep, looked at again or ended."""
    looked_at = []
    monkeypatch.setattr(store, "_clock", clock)
    for name in ("_file", "_end_first", "_put_first_to_sleep"):
        original = getattr(store, name)
        monkeypatch.setattr(
            store, name, lambda *given, name=name, original=original: (looked_at.append(name), original(*given))
        )
    for number in range(1_000):
        store.assign(str(number), None, Assignment(7, 70, False, 0, False), False, 5)
    for seconds in (0, SLEEP_AFTER_S + 1, SESSION_S):
        clock.now += seconds
        for ended in store.expire():
            assert looked_at.count("_file") <= 100
            assert looked_at.count("_end_first") + looked_at.count("_put_first_to_sleep") <= 20
            assert len(ended) <= 20
            looked_at.clear()
    assert len(store) == 0


def test_threads_lose_nothing_while_everybody_keeps_falling_asleep(store):
    """Exposures given without the lock, while another thread puts all to sleep as fast as it can."""
    is_over = threading.Event()

    def doze():
        while not is_over.is_set():
            with store._lock:
                while store._unfiled:
                    store._file(store._unfiled.popleft())
                for _ in range(min(len(store._drowsy), 10)):
                    store._put_first_to_sleep()

    def work(experiment_id):
        for number in range(1_000):
            code = f"v{number % 50}"
            store.assign(code, store.read(code), Assignment(experiment_id, number, False, 0, False), True, number)

    dozing = threading.Thread(target=doze)
    dozing.start()
    threads = [threading.Thread(target=work, args=(experiment_id,)) for experiment_id in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    is_over.set()
    dozing.join()
    for number in range(50):
        given = store.claim([f"v{number}"], consent_required=False)[0].unsent.assignments
        assert {item.experiment_id: item.variation_id for item in given} == dict.fromkeys(range(4), 950 + number)
    assert len(store) == 50

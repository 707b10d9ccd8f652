"""What destinations are told, decided visitor by visitor: what is held, dropped and told, without a client around it."""

import time
from types import SimpleNamespace

import pytest

from kameleoon._runtime.forwarding import Forwarding
from kameleoon._tracking.outbox import MemoryOutbox
from kameleoon.destinations import Conversion, Feed, FunctionDestination


class Parts:
    """A `Forwarding` with destinations of the given rules of consent; visitors are told of as *events* says."""

    def __init__(self, *rules, requires=True):
        self.events = {}
        feeds = [Feed(FunctionDestination(print), f"{rule}", rule) for rule in rules]
        configuration = SimpleNamespace(ruleset=SimpleNamespace(consent_required=requires))
        self.forwarding = Forwarding(
            feeds, MemoryOutbox(), configuration, self.make, None, "thread", time.monotonic, threaded=False
        )

    def make(self, _ruleset, code, _record, unsent):
        """Events, or an error."""
        found = unsent.events
        if isinstance(found, Exception):
            raise found
        return iter(Conversion(code, str(goal), 0) for goal in found)

    def tell(self, code, consent, *goals):
        """``{destination: goals}`` that go out at once."""
        into = {}
        events = goals[0] if goals and isinstance(goals[0], Exception) else goals
        self.forwarding.tell(code, None, SimpleNamespace(consent=consent, events=events), into)
        return self.shown(into)

    def shown(self, into):
        """``{destination: number of events}``."""
        return {queue.name: len(texts) for queue, texts in into.items()}

    def end(self, code, consent):
        """What goes out with the end of a session."""
        into = {}
        self.forwarding.end(code, consent, into)
        return self.shown(into)

    def counts(self):
        """``{destination: (held, dropped for want of consent)}``."""
        stats = self.forwarding.stats()
        return {name: (one.held, one.dropped_by_reason.get("consent", 0)) for name, one in stats.items()}


def test_events_are_held_for_those_that_wait():
    """And told as soon as anything is told of the visitor after his word, before what is new."""
    parts = Parts("required", "ignored")
    assert parts.tell("ann", None, 1, 2) == {"ignored": 2}
    assert parts.counts() == {"required": (2, 0), "ignored": (0, 0)}
    assert parts.forwarding.waiting_codes() == ["ann"]
    assert parts.tell("ann", True, 3) == {"required": 3, "ignored": 1}
    assert parts.counts() == {"required": (0, 0), "ignored": (0, 0)}
    assert parts.forwarding.waiting_codes() == []


@pytest.mark.parametrize(("consent", "told", "dropped"), [(True, {"required": 2}, 0), (False, {}, 2), (None, {}, 2)])
def test_the_end_of_a_session_decides(consent, told, dropped):
    """By his last word; no word is a no."""
    parts = Parts("required")
    parts.tell("ann", None, 1, 2)
    assert parts.end("ann", consent) == told
    assert parts.counts() == {"required": (0, dropped)}
    assert parts.end("ann", True) == {}


def test_what_is_held_is_bounded_exactly(monkeypatch):
    """The bound may be reached; beyond it the visitor who waits longest makes room with all that is his, each destination counting its own."""
    monkeypatch.setattr("kameleoon._runtime.forwarding.MOST_HELD", 4)
    parts = Parts("required", "given")
    parts.tell("ann", None, 1)
    parts.tell("bob", None, 1)
    assert parts.counts() == {"required": (2, 0), "given": (2, 0)}
    parts.tell("cay", None, 1)
    assert parts.counts() == {"required": (2, 1), "given": (2, 1)}
    assert parts.forwarding.waiting_codes() == ["bob", "cay"]
    assert parts.end("ann", True) == {}
    assert parts.end("bob", True) == {"required": 1, "given": 1}


def test_who_waits_is_looked_at_in_turn():
    """Others each time, and whoever has just decided first."""
    parts = Parts("required")
    for code in "abcd":
        parts.tell(code, None, 1)
    assert parts.forwarding.waiting_codes(2) == ["a", "b"]
    assert parts.forwarding.waiting_codes(2) == ["c", "d"]
    parts.forwarding.hasten("b")
    parts.forwarding.hasten("unknown")
    assert parts.forwarding.waiting_codes(2) == ["b", "a"]


@pytest.mark.parametrize("error", [ValueError("s3cret"), KeyError("s3cret"), RuntimeError("s3cret"), RecursionError()])
def test_events_that_cannot_be_made_harm_nobody(error, caplog):
    """It is logged without what is in them, and what waited is told all the same."""
    parts = Parts("required")
    parts.tell("ann", None, 1)
    assert parts.tell("ann", True, error) == {"required": 1}
    assert type(error).__name__ in caplog.text
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("requires", [True, False])
def test_consent_that_is_not_required(requires):
    """Nothing is held by ``required`` then, by ``given`` always."""
    parts = Parts("required", "given", requires=requires)
    assert parts.tell("ann", None, 1) == ({} if requires else {"required": 1})
    assert parts.counts() == {"required": (int(requires), 0), "given": (1, 0)}


def test_time_is_shared_between_destinations():
    """Without threads each has its part of what is left."""
    now_s = time.monotonic()
    parts = Parts("required", "given", "ignored")
    assert parts.forwarding.share(now_s + 8) == pytest.approx(now_s + 2, abs=0.2)
    assert parts.forwarding.share(now_s - 8) >= now_s

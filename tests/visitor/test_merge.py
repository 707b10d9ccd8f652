"""Two visitors who turn out to be one: nothing that either knew is lost, and nothing is sent because of it."""

from collections import Counter

from every_fact import FACTS, all_of_record
from hypothesis import given
from hypothesis import strategies as st

from kameleoon._visitor.merge import _SINGLE, merge
from kameleoon._visitor.record import Visitor
from kameleoon._visitor.unsent import take_unsent

SOME = st.lists(st.sampled_from(FACTS), max_size=12)


def visitor_with(facts):
    """A visitor of whom *facts* are known."""
    visitor = Visitor.alone(77, 12.5)
    for fact in facts:
        fact.apply(visitor)
    return visitor


def conversions_of(record):
    """What was converted and when, and how often."""
    return Counter((item.time_ms, item.conversion.goal_id, item.conversion.revenue) for item in record.conversions)


@given(SOME, SOME)
def test_what_either_knew_is_known(facts, others):
    """Where both know something the first stays; views add up, and a conversion that both know is one."""
    mine, theirs, merged = visitor_with(facts).record, visitor_with(others).record, visitor_with(facts).record
    merge(merged, theirs)
    for name in _SINGLE:
        own = getattr(mine, name)
        assert getattr(merged, name) == (getattr(theirs, name) if own is None else own)
    for name in ("custom_data", "personalizations"):
        assert dict(getattr(merged, name)) == {**getattr(theirs, name), **getattr(mine, name)}
    assert {key: item.variation_id for key, item in merged.assignments.items()} == {
        key: item.variation_id for key, item in {**theirs.assignments, **mine.assignments}.items()
    }
    assert set(merged.segments) == {*mine.segments, *theirs.segments}
    assert (merged.forced or {}) == {**(theirs.forced or {}), **(mine.forced or {})}
    for url, visit in merged.page_views.items():
        known = [record.page_views[url] for record in (mine, theirs) if url in record.page_views]
        assert visit.views == sum(each.views for each in known)
        assert visit.last_ms == max(each.last_ms for each in known)
        assert visit.view in [each.view for each in known if each.last_ms == visit.last_ms]
    assert merged.page_views.keys() == mine.page_views.keys() | theirs.page_views.keys()
    assert conversions_of(merged) == conversions_of(mine) | conversions_of(theirs)
    assert (merged.mapping_identifier, merged.simulated, merged.mapped, merged.started_ms) == (
        mine.mapping_identifier,
        mine.simulated,
        mine.mapped,
        mine.started_ms,
    )
    assert merged.is_plain is (mine.is_plain and theirs.is_plain)


@given(SOME, SOME)
def test_nothing_is_sent_for_it(facts, others):
    """What is unsent stays what it was on either side, and the other visitor is as before."""
    mine, theirs, merged = visitor_with(facts), visitor_with(others), visitor_with(facts)
    before = all_of_record(theirs.record)
    merge(merged.record, theirs.record)
    assert all_of_record(theirs.record) == before
    sent, without = (take_unsent(one, consent_required=False) for one in (merged, mine))
    for name in ("conversions", "page_views", "custom_data", "segments", "assignments", "device", "visits"):
        assert getattr(sent, name) == getattr(without, name)

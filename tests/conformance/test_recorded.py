"""
The recorded cases, each a test of its own, named ``AREA:CASE``.

    pytest tests/conformance -k "rules:"            one area
    pytest tests/conformance -k rules-003-02        one case

Cases in ``not_yet_passing.json`` are expected to fail. One that passes must be taken off that list, so the list only shrinks.
"""

from __future__ import annotations

from collections import Counter

import pytest
from conformance_backend import Backend
from conformance_play import Case, Stage, judge, load_cases, load_not_yet_passing, load_sdk

CASES = load_cases()
LISTED = {case_id for entry in load_not_yet_passing().values() for case_id in entry["ids"]}


@pytest.fixture(scope="session")
def stage():
    """The SDK in front of one backend for the whole run."""
    try:
        sdk = load_sdk()
    except (ImportError, AttributeError) as error:
        pytest.fail(f"no SDK to play against: {error}", pytrace=False)
    with Backend() as backend:
        yield Stage(sdk, backend)


@pytest.fixture(scope="session")
def timed_results(stage):
    """The results of all timed cases, played side by side, so that the seconds they take pass once."""
    cases = [case for case in CASES if "timed" in case.tags]
    return dict(zip((case.id for case in cases), stage.play_together(cases), strict=True))


def parametrised(*, timed):
    """Make one test a case."""
    cases = [case for case in CASES if ("timed" in case.tags) is timed]
    return pytest.mark.parametrize("case", cases, ids=[f"{case.area}:{case.id}" for case in cases])


def check(case: Case, problem: str | None) -> None:
    """Hold the outcome of *case* against the list."""
    listed = case.id in LISTED
    if problem is None and listed:
        pytest.fail(f"{case.id} passes: remove it from not_yet_passing.json", pytrace=False)
    if problem is not None and listed:
        pytest.xfail("listed in not_yet_passing.json")
    if problem is not None:
        pytest.fail(problem, pytrace=False)


@parametrised(timed=False)
def test_case(stage, case):
    """The case gives the recorded results."""
    check(case, judge(case, stage.play(case)))


@parametrised(timed=True)
def test_timed_case(timed_results, case):
    """The case, which takes seconds of real time, gives the recorded results."""
    check(case, judge(case, timed_results[case.id]))


def test_all_cases_are_there():
    """No case got lost: there are 15 areas and 3664 cases, and no two share a name."""
    assert len(Counter(case.area for case in CASES)) == 15
    assert len({case.id for case in CASES}) == len(CASES) == 3664


def test_the_list_is_true_to_the_cases():
    """The list names only cases that exist, each once and under its area, and its counts are right."""
    areas = {case.id: case.area for case in CASES}
    for area, entry in load_not_yet_passing().items():
        assert entry["count"] == len(entry["ids"]) == len(set(entry["ids"]))
        assert [case_id for case_id in entry["ids"] if areas.get(case_id) != area] == []

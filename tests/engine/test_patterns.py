"""Regular expressions mean what ``re`` means, and end in time whatever a visitor sends."""

# Times are those of the thread alone: what else runs on the machine is no matter of the engine.

from __future__ import annotations

import json
import os
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kameleoon import Cookie, CustomData, KameleoonClientConfig, PageView
from kameleoon._engine.patterns import MAX_PATTERN, Patterns, Unreadable, longest_safe
from kameleoon._engine.ruleset import compile_ruleset
from kameleoon._transport.flow import run
from kameleoon.client import KameleoonClient

EVIL = [
    r"(a|aa)+$",
    r"(a+)+$",
    r"(a|a)*b",
    r"(.*a){25}b",
    r"(a*)*b",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(x+x+)+y",
    r"(.*)(.*)(.*)(.*)(.*)z",
]
HARMLESS = [
    r"^[a-z]+@example\.(com|org)$",
    r"\d{1,3}",
    r"(?:abc)?x*",
    r".*shop.*",
    "[^]a]+",
    r"\[+",
    "(?i)gold",
    "a{,3}b",
    "x{",
]


def told(value):
    """All places of a visitor that a pattern may look at."""
    return [CustomData(0, value), Cookie({"c": value}), PageView(f"https://{value}", value)]


@pytest.mark.parametrize("source", EVIL)
def test_evil_patterns_have_no_safe_length(source):
    """What could run for very long is never left to ``re`` for long texts."""
    longest = longest_safe(source)
    assert longest is None or longest < 1_000


@pytest.mark.parametrize("source", HARMLESS)
def test_harmless_patterns_stay_with_re(source):
    """Ordinary patterns are matched by ``re``."""
    assert longest_safe(source) >= 500


@pytest.mark.parametrize("source", EVIL)
def test_evil_patterns_end_in_time(source):
    """A text that makes the pattern backtrack for ever does not match, within the time and once told."""
    told_of = []
    patterns = Patterns(0.05, told_of.append)
    matches = patterns.compile(source)
    for text in ("a" * 40 + "!", "x" * 64, "a" * 5_000 + "!"):
        started = time.thread_time()
        assert matches(text) is False
        assert time.thread_time() - started < 0.05
    assert len(told_of) == patterns.timeouts


def test_a_text_that_took_too_long_is_not_tried_again():
    """A hundred flags with the same pattern wait for it once."""
    patterns = Patterns(0.05, lambda _: None)
    matches = patterns.compile(EVIL[0])
    for _ in range(100):
        assert matches("a" * 40 + "!") is False
    assert patterns.timeouts == 1
    assert matches("aaa") is True


sources = st.from_regex(
    re.compile(r"(?:[ab.]|\[ab\]|\(a\|b\)|\(\?:ab\)){1,3}[*+?]?(?:[ab][*+?]?){0,3}"), fullmatch=True
)


@given(sources, st.text("ab", max_size=12))
def test_same_answers_as_re(source, text):
    """Whichever of both packages decides, the answer is that of ``re``."""
    expected = re.fullmatch(source, text) is not None
    patterns = Patterns(0.05, lambda _: None)
    assert patterns.compile(source)(text) is expected
    assert patterns._bounded(source)(text) is expected


@given(st.text("ab()[]{}*+?|\\1^$.,-", max_size=12))
def test_any_source_compiles_or_is_told(source):
    """A text that is no pattern is told as such, and nothing else is raised."""
    try:
        Patterns(0.05, lambda _: None).compile(source)("aab")
    except Unreadable:
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever `re` says of it
            re.compile(source)


def test_very_long_patterns_are_refused():
    """Compiling is bounded too."""
    with pytest.raises(Unreadable):
        Patterns(0.05, lambda _: None).compile("a" * (MAX_PATTERN + 1))


def condition(**fields):
    """A configuration with one flag for whom one condition holds."""
    return {
        "segments": [{"id": 1, "conditionsData": {"firstLevel": [{"conditions": [fields]}]}}],
        "featureFlags": [
            {
                "id": 1,
                "featureKey": "f",
                "environmentEnabled": True,
                "defaultVariationKey": "off",
                "rules": [
                    {
                        "id": 1,
                        "type": "TARGETED_DELIVERY",
                        "exposition": 1,
                        "segmentId": 1,
                        "variationByExposition": [{"variationKey": "on", "variationId": 1}],
                    }
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    "fields",
    [
        {
            "targetingType": "CUSTOM_DATUM",
            "customDataIndex": "0",
            "valueMatchType": "REGULAR_EXPRESSION",
            "value": EVIL[0],
        },
        {"targetingType": "PAGE_TITLE", "matchType": "REGULAR_EXPRESSION", "title": EVIL[0]},
        {
            "targetingType": "COOKIE",
            "name": "c",
            "nameMatchType": "EXACT",
            "value": EVIL[0],
            "valueMatchType": "REGULAR_EXPRESSION",
        },
    ],
    ids=lambda fields: fields["targetingType"],
)
def test_an_evaluation_returns_within_50_ms(fields):
    """The condition does not match, is counted, and is told once."""
    config = KameleoonClientConfig(source=condition(**fields), multi_threading=False)
    with KameleoonClient("patterns", config) as client:
        client.wait_init()
        client.is_feature_active("warm", "f")
        for number in range(3):
            code = f"visitor-{number}"
            client.add_data(code, *told("a" * (40 + number) + "!"))
            started = time.thread_time()
            assert client.is_feature_active(code, "f") is False
            assert time.thread_time() - started < 0.05
        ruleset = client._core.evaluation.ruleset
        assert ruleset.patterns.timeouts == client.stats().pattern_timeouts == 3
        assert len([problem for problem in ruleset.problems if "too long" in problem.reason]) == 1
        client.add_data("good", *told("aaa"))
        assert client.is_feature_active("good", "f") is True


def test_timeouts_are_counted_over_all_configurations(tmp_path):
    """What ran out of time under an earlier configuration still counts in the client's figures."""
    path = tmp_path / "configuration.json"
    fields = {"targetingType": "PAGE_TITLE", "matchType": "REGULAR_EXPRESSION", "title": EVIL[0]}
    path.write_text(json.dumps(condition(**fields)))
    with KameleoonClient("patterns", KameleoonClientConfig(source=path, multi_threading=False)) as client:
        client.wait_init()
        client.add_data("v", *told("a" * 40 + "!"))
        assert client.is_feature_active("v", "f") is False
        path.write_text(json.dumps({**condition(**fields), "dateModified": 2}))
        os.utime(path, (1, 1))
        run(client._core.configuration.refresh(), client._core.sender)
        assert client.get_data_file().date_modified == 2
        assert client.stats().pattern_timeouts == 1
        client.add_data("w", *told("a" * 41 + "!"))
        assert client.is_feature_active("w", "f") is False
        assert client.stats().pattern_timeouts == 2


def test_the_time_comes_from_the_settings():
    """The setting reaches the patterns."""
    config = KameleoonClientConfig(source=condition(), multi_threading=False, regex_timeout_millisecond=8)
    with KameleoonClient("patterns", config) as client:
        client.wait_init()
        assert client._core.evaluation.ruleset.patterns._timeout_s == pytest.approx(0.004)


def test_bad_pattern_is_a_named_problem():
    """A pattern that does not compile makes its condition false and is told."""
    ruleset = compile_ruleset(condition(targetingType="VISITOR_CODE", matchType="REGULAR_EXPRESSION", visitorCode="("))
    choice, _ = ruleset.flag("f").decide(None, "(", 0)
    assert choice.variation_key == "off"
    (problem,) = ruleset.problems
    assert problem.place == "segments[1]"
    assert "'(' is not a regular expression" in problem.reason

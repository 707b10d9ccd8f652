"""Projects written as files: nothing is lost, and writing again changes nothing."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kameleoon.server.conditions_out import segment_words
from kameleoon.server.document import load
from kameleoon.server.project_file import parse_project, read_project
from kameleoon.server.project_out import write_project
from kameleoon.server.yaml_out import Block, Rows, dump

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(
    r"^```yaml\n(.*?)^```", (ROOT / "docs" / "local-server.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
)
OWN = """\
project: {site_code: a1, name: "null", consent: required, when_refused: block_all, streaming: on}
environments: [production, staging]
holdout: {exposition: 5%, experiment_id: 7}
segments: {phones: {device: phone}}
flags:
  one:
    variations: [a, b, c]
    default: a
    rules: [{experiment: [a, b, c], paused: true, respool_time: 5}]
    environments:
      production: on
      staging:
        enabled: off
        default: b
        rules: [{deliver: c, to: phones, exposition: 12.5%}, {deliver: c, to: phones}, {deliver: a, id: 9, key: last}]
  two: {environments: {production: {enabled: off, rules: []}}}
"""


@pytest.mark.parametrize("text", [*BLOCKS, OWN], ids=["least", "everything", "conditions", "environments"])
def test_a_written_project_reads_back_as_the_same(text):
    """What is exported loads as the same project, and exporting that again gives the same text."""
    project = parse_project(text)
    written = write_project(project)
    assert parse_project(written) == project
    assert write_project(parse_project(written)) == written


def test_conditions_are_written_in_words():
    """Every condition that has words is written with them; the service's own form is left to what has none."""
    (text,) = (block for block in BLOCKS if "all_conditions" in block)
    scopes = "\n".join(
        f"      - {{{condition}}}"
        for condition in (
            "converted: purchase",
            "converted: any, last_visits: 3",
            "saw_flag: checkout",
            "saw_flag: checkout, within: all_visits",
            "saw_flag: checkout, variation: on",
            "saw_flag: checkout, rule: experiment",
            "saw_experiment: checkout",
            "in_no_other: any, within: current_visit",
        )
    )
    project = parse_project(f"{text.rstrip()}\n{scopes}\n")
    written = write_project(project)
    assert written.count("service:") == text.count("service:") == 1
    for words in ("last_visits: 3", "saw_flag: checkout, within: all_visits", "within: current_visit"):
        assert written.count(words) >= 1, words
    assert parse_project(written) == project


def test_the_demo_project_is_written_as_a_person_would():
    """The export of the demo project needs no ids but those its author gave, and one line for each short thing."""
    project = read_project(ROOT / "sample-config" / "demo-project.yaml")
    written = write_project(project)
    assert parse_project(written) == project
    assert set(re.findall(r"\bid: (\d+)", written)) == {"1001", "1002"}
    assert "  - {name: plan, index: 1, scope: visitor}\n" in written
    assert "      - experiment: [off, on]\n        to: payment_countries\n        exposition: 80%\n" in written


def test_a_change_is_one_line_of_a_diff():
    """Changing one exposition changes one line of the export."""
    before = write_project(parse_project(OWN)).splitlines()
    after = write_project(parse_project(OWN.replace("12.5%", "13%"))).splitlines()
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        ("            exposition: 12.5%", "            exposition: 13%")
    ]


WORDS = {
    "{custom_data: plan, is: gold}": "custom data plan is gold",
    "{custom_data: plan, defined: false}": "custom data plan is not known",
    "{custom_data: plan, among: [a, b]}": "custom data plan is one of a, b",
    "{not: {device: phone}}": "not (device is phone)",
    "{country: France, city: Brest}": "country is France, city is Brest",
    "{since_last_visit: {below: 2 h}}": "time since the last visit is below 2 h",
    "{page_url: {contains: /cart}}": "URL of the page contains /cart",
    "{segment: phones}": "is in segment phones",
    "{browser: chrome, version: {above: 100}}": "browser is chrome, version is above 100",
    "{service: {targetingType: WEATHER, sky: clear}}": "WEATHER sky clear",
}


@pytest.mark.parametrize("written", WORDS)
def test_targeting_in_words(written):
    """Conditions are said in words."""
    project = parse_project(
        "project: {site_code: a}\ncustom_data: [{name: plan, index: 1}]\n"
        f"segments: {{phones: {{device: phone}}, it: {{all: [{written}]}}}}"
    )
    assert segment_words(project.segments[1], project) == [WORDS[written]]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(min_size=1), PLAIN, min_size=1, max_size=5), st.booleans())
def test_whatever_is_written_reads_back(value, lines):
    """Any plain data survives being written, on few lines or on many."""
    assert load(dump(_with_lines(value) if lines else value).encode(), "x").plain() == value


def _with_lines(value):
    if isinstance(value, dict):
        return Block({key: _with_lines(member) for key, member in value.items()})
    return Rows(map(_with_lines, value)) if isinstance(value, list) else value

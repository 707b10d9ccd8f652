"""The plots: things stand where their values are, axes have round numbers, and what is drawn is also said."""

import re

import pytest

from kameleoon.server.charts import Bar, Line, _ticks, _times, signed, time_plot, uplift_plot
from kameleoon.server.pages_experiment import _rate, _ratio_words
from kameleoon.server.project_file import parse_project
from kameleoon.server.results import build_results
from kameleoon.server.statistics import Interval, Rate
from kameleoon.server.stored import GoalTotals, Moment, VariationTotals


def numbers(pattern, text):
    """All numbers that a pattern finds."""
    return [float(found) for found in re.findall(pattern, text)]


def test_an_uplift_stands_at_its_place():
    """A point lies between the ends of its line, that within its band; more is further right; zero and round values have their lines."""
    bars = [
        Bar("worse", -0.1, Interval(-0.15, -0.05), Interval(-0.2, 0.0)),
        Bar("better", 0.2, Interval(0.1, 0.3), Interval(0.0, 0.4)),
        Bar("new", 0.0, None, None),
    ]
    text = str(uplift_plot(bars))
    points = numbers(r'<circle cx="([\d.]+)%', text)
    left = numbers(r'<line y1="\d+" y2="\d+" class="whisker s\d" x1="([\d.]+)%', text)
    right = numbers(r'class="whisker s\d" x1="[\d.]+%" x2="([\d.]+)%', text)
    bands = numbers(r'class="band s\d" x="([\d.]+)%', text)
    widths = numbers(r'class="band s\d" x="[\d.]+%" y="\d+" width="([\d.]+)%', text)
    (zero,) = numbers(r'<line x1="([\d.]+)%" x2="[\d.]+%" y1="0" y2="\d+" class="zero"', text)
    assert len(points) == len(left) == len(right) == len(bands) == len(widths) == 2
    for point, start, end, band, width in zip(points, left, right, bands, widths, strict=True):
        assert 0 <= band < start < point < end < band + width <= 100
        assert point - start == pytest.approx(end - point, abs=0.01)
    assert points[0] < zero < points[1]
    assert bands[1] == pytest.approx(zero, abs=0.01)
    assert (points[1] - zero) / (zero - points[0]) == pytest.approx(2, abs=0.01)
    assert 'role="img"' in text
    assert "worse: -10.0%, at one look -15.0% to -5.0%, at any time -20.0% to +0.0%" in text
    assert uplift_plot([bars[2]]) is None


def test_an_unbounded_interval_is_drawn_to_the_edge():
    """What nothing bounds ends where the axis does, and is said as infinity."""
    text = str(uplift_plot([Bar("a", 0.5, Interval(-0.5, float("inf")), None)]))
    assert numbers(r'class="whisker s0" x1="[\d.]+%" x2="([\d.]+)%', text) == [96]
    assert "-50.0% to ∞" in text
    assert signed(float("-inf")) == "-∞"


def test_ticks_are_round_and_have_zero():
    """Three to six values at round steps, zero among them."""
    assert _ticks(-0.21, 0.42) == [-0.2, 0.0, 0.2, 0.4]
    assert _ticks(-0.005, 0.005) == [-0.004, -0.002, 0.0, 0.002, 0.004]
    for low, high in ((-0.03, 0.011), (-1.0, 7.3), (0.0, 0.1), (-99.0, 0.0)):
        ticks = _ticks(low, high)
        assert 3 <= len(ticks) <= 6
        assert 0 in ticks
        assert low <= ticks[0] < ticks[-1] <= high


def test_times_on_an_axis():
    """Seconds, minutes, hours or days, at most five of them, beginning with the start."""
    assert _times(0) == [(0, "start")]
    assert _times(7000) == [(0, "start"), (2000, "second 2"), (4000, "second 4"), (6000, "second 6")]
    assert [words for _, words in _times(59_999)] == ["start", "second 20", "second 40"]
    assert [words for _, words in _times(60_000)] == ["start", "minute 1"]
    assert [words for _, words in _times(3 * 3_600_000)] == ["start", "hour 1", "hour 2", "hour 3"]
    assert [words for _, words in _times(30 * 86_400_000)] == ["start", "day 10", "day 20", "day 30"]


def test_an_interval_over_time_is_a_band():
    """Later points stand further right, higher values higher; one point alone is no line."""
    points = [(0, 0.0, Interval(-0.4, 0.4)), (500, 0.1, Interval(-0.2, 0.4)), (1000, 0.2, Interval(0.1, 0.3))]
    text = str(time_plot([Line("a", points), Line("b", points[:1])]))
    (middle,) = re.findall(r'<polyline points="([^"]+)"', text)
    places = [tuple(map(float, place.split(","))) for place in middle.split()]
    assert [x for x, _ in places] == [0, 500, 1000]
    assert places[0][1] > places[1][1] > places[2][1]
    (band,) = re.findall(r'<polygon points="([^"]+)"', text)
    assert len(band.split()) == 6
    assert "a: at last +10.0% to +30.0%" in text
    assert "b: at last" not in text
    assert time_plot([Line("b", points[:1])]) is None


def test_more_converted_than_came_is_bounded():
    """Times of events may lie: at no moment are there more converted visitors than visitors."""
    moment = Moment(0, {1: VariationTotals(2, {5: GoalTotals(3, 3, 1.0, 1.0)})})
    assert _rate(moment, 1, 5) == Rate(2, 2)
    assert _rate(moment, 1, 6) == Rate(0, 2)
    assert _rate(moment, 2, 5) == Rate(0, 0)


def test_a_broken_division_is_an_alert():
    """Visitors that are not divided as planned are announced at once, in plain words, with how rare it is."""
    project = parse_project(
        "project: {site_code: a}\nflags: {a: {rules: [{experiment: [off, on], experiment_id: 7, variation_ids: {off: 71, on: 72}}]}}"
    )
    for visitors, words in (((52_000, 48_000), "not divided as planned"), ((50_000, 50_000), "divided as planned")):
        totals = {7: {number: VariationTotals(count, {}) for number, count in zip((71, 72), visitors, strict=True)}}
        text = str(_ratio_words(build_results(project, totals).flags[0].rules[0]))
        assert words in text
        assert ('role="alert"' in text) is ("not" in words)
        assert ("Find the cause before you trust any number here" in text) is ("not" in words)
    assert _ratio_words(build_results(project, {}).flags[0].rules[0]) is None

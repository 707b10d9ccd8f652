"""Plots of results as SVG inside the page: no script, colours from the style sheet, the numbers also in words for those who cannot see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kameleoon.server.differences import percent
from kameleoon.server.html import Attribute, Html, h

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon.server.statistics import Interval

_ROW = 52
_HEIGHT = 260
_AXIS = 26
_MARGIN = 4.0
"""Free at both sides of an axis, in percent of the width, so that what stands at its end is not cut off."""
COLOURS = 5
"""How many colours the style sheet has for variations."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One variation against the reference; relative changes, 0.1 for ten percent more."""

    name: str
    value: float
    once: Interval | None
    always: Interval | None


@dataclass(frozen=True, slots=True)
class Line:
    """How an always-valid interval went on: ``(time in ms, value, interval)``, oldest first."""

    name: str
    points: Sequence[tuple[int, float, Interval]]


def signed(value: float) -> str:
    """``0.123`` as ``+12.3%``; an end that nothing bounds as infinity."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return f"{value:+.1%}"


def _tick(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{value * 100:+.4g}%"


def interval_words(interval: Interval | None) -> str:
    """An interval of relative changes; a dash when there is none."""
    return "\N{EN DASH}" if interval is None else f"{signed(interval.low)} to {signed(interval.high)}"


def uplift_plot(bars: Sequence[Bar]) -> Html | None:
    """
    Each variation's change against the reference with both intervals.

    Returns:
        None when there is nothing to show yet.
    """
    shown = [bar for bar in bars if bar.once is not None]
    if not shown:
        return None
    ends = [
        end for bar in shown for interval in (bar.once, bar.always) if interval for end in (interval.low, interval.high)
    ]
    low, high = _bounds([end for end in ends if math.isfinite(end)] + [bar.value for bar in shown])
    height = len(shown) * _ROW + _AXIS

    def x(value: float) -> float:
        inside = min(max(value, low), high)
        return round(_MARGIN + (inside - low) / (high - low) * (100 - 2 * _MARGIN), 3)

    parts: list[Html] = []
    for value in _ticks(low, high):
        kind = "zero" if abs(value) < 1e-9 else "grid"
        parts.append(h("line", x1=f"{x(value)}%", x2=f"{x(value)}%", y1=0, y2=height - _AXIS, class_=kind))
        parts.append(h("text", _tick(value), x=f"{x(value)}%", y=height - 8, text_anchor="middle"))
    for row, bar in enumerate(shown):
        y = row * _ROW + 34
        colour = f"s{row % COLOURS}"
        parts.append(h("text", _short(bar.name), x=0, y=y - 18, class_="name"))
        if bar.always is not None:
            left, right = x(bar.always.low), x(bar.always.high)
            box: dict[str, Attribute] = {"x": f"{left}%", "y": y - 9, "width": f"{max(0.2, right - left):.3f}%"}
            parts.append(h("rect", height=18, rx=4, class_=f"band {colour}", **box))
        assert bar.once is not None, "filtered above"
        ends_of_line = {"x1": f"{x(bar.once.low)}%", "x2": f"{x(bar.once.high)}%"}
        parts.append(h("line", y1=y, y2=y, class_=f"whisker {colour}", **ends_of_line))
        parts.append(h("circle", cx=f"{x(bar.value)}%", cy=y, r=6, class_=f"point {colour}"))
    said = "; ".join(
        f"{bar.name}: {signed(bar.value)}, at one look {interval_words(bar.once)}, at any time {interval_words(bar.always)}"
        for bar in shown
    )
    return _svg(height, f"Change against the reference. {said}", parts)


def time_plot(lines: Sequence[Line]) -> Html | None:
    """
    Each variation's always-valid interval over time.

    Returns:
        None when no variation has two points yet.
    """
    shown = [line for line in lines if len(line.points) > 1]
    if not shown:
        return None
    # Early intervals are enormous; the plot shows what the later ones need and cuts off the rest.
    later = [point for line in shown for point in line.points[len(line.points) // 4 :]]
    low, high = _bounds(
        [end for _, _, interval in later for end in (interval.low, interval.high) if math.isfinite(end)]
    )
    first = min(line.points[0][0] for line in shown)
    last = max(line.points[-1][0] for line in shown)
    drawn = _HEIGHT - _AXIS

    def x(time_ms: float) -> float:
        return round((time_ms - first) / max(1, last - first) * 1000, 1)

    def y(value: float) -> float:
        inside = min(max(value, low), high)
        return round((high - inside) / (high - low) * drawn, 1)

    curves: list[Html] = []
    for number, line in enumerate(shown):
        colour = f"s{number % COLOURS}"
        above = [f"{x(time_ms)},{y(interval.high)}" for time_ms, _, interval in line.points]
        below = [f"{x(time_ms)},{y(interval.low)}" for time_ms, _, interval in reversed(line.points)]
        curves.append(h("polygon", points=" ".join(above + below), class_=f"band {colour}"))
        middle = " ".join(f"{x(time_ms)},{y(value)}" for time_ms, value, _ in line.points)
        curves.append(h("polyline", points=middle, class_=f"whisker {colour}"))
    # Curves are stretched to the width of the page; texts are not, so that they can be read on every screen.
    stretched: dict[str, Attribute] = {
        "aria_hidden": "true",
        "viewBox": f"0 0 1000 {drawn}",
        "preserveAspectRatio": "none",
        "width": "100%",
        "height": drawn,
    }
    parts = [h("svg", curves, **stretched)]
    for value in _ticks(low, high):
        kind = "zero" if abs(value) < 1e-9 else "grid"
        parts.append(h("line", x1=0, x2="100%", y1=y(value), y2=y(value), class_=kind))
        if y(value) > 16:
            parts.append(h("text", _tick(value), x=2, y=y(value) - 4))
    for moment, words in _times(last - first):
        place = moment / max(1, last - first)
        anchor = "start" if place < 0.05 else "end" if place > 0.95 else "middle"
        parts.append(h("text", words, x=f"{place * 100:.2f}%", y=_HEIGHT - 6, text_anchor=anchor))
    said = "; ".join(f"{line.name}: at last {interval_words(line.points[-1][2])}" for line in shown)
    return h(
        "div",
        legend([line.name for line in shown]),
        _svg(_HEIGHT, f"Always-valid interval of the change over time. {said}", parts),
    )


def _svg(height: float, title: str, parts: Sequence[Html]) -> Html:
    return h("svg", h("title", title), parts, width="100%", height=height, role="img", class_="plot")


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that shows *values* and 0, never without width."""
    low, high = min([*values, 0.0]), max([*values, 0.0])
    margin = max((high - low) * 0.08, 0.005)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round values on an axis."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= 5)
    first = math.ceil(low / step)
    return [round(number * step, 12) for number in range(first, math.floor(high / step) + 1)]


def _short(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:39]}…"


def _times(milliseconds: float) -> list[tuple[float, str]]:
    """Two to five places on an axis of so many milliseconds, at round times, with what stands there."""
    units = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1000))
    unit, size = next((pair for pair in units if milliseconds >= pair[1]), units[-1])
    step = next((n for n in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if milliseconds / size / n <= 4), 5000)
    places = [n * step for n in range(1, 5) if n * step * size <= milliseconds]
    return [(0, "start"), *((n * size, f"{unit} {n}") for n in places)]


def share_bar(shares: Sequence[tuple[str, float]]) -> Html:
    """How a rule divides its visitors, as one bar with a legend."""
    parts: list[Html] = []
    x = 0.0
    for number, (_, share) in enumerate(shares):
        colour = f"s{number % COLOURS}"
        parts.append(h("rect", x=round(x * 100, 3), y=0, width=round(share * 100, 3), height=8, class_=colour))
        x += share
    bar = h("svg", parts, viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true", class_="plot bar")
    return h("div", bar, legend([f"{name} {percent(share)}" for name, share in shares]), class_="shares")


def legend(names: Sequence[str]) -> Html:
    """Which colour is whose, in the order of the colours."""
    return h(
        "ul",
        [
            h("li", h("span", class_=f"swatch s{number % COLOURS}", aria_hidden="true"), name)
            for number, name in enumerate(names)
        ],
        class_="legend",
    )

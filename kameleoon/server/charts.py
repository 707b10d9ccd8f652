"""Plots of results as SVG inside the page: no script, colours from the style sheet, the numbers also in words for those who cannot see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kameleoon.server.html import Html, h

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kameleoon.server.statistics import Interval

_WIDTH = 720
_ROW = 46
_LEFT = 150
_RIGHT = 20
_HEIGHT = 260
_AXIS = 26
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
        return round(_LEFT + (inside - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    parts: list[Html] = _vertical_grid(low, high, x, height)
    for row, bar in enumerate(shown):
        y = row * _ROW + _ROW / 2
        colour = f"s{row % COLOURS}"
        parts.append(h("text", _short(bar.name), x=_LEFT - 12, y=y + 5, text_anchor="end", class_="name"))
        if bar.always is not None:
            box = {"x": x(bar.always.low), "y": y - 9, "width": max(1, x(bar.always.high) - x(bar.always.low))}
            parts.append(h("rect", height=18, rx=4, class_=f"band {colour}", **box))
        assert bar.once is not None, "filtered above"
        parts.append(h("line", x1=x(bar.once.low), x2=x(bar.once.high), y1=y, y2=y, class_=f"whisker {colour}"))
        parts.append(h("circle", cx=x(bar.value), cy=y, r=6, class_=f"point {colour}"))
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
    left = 64

    def x(time_ms: float) -> float:
        return round(left + (time_ms - first) / max(1, last - first) * (_WIDTH - left - _RIGHT), 1)

    def y(value: float) -> float:
        inside = min(max(value, low), high)
        return round(8 + (high - inside) / (high - low) * (_HEIGHT - _AXIS - 16), 1)

    parts: list[Html] = []
    for value in _ticks(low, high):
        parts.append(
            h(
                "line",
                x1=left,
                x2=_WIDTH - _RIGHT,
                y1=y(value),
                y2=y(value),
                class_="zero" if abs(value) < 1e-9 else "grid",
            )
        )
        parts.append(h("text", _tick(value), x=left - 8, y=y(value) + 4, text_anchor="end"))
    for place in range(5):
        moment = first + (last - first) * place / 4
        anchor = "start" if place == 0 else "end" if place == 4 else "middle"
        parts.append(h("text", _since(moment - first), x=x(moment), y=_HEIGHT - 6, text_anchor=anchor))
    for number, line in enumerate(shown):
        colour = f"s{number % COLOURS}"
        above = [f"{x(time_ms)},{y(interval.high)}" for time_ms, _, interval in line.points]
        below = [f"{x(time_ms)},{y(interval.low)}" for time_ms, _, interval in reversed(line.points)]
        parts.append(h("polygon", points=" ".join(above + below), class_=f"band {colour}"))
        middle = " ".join(f"{x(time_ms)},{y(value)}" for time_ms, value, _ in line.points)
        parts.append(h("polyline", points=middle, class_=f"whisker {colour}"))
    said = "; ".join(f"{line.name}: at last {interval_words(line.points[-1][2])}" for line in shown)
    legend = h(
        "ul",
        [
            h("li", h("span", class_=f"swatch s{number % COLOURS}", aria_hidden="true"), line.name)
            for number, line in enumerate(shown)
        ],
        class_="legend",
    )
    return h("div", legend, _svg(_HEIGHT, f"Always-valid interval of the change over time. {said}", parts))


def _svg(height: float, title: str, parts: Sequence[Html]) -> Html:
    plot = h(
        "svg",
        h("title", title),
        parts,
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        class_="plot",
        preserveAspectRatio="xMinYMin",
    )
    return h("div", plot, class_="scroll")


def _vertical_grid(low: float, high: float, x: object, height: float) -> list[Html]:
    assert callable(x)
    parts: list[Html] = []
    for value in _ticks(low, high):
        kind = "zero" if abs(value) < 1e-9 else "grid"
        parts.append(h("line", x1=x(value), x2=x(value), y1=0, y2=height - _AXIS, class_=kind))
        parts.append(h("text", _tick(value), x=x(value), y=height - 8, text_anchor="middle"))
    return parts


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that shows *values* and 0, never without width."""
    low, high = min([*values, 0.0]), max([*values, 0.0])
    margin = max((high - low) * 0.08, 0.005)
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Four to nine round values on an axis."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (high - low) / (step * factor) <= 7)
    first = math.ceil(low / step)
    return [round(number * step, 12) for number in range(first, math.floor(high / step) + 1)]


def _short(name: str) -> str:
    return name if len(name) <= 17 else f"{name[:16]}…"


def _since(milliseconds: float) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if milliseconds >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return f"{milliseconds / 1000:.3g} s"


def share_bar(shares: Sequence[tuple[str, float]]) -> Html:
    """How a rule divides its visitors, as one bar; the text beside it says the same."""
    parts: list[Html] = []
    x = 0.0
    for number, (_, share) in enumerate(shares):
        parts.append(
            h("rect", x=round(x * 100, 3), y=0, width=round(share * 100, 3), height=8, class_=f"s{number % COLOURS}")
        )
        x += share
    return h("svg", parts, viewBox="0 0 100 8", preserveAspectRatio="none", aria_hidden="true", class_="plot bar")

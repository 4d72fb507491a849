"""Line and bar charts as inline SVG. The style sheet colours curves by their order (s0, s1, s2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reid.report.markup import Markup, tag

__all__ = ["Series", "bar_chart", "line_chart", "ticks"]

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 38
_MANY_POINTS = 60


@dataclass(frozen=True)
class Series:
    """One curve: a name and its known points (round, value)."""

    name: str
    points: Sequence[tuple[int, float]]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, evenly spaced by 1, 2 or 5 times a power of ten, that enclose [low, high].

    Parameters
    ----------
    low, high : float
        Finite; low <= high.
    about : int, default=5
        Wished number of steps.

    Returns
    -------
    list of float
        At least two, rising.
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        reach = abs(high) * 0.1 or 1.0
        low, high = low - reach, high + reach
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, final = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, final + 1)]


def line_chart(
    title: str, series: Sequence[Series], *, unit: str = "", zero: bool = False, marked: int | None = None
) -> Markup:
    """Draw curves over rounds.

    Parameters
    ----------
    title : str
        Read aloud in place of the picture, with each curve's first and last value.
    series : sequence of Series
        At most three, each with at least one point.
    unit : str, default=""
        Behind every value, for instance "%".
    zero : bool, default=False
        The value axis starts at 0.
    marked : int, optional
        Round at which a dashed line stands.

    Returns
    -------
    Markup
    """
    rounds = [x for s in series for x, _ in s.points]
    values = [y for s in series for _, y in s.points]
    steps = ticks(min([*values, 0.0]) if zero else min(values), max(values))
    left, right = min(rounds), max(rounds)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) if right > left else 0.5
        up = (y - steps[0]) / (steps[-1] - steps[0])
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    marks = [int(t) for t in ticks(left, right, 8) if t == int(t) and left <= t <= right]
    parts = _value_axis(steps, [at(left, y)[1] for y in steps], unit)
    for x in marks:
        parts.append(tag("text", x, x=at(x, steps[0])[0], y=_HEIGHT - _BOTTOM + 17, text_anchor="middle"))
    parts.append(tag("text", "round", x=_WIDTH - _RIGHT, y=_HEIGHT - 4, text_anchor="end"))
    if marked is not None and left <= marked <= right:
        here, _ = at(marked, steps[0])
        parts.append(tag("line", x1=here, x2=here, y1=_TOP, y2=_HEIGHT - _BOTTOM, class_="marked"))
    for k, s in enumerate(series):
        corners = [at(x, y) for x, y in s.points]
        parts.append(tag("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in corners), class_=f"curve s{k}"))
        if len(corners) <= _MANY_POINTS:
            for (cx, cy), (x, y) in zip(corners, s.points, strict=True):
                hint = tag("title", f"{s.name}, round {x}: {y:.4g}{unit}")
                parts.append(tag("circle", hint, cx=cx, cy=cy, r=3, class_=f"dot s{k}"))
    told = "; ".join(f"{s.name} {s.points[0][1]:.4g}{unit} to {s.points[-1][1]:.4g}{unit}" for s in series)
    return _svg(f"{title}, rounds {left} to {right}: {told}", parts)


def bar_chart(title: str, bars: Sequence[tuple[str, int]], across: str) -> Markup:
    """Draw counts as bars.

    Parameters
    ----------
    title : str
        Read aloud in place of the picture, with every count.
    bars : sequence of (str, int)
        Label and count, from left to right; at least one.
    across : str
        What the labels are.

    Returns
    -------
    Markup
    """
    steps = ticks(0, max(n for _, n in bars))
    scale = (_HEIGHT - _TOP - _BOTTOM) / steps[-1]
    floor = _HEIGHT - _BOTTOM
    parts = _value_axis(steps, [round(floor - y * scale, 1) for y in steps], "")
    pitch = (_WIDTH - _LEFT - _RIGHT) / len(bars)
    wide = min(pitch * 0.72, 56)
    for k, (label, n) in enumerate(bars):
        middle = round(_LEFT + (k + 0.5) * pitch, 1)
        top = round(floor - n * scale, 1)
        parts.append(
            tag(
                "rect",
                x=round(middle - wide / 2, 1),
                y=top,
                width=round(wide, 1),
                height=round(floor - top, 1),
                class_="bar",
            )
        )
        if n:
            parts.append(
                tag(
                    "text",
                    f"{n:,}",
                    x=middle,
                    y=round(max(top - 4, 10), 1),
                    text_anchor="middle",
                    class_="count",
                )
            )
        parts.append(tag("text", label, x=middle, y=floor + 15, text_anchor="middle"))
    parts.append(tag("text", across, x=_WIDTH - _RIGHT, y=_HEIGHT - 4, text_anchor="end"))
    return _svg(title + ": " + ", ".join(f"{label}: {n}" for label, n in bars), parts)


def _value_axis(steps: Sequence[float], heights: Sequence[float], unit: str) -> list[Markup]:
    parts = []
    decimals = max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9))
    for value, y in zip(steps, heights, strict=True):
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{value:,.{decimals}f}{unit}", x=_LEFT - 7, y=y + 4, text_anchor="end"))
    return parts


def _svg(told: str, parts: list[Markup]) -> Markup:
    return tag("svg", tag("title", told), *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img")

"""Line and bar charts as inline SVG. The style sheet colours curves by their order (s0 to s7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reid.report.markup import Markup, tag

__all__ = ["Series", "bar_chart", "line_chart", "svg", "ticks", "value_axis"]

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 38
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
    title: str, series: Sequence[Series], *, unit: str = "", zero: bool = False, marked: int | None = None,
    colors: Sequence[int] | None = None,
) -> Markup:  # fmt: skip
    """Draw curves over rounds.

    Parameters
    ----------
    title : str
        Read aloud in place of the picture, with each curve's first and last value.
    series : sequence of Series
        At most eight, each with at least one point.
    unit : str, default=""
        Behind every value, for instance "%".
    zero : bool, default=False
        The value axis starts at 0.
    marked : int, optional
        Round at which a dashed line stands.
    colors : sequence of int, optional
        Numbers of the colours; by default the curves' own places.

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
            round(LEFT + across * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
        )

    marks = [int(t) for t in ticks(left, right, 8) if t == int(t) and left <= t <= right]
    parts = value_axis(steps, [at(left, y)[1] for y in steps], unit)
    for x in marks:
        parts.append(tag("text", x, x=at(x, steps[0])[0], y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
    parts.append(tag("text", "round", x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end"))
    if marked is not None and left <= marked <= right:
        here, _ = at(marked, steps[0])
        parts.append(tag("line", x1=here, x2=here, y1=TOP, y2=HEIGHT - BOTTOM, class_="marked"))
    for k, s in zip(colors or range(len(series)), series, strict=True):
        corners = [at(x, y) for x, y in s.points]
        parts.append(tag("polyline", points=" ".join(f"{x:g},{y:g}" for x, y in corners), class_=f"curve s{k}"))
        if len(corners) <= _MANY_POINTS:
            for (cx, cy), (x, y) in zip(corners, s.points, strict=True):
                hint = tag("title", f"{s.name}, round {x}: {y:.4g}{unit}")
                parts.append(tag("circle", hint, cx=cx, cy=cy, r=3, class_=f"dot s{k}"))
    told = "; ".join(f"{s.name} {s.points[0][1]:.4g}{unit} to {s.points[-1][1]:.4g}{unit}" for s in series)
    return svg(f"{title}, rounds {left} to {right}: {told}", parts)


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
    scale = (HEIGHT - TOP - BOTTOM) / steps[-1]
    floor = HEIGHT - BOTTOM
    parts = value_axis(steps, [round(floor - y * scale, 1) for y in steps], "")
    pitch = (WIDTH - LEFT - RIGHT) / len(bars)
    wide = min(pitch * 0.72, 56)
    for k, (label, n) in enumerate(bars):
        middle = round(LEFT + (k + 0.5) * pitch, 1)
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
    parts.append(tag("text", across, x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end"))
    return svg(title + ": " + ", ".join(f"{label}: {n}" for label, n in bars), parts)


def value_axis(steps: Sequence[float], heights: Sequence[float], unit: str) -> list[Markup]:
    """Grid lines at `heights` with the values `steps` beside them."""
    parts = []
    decimals = max(0, -math.floor(math.log10(steps[1] - steps[0]) + 1e-9))
    for value, y in zip(steps, heights, strict=True):
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{value:,.{decimals}f}{unit}", x=LEFT - 7, y=y + 4, text_anchor="end"))
    return parts


def svg(told: str, parts: list[Markup]) -> Markup:
    """A chart of `parts`, described by `told` to who cannot see it."""
    return tag("svg", tag("title", told), *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img")

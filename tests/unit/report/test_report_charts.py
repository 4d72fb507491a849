"""Charts: ticks that enclose the values, points inside the drawing, whatever the values are."""

from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.report.charts import Series, bar_chart, line_chart, ticks
from reid.report.markup import Markup, plain, tag

VALUES = st.floats(-1e9, 1e9, allow_nan=False)


@given(VALUES, VALUES)
def test_ticks_enclose_and_rise(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    steps = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1e-300)
    assert 2 <= len(steps) <= 14
    assert all(x < y for x, y in itertools.pairwise(steps))
    assert steps[0] <= low + slack
    assert steps[-1] >= high - slack


@pytest.mark.parametrize(("low", "high", "steps"), [(0, 10, [0, 2, 4, 6, 8, 10]), (3, 3, [2.6, 2.8, 3.0, 3.2, 3.4])])
def test_ticks_are_round_numbers(low: float, high: float, steps: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(steps)


@given(st.lists(st.tuples(st.integers(0, 300), VALUES), min_size=1, max_size=70), st.booleans())
def test_points_lie_in_the_drawing(points: list[tuple[int, float]], zero: bool) -> None:
    svg = line_chart("t", [Series("s", points)], zero=zero)
    corners = re.findall(r'points="([^"]*)"', svg)[0].split()
    assert len(corners) == len(points)
    for corner in corners:
        x, y = map(float, corner.split(","))
        assert 0 <= x <= 520
        assert 0 <= y <= 250


def test_higher_values_are_higher_up() -> None:
    svg = line_chart("t", [Series("s", [(0, 1.0), (1, 3.0), (2, 2.0)])])
    corners = re.findall(r'points="([^"]*)"', svg)[0].split()
    x, y = zip(*(map(float, corner.split(",")) for corner in corners), strict=True)
    assert x[0] < x[1] < x[2]
    assert y[1] < y[2] < y[0]


def test_bars_are_as_high_as_their_counts() -> None:
    svg = bar_chart("t", [("a", 10), ("b", 5), ("<c>", 0)], "size")
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([^"]*)"', svg)]
    assert math.isclose(heights[0], 2 * heights[1])
    assert heights[2] == 0
    assert "<c>" not in svg
    assert "a: 10, b: 5, &lt;c&gt;: 0" in svg


def test_tag_escapes_text_and_attributes_once() -> None:
    inner = tag("b", "<&>")
    assert inner == "<b>&lt;&amp;&gt;</b>"
    outer = tag("p", inner, None, "'x'", class_='a"b', title=None)
    assert outer == f'<p class="a&quot;b">{inner}&#x27;x&#x27;</p>'
    assert isinstance(inner, Markup)


@given(st.text(alphabet=st.characters(), max_size=50))
def test_plain_is_visible_and_encodes(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown


def test_plain_cuts_long_text() -> None:
    assert len(plain("x" * 1_000_000)) < 2100

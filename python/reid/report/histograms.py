"""Histograms of distances: are clusters apart, and does eps lie between?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reid.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, svg, ticks, value_axis
from reid.report.details import Details
from reid.report.folder import RunFolder
from reid.report.markup import Markup, join, tag

__all__ = ["distances", "histogram"]

Ints = NDArray[np.int64]


def distances(run: RunFolder, details: Details) -> Markup | None:
    """Draw both histograms; None where nothing was clustered."""
    charts = []
    for title, what, edges, within, between, mark in (
        ("Squared distances of features", "squared distance", details.edges, details.within, details.between, None),
        ("Jaccard distances (pairs below 1)", "Jaccard distance", details.jaccard_edges, details.jaccard_within,
         details.jaccard_between, _eps(run)),
    ):  # fmt: skip
        series = [(n, v) for n, v in (("within clusters", within), ("between clusters", between)) if v.sum()]
        if not series:
            continue
        legend = [tag("span", name, class_=f"key s{k}") for k, (name, _) in enumerate(series)]
        if mark is not None:
            legend.append(tag("span", f"dashed: eps {mark:g}", class_="soft"))
        charts.append(
            tag("figure", tag("figcaption", tag("b", title), *legend), histogram(title, what, edges, series, mark))
        )
    if not charts:
        return None
    note = tag("p",
        "Under the network after the last round, between training samples, each curve in percent of its pairs. Where "
        "the curves overlap, distance alone does not tell members from strangers. Jaccard distances take the features "
        "as they are; a run that centres cameras or adds side information clusters on others.",
        class_="soft")  # fmt: skip
    return tag("div", tag("div", join(charts), class_="charts"), note)


def _eps(run: RunFolder) -> float | None:
    """The eps that the last clustering by Jaccard distances used."""
    settings = run.settings
    if "eps" not in settings or "k1" not in settings or settings.get("labels") == "mutual" or run.last is None:
        return None
    value = run.last.get("eps")
    value = settings["eps"] if value is None else value
    return float(value) if isinstance(value, int | float) and 0 < value <= 1 else None


def histogram(
    title: str, across: str, edges: NDArray[np.float32], series: Sequence[tuple[str, Ints]], mark: float | None = None
) -> Markup:
    """Draw counts over bins, each series in percent of its sum, as steps.

    Parameters
    ----------
    title, across : str
        What is drawn, and what the bins are of.
    edges : (B + 1,) float32
    series : sequence of (str, (B,) int64)
        Names and counts, at most three, none all zero.
    mark : float, optional
        Where a dashed line stands.

    Returns
    -------
    Markup
    """
    shares = [100 * counts / counts.sum() for _, counts in series]
    steps = ticks(0, max(float(s.max()) for s in shares))
    low, high = float(edges[0]), float(edges[-1])

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - value / steps[-1] * (HEIGHT - TOP - BOTTOM), 1)

    parts = value_axis(steps, [y(v) for v in steps], "%")
    for value in ticks(low, high, 6):
        if low <= value <= high + 1e-9:
            parts.append(tag("text", f"{value:g}" if abs(value) > 1e-9 else "0", x=x(value), y=HEIGHT - BOTTOM + 17,
                             text_anchor="middle"))  # fmt: skip
    parts.append(tag("text", across, x=WIDTH - RIGHT, y=HEIGHT - 4, text_anchor="end"))
    for k, share in enumerate(shares):
        corners = [(x(low), y(0))]
        for value, left, right in zip(share.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            corners += [(x(left), y(value)), (x(right), y(value))]
        corners.append((x(high), y(0)))
        points = " ".join(f"{a:g},{b:g}" for a, b in corners)
        parts += [
            tag("polygon", points=points, class_=f"area s{k}"),
            tag("polyline", points=points, class_=f"curve s{k}"),
        ]
    if mark is not None and low <= mark <= high:
        parts.append(tag("line", x1=x(mark), x2=x(mark), y1=TOP, y2=HEIGHT - BOTTOM, class_="marked"))
    middle = [float(np.interp(0.5, np.cumsum(c) / c.sum(), edges[1:])) for _, c in series]
    told = "; ".join(f"{name}: half below {m:.2f}" for (name, _), m in zip(series, middle, strict=True))
    return svg(f"{title}: {told}", parts)

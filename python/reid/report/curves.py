"""Curves over the rounds, and sizes of the last round's clusters."""

from __future__ import annotations

from reid.report.charts import Series, bar_chart, line_chart
from reid.report.folder import Round, RunFolder
from reid.report.markup import Markup, join, tag

__all__ = ["cluster_sizes", "curves", "thinned"]

MAX_ROUNDS = 300
"""Rounds drawn and tabulated; of more, evenly spaced ones are taken, and those that the page names."""

CURVES = (
    ("Retrieval (uses identities)", (("mAP", "mAP"), ("rank1", "rank-1")), 100, "%", False),
    (
        "With times and cameras of the test set (uses identities)",
        (("side_mAP", "side mAP"), ("side_rank1", "side rank-1")),
        100,
        "%",
        False,
    ),
    ("Label-free score", (("reciprocity", "reciprocity"),), 100, "%", False),
    (
        "Beside it, without labels",
        (("stability", "stability"), ("silhouette", "silhouette"), ("mutual_share", "mutual pairs")),
        100,
        "%",
        False,
    ),
    (
        "Clusters",
        (("n_clusters", "clusters"), ("n_outliers", "outliers"), ("largest_cluster", "largest")),
        1,
        "",
        True,
    ),
    ("Loss", (("loss", "mean loss"),), 1, "", False),
    ("Clusters against identities (oracle)", (("oracle_ari", "ARI"),), 1, "", False),
)
"""Title, series (key, name), factor, unit, and whether the axis starts at 0, of each chart."""


def thinned(run: RunFolder) -> list[Round]:
    """All rounds, or about `MAX_ROUNDS` of them."""
    if len(run.rounds) <= MAX_ROUNDS:
        return run.rounds
    keep = {k * len(run.rounds) // MAX_ROUNDS for k in range(MAX_ROUNDS)} | {0, len(run.rounds) - 1}
    named = {r.number for r in (run.selected, run.best) if r}
    return [r for k, r in enumerate(run.rounds) if k in keep or r.number in named]


def curves(run: RunFolder) -> Markup:
    """Draw what was measured in two rounds or more."""
    shown = thinned(run)
    marked = run.selected.number if run.selected else None
    figures = []
    for name, keys, factor, unit, zero in CURVES:
        every = [
            Series(label, [(r.number, factor * v) for r in shown if (v := r.get(key)) is not None])
            for key, label in keys
        ]
        series = [s for s in every if s.points]
        if max((len(s.points) for s in series), default=0) < 2:
            continue  # one point is no curve; the table tells it
        legend = [tag("span", s.name, class_=f"key s{k}") for k, s in enumerate(series)]
        caption = tag("figcaption", tag("b", name), *legend)
        figures.append(tag("figure", caption, line_chart(name, series, unit=unit, zero=zero, marked=marked)))
    if not figures:
        return tag("p", "Curves need two rounds or more; the table below holds what was measured.", class_="soft")
    note = (
        tag("p", f"The dashed line marks round {marked}, selected without labels.", class_="soft")
        if marked is not None
        else None
    )
    return tag("div", tag("div", join(figures), class_="charts"), note)


def cluster_sizes(run: RunFolder) -> Markup:
    """Draw how many clusters there are of each size."""
    counts = [n for label, n in run.sizes.items() if label >= 0]
    if not counts:
        return tag("p", "The run folder holds no clusters (labels.csv, labels/round-NNN.npz).", class_="soft")
    bars = []
    low = 1
    while low <= max(counts):  # 1, 2, 3-4, 5-8, 9-16, ...
        high = low if low <= 2 else 2 * (low - 1)
        bars.append((str(low) if low == high else f"{low}-{high}", sum(low <= n <= high for n in counts)))
        low = high + 1
    what = run.unit if run.members else "samples"  # round-NNN.npz has a label a sample
    told = f"{sum(counts):,} {what} in {len(counts):,} clusters; {run.sizes.get(-1, 0):,} outliers."
    caption = tag("figcaption", tag("b", "Number of clusters by size"))
    return tag(
        "div",
        tag("p", told),
        tag("div", tag("figure", caption, bar_chart("Clusters by size", bars, what)), class_="charts"),
    )

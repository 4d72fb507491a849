"""The page: sections in order, under a policy that lets a browser load and run nothing."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path

from reid.files import write_text
from reid.report.charts import Series, bar_chart, line_chart
from reid.report.folder import Round, RunFolder, read
from reid.report.markup import Markup, join, tag
from reid.report.mosaic import mosaics
from reid.report.summary import key_figures, summary, title, warnings
from reid.report.tables import meanings, rounds_table, run_table, settings_table

__all__ = ["MAX_BYTES", "write"]

MAX_BYTES = 4_000_000
"""Size of a page, about: thumbnails beyond it are left out."""

MAX_ROUNDS = 300
"""Rounds drawn and tabulated; of more, evenly spaced ones are taken, and those that the page names."""

# Names and boxes around the thumbnails: 18 clusters of 8, each at most about 2 kB.
_AROUND_PICTURES = 300_000

CURVES = (
    ("Retrieval (uses identities)", (("mAP", "mAP"), ("rank1", "rank-1")), 100, "%", False),
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


def write(run: Path, *, pictures: bool = True) -> Path:
    """Make `report.html` in a run folder, from the files in it only.

    Parameters
    ----------
    run : Path
        Folder that `reid-train` wrote; of its files only metrics.jsonl must be there.
    pictures : bool, default=True
        Whether the page holds thumbnails of the largest and smallest clusters. With False it holds no picture
        and no picture's name.

    Returns
    -------
    Path
        The page: one file of at most about `MAX_BYTES`, without scripts, that loads nothing from anywhere.

    Raises
    ------
    ValueError
        The folder holds no rounds, or a broken file; names it.
    OSError
        The page can't be written; an older one stays.
    """
    run = Path(run)
    found = read(run)
    upper = [
        _head(found),
        _section("Curves", _curves(found)),
        _section("All rounds", _table(found)),
        _section("Clusters of the last round", _sizes(found)),
    ]
    lower = [
        _section("Settings", settings_table(found.settings)),
        _section("The run", run_table(found)),
        _section("What the words mean", meanings()),
    ]
    page = _page(found, [*upper, *lower])
    if found.members:
        room = MAX_BYTES - len(page.encode()) - _AROUND_PICTURES
        page = _page(found, [*upper, _pictures(found, room, pictures), *lower])
    path = run / "report.html"
    write_text(path, page)
    return path


def _page(run: RunFolder, sections: list[Markup]) -> Markup:
    style = resources.files("reid.report").joinpath("style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"Report: {title(run)}"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    ]
    whole = tag("html", tag("head", join(head)), tag("body", tag("main", join(sections))), lang="en")
    return Markup("<!DOCTYPE html>\n" + whole + "\n")


def _section(heading: str, *content: Markup | None) -> Markup:
    return tag("section", tag("h2", heading), *content)


def _head(run: RunFolder) -> Markup:
    started, device = run.fact("started"), run.fact("device")
    told = ", ".join(str(s) for s in (started and f"started {started}", device and f"on {device}") if s)
    when = tag("p", told[:1].upper() + told[1:], class_="when") if told else None
    return tag(
        "header",
        tag("h1", title(run)),
        when,
        summary(run),
        key_figures(run),
        tag("h2", "Warnings and notes"),
        warnings(run),
    )


def _thinned(run: RunFolder) -> list[Round]:
    if len(run.rounds) <= MAX_ROUNDS:
        return run.rounds
    keep = {k * len(run.rounds) // MAX_ROUNDS for k in range(MAX_ROUNDS)} | {0, len(run.rounds) - 1}
    named = {r.number for r in (run.selected, run.best) if r}
    return [r for k, r in enumerate(run.rounds) if k in keep or r.number in named]


def _curves(run: RunFolder) -> Markup:
    shown = _thinned(run)
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


def _table(run: RunFolder) -> Markup:
    return rounds_table(_thinned(run), run.selected, len(run.rounds))


def _sizes(run: RunFolder) -> Markup:
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


def _pictures(run: RunFolder, room: int, pictures: bool) -> Markup:
    if not pictures:
        return _section("What was put together", tag("p", "This report was made without pictures.", class_="soft"))
    middle = " Of a tracklet its middle frame is shown." if run.unit == "tracklets" else ""
    note = tag(
        "p",
        f"Up to eight {run.unit} of a cluster, over its cameras and tracklets, in the shape the network sees.{middle}",
        class_="soft",
    )
    shown = mosaics(run.members, _aspect(run), room, run.unit)
    return _section("What was put together", note, shown or tag("p", "No cluster holds two samples."))


def _aspect(run: RunFolder) -> float:
    """Width over height of the network's input; a person's when the settings don't tell."""
    height, width = run.settings.get("height"), run.settings.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return width / height
    return 0.5

"""Several runs side by side: what differs in their settings, what came of each, curves over each other."""

from __future__ import annotations

from collections.abc import Sequence

from reid.report.advice import advice_list
from reid.report.charts import Series, line_chart
from reid.report.curves import thinned
from reid.report.folder import Round, RunFolder
from reid.report.frame import section, whole_page
from reid.report.markup import Markup, join, tag
from reid.report.summary import summary, title
from reid.report.tables import percent, shown_value

__all__ = ["comparison"]

DRAWN = 8
"""Runs whose curves are drawn: as many as there are colours that can be told apart."""

SHARES = (("mAP", "mAP"), ("rank1", "rank-1"), ("side_mAP", "side mAP"), ("side_rank1", "side rank-1"),
          ("reciprocity", "Reciprocity"))  # fmt: skip
CURVES = (
    ("mAP (uses identities)", "mAP", 100, "%"),
    ("Rank-1 (uses identities)", "rank1", 100, "%"),
    ("Reciprocity, the label-free score", "reciprocity", 100, "%"),
    ("Clusters", "n_clusters", 1, ""),
    ("Outliers", "n_outliers", 1, ""),
    ("Clusters against identities, ARI (oracle)", "oracle_ari", 1, ""),
    ("Loss", "loss", 1, ""),
)
_UNEQUAL = {"output", "workers"}
"""Settings that say nothing about what was trained."""


def comparison(runs: Sequence[tuple[str, RunFolder]]) -> Markup:
    """The page of named runs."""
    what = f"{len(runs)} runs side by side"
    parts = [
        ("results", "Results", _results(runs)),
        ("differences", "Settings that differ", _differences(runs)),
        ("curves", "Curves", _curves(runs)),
        ("runs", "The runs", join([_run(name, run) for name, run in runs])),
    ]
    sections = [tag("header", tag("h1", what)), *(section(key, heading, body) for key, heading, body in parts)]
    return whole_page(what, sections, [(key, heading) for key, heading, _ in parts])


def _results(runs: Sequence[tuple[str, RunFolder]]) -> Markup:
    keys = [(k, n) for k, n in SHARES if any(r.get(k) is not None for _, run in runs for r in run.rounds)]
    head = [tag("th", "Run", scope="col"), tag("th", "Rounds", scope="col", class_="number")]
    for when in ("untrained", "last", "selected"):
        head += [tag("th", f"{name}, {when}", scope="col", class_="number") for _, name in keys]
    head += [tag("th", name, scope="col", class_="number") for name in ("Clusters", "Outliers", "Seconds")]
    rows = []
    for name, run in runs:
        cells = [tag("td", run.rounds[-1].number, class_="number")]
        for r in (run.untrained, run.last, run.selected):
            cells += [_number(percent(r.get(key) if r else None)) for key, _ in keys]
        cells += [_number(_count(run.last, key)) for key in ("n_clusters", "n_outliers")]
        cells.append(_number(f"{sum(r.get('seconds') or 0 for r in run.rounds):,.0f}"))
        rows.append(tag("tr", tag("th", name, scope="row"), *cells))
    caption = tag("caption", "mAP, rank-1 and reciprocity in percent; selected: the round chosen without labels.")
    table = tag("table", caption, tag("thead", tag("tr", *head)), tag("tbody", join(rows)), class_="sortable rounds")
    data = {str(run.fact("data", "fingerprint")) for _, run in runs}
    warning = tag("p", "These runs have different data: their figures do not compare.", class_="box alarm")
    scroll = tag("div", table, class_="box scroll", tabindex=0, role="region", aria_label="Results")
    return tag("div", warning if len(data) > 1 else None, scroll)


def _differences(runs: Sequence[tuple[str, RunFolder]]) -> Markup:
    settings = [{"method": run.fact("method"), **run.settings} for _, run in runs]
    keys = sorted({key for s in settings for key in s} - _UNEQUAL)
    keys = [key for key in keys if len({str(s.get(key)) for s in settings}) > 1]
    if not keys:
        return tag("p", "None: the runs have the same settings.", class_="soft")
    head = [tag("th", "Setting", scope="col"), *(tag("th", name, scope="col") for name, _ in runs)]
    rows = [
        tag("tr", tag("th", key, scope="row"), *(tag("td", shown_value(s.get(key, "\u2013"))) for s in settings))
        for key in keys
    ]
    table = tag("table", tag("thead", tag("tr", *head)), tag("tbody", join(rows)), class_="values sortable")
    return tag("div", table, class_="box scroll", tabindex=0, role="region", aria_label="Settings that differ")


def _curves(runs: Sequence[tuple[str, RunFolder]]) -> Markup:
    figures = []
    drawn = runs[:DRAWN]
    for heading, key, factor, unit in CURVES:
        series = [
            (k, Series(name, points))
            for k, (name, run) in enumerate(drawn)
            if (points := [(r.number, factor * v) for r in thinned(run) if (v := r.get(key)) is not None])
        ]
        if max((len(s.points) for _, s in series), default=0) < 2:
            continue
        legend = [tag("span", s.name, class_=f"key s{k}") for k, s in series]
        chart = line_chart(heading, [s for _, s in series], unit=unit, colors=[k for k, _ in series])
        figures.append(tag("figure", tag("figcaption", tag("b", heading), *legend), chart))
    if not figures:
        return tag("p", "Curves need two rounds or more.", class_="soft")
    more = tag("p", f"The first {DRAWN} of {len(runs)} runs are drawn.", class_="soft")
    return tag("div", tag("div", join(figures), class_="charts"), more if len(runs) > DRAWN else None)


def _run(name: str, run: RunFolder) -> Markup:
    return tag("div", tag("h3", f"{name}: {title(run)}"), summary(run), advice_list(run))


def _count(r: Round | None, key: str) -> str:
    value = r.get(key) if r else None
    return "\u2013" if value is None else f"{value:,.0f}"


def _number(text: str) -> Markup:
    return tag("td", text, class_="number")

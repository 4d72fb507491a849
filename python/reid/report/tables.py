"""Tables of the report: all rounds, all settings, and what the words mean."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from reid.report.folder import Round, RunFolder
from reid.report.markup import Markup, join, tag

__all__ = ["meanings", "percent", "rounds_table", "run_table", "settings_table", "shown_value"]


class Column(NamedTuple):
    """A number of metrics.jsonl in the table of rounds."""

    key: str
    name: str
    kind: Literal["share", "count", "number"]


COLUMNS = (
    Column("loss", "Loss", "number"),
    Column("n_clusters", "Clusters", "count"),
    Column("n_outliers", "Outliers", "count"),
    Column("largest_cluster", "Largest", "count"),
    Column("reciprocity", "Reciprocity", "share"),
    Column("stability", "Stability", "share"),
    Column("silhouette", "Silhouette", "share"),
    Column("mutual_share", "Mutual pairs", "share"),
    Column("drift", "Drift", "number"),
    Column("oracle_ari", "Oracle ARI", "number"),
    Column("mAP", "mAP", "share"),
    Column("mAP_trapezoid", "mAP trapezoid", "share"),
    Column("rank1", "rank-1", "share"),
    Column("rank5", "rank-5", "share"),
    Column("rank10", "rank-10", "share"),
    Column("side_mAP", "side mAP", "share"),
    Column("side_rank1", "side rank-1", "share"),
    Column("seconds", "Seconds", "number"),
)

_MEANINGS = (
    (
        "mAP",
        "Mean average precision: the precision at each right answer in a query's ranked gallery, averaged "
        "over its right answers, then over queries.",
    ),
    (
        "mAP trapezoid",
        "The same with the area under the precision-recall curve taken by trapezoids, as the Market-1501 toolkit does.",
    ),
    ("rank-1, -5, -10", "Share of queries with a right answer among the first 1, 5 or 10 of the gallery."),
    (
        "Side mAP, side rank-1",
        "Retrieval that also uses times and cameras of queries and gallery; a search over pictures alone lacks them.",
    ),
    (
        "Reciprocity",
        "Mean share of a training sample's ten nearest neighbours that have it among theirs; needs no labels.",
    ),
    ("Stability", "Adjusted Rand index of the clusters of two rounds that follow each other; 100 is no change."),
    (
        "Silhouette",
        "How much nearer samples are to their own cluster than to the next one (Jaccard), -100 to 100.",
    ),
    ("Mutual pairs", "Share of samples that are nearest to a sample of another camera which is nearest to them."),
    ("Drift", "How far features moved in the round: mean of 1 - cosine."),
    (
        "Selected",
        "The round chosen by a label-free score alone, as one would where nobody knows the identities.",
    ),
    (
        "Oracle",
        "A figure or a choice that uses the true identities, shown to judge, not to select.",
    ),
    (
        "ARI",
        "Adjusted Rand index: how far the clusters agree with the true identities; 1 is equal, about 0 is chance.",
    ),
    (
        "Clusters, outliers",
        "Pseudo identities found in the round, and training samples that none of them took.",
    ),
    ("Round 0", "The network before training, evaluated only."),
)


def percent(share: float | None) -> str:
    """A share in [0, 1] as percent with one decimal, without the sign; a dash for None."""
    return "\u2013" if share is None else f"{100 * share:.1f}"


def rounds_table(shown: Sequence[Round], selected: Round | None, total: int) -> Markup:
    """Tabulate `shown`, one row a round; columns that no round knows are left out.

    Parameters
    ----------
    shown : sequence of Round
    selected : Round, optional
        Marked in its row.
    total : int
        Rounds that the run has.

    Returns
    -------
    Markup
    """
    columns = [c for c in COLUMNS if any(r.get(c.key) is not None for r in shown)]
    head = [tag("th", "Round", scope="col", class_="number")]
    head += [tag("th", c.name, scope="col", class_="number") for c in columns]
    rows = []
    for r in shown:
        chosen = selected is not None and r.number == selected.number
        cells = [tag("td", _cell(r.get(c.key), c.kind), title=r.get(c.key), class_="number") for c in columns]
        mark = " (selected)" if chosen else None
        rows.append(
            tag(
                "tr",
                tag("th", r.number, mark, scope="row", class_="number"),
                *cells,
                class_="chosen" if chosen else None,
            )
        )
    left_out = f" {len(shown)} of {total} rounds are shown; all are in metrics.jsonl." if len(shown) < total else ""
    caption = tag(
        "caption",
        f"mAP, rank and reciprocity are in percent. Point at a figure to see it as it was logged.{left_out}",
    )
    table = tag("table", caption, tag("thead", tag("tr", *head)), tag("tbody", join(rows)), class_="rounds sortable")
    return tag("div", table, class_="box scroll", tabindex=0, role="region", aria_label="All rounds")


def settings_table(settings: Mapping[str, Any]) -> Markup:
    """Tabulate config.toml."""
    if not settings:
        return tag("p", "The run folder holds no config.toml.", class_="soft")
    return _pairs("Setting", [(key, settings[key]) for key in sorted(settings)])


def run_table(run: RunFolder) -> Markup:
    """Tabulate when, where and with what the run was made."""
    command = run.fact("command")
    if isinstance(command, list):
        command = shlex.join(str(word) for word in command)
    versions = run.fact("versions")
    pairs = [
        ("started", run.fact("started")),
        ("command", command),
        ("device", run.fact("device")),
        ("data fingerprint", run.fact("data", "fingerprint")),
        *(
            (f"version of {name}", version)
            for name, version in (versions if isinstance(versions, dict) else {}).items()
        ),
    ]
    known = [(name, value) for name, value in pairs if value is not None]
    return _pairs("Fact", known) if known else tag("p", "The run folder holds no run.json.", class_="soft")


def meanings() -> Markup:
    """Explain the words, one sentence or two each."""
    return tag(
        "dl",
        *[tag(name, text) for pair in _MEANINGS for name, text in zip(("dt", "dd"), pair, strict=True)],
        class_="box",
    )


def _pairs(what: str, pairs: Sequence[tuple[str, Any]]) -> Markup:
    rows = [tag("tr", tag("th", name, scope="row"), tag("td", shown_value(value))) for name, value in pairs]
    head = tag("thead", tag("tr", tag("th", what, scope="col"), tag("th", "Value", scope="col")))
    return tag("div", tag("table", head, tag("tbody", join(rows)), class_="values"), class_="box scroll")


def _cell(value: float | None, kind: str) -> str:
    if value is None or kind == "share":
        return percent(value)
    return f"{value:,.0f}" if kind == "count" or abs(value) >= 1000 else f"{value:#.4g}"


def shown_value(value: Any) -> str:
    """A setting as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(shown_value, value)) if isinstance(value, list) else str(value)

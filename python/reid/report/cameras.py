"""Camera by camera: who the neighbours are, who shares a cluster, and where the first answer is right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reid.report.details import Details
from reid.report.markup import Markup, join, tag

__all__ = ["camera_section", "own_camera_share"]

Ints = NDArray[np.int64]

MOST = 24
"""Cameras tabulated: the largest."""


def camera_section(details: Details) -> Markup | None:
    """Tables of neighbours, of cluster members, and of rank-1; None for fewer than two cameras."""
    parts = []
    if len(details.cameras) > 1:
        kept = np.sort(np.argsort(-details.camera_sizes, kind="stable")[:MOST])
        names = [f"cam {c}" for c in details.cameras[kept]]
        cut = np.ix_(kept, kept)
        few = f" The {MOST} largest of {len(details.cameras)} cameras." if len(details.cameras) > MOST else ""
        own, expected = own_camera_share(details, details.camera_neighbors)
        parts.append(tag("p",
            f"{100 * own:.0f} % of the ten nearest neighbours of a training sample are of its own camera; if cameras "
            f"left no trace it would be about {100 * expected:.0f} %.{few}"))  # fmt: skip
        for title, counts in (
            ("Cameras of the ten nearest neighbours", details.camera_neighbors),
            ("Cameras of the other members of a cluster", details.camera_members),
        ):
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            total = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
            parts.append(_table(f"{title}, percent of each row", "Samples of", names, names, shares[cut], total[cut]))
    if details.pair_total.any():
        rows, columns = (np.flatnonzero(details.pair_total.sum(axis=a))[:MOST] for a in (1, 0))
        cut = np.ix_(rows, columns)
        total = details.pair_total[cut]
        shares = np.where(total > 0, details.pair_hits[cut] / np.maximum(total, 1), np.nan)
        parts.append(_table(
            "Rank-1 from camera to camera, percent of queries with a match in the gallery of that camera alone",
            "Query from", [f"cam {c}" for c in details.pair_query[rows]],
            [f"cam {c}" for c in details.pair_gallery[columns]], shares, total,
        ))  # fmt: skip
    return tag("div", join(parts)) if parts else None


def own_camera_share(details: Details, counts: Ints) -> tuple[float, float]:
    """Share of `counts` (C, C) on the diagonal, and what it would be if cameras left no trace."""
    total = int(counts.sum())
    size = details.camera_sizes / max(1, int(details.camera_sizes.sum()))
    expected = float((counts.sum(axis=1) @ size) / total) if total else 0.0
    return (float(np.trace(counts) / total) if total else 0.0), expected


def _table(
    title: str, corner: str, rows: list[str], columns: list[str], shares: NDArray[np.float64], counts: Ints
) -> Markup:
    head = [tag("th", corner, scope="col"), *(tag("th", c, scope="col", class_="number") for c in columns)]
    body = []
    for name, values, numbers in zip(rows, shares.tolist(), counts.tolist(), strict=True):
        cells = [
            tag("td", "\u2013", class_="number")
            if np.isnan(v)
            else tag("td", f"{100 * v:.1f}", title=f"of {n:,}", class_=f"number h{min(9, int(10 * v))}")
            for v, n in zip(values, numbers, strict=True)
        ]
        body.append(tag("tr", tag("th", name, scope="row"), *cells))
    table = tag("table", tag("caption", title), tag("thead", tag("tr", *head)), tag("tbody", join(body)),
                class_="sortable heat")  # fmt: skip
    return tag("div", table, class_="box scroll", tabindex=0, role="region", aria_label=title)

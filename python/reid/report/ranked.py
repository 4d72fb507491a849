"""Ranked lists: a few queries with their nearest answers, framed right or wrong where identities are known."""

from __future__ import annotations

import math

import numpy as np

from reid.report.album import Album
from reid.report.details import Details
from reid.report.markup import Markup, join, tag
from reid.report.tables import percent

__all__ = ["ranked_lists"]

_HEADINGS = {
    "easiest": "Easiest queries (highest average precision)",
    "hardest": "Hardest queries (lowest average precision)",
    "random": "Queries drawn at random",
}
_MARKS = {1: ("right", "right"), 0: ("wrong", "wrong"), -1: ("", None)}


def ranked_lists(details: Details, album: Album) -> Markup | None:
    """Show the kept queries, each with the first answers; None where there are none."""
    parts = []
    for kind, heading in _HEADINGS.items():
        rows = np.flatnonzero(details.query_kind == kind)
        if len(rows):
            parts += [tag("h3", heading), *(_list(details, int(k), album) for k in rows)]
    return join(parts) if parts else None


def _list(details: Details, k: int, album: Album) -> Markup:
    camid, ap = int(details.query_camid[k]), float(details.query_ap[k])
    cells = [album.cell(str(details.query_name[k]), "query", *([f"cam {camid}"] if camid >= 0 else []), kind="query")]
    for name, cam, mark, distance in zip(
        details.answer_name[k].tolist(), details.answer_camid[k].tolist(), details.answer_mark[k].tolist(),
        details.answer_distance[k].tolist(), strict=True,
    ):  # fmt: skip
        if not name:
            continue
        word, kind = _MARKS.get(mark, _MARKS[-1])
        where = f"cam {cam}" if cam >= 0 else ""
        cells.append(album.cell(name, *filter(None, [word, where, f"{distance:.3f}"]), kind=kind))
    told = f"{album.name(str(details.query_name[k]))}"
    caption = tag("figcaption", told, f", average precision {percent(ap)}%" if not math.isnan(ap) else None)
    return tag("figure", caption, tag("ul", *cells, class_="pictures ranked"))

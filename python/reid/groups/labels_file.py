"""labels.csv: which cluster each picture is in; and the table of changes beside it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.data.records import Samples, printable
from reid.files import csv_text, text_of, write_text
from reid.groups.names import Change

__all__ = ["COLUMNS", "Previous", "read_labels", "write_changes", "write_labels", "write_table"]

COLUMNS = ("path", "camid", "tracklet", "label", "silhouette", "names_used")


class Previous(NamedTuple):
    """What an earlier labels.csv says."""

    clusters: Mapping[str, int]
    """Cluster of each picture, by its name; -1 for outliers."""
    used: int
    """Names below were given up to then."""


def write_labels(
    path: Path, samples: Samples, root: Path, clusters: NDArray[np.int64], silhouette: NDArray[np.float64], used: int
) -> None:
    """Write a line for each picture, in one piece.

    Columns: path (relative to `root`), camid, tracklet, label (name of its cluster, -1: outlier), silhouette (of
    its sample; empty for outliers), names_used (names below it have been given; a later run gives others).
    """

    def rows() -> Iterable[Sequence[Any]]:
        for i, frames in enumerate(samples.frames):
            fit = f"{silhouette[i]:.3f}" if np.isfinite(silhouette[i]) else ""
            for frame in frames:
                name = os.path.relpath(frame, root)
                yield name, samples.camid[i], samples.tracklet[i], clusters[i], fit, used

    write_table(path, COLUMNS, rows())


def write_changes(path: Path, changes: Sequence[Change]) -> None:
    """Write what became of each cluster: cluster, state, size, added, lost, sources, into (names apart by blanks)."""
    columns = ("cluster", "state", "size", "added", "lost", "sources", "into")
    lists = ((" ".join(map(str, c.sources)), " ".join(map(str, c.into))) for c in changes)
    rows = ((c.cluster, c.state, c.size, c.added, c.lost, *names) for c, names in zip(changes, lists, strict=True))
    write_table(path, columns, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write CSV in one piece."""
    write_text(path, csv_text(columns, rows))


def read_labels(path: Path) -> Previous:
    """Read a file of `write_labels`, or any CSV table with columns path and label.

    Raises
    ------
    ValueError
        No such file, no such columns, a line that cannot be read (it is named), or one picture in two clusters.
    """
    where = f"previous={printable(path)}"
    try:
        data = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror or 'cannot be read'}") from None
    reader = csv.reader(io.StringIO(data, newline=""), strict=True)
    clusters: dict[str, int] = {}
    used = 0
    try:
        head = next(reader, [])
        if "path" not in head or "label" not in head:
            raise ValueError(f"{where}: has no columns path and label: give the labels.csv of reid-cluster")
        at = {name: head.index(name) for name in ("path", "label", "names_used") if name in head}
        for cells in reader:
            if not any(cells):
                continue
            line = f"{where} line {reader.line_num}"
            if len(cells) != len(head):
                raise ValueError(f"{line}: has {len(cells)} cells, the first line {len(head)}")
            name, cluster = text_of(cells[at["path"]]), _whole(cells[at["label"]], line, "label")
            if clusters.setdefault(name, cluster) != cluster:
                raise ValueError(f"{line}: {printable(name)} is in clusters {clusters[name]} and {cluster}")
            used = max(used, cluster + 1)
            if "names_used" in at:
                used = max(used, _whole(cells[at["names_used"]], line, "names_used"))
    except csv.Error as error:
        raise ValueError(f"{where} line {reader.line_num}: {error}") from None
    return Previous(clusters, used)


def _whole(text: str, line: str, name: str) -> int:
    if not (text == "-1" or (text.isascii() and text.isdigit() and len(text) < 19)):
        raise ValueError(f"{line}: {name} {text[:40]!r}: must be a whole number from 0, or -1")
    return int(text)

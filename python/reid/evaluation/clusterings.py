"""How well saved clusters agree with identities."""

from __future__ import annotations

import csv
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn import metrics

from reid.clustering.reliability import singletons
from reid.data.records import Dataset, printable
from reid.evaluation.mutual_information import adjusted_mutual_information
from reid.feature_table import SPLITS
from reid.files import text_of

__all__ = ["Labels", "clustering_scores", "label_result", "match_labels", "read_labels"]

Int = NDArray[np.int64]


def clustering_scores(pid: Int, labels: Int) -> dict[str, float]:
    """Agreement of clusters with identities; 1 is best in all of them.

    Outliers are clusters of one each: a picture without a cluster is a stranger to all others, and to make one
    cluster of all outliers would reward or punish pairs that nobody claimed.

    Parameters
    ----------
    pid : (N,) int64
        Identities, at least 0.
    labels : (N,) int64
        Clusters, -1 for outliers.

    Returns
    -------
    dict
        ari, ami, homogeneity, completeness, v_measure; pairwise_precision, _recall, _f; bcubed_precision, _recall,
        _f; purity; n_samples, n_identities, n_clusters, n_outliers. NaN where there is nothing to divide by: pairwise
        precision without a cluster of two, pairwise recall without an identity of two.

    Notes
    -----
    Everything comes from the contingency table of identities and clusters, kept sparse: memory grows with N.
    Hubert, Arabie, Comparing partitions, 1985 (ARI); Vinh, Epps, Bailey, JMLR 2010 (AMI); Rosenberg, Hirschberg,
    V-measure, 2007; Amigo et al., A comparison of extrinsic clustering evaluation metrics, 2009 (BCubed, purity).

    Examples
    --------
    >>> import numpy as np
    >>> found = clustering_scores(np.array([0, 0, 1, 1]), np.array([0, 0, 0, -1]))
    >>> round(found["pairwise_precision"], 3), found["pairwise_recall"], found["purity"]
    (0.333, 0.5, 0.75)
    """
    own = singletons(np.where(labels < 0, -1, np.unique(labels, return_inverse=True)[1]))
    table = _contingency(pid, own)
    counts = table.data.astype(np.float64)
    of_pid, of_cluster = (np.asarray(table.sum(axis=axis), dtype=np.float64) for axis in (1, 0))
    n = len(pid)
    rows = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "more than half as many classes as samples": so it is here
        homogeneity, completeness, v = metrics.homogeneity_completeness_v_measure(pid, own)
        ari = metrics.adjusted_rand_score(pid, own)
    mutual = float((counts / n * np.log(counts * n / (of_pid[rows] * of_cluster[table.indices]))).sum())
    ami = adjusted_mutual_information(counts, of_pid, of_cluster, mutual)
    together, same, claimed = (np.square(x).sum() - n for x in (counts, of_pid, of_cluster))  # ordered pairs
    pairwise = together / claimed if claimed else np.nan, together / same if same else np.nan
    bcubed = (
        float((counts**2 / of_cluster[table.indices]).sum() / n),
        float((counts**2 / of_pid[rows]).sum() / n),
    )
    largest = np.zeros(table.shape[1])
    np.maximum.at(largest, table.indices, counts)
    return {
        "ari": float(ari),
        "ami": float(ami),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
        "v_measure": float(v),
        "pairwise_precision": float(pairwise[0]),
        "pairwise_recall": float(pairwise[1]),
        "pairwise_f": _harmonic(*pairwise),
        "bcubed_precision": bcubed[0],
        "bcubed_recall": bcubed[1],
        "bcubed_f": _harmonic(*bcubed),
        "purity": float(largest.sum() / n),
        "n_samples": n,
        "n_identities": table.shape[0],
        "n_clusters": len(np.unique(labels[labels >= 0])),
        "n_outliers": int((labels < 0).sum()),
    }


def _contingency(pid: Int, labels: Int) -> csr_array:
    """(identities, clusters) how many samples have both; 2 N entries at most."""
    rows, columns = (np.unique(x, return_inverse=True)[1] for x in (pid, labels))
    shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    table = csr_array((np.ones(len(pid), dtype=np.int64), (rows, columns)), shape=shape)
    table.sum_duplicates()
    return table


def _harmonic(precision: float, recall: float) -> float:
    total = precision + recall
    return float(2 * precision * recall / total) if total else 0.0


@dataclass(frozen=True, eq=False)
class Labels:
    """A table of saved clusters."""

    paths: list[str]
    """(N,) as they stand there."""
    labels: Int
    pid: Int | None
    """Identities, where the table has a column for them."""
    folder: Path
    """Where the table lies."""


def read_labels(path: Path | str) -> Labels:
    """Read a CSV table with the columns path and label (-1: outlier), pid where it is known; others are passed over.

    Raises
    ------
    ValueError
        No such columns, no lines, or a cell that is no whole number: file and line are named.
    """
    path = Path(path)
    where = printable(path)
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"path", "label"} - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"{where}: no column {sorted(missing)[0]}: give a table with the columns path,label")
            known = "pid" in (reader.fieldnames or ())
            paths, labels, pids = [], [], []
            for row in reader:
                at = f"{where} line {reader.line_num}"
                paths.append(text_of(row["path"] or ""))
                labels.append(_whole(at, "label", row["label"]))
                if known:
                    pids.append(_whole(at, "pid", row["pid"] or "-1"))
    except FileNotFoundError:
        raise FileNotFoundError(f"labels={where}: no such file: check the path") from None
    except csv.Error as error:
        raise ValueError(f"{where}: not a CSV table ({error})") from None
    if not paths:
        raise ValueError(f"{where}: holds no line below its header")
    pid = np.array(pids, dtype=np.int64) if known else None
    return Labels(paths, np.array(labels, dtype=np.int64), pid, path.absolute().parent)


def match_labels(labels: Labels, data: Dataset) -> Int:
    """Identity of each line by the data's pictures, -1 where a picture is not among them.

    A relative path is looked for from here, from the folder of the data, and from that of the table.

    Raises
    ------
    ValueError
        No picture of the table is in the data.
    """
    pid: dict[str, int] = {}
    for split in SPLITS:
        samples = getattr(data, split)
        if samples is not None:
            for frames, own in zip(samples.frames, samples.pid.tolist(), strict=True):
                pid.update((os.path.abspath(frame), own) for frame in frames)
    bases = [os.getcwd(), os.path.abspath(data.root), os.fspath(labels.folder)]
    found = []
    for path in labels.paths:
        places = (os.path.normpath(os.path.join(base, path)) for base in bases)
        found.append(next((pid[place] for place in places if place in pid), None))
    if all(value is None for value in found):
        raise ValueError(
            f"labels: none of {len(found):,} pictures is in {printable(data.root)}, such as "
            f"{printable(labels.paths[0])}; give --data the pictures that were clustered"
        )
    return np.array([-1 if value is None else value for value in found], dtype=np.int64)


def label_result(labels: Labels, pid: Int) -> dict[str, Any]:
    """`clustering_scores` of the lines with an identity, and what was left out, as plain JSON values.

    Raises
    ------
    ValueError
        No line has an identity.
    """
    known = pid >= 0
    if not known.any():
        raise ValueError("labels: no picture has an identity to compare with; give --data with identities")
    notes = [f"{int((~known).sum()):,} pictures without a known identity left out."] if not known.all() else []
    notes.append("Outliers count as clusters of one.")
    scores = clustering_scores(pid[known], labels.labels[known])
    figures = {name: None if np.isnan(value) else value for name, value in scores.items()}
    return {"figures": figures, "notes": notes}


def _whole(where: str, name: str, cell: str | None) -> int:
    try:
        value = int(cell or "")
    except ValueError:
        value = -2
    if not -1 <= value < 2**63:
        raise ValueError(f"{where}: {name} {(cell or '')[:40]!r}: must be a whole number, -1 for none")
    return value

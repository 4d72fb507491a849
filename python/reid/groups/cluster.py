"""`reid-cluster` as a function: features or pictures in, labels.csv out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid.clustering.eps import EPS_HIGH, EPS_LOW
from reid.data.records import Samples, printable
from reid.feature_table import FeatureTable
from reid.groups.config import ClusterConfig
from reid.groups.labels_file import read_labels, write_changes, write_labels
from reid.groups.names import Change, Named, by_size, carry_names
from reid.groups.partition import Partition, partition
from reid.groups.source import load_table, unique_rows, unit_rows
from reid.training.log import Log

__all__ = ["Clustering", "cluster"]

Labels = NDArray[np.int64]

SHOWN = 5
"""Merged and split groups that are named."""


@dataclass(frozen=True, eq=False)
class Clustering:
    """What `cluster` found and wrote."""

    output: Path
    """labels.csv."""
    samples: Samples
    """The N rows."""
    clusters: Labels
    """(N,) names of clusters, -1 for outliers."""
    silhouette: NDArray[np.float64]
    """(N,) how much nearer, by Jaccard distances, a row's own cluster is than the next: 1 far nearer, 0 as near, below
    0 farther; NaN for outliers."""
    eps: float
    """Of DBSCAN; NaN where it was not needed."""
    changes: tuple[Change, ...]
    """What became of the groups of an earlier run."""
    changes_file: Path | None
    """The same as a table."""
    report: Path | None
    """The page."""

    @property
    def n_clusters(self) -> int:
        """Number of clusters."""
        return len(np.unique(self.clusters[self.clusters >= 0]))

    @property
    def n_outliers(self) -> int:
        """Number of rows in no cluster."""
        return int((self.clusters < 0).sum())


def cluster(config: ClusterConfig, *, quiet: bool = False) -> Clustering:
    """Group pictures of one identity, and write the groups.

    Parameters
    ----------
    config : ClusterConfig
    quiet : bool, default False
        Print nothing.

    Raises
    ------
    ValueError, FileNotFoundError
        A setting, file or constraint that cannot be used; it is named, and nothing is written.
    MemoryError
        More pairs of constraints than fit.
    """
    log = Log(quiet)
    before = read_labels(config.previous) if config.previous is not None else None
    table = unique_rows(load_table(config.path, config, log.progress), config.split)
    features = unit_rows(table.features)
    log.say(f"data: {len(features):,} rows of {features.shape[1]} features: {table.samples.describe()}.")
    zero = int((~features.any(axis=1)).sum())
    if zero:
        log.warn(f"{zero:,} rows of features are zero: extract them again")
    found = partition(features, table.samples, config, log.progress)
    for text in found.said:
        if text.startswith("warning: "):
            log.warn(text.removeprefix("warning: "))
        else:
            log.say(text)
    named = Named(by_size(found.labels), int(found.labels.max(initial=-1)) + 1, ())
    if before is not None:
        known, absent = _matched(table, before.clusters, config)
        named = carry_names(found.labels, known, before.used, absent)
    changes_file = config.output.with_suffix(".changes.csv") if before is not None else None
    # The table of changes first: who finds labels.csv finds what belongs to it.
    if changes_file is not None:
        write_changes(changes_file, named.changes)
    report = None
    if config.report:
        from reid.groups.page import write_page

        page, facts = config.output.with_suffix(".html"), _facts(named, found)
        report = write_page(page, table, named.names, known if before is not None else None, facts)
    write_labels(config.output, table.samples, table.root, named.names, found.silhouette, named.used)
    _tell(log, named, found, config)
    log.say(f"results: {printable(config.output)}  (path, camid, tracklet, label, silhouette)")
    if changes_file is not None:
        log.say(f"         {printable(changes_file)}  (what became of each group)")
    if report is not None:
        log.say(f"         {printable(report)}  (the clusters to look at)")
    log.say(f"next: {_next(config)}")
    return Clustering(
        config.output, table.samples, named.names, found.silhouette, found.eps, named.changes, changes_file, report
    )


def _matched(table: FeatureTable, before: Mapping[str, int], config: ClusterConfig) -> tuple[Labels, list[int]]:
    """Earlier cluster of each row, by its first frame, and those of samples that are gone."""
    left = dict(before)
    known = np.full(len(table.samples), -1, np.int64)
    matched = 0
    for i, frames in enumerate(table.samples.frames):
        names = [os.path.relpath(frame, table.root) for frame in frames]
        known[i] = left.get(names[0], -1)
        matched += sum(left.pop(name, None) is not None for name in names)
    if before and not matched:
        raise ValueError(
            f"previous={printable(config.previous or '')}: names none of these pictures, such as "
            f"{printable(os.path.relpath(table.samples.frames[0][0], table.root))!r}: paths are compared as they "
            f"stand there, from the folder of the pictures ({printable(table.root)})"
        )
    return known, list(left.values())


def _tell(log: Log, named: Named, found: Partition, config: ClusterConfig) -> None:
    """Counts, what became of earlier groups, and advice."""
    for text in _facts(named, found):
        log.say(text)
    inside = named.names >= 0
    sizes = np.unique(named.names[inside], return_counts=True)[1]
    if named.changes:
        for state in ("merged", "split"):
            those = [c for c in named.changes if c.state == state and c.size]
            for c in those[:SHOWN]:
                log.say(f"  {c.cluster}: {state} from {', '.join(map(str, c.sources))}")
            if len(those) > SHOWN:
                log.say(f"  and {len(those) - SHOWN:,} more {state}")
    for text in _advice(inside, sizes, found, config):
        log.say(f"try: {text}")


def _facts(named: Named, found: Partition) -> list[str]:
    """Counts of clusters, and of what became of earlier ones."""
    inside = named.names >= 0
    names, sizes = np.unique(named.names[inside], return_counts=True)
    outliers = f"{int((~inside).sum()):,} outliers"
    if not len(names):
        return [f"clusters: none; {outliers}"]
    largest = int(np.argmax(sizes))
    facts = [
        f"clusters: {len(names):,}, of {sizes.min()} to {sizes[largest]:,} rows (median {np.median(sizes):g}); "
        f"{outliers}; largest: {names[largest]}; mean silhouette {np.nanmean(found.silhouette):.2f}"
    ]
    if named.changes:
        counts = Counter(c.state for c in named.changes if c.size)
        given_up = sum(not c.size for c in named.changes)
        states = ", ".join(f"{counts[state]:,} {state}" for state in ("kept", "grown", "new", "merged", "split"))
        facts.append(f"against the earlier run: {states}; {given_up:,} names given up")
    return facts


def _advice(inside: NDArray[np.bool_], sizes: Labels, found: Partition, config: ClusterConfig) -> list[str]:
    """What may give better clusters, where these look odd."""
    advice = []
    share = inside.mean()
    if share < 0.5:
        dense = config.method == "dbscan"
        more = "a larger --eps, " if config.eps != "auto" and dense else ""
        more += "--min-samples 2, " if config.min_samples > 2 and dense else ""
        advice.append(f"{more}--k1 near the number of pictures of an identity, for fewer outliers")
    if len(sizes) and sizes.max() > max(20, 0.2 * len(inside)):
        advice.append("a smaller --eps, or --k1, where the largest cluster mixes identities")
    if config.eps == "auto" and found.eps in (EPS_LOW, EPS_HIGH):
        other = "--min-samples 4, or " if found.eps == EPS_LOW else ""
        advice.append(f"{other}a number for --eps: auto ended at the border, {found.eps:g}")
    if len(sizes) and float(np.nanmean(found.silhouette)) < 0.1:
        advice.append("better features: clusters are hardly nearer to themselves than to each other")
    return advice


def _next(config: ClusterConfig) -> str:
    if not config.report:
        return "the same with --report for a page of the clusters; --previous LABELS when pictures have been added"
    return "reid-review for pairs to judge (--constraints takes them); --previous LABELS when pictures have been added"

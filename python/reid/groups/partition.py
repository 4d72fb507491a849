"""From features to clusters: neighbours, Jaccard graph, and one of four ways to cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.clustering.cameras import center_cameras, choose_same_camera
from reid.clustering.eps import choose_eps
from reid.clustering.guards import describe_collapse, distance_quantiles
from reid.clustering.linked import linked_dbscan
from reid.clustering.links import Links
from reid.clustering.toc import run_links
from reid.config import TrainConfig
from reid.data.records import Samples
from reid.evaluation.label_free import silhouettes
from reid.groups.config import ClusterConfig

__all__ = ["Partition", "partition"]

Labels = NDArray[np.int64]
Floats = NDArray[np.float32]
Progress = Callable[[int, int, str], None]

MERGED_AT_ONCE = 20
"""Bottom-up: one in so many clusters is merged before distances are looked at again."""


class Partition(NamedTuple):
    """Clusters and what was found on the way."""

    labels: Labels
    """(N,) clusters of two samples or more, from 0; -1 for outliers."""
    silhouette: NDArray[np.float64]
    """(N,) by Jaccard distances; NaN for outliers."""
    eps: float
    """Of DBSCAN; NaN where it was not needed."""
    said: tuple[str, ...]
    """What was derived and what is odd, a sentence each."""
    links: Links


def partition(features: Floats, samples: Samples, config: ClusterConfig, progress: Progress | None = None) -> Partition:
    """Cluster unit rows (N, D) as the settings say.

    Raises
    ------
    ValueError
        The settings ask for cameras or times that the samples lack, for more clusters than samples, or constraints
        cannot be read or contradict each other.
    """
    jobs, said = config.workers or None, []
    same_camera, camid = config.same_camera, samples.camid
    if (config.center_cameras or same_camera == "auto") and (camid < 0).all():
        name = "center_cameras" if config.center_cameras else "same_camera"
        raise ValueError(f"{name}={getattr(config, name)!r}: needs camera ids; these data have none")
    if same_camera == "auto":
        same_camera, gap = choose_same_camera(features, camid, n_jobs=jobs)
        said.append(f"same_camera: {same_camera} (the first gap across cameras is {gap:.2f}).")
    if same_camera == "forbid" and (camid < 0).any():
        raise ValueError("same_camera='forbid': needs a camera id for every picture; some of these have none")
    rules = TrainConfig(same_camera=same_camera, constraints=str(config.constraints or ""))
    links = run_links(rules, samples, graph=config.method == "dbscan")
    for part in links.parts:
        pairs = f"{len(part.must):,} pairs must be one" if len(part.must) else f"{len(part.cannot):,} pairs must differ"
        both = f"{len(part.must):,} pairs must be one, {len(part.cannot):,} must differ"
        said.append(f"{part.rule}: {both if len(part.must) and len(part.cannot) else part.note or pairs}.")
    x = center_cameras(features, camid) if config.center_cameras else features
    k1, k2 = min(config.k1, len(x)), min(config.k2, len(x))
    graph = reid_cluster.jaccard_graph(x, k1, k2, max_distance=1.0, n_jobs=jobs, progress=progress)
    eps = float("nan")
    if config.method == "dbscan" or config.n_clusters is None:
        labels, eps, told = _dense(graph, links, config, progress)
        said += told
    if config.method != "dbscan":
        n_clusters = config.n_clusters
        if n_clusters is None:
            n_clusters = int(labels.max(initial=-1)) + 1
            of = f"DBSCAN finds {n_clusters:,} clusters"
            if config.method == "bottom-up":
                n_clusters += int((labels < 0).sum())
                of += f" and {n_clusters - int(labels.max(initial=-1)) - 1:,} outliers"
            n_clusters = max(n_clusters, 1)
            said.append(f"n_clusters: {n_clusters:,} ({of} at eps={eps:g}).")
        if n_clusters > len(x):
            raise ValueError(f"n_clusters={n_clusters}: there are only {len(x)} samples; give less")
        labels = _counted(x, graph, links, n_clusters, config, progress)
    labels = _shared(labels)
    collapse = describe_collapse(labels)
    if collapse:
        said.append(f"warning: {collapse}; {distance_quantiles(x)}.")
    return Partition(labels, silhouettes(graph, labels), eps, tuple(said), links)


def _dense(
    graph: Any, links: Links, config: ClusterConfig, progress: Progress | None
) -> tuple[Labels, float, list[str]]:
    """DBSCAN at the eps of the settings, or at the one that is found."""
    tried = 0

    def cluster(eps: float) -> Labels:
        nonlocal tried
        tried += 1
        if progress is not None and config.eps == "auto":
            progress(tried, 27, "eps")
        return linked_dbscan(graph, eps, config.min_samples, links, n_jobs=config.workers or None)

    if config.eps != "auto":
        return cluster(config.eps), config.eps, []
    # Over one set of features the silhouette is the better judge: with clusters of two allowed, `partition_score` likes
    # identities in pieces.
    eps = choose_eps(cluster, lambda labels: float(np.nan_to_num(silhouettes(graph, labels)).mean()))
    return cluster(eps), eps, [f"eps: {eps:g} (of 0.2 to 0.7 that with the best silhouettes, outliers counting 0)."]


def _counted(
    x: Floats, graph: Any, links: Links, n_clusters: int, config: ClusterConfig, progress: Progress | None
) -> Labels:
    """The other methods, with as many clusters as they are asked for."""
    jobs = config.workers or None
    if config.method == "bottom-up":
        return _bottom_up(x, links, n_clusters, jobs, progress)
    if config.method == "kmeans":
        labels = reid_cluster.kmeans(
            x, n_clusters, max_iter=100, random_state=config.seed, n_jobs=jobs, progress=progress
        ).labels
    else:
        labels = reid_cluster.hdc(x, graph, n_clusters, random_state=config.seed, n_jobs=jobs, progress=progress).labels
    return links.obey(labels, x) if links else labels


def _bottom_up(x: Floats, links: Links, n_clusters: int, jobs: int | None, progress: Progress | None) -> Labels:
    """Merge by mean distance, as BUC does it: a share of the clusters at a time, from must-groups on."""
    labels = links.groups
    here = start = int(labels.max(initial=-1)) + 1
    while here > n_clusters:
        step = min(max(1, here // MERGED_AT_ONCE), here - n_clusters)
        merged = reid_cluster.bottom_up(
            x, labels, n_merges=step, size_penalty=0.0, linkage="average", min_clusters=n_clusters,
            cannot_link=links.cannot, n_jobs=jobs,
        )  # fmt: skip
        if merged.n_clusters == here:
            break  # what is left must not be merged
        labels, here = merged.labels, merged.n_clusters
        if progress is not None:
            progress(start - here, start - n_clusters, "merging")
    return labels


def _shared(labels: Labels) -> Labels:
    """Clusters of one are outliers: nothing is said of whom they show."""
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    result = labels.copy()
    inside = labels >= 0
    result[inside] = np.where(sizes[labels[inside]] > 1, labels[inside], -1)
    kept = result >= 0
    result[kept] = np.unique(result[kept], return_inverse=True)[1]
    return result

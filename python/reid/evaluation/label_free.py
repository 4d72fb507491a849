"""Scores of a network or a partition that need no labels, to choose a round without looking at identities.

`reciprocity` chooses the round that a run keeps; the others are written beside it, for a look at what a run does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score

import reid_cluster
from reid.clustering.mutual import mutual_partners

__all__ = ["drift", "mutual_share", "reciprocity", "silhouette", "silhouettes", "stability"]


def reciprocity(features: NDArray[np.float32], k: int = 10, *, n_jobs: int | None = None) -> float:
    """Mean share of a sample's k nearest neighbours that have it among their own k nearest.

    Where samples form groups, neighbours choose each other; in a space that has collapsed onto a few hubs, or in which
    groups run into each other, they do not. Neither identities nor cameras are used. The score compares networks on
    one set of samples; it says nothing across sets.

    Parameters
    ----------
    features : (N, D) float32
        Features of the training samples.
    k : int, default 10
        Neighbours that count, the sample itself left out; clipped to N - 1. More than there are near-copies of a
        picture (frames of a tracklet), or the score sees only those.
    n_jobs : int, optional
        Threads; all cores by default.

    Returns
    -------
    float
        In [0, 1]; 0 for fewer than two samples.
    """
    n = len(features)
    k = min(k, n - 1)
    if k < 1:
        return 0.0
    neighbors = reid_cluster.knn(features, k + 1, n_jobs=n_jobs).indices[:, 1:].astype(np.int64)  # (N, k)
    rows = np.arange(n, dtype=np.int64)[:, None]
    forward = (rows * n + neighbors).ravel()
    backward = (neighbors * n + rows).ravel()
    return float(np.isin(backward, forward).mean())


def stability(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """Adjusted Rand index of two partitions, over the samples that are clustered in both; 0 where these are below two.

    1: the pseudo labels no longer change. Hubert, Arabie, Comparing partitions, 1985.

    Parameters
    ----------
    before, after : (N,) int64
        Clusters of two rounds, -1 for outliers.
    """
    both = (before >= 0) & (after >= 0)
    if both.sum() < 2:
        return 0.0
    return float(adjusted_rand_score(before[both], after[both]))


def drift(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Mean of 1 - cosine between the features (N, D) of the same samples in two rounds; unit rows."""
    return float(1 - np.einsum("nd,nd->n", before, after, dtype=np.float64).mean())


def silhouette(
    features: NDArray[np.float32], labels: NDArray[np.int64], k1: int = 20, k2: int = 6, *, n_jobs: int | None = None
) -> float:
    """Mean silhouette of the clustered samples under the k-reciprocal Jaccard distance, in [-1, 1].

    For a sample, a is its mean distance to the others of its cluster, b the smallest mean distance to another cluster;
    its silhouette is (b - a) / max(a, b), 0 in a cluster of one. Rousseeuw, Silhouettes, 1987.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows.
    labels : (N,) int64
        Clusters, -1 for outliers, which are left out.
    k1, k2 : int
        See `reid_cluster.jaccard_graph`.
    n_jobs : int, optional
        Threads; all cores by default.

    Returns
    -------
    float
        0 where there are fewer than two clusters.
    """
    inside = labels >= 0
    if len(np.unique(labels[inside])) < 2:
        return 0.0
    graph = reid_cluster.jaccard_graph(features[inside], k1, k2, max_distance=1.0, n_jobs=n_jobs)
    return float(silhouettes(graph, labels[inside]).mean())


def silhouettes(graph: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Silhouette of each sample (see `silhouette`) under the distances of a graph, in [-1, 1].

    Parameters
    ----------
    graph : scipy.sparse.csr_array (N, N)
        Distances from 0 to 1; a pair that is not stored is at distance 1.
    labels : (N,) int64
        Clusters, -1 for outliers, which count for nobody.

    Returns
    -------
    (N,) float64
        NaN for outliers; 0 for all others where there are fewer than two clusters.
    """
    result = np.full(len(labels), np.nan)
    inside = labels >= 0
    number, sizes = np.unique(labels[inside], return_inverse=True, return_counts=True)[1:]
    result[inside] = 0.0
    if len(sizes) < 2:
        return result
    close = csr_array((1 - graph.data, graph.indices, graph.indptr), shape=graph.shape)
    member = csr_array((np.ones(len(number)), (np.flatnonzero(inside), number)), shape=(len(labels), len(sizes)))
    shared = (close @ member).tocsr()[inside]  # (n, C) sums of 1 - J over each cluster; a pair not stored adds 0
    rows = np.repeat(np.arange(len(number)), np.diff(shared.indptr))
    mine = shared.indices == number[rows]
    own = sizes[number]
    a = 1 - (shared.data[mine] - 1) / np.maximum(own - 1, 1)  # itself counts 1 in the sum, so each row has its entry
    nearest = np.zeros(len(number))  # a cluster without a stored pair is at distance 1
    np.maximum.at(nearest, rows[~mine], (shared.data / sizes[shared.indices])[~mine])
    b = 1 - nearest
    result[inside] = np.where(own > 1, (b - a) / np.maximum(np.maximum(a, b), 1e-12), 0.0)
    return result


def mutual_share(features: NDArray[np.float32], camid: NDArray[np.int64]) -> float:
    """Share of samples that are mutually nearest with one of another camera, under the camera-balanced distance.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows.
    camid : (N,) int64
        Cameras, of which there must be two at least for a share above 0.
    """
    return float((mutual_partners(features, camid) >= 0).mean()) if len(features) else 0.0

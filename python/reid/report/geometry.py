"""How training samples, clusters and cameras lie to each other under the network's features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

import reid_cluster

__all__ = ["camera_tables", "closest_clusters", "distance_histograms", "jaccard_histograms", "means", "spread"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

NEIGHBORS = 10
PAIRS = 12
"""Closest pairs of clusters that are kept."""
DRAWN = 20_000
"""Pairs drawn for each histogram."""
BINS = 40


def means(features: Floats, labels: Ints) -> tuple[Ints, Ints, Floats]:
    """Clusters (C,), their sizes (C,) and the means of their members (C, D)."""
    inside = labels >= 0
    clusters, number, sizes = np.unique(labels[inside], return_inverse=True, return_counts=True)
    if not len(clusters):
        return clusters, sizes, np.empty((0, features.shape[1]), np.float32)
    member = csr_array((np.ones(len(number), np.float32), (number, np.arange(len(number)))))
    sums = member @ features[inside]  # (C, D)
    return clusters, sizes, np.asarray(sums / sizes[:, None].astype(np.float32), np.float32)


def spread(features: Floats, labels: Ints, *, n_jobs: int | None = None) -> tuple[Floats, Ints, Floats, Ints]:
    """Of each sample: squared distance to its cluster's mean, nearest other sample, its distance, ten neighbours."""
    clusters, _, centers = means(features, labels)
    to_center = np.full(len(labels), np.nan, np.float32)
    for rows in np.array_split(np.flatnonzero(labels >= 0), 1 + len(labels) // 4096):
        own = centers[np.searchsorted(clusters, labels[rows])]
        to_center[rows] = np.square(features[rows] - own).sum(axis=1)
    found = reid_cluster.knn(features, min(NEIGHBORS + 1, len(features)), n_jobs=n_jobs)
    others = found.indices[:, 1:].astype(np.int64)  # a row is its own first neighbour
    if not others.shape[1]:
        return to_center, np.full(len(labels), -1), np.full(len(labels), np.nan, np.float32), others
    return to_center, others[:, 0], found.distances[:, 1].astype(np.float32), others


def closest_clusters(
    features: Floats, labels: Ints, *, most: int = PAIRS, n_jobs: int | None = None
) -> tuple[Ints, Floats]:
    """At most `most` pairs (P, 2) of clusters of two or more whose means are closest, and squared distances (P,)."""
    clusters, sizes, centers = means(features, labels)
    clusters, centers = clusters[sizes > 1], centers[sizes > 1]
    if len(clusters) < 2:
        return np.empty((0, 2), np.int64), np.empty(0, np.float32)
    found = reid_cluster.knn(centers, min(4, len(centers)), n_jobs=n_jobs)
    a = np.repeat(np.arange(len(clusters)), found.indices.shape[1] - 1)
    b = found.indices[:, 1:].ravel().astype(np.int64)
    pairs, first = np.unique(np.sort(np.column_stack([a, b]), axis=1), axis=0, return_index=True)
    gap = found.distances[:, 1:].ravel()[first]
    order = np.argsort(gap, kind="stable")[:most]
    return clusters[pairs[order]], gap[order].astype(np.float32)


def distance_histograms(features: Floats, labels: Ints) -> tuple[Floats, Ints, Ints]:
    """Bins of squared distances, with drawn pairs of one cluster and of two clusters; the same draw every time."""
    rng = np.random.default_rng(0)
    inside = np.flatnonzero(labels >= 0)
    order = inside[np.argsort(labels[inside], kind="stable")]
    first, size = np.unique(labels[order], return_index=True, return_counts=True)[1:]
    owner = np.repeat(np.arange(len(size)), size)
    pairs = np.empty((0, 2), np.int64)
    shared = np.flatnonzero(size[owner] > 1)
    if len(shared):
        a = shared[rng.integers(len(shared), size=DRAWN)]
        step = 1 + np.floor(rng.random(DRAWN) * (size[owner[a]] - 1)).astype(np.int64)
        b = first[owner[a]] + (a - first[owner[a]] + step) % size[owner[a]]
        pairs = order[np.column_stack([a, b])]
    other = inside[rng.integers(len(inside), size=(DRAWN, 2))] if len(inside) else pairs
    other = other[labels[other[:, 0]] != labels[other[:, 1]]]
    near, far = _pair_distances(features, pairs), _pair_distances(features, other)
    top = max(float(near.max(initial=0)), float(far.max(initial=0)), 1e-6)
    edges = np.linspace(0, top, BINS + 1)
    counts = [np.histogram(d, edges)[0].astype(np.int64) for d in (near, far)]
    return edges.astype(np.float32), counts[0], counts[1]


def _pair_distances(features: Floats, pairs: Ints) -> Floats:
    """Squared distances (P,) of rows, a block at a time."""
    blocks = np.array_split(pairs, 1 + len(pairs) // 2048)
    return np.concatenate([np.square(features[p[:, 0]] - features[p[:, 1]]).sum(axis=1) for p in blocks])


def jaccard_histograms(
    features: Floats, labels: Ints, k1: int, k2: int, *, n_jobs: int | None = None
) -> tuple[Floats, Ints, Ints]:
    """Bins of Jaccard distances below 1, with all pairs of one cluster, and all others."""
    if len(features) < 2:
        return np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64)
    graph = reid_cluster.jaccard_graph(features, k1, k2, max_distance=1.0, n_jobs=n_jobs)
    edges = np.linspace(0, 1, BINS + 1)
    counts = np.zeros((2, BINS), np.int64)
    for begin in range(0, len(features), 4096):  # a block of rows at a time
        end = min(begin + 4096, len(features))
        row = np.repeat(np.arange(begin, end), np.diff(graph.indptr[begin : end + 1]))
        stored = slice(int(graph.indptr[begin]), int(graph.indptr[end]))
        column, value = graph.indices[stored], graph.data[stored]
        upper = row < column
        same = (labels[row] == labels[column]) & (labels[row] >= 0)
        for k, part in enumerate((same & upper, ~same & upper)):
            counts[k] += np.histogram(value[part], edges)[0]
    return edges.astype(np.float32), counts[0], counts[1]


def camera_tables(neighbors: Ints, camid: Ints, labels: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Cameras (C,), their samples (C,), and (C, C) counts of neighbours and of other members of a sample's cluster."""
    cameras, sizes = np.unique(camid[camid >= 0], return_counts=True)
    n = len(cameras)
    place = np.where(camid >= 0, np.searchsorted(cameras, camid), n)  # n: unknown, cut off in the end
    table = np.zeros((n + 1) ** 2, np.int64)
    for column in neighbors.T:
        table += np.bincount(place * (n + 1) + place[column], minlength=(n + 1) ** 2)
    inside = (labels >= 0) & (camid >= 0)
    clusters, number = np.unique(labels[inside], return_inverse=True)
    held = csr_array((np.ones(len(number), np.int64), (number, place[inside])), shape=(len(clusters), n))
    members = (held.T @ held).toarray() - np.diag(np.bincount(place[inside], minlength=n)[:n])
    return cameras, sizes, table.reshape(n + 1, n + 1)[:n, :n], np.asarray(members, np.int64).reshape(n, n)

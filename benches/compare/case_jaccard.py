"""`jaccard_graph` and `dbscan`.

jaccard: features to labels, k-reciprocal Jaccard distance (k1=30, k2=6) and DBSCAN (eps=0.6, min_samples=4); peer: the
dense way of the published code, N x N weights and distances (neighbours from faiss, else numpy), then scikit-learn's
DBSCAN. dbscan: DBSCAN alone on the sparse graph that our jaccard_graph made; peer: scikit-learn on the same CSR matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from contest import EPS, K1, K2, MIN_SAMPLES, Data, Floats, Ints, Kernel, Missing, Result, load_faiss, same_labels
from numeric import squared_distances


def jaccard_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import dbscan, jaccard_graph

    import_module("scipy.sparse")  # of which the graph is; loading it is not timed

    def run() -> Result:
        graph = jaccard_graph(data.features, K1, K2, max_distance=EPS, n_jobs=data.threads)
        return {"labels": dbscan(graph, EPS, MIN_SAMPLES, n_jobs=data.threads)}

    return run


def jaccard_peer(data: Data) -> Callable[[], Result]:
    from sklearn.cluster import DBSCAN

    try:
        faiss = load_faiss()
    except Missing:
        faiss = None

    def run() -> Result:
        ranks = nearest(data.features, K1, faiss)
        distances = dense_jaccard(data.features, ranks, K2)
        clusters = DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric="precomputed", n_jobs=data.threads)
        return {"labels": clusters.fit_predict(distances)}

    return run


def dbscan_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import dbscan

    graph = data.csr()
    return lambda: {"labels": dbscan(graph, EPS, MIN_SAMPLES, n_jobs=data.threads)}


def dbscan_peer(data: Data) -> Callable[[], Result]:
    from sklearn.cluster import DBSCAN

    graph = data.csr()
    clusters = DBSCAN(eps=EPS, min_samples=MIN_SAMPLES, metric="precomputed", n_jobs=data.threads)
    return lambda: {"labels": clusters.fit_predict(graph)}


def nearest(x: Floats, k: int, faiss: Any) -> Ints:
    """The k nearest rows of each row, nearest first, (N, k)."""
    if faiss is not None:
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return np.asarray(index.search(x, k)[1], dtype=np.int64)
    parts = []
    for lo in range(0, len(x), 1024):
        distances = squared_distances(x[lo : lo + 1024], x)
        found = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, found, axis=1), axis=1)
        parts.append(np.take_along_axis(found, order, axis=1))
    return np.concatenate(parts)


def reciprocal(ranks: Ints, i: int, depth: int) -> Ints:
    """Neighbours of i up to `depth` that have i among their own."""
    forward = ranks[i, :depth]
    return forward[(ranks[forward, :depth] == i).any(axis=1)]


def dense_jaccard(x: Floats, ranks: Ints, k2: int) -> Floats:
    """Jaccard distance of k-reciprocal neighbours (Zhong et al., CVPR 2017), with N x N weights as is usual."""
    n, k1 = ranks.shape
    half = int(np.around(k1 / 2)) + 1
    long = [reciprocal(ranks, i, k1) for i in range(n)]
    short = [reciprocal(ranks, i, half) for i in range(n)]
    weights = np.zeros((n, n), dtype=np.float32)
    for i, near in enumerate(long):
        members = [near]
        for c in near:
            if np.isin(short[c], near).sum() > 2 / 3 * len(short[c]):
                members.append(short[c])
        expanded = np.unique(np.concatenate(members))
        row = np.exp(2 * (x[expanded] @ x[i]) - 2)  # exp(-d), d = 2 - 2 x.y of unit rows
        weights[i, expanded] = row / row.sum()
    if k2 > 1:
        means = np.empty_like(weights)
        for i in range(n):
            means[i] = weights[ranks[i, :k2]].mean(axis=0)
        weights = means
    holders = [np.flatnonzero(weights[:, column]) for column in range(n)]
    distances = np.zeros((n, n), dtype=np.float32)
    for i in range(n):
        shared = np.zeros(n, dtype=np.float32)
        for column in np.flatnonzero(weights[i]):
            rows = holders[column]
            shared[rows] += np.minimum(weights[i, column], weights[rows, column])
        distances[i] = 1 - shared / (2 - shared)
    return np.maximum(distances, 0, out=distances)


KERNELS = {
    "jaccard": Kernel(jaccard_ours, jaccard_peer, same_labels, dense=True),
    "dbscan": Kernel(dbscan_ours, dbscan_peer, same_labels, graph=True),
}

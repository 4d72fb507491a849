"""`hdc`: two rounds of HDC (3C, arXiv 2408.09464) from the same samples; peer: the dense way of the published code.

Ours reads the Jaccard distances as a graph, the peer as a matrix; making them is not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from contest import K1, K2, Data, Floats, Ints, Kernel, Result

ROUNDS, ROWS_A_CLUSTER, ALPHA = 2, 17, np.float32(1.9)


def start(data: Data) -> tuple[Any, Ints]:
    """The graph of all distances below 1, and a sample per cluster."""
    from reid_cluster import jaccard_graph, kmeans_plusplus

    graph = jaccard_graph(data.features, K1, K2, max_distance=1, count_self=False, n_jobs=data.threads)
    clusters = max(2, len(data.features) // ROWS_A_CLUSTER)
    return graph, kmeans_plusplus(graph, clusters, random_state=0).astype(np.int64)


def hdc_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import hdc

    graph, chosen = start(data)
    options: dict[str, Any] = {"init": chosen, "max_iter": ROUNDS, "n_jobs": data.threads}
    return lambda: {"labels": hdc(data.features, graph, len(chosen), **options).labels}


def hdc_peer(data: Data) -> Callable[[], Result]:
    graph, chosen = start(data)
    distances = np.ones(graph.shape, np.float32)
    for i in range(len(distances)):
        row = slice(graph.indptr[i], graph.indptr[i + 1])
        distances[i, graph.indices[row]] = graph.data[row]
    return lambda: {"labels": dense_hdc(data.features, distances, chosen, ROUNDS)}


def phases(x: Floats) -> Any:
    """The Euler representation of features, complex64."""
    return np.exp(1j * (np.float32(np.pi) * ALPHA * x)).astype(np.complex64) / np.float32(np.sqrt(2))


def euler_distances(x: Floats, y: Floats) -> Floats:
    """|sum (phi(x) - phi(y))^2| of all pairs, by a complex product."""
    u, v = phases(x), phases(y)
    squares = (u * u).sum(1)[:, None] + (v * v).sum(1)
    return np.abs(squares - 2 * (u @ v.T))


def dense_hdc(x: Floats, distances: Floats, chosen: Ints, rounds: int) -> Ints:
    """The rounds over whole matrices: distances of all samples to all centroids, and N x N discrepancies."""
    n, k = len(x), len(chosen)
    a = 1 - np.exp(-distances)
    labels, centroids = distances[:, chosen].argmin(1), x[chosen]
    for _ in range(rounds):
        d = euler_distances(x, centroids)
        q = np.exp(-5 * d / d.max())[np.arange(n), labels]
        h = np.empty((n, k), np.float32)
        for c in range(k):
            members = np.flatnonzero(labels == c)
            block = a[:, members]
            weighed = block * q[members] / (block + q[members])
            h[:, c] = block[np.arange(n), weighed.argmax(1)]
        labels, scores = h.argmin(1), h.min(1)
        membership = (h.sum(1, dtype=np.float64) - scores) / (k - 1)
        fill_empty(labels, scores, membership, h)
        inliers = labels.copy()
        before, centroids = centroids, np.empty_like(centroids)
        for c in range(k):
            members = np.flatnonzero(labels == c)
            s = scores[members].astype(np.float64)
            if s.min() < s.max():
                inliers[members[s > s.mean() + s.std(ddof=1)]] = -1
            centroids[c] = x[inliers == c].mean(0, dtype=np.float64)
        if np.array_equal(before, centroids):
            break
    return inliers


def fill_empty(labels: Ints, scores: Floats, membership: Any, h: Floats) -> None:
    """Move the samples with the weakest membership to empty clusters."""
    while True:
        counts = np.bincount(labels, minlength=h.shape[1])
        empty = np.flatnonzero(counts == 0)
        if not len(empty):
            return
        key = np.where(counts[labels] < 5, 1.0, membership.round(11))
        order = np.lexsort((np.arange(len(labels)), key))
        order = order[counts[labels[order]] > 1][: len(empty)]
        labels[order], scores[order] = empty, h[order, empty]


def compare_labels(ours: Result, peer: Result) -> str:
    """Whether labels agree: the peer's complex64 sums lose digits, which may decide one label in a thousand."""
    wrong = int((ours["labels"] != peer["labels"]).sum())
    return "yes" if wrong <= len(peer["labels"]) / 1000 else f"no: {wrong} labels"


KERNELS = {"hdc": Kernel(hdc_ours, hdc_peer, compare_labels, dense=True)}

"""Bottom-up clustering, in Python."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import BottomUp
from reid_cluster.reference.neighbors import squared_distances

Rows = NDArray[np.intp]
Cluster = list[Rows]
"""The clusters of the start that it was made of, each with its rows."""


def bottom_up(
    features: Any,
    labels: Any = None,
    *,
    n_merges: int,
    size_penalty: float = 0.003,
    distance: str = "sqeuclidean",
    linkage: str = "single",
    sizes: str = "frozen",
    min_clusters: int = 1,
    groups: Any = None,
    cannot_link: Any = None,
) -> BottomUp:
    """Merge the closest clusters, where large clusters cost extra: see :func:`reid_cluster.bottom_up`.

    Again and again the two clusters with the least ``D(A, B) + size_penalty * (|A| + |B|)`` are merged, if no group and
    no cannot-link has rows in both. With frozen sizes this sum is one of two clusters of the start, and that of two
    larger ones is the least among their parts; with live sizes it is that of A and B as they are.

    Lin, Dong, Zheng, Yan, Yang, *A bottom-up clustering approach to unsupervised person re-identification*, AAAI 2019.

    Examples
    --------
    >>> from reid_cluster.reference import bottom_up
    >>> bottom_up([[0.0], [1.0], [5.0], [5.5]], n_merges=2, size_penalty=0.0).pairs.tolist()
    [[2, 3], [0, 1]]
    """
    x = np.asarray(features, np.float64)
    d = squared_distances(x, x)
    if distance == "euclidean":
        d = np.sqrt(d)
    old = np.arange(len(x)) if labels is None else np.asarray(labels)
    group = np.full(len(x), -1) if groups is None else np.asarray(groups)
    links = [] if cannot_link is None else np.asarray(cannot_link).reshape(-1, 2).tolist()

    def weight(a: Rows, b: Rows) -> tuple[float, int, int]:
        """The dissimilarity of two sets of rows, and the rows that stand for it."""
        between = d[np.ix_(a, b)]
        penalty = size_penalty * (len(a) + len(b))
        if linkage == "average":
            i, j = a.min(), b.min()
            return between.mean() + penalty, min(i, j), max(i, j)
        closest = [(min(i, j), max(i, j)) for i, j in product(a, b) if d[i, j] == between.min()]
        i, j = min(closest)
        return between.min() + penalty, i, j

    def edge(a: Cluster, b: Cluster) -> tuple[float, int, int]:
        """The same of two clusters."""
        if sizes == "frozen":
            return min(weight(*parts) for parts in product(a, b))
        return weight(np.concatenate(a), np.concatenate(b))

    def allowed(a: Cluster, b: Cluster) -> bool:
        left, right = set(np.concatenate(a).tolist()), set(np.concatenate(b).tolist())
        linked = any((i in left and j in right) or (i in right and j in left) for i, j in links)
        return not linked and set(group[list(left)]) & set(group[list(right)]) <= {-1}

    def order(pair: tuple[Cluster, Cluster]) -> tuple[float, int, int]:
        """By weight, then by the rows reported; with live sizes by the smallest rows."""
        if sizes == "frozen":
            return edge(*pair)
        i, j = sorted(int(np.concatenate(side).min()) for side in pair)
        return edge(*pair)[0], i, j

    clusters: list[Cluster] = [[np.flatnonzero(old == label)] for label in range(old.max() + 1)]
    merged: list[tuple[float, int, int]] = []
    next_weight = np.inf
    while pairs := [pair for pair in combinations(clusters, 2) if allowed(*pair)]:
        a, b = min(pairs, key=order)
        if len(merged) == n_merges or len(clusters) <= min_clusters:
            next_weight = edge(a, b)[0]
            break
        merged.append(edge(a, b))
        clusters = [c for c in clusters if c is not a and c is not b] + [a + b]

    clusters.sort(key=lambda c: min(old[rows[0]] for rows in c))
    new = np.empty(len(x), np.int64)
    for label, cluster in enumerate(clusters):
        new[np.concatenate(cluster)] = label
    pairs_done = np.array([rows for _, *rows in merged], np.int32).reshape(-1, 2)
    weights = np.array([w for w, *_ in merged], np.float32)
    return BottomUp(new, len(clusters), pairs_done, weights, float(np.float32(next_weight)))

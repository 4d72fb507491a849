"""The Jaccard distance of k-reciprocal neighbours, in numpy.

Zhong, Zheng, Cao, Li, *Re-ranking person re-identification with k-reciprocal encoding*, CVPR 2017; here within one set,
as clustering methods use it. The steps are functions of their own, of which ``rerank`` is made, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import Neighbors
from reid_cluster.reference.neighbors import knn, squared_distances

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ranks = Sequence[Sequence[int]] | NDArray[np.integer[Any]]


def depths(n: int, k1: int, count_self: bool) -> tuple[int, int]:
    """How many neighbours the long and the short sets look at, the point itself included: k1 and k1 / 2 + 1."""
    itself = 0 if count_self else 1
    k1 = min(k1, n - itself)
    long = k1 + itself
    return long, min(round(k1 / 2) + 1, long)  # halves round to even


def reciprocal(ranks: Ranks, depth: int) -> Bools:
    """``R_ij``: each of i and j is among the `depth` nearest of the other."""
    near = np.zeros((len(ranks), len(ranks)), np.bool_)
    for i, rank in enumerate(ranks):
        near[i, rank[:depth]] = True
    return near & near.T


def expand(ranks: Ranks, long: int, short: int) -> Bools:
    """``E_ij``: ``R_i`` and the short sets ``H_c`` of its members c that lie in ``R_i`` by more than two thirds."""
    near, half = reciprocal(ranks, long), reciprocal(ranks, short)
    expanded = near.copy()
    for i, members in enumerate(near):
        for c in np.flatnonzero(members):
            if 3 * (half[c] & members).sum() > 2 * half[c].sum():
                expanded[i] |= half[c]
    return expanded


def weights_of(d: Floats, sets: Bools) -> Floats:
    """``V_ij = exp(-d_ij) / sum_l exp(-d_il)`` over each set, 0 outside."""
    d = np.where(sets, d, np.inf)
    v = np.exp(d.min(1, keepdims=True) - d)
    return v / v.sum(1, keepdims=True)


def expand_queries(v: Floats, ranks: Ranks, k2: int) -> Floats:
    """``V'_i``: mean of the rows ``V_t`` of the k2 nearest t."""
    return np.array([v[rank[:k2]].mean(0) for rank in ranks])


def jaccard_of(v: Floats) -> Floats:
    """``1 - sum_l min(V_il, V_jl) / sum_l max(V_il, V_jl)`` of all pairs of rows."""
    return np.array([1 - np.minimum(row, v).sum(1) / np.maximum(row, v).sum(1) for row in v])


def jaccard(
    features: Any,
    k1: int = 30,
    k2: int = 6,
    *,
    count_self: bool = True,
    weights: str = "inner",
    neighbors: Any = None,
) -> NDArray[np.float32]:
    """Compute the Jaccard distance between all rows: see :func:`reid_cluster.jaccard`.

    Neighbours, reciprocal sets, their expansion, weights, query expansion, overlap: one line each.

    Examples
    --------
    >>> from reid_cluster.reference import jaccard
    >>> jaccard([[1.0, 0.0], [0.99, 0.14], [0.0, 1.0], [0.14, 0.99]], k1=2, k2=1)[0].astype(float).round(2).tolist()
    [0.0, 0.02, 1.0, 1.0]
    """
    x = np.asarray(features, np.float64)
    long, short = depths(len(x), k1, count_self)
    ranks = knn(x, long).indices if neighbors is None else _cleaned(neighbors, long)
    d = squared_distances(x, x) if weights == "sqeuclidean" else 2 - 2 * x @ x.T
    v = weights_of(d, expand(ranks, long, short))
    v = expand_queries(v, ranks, min(k2, long))
    return jaccard_of(v).astype(np.float32)


def jaccard_graph(
    features: Any,
    k1: int = 30,
    k2: int = 6,
    *,
    max_distance: float = 0.6,
    count_self: bool = True,
    weights: str = "inner",
    neighbors: Any = None,
) -> csr_array:
    """Keep the distances of :func:`jaccard` up to `max_distance`, below 1: see :func:`reid_cluster.jaccard_graph`.

    Examples
    --------
    >>> from reid_cluster.reference import jaccard_graph
    >>> jaccard_graph([[1.0, 0.0], [0.99, 0.14], [0.0, 1.0], [0.14, 0.99]], k1=2, k2=1).indices.tolist()
    [0, 1, 0, 1, 2, 3, 2, 3]
    """
    from scipy.sparse import coo_array

    d = jaccard(features, k1, k2, count_self=count_self, weights=weights, neighbors=neighbors)
    rows, columns = np.nonzero((d <= np.float32(max_distance)) & (d < 1))
    graph = coo_array((d[rows, columns], (rows, columns)), d.shape).tocsr()
    graph.max_distance = max_distance  # type: ignore[attr-defined]
    return graph


def _cleaned(neighbors: Any, long: int) -> list[list[int]]:
    """Each row itself first, then what is given without -1 and repeats."""
    given = np.asarray(neighbors.indices if isinstance(neighbors, Neighbors) else neighbors)[:, :long].tolist()
    return [[j for j in dict.fromkeys([i, *row]) if j >= 0][:long] for i, row in enumerate(given)]

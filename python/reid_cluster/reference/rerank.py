"""Re-ranking with k-reciprocal encoding, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster.reference.jaccard import depths, expand, expand_queries, jaccard_of, weights_of
from reid_cluster.reference.neighbors import squared_distances


def rerank(query: Any, gallery: Any, k1: int = 20, k2: int = 6, lambda_value: float = 0.3) -> NDArray[np.float32]:
    """Re-rank the Euclidean distances of features: see :func:`reid_cluster.rerank`.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster.reference import rerank
    >>> angles = np.array([0.0, 0.1, 0.2, 2.0, 3.0, 3.1])
    >>> x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> rerank(x[:1], x[1:], k1=2, k2=1).astype(float).round(2).tolist()
    [[0.0, 0.01, 0.91, 1.0, 1.0]]
    """
    q, g = np.asarray(query, np.float64), np.asarray(gallery, np.float64)
    cross, within_q, within_g = (np.sqrt(squared_distances(a, b)) for a, b in [(q, g), (q, q), (g, g)])
    return rerank_distances(cross, within_q, within_g, k1, k2, lambda_value)


def rerank_distances(
    query_gallery: Any,
    query_query: Any,
    gallery_gallery: Any,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
) -> NDArray[np.float32]:
    """Re-rank given distances: see :func:`reid_cluster.rerank_distances`.

    Queries and gallery are one set. ``d_ij``, the square of the given distance of j and i over the largest of column i,
    ranks the neighbours of i, weighs them, and is mixed with their Jaccard distance::

        (1 - lambda_value) * J + lambda_value * d

    Zhong, Zheng, Cao, Li, *Re-ranking person re-identification with k-reciprocal encoding*, CVPR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster.reference import rerank_distances
    >>> x = np.array([0.0, 1.0, 2.0, 9.0, 10.0])
    >>> d = np.abs(x[:, None] - x)
    >>> rerank_distances(d[:1, 1:], d[:1, :1], d[1:, 1:], k1=2, k2=1).astype(float).round(2).tolist()
    [[0.01, 0.04, 0.94, 1.0]]
    """
    cross = np.asarray(query_gallery, np.float64)
    d = np.block([[np.asarray(query_query), cross], [cross.T, np.asarray(gallery_gallery)]]) ** 2
    n, q = len(d), len(cross)
    largest = d.max(0)
    d = np.divide(d, largest, out=np.zeros((n, n)), where=largest > 0).T
    order = d.copy()
    np.fill_diagonal(order, -1)  # the point itself comes first
    ranks = np.argsort(order, axis=1, kind="stable")
    v = weights_of(d, expand(ranks, *depths(n, k1, count_self=False)))
    j = jaccard_of(expand_queries(v, ranks, k2))
    return ((1 - lambda_value) * j + lambda_value * d)[:q, q:].astype(np.float32)

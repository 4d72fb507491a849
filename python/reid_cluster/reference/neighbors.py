"""Exact nearest neighbours, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import Neighbors

Floats = NDArray[np.float64]


def squared_distances(x: Floats, y: Floats) -> Floats:
    """``|x_i|^2 + |y_j|^2 - 2 x_i.y_j`` of all pairs of rows, not below 0."""
    d = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
    return np.maximum(d, 0)


def knn(features: Any, k: int, *, queries: Any = None) -> Neighbors:
    """Find the k nearest rows by squared Euclidean distance: see :func:`reid_cluster.knn`.

    All distances of a query, sorted; ties by index. Without queries a row comes first in its own list.

    Examples
    --------
    >>> from reid_cluster.reference import knn
    >>> knn([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]], k=2).indices.tolist()
    [[0, 2], [1, 0], [2, 0]]
    """
    x = np.asarray(features, np.float64)
    q = x if queries is None else np.asarray(queries, np.float64)
    d = squared_distances(q, x)
    if queries is None:
        np.fill_diagonal(d, -1)  # before any copy of the row
    indices = np.argsort(d, axis=1, kind="stable")[:, :k]
    distances = np.maximum(np.take_along_axis(d, indices, axis=1), 0)
    return Neighbors(indices.astype(np.int32), distances.astype(np.float32))

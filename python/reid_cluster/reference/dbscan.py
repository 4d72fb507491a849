"""DBSCAN on given distances, in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dbscan(distances: Any, eps: float, min_samples: int = 4) -> NDArray[np.int64]:
    """Cluster points by their density: see :func:`reid_cluster.dbscan`.

    The neighbours of i are itself and every j with ``distances[i, j] <= eps`` (in float32); `min_samples` of them make
    i a core point. From each core point without a label a new cluster floods through core points; a point that is none
    joins the first cluster that reaches it, and passes nothing on.

    Ester, Kriegel, Sander, Xu, *A density-based algorithm for discovering clusters*, KDD 1996.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster.reference import dbscan
    >>> x = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 9.0])
    >>> dbscan(np.abs(x[:, None] - x), eps=0.3, min_samples=2).tolist()
    [0, 0, 0, 1, 1, 1, -1]
    """
    near = _near(distances, np.float32(eps))
    core = near.sum(1) >= min_samples
    labels = np.full(len(near), -1, np.int64)
    for start in np.flatnonzero(core):
        if labels[start] >= 0:
            continue
        label, waiting = labels.max() + 1, [start]
        while waiting:
            i = waiting.pop()
            if labels[i] < 0:
                labels[i] = label
                if core[i]:
                    waiting.extend(np.flatnonzero(near[i]))
    return labels


def _near(distances: Any, eps: np.float32) -> NDArray[np.bool_]:
    """Who is a neighbour of whom, (N, N); what a graph does not store is far."""
    if hasattr(distances, "tocoo"):
        near = np.zeros(distances.shape, np.bool_)
        graph = distances.tocoo()
        near[graph.coords] = graph.data.astype(np.float32) <= eps
    else:
        near = np.asarray(distances, np.float32) <= eps
    np.fill_diagonal(near, True)
    return near

"""Scores of a network that need no labels, to choose a round without looking at identities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import reid_cluster

__all__ = ["mutual_share"]


def mutual_share(
    features: NDArray[np.float32], camid: NDArray[np.int64] | None = None, *, n_jobs: int | None = None
) -> float:
    """Share of samples whose nearest neighbour has them as its nearest neighbour.

    In a good feature space pictures come in mutual pairs; a space that has collapsed onto a few hubs has few.

    Parameters
    ----------
    features : (N, D) float32
        Features of the training samples.
    camid : (N,) int64, optional
        With cameras, neighbours are sought in other cameras only: the score then ignores how alike two pictures
        of one place are.
    n_jobs : int, optional
        Threads; all cores by default.

    Returns
    -------
    float
        In [0, 1]; 0 when fewer than two samples, or fewer than two cameras, are there.
    """
    n = len(features)
    nearest = np.full(n, -1, dtype=np.int64)
    if camid is None:
        if n >= 2:
            nearest = reid_cluster.knn(features, 2, n_jobs=n_jobs).indices[:, 1].astype(np.int64)
    else:
        for camera in np.unique(camid):
            own, other = np.flatnonzero(camid == camera), np.flatnonzero(camid != camera)
            if len(other):
                found = reid_cluster.knn(features[other], 1, queries=features[own], n_jobs=n_jobs)
                nearest[own] = other[found.indices[:, 0]]
    has = nearest >= 0
    mutual = has & (nearest[nearest] == np.arange(n))
    return float(mutual.mean()) if n else 0.0

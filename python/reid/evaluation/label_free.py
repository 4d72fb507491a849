"""A score of a network that needs no labels, to choose a round without looking at identities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import reid_cluster

__all__ = ["reciprocity"]


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

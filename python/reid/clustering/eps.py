"""The largest distance of neighbours, chosen from the clusters it gives.

With a small eps few samples are clustered; with a large one clusters grow into each other. In between lies the eps with
the largest

    score = s / sum_c p_c^2,   s = share of samples in clusters, p_c = share of the clustered ones in cluster c

that is the share of samples in clusters times the number of clusters, counted so that a cluster that has swallowed the
others weighs as one (inverse Simpson index; Simpson: Measurement of Diversity, Nature 1949). The knee of the sorted
distances to the min_samples-th neighbour, the usual advice for DBSCAN, is worse: Jaccard distances end at 1, and its
knee lies where everything is one cluster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPS_HIGH", "EPS_LOW", "choose_eps", "partition_score"]

Labels = NDArray[np.int64]

EPS_LOW, EPS_HIGH = 0.2, 0.7
"""Between these an eps is sought, in steps of 0.02."""


def choose_eps(cluster: Callable[[float], Labels]) -> float:
    """Find the eps whose clusters score best; of equal ones the smallest.

    Parameters
    ----------
    cluster : callable
        (N,) labels at an eps, -1 for outliers; called 26 times.

    Returns
    -------
    float
        One of 0.20, 0.22 .. 0.70.

    Examples
    --------
    >>> import numpy as np
    >>> choose_eps(lambda eps: np.array([0, 0, 1, 1, -1] if eps < 0.5 else [0, 0, 0, 0, 0]))
    0.2
    """
    candidates = [percent / 100 for percent in range(round(100 * EPS_LOW), round(100 * EPS_HIGH) + 1, 2)]
    return candidates[int(np.argmax([partition_score(cluster(eps)) for eps in candidates]))]


def partition_score(labels: Labels) -> float:
    """Share of samples in clusters, times the effective number of clusters.

    Parameters
    ----------
    labels : (N,) int64
        Clusters from 0, -1 for outliers.

    Returns
    -------
    float
        0 without clusters, C for C clusters of one size that hold all samples.
    """
    sizes = np.bincount(labels[labels >= 0]).astype(np.float64)
    if sizes.size == 0:
        return 0.0
    inside = sizes.sum()
    return float(inside / len(labels) * inside**2 / np.square(sizes).sum())

"""Guard rails: notice clusters that no training should be built on, and say what was measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import reid_cluster

__all__ = ["describe_collapse", "distance_quantiles"]


def describe_collapse(labels: NDArray[np.int64], *, largest_share: float = 0.5, outlier_share: float = 0.95) -> str:
    """Say in a few words how a partition has collapsed; empty when it has not.

    Parameters
    ----------
    labels : (N,) int64
        Clusters, -1 for outliers.
    largest_share : float, default 0.5
        A cluster with more than this share of all samples is a giant.
    outlier_share : float, default 0.95
        More outliers than this leave nothing to train on.
    """
    n = len(labels)
    sizes = np.bincount(labels[labels >= 0])
    outliers = n - int(sizes.sum())
    if sizes.size == 0:
        return f"no cluster among {n} samples"
    if sizes.size == 1:
        return f"one single cluster ({sizes[0]} of {n} samples)"
    if outliers > outlier_share * n:
        return f"{outliers} of {n} samples are outliers"
    if n >= 20 and sizes.max() > largest_share * n:
        return f"one giant cluster ({sizes.max()} of {n} samples)"
    return ""


def distance_quantiles(features: NDArray[np.float32], n_pairs: int = 10_000) -> str:
    """Squared distances of random pairs at 5, 50 and 95 %, and of nearest neighbours, as a phrase for a warning."""
    n = len(features)
    rng = np.random.default_rng(0)  # the same pairs every time: a measurement, not a draw
    i, j = rng.integers(n, size=(2, n_pairs))
    i, j = i[i != j], j[i != j]
    pairs = np.quantile(np.square(features[i] - features[j]).sum(axis=1), [0.05, 0.5, 0.95])
    near = np.quantile(reid_cluster.knn(features, min(2, n)).distances[:, -1], [0.05, 0.5, 0.95])
    return (
        "squared distances at 5/50/95 %: "
        f"{pairs[0]:.3f}/{pairs[1]:.3f}/{pairs[2]:.3f} between random pairs, "
        f"{near[0]:.3f}/{near[1]:.3f}/{near[2]:.3f} to the nearest neighbour"
    )

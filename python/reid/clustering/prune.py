"""Take small clusters out of a partition."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["prune"]


def prune(labels: NDArray[np.int64], min_instances: int = 4) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Make outliers of the members of clusters with fewer than `min_instances` samples, and close the gaps.

    Parameters
    ----------
    labels : (N,) int64
        Clusters, -1 for outliers; numbers without a sample are closed up too.
    min_instances : int, default 4
        Smallest cluster that stays.

    Returns
    -------
    labels : (N,) int64
        Clusters from 0 in the old order, -1 for outliers.
    kept : (C,) int64
        Old number of each cluster: `centers[kept]` are the centres of those that stay.

    Examples
    --------
    >>> import numpy as np
    >>> labels, kept = prune(np.array([0, 2, 2, 5, 5, 5, -1]), min_instances=2)
    >>> labels.tolist(), kept.tolist()
    ([-1, 0, 0, 1, 1, 1, -1], [2, 5])
    """
    if min_instances < 1:
        raise ValueError(f"min_instances={min_instances}: must be at least 1")
    labels = np.asarray(labels, np.int64)
    sizes = np.bincount(labels[labels >= 0])
    kept = np.flatnonzero(sizes >= min_instances)
    number = np.full(len(sizes) + 1, -1)  # the last entry is that of label -1
    number[kept] = np.arange(len(kept))
    return number[labels], kept

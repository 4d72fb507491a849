"""The largest distance of neighbours, chosen from the clusters it gives, or from the nearest pairs.

With a small eps few samples are clustered; with a large one clusters grow into each other. In between lies the eps with
the largest

    score = s / sum_c p_c^2,   s = share of samples in clusters, p_c = share of the clustered ones in cluster c

that is the share of samples in clusters times the number of clusters, counted so that a cluster that has swallowed the
others weighs as one (inverse Simpson index; Simpson: Measurement of Diversity, Nature 1949). The knee of the sorted
distances to the min_samples-th neighbour, the usual advice for DBSCAN, is worse: Jaccard distances end at 1, and its
knee lies where everything is one cluster.

`eps_from_share` is the rule of MTCluster (B. Xu et al.: arXiv 2205.03124, 2022): the mean of the smallest distances.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["EPS_HIGH", "EPS_LOW", "ShareEps", "choose_eps", "eps_from_share", "partition_score"]

Labels = NDArray[np.int64]

EPS_LOW, EPS_HIGH = 0.2, 0.7
"""Between these an eps is sought, in steps of 0.02."""


def choose_eps(cluster: Callable[[float], Labels], score: Callable[[Labels], float] | None = None) -> float:
    """Find the eps whose clusters score best; of equal ones the smallest.

    Parameters
    ----------
    cluster : callable
        (N,) labels at an eps, -1 for outliers; called 26 times.
    score : callable, optional
        How good labels are; default `partition_score`.

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
    rate = score or partition_score
    return candidates[int(np.argmax([rate(cluster(eps)) for eps in candidates]))]


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


class ShareEps(NamedTuple):
    """An eps from the nearest pairs."""

    eps: float
    n_pairs: int
    """Pairs that it is the mean of."""
    warning: str
    """Why it should not be trusted; empty where it may."""


def eps_from_share(
    graph: Any, rho: float | None = None, *, neighbors: float | None = None, zero_tol: float = 1e-6
) -> ShareEps:
    """Mean distance of the nearest pairs: of the share `rho` of all, or of `neighbors` pairs a sample.

    Parameters
    ----------
    graph : scipy.sparse.csr_array (N, N)
        Distances in both directions; a missing pair is farther than all that are stored.
    rho : float, optional
        Share of all pairs (1.6e-3). What it means changes with N: a sample has rho (N - 1) of these pairs on average,
        3.5 at N = 2,196, 13 at 8,187, 52 at 32,621.
    neighbors : float, optional
        Pairs a sample has on average, counted from both sides: m N / 2 pairs. Give this or `rho`.
    zero_tol : float, default 1e-6
        Pairs nearer than this are left out, as duplicates. 0: those at 0 exactly, as the authors; which of the pairs
        that are nearly equal are so, rounding decides.

    Returns
    -------
    ShareEps
        With a warning where fewer than 200 pairs were averaged, or eps is below 1e-3.

    Raises
    ------
    ValueError
        Both or none of `rho` and `neighbors`, no pair to average, or more than the graph holds.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csr_array
    >>> d = np.array([[0, 0.2, 0.4, 0.9], [0.2, 0, 0.3, 0.9], [0.4, 0.3, 0, 0.9], [0.9, 0.9, 0.9, 0]])
    >>> round(eps_from_share(csr_array(d), neighbors=1.5).eps, 6)
    0.3
    """
    if (rho is None) == (neighbors is None):
        raise ValueError(f"rho={rho}, neighbors={neighbors}: give one of the two")
    size = graph.shape[0]
    rows = np.repeat(np.arange(size, dtype=np.int32), np.diff(graph.indptr))
    upper = graph.data[graph.indices > rows]
    near = upper[(upper > 0) & (upper >= zero_tol)]
    total = size * (size - 1) // 2 - (len(upper) - len(near))
    asked = f"rho={rho:g}" if rho is not None else f"neighbors={neighbors:g}"
    n = round(rho * total if rho is not None else neighbors * size / 2)
    if n < 1:
        raise ValueError(f"{asked}: is no pair of {size} samples; give more, or a number for eps")
    if n > len(near):
        held = 2 * len(near) / max(size, 1)
        reach = getattr(graph, "max_distance", 1.0)
        raise ValueError(
            f"{asked}: {n:,} pairs are asked for, but a sample has only {held:.1f} up to the distance {reach:g}; "
            "give less, or a number for eps"
        )
    eps = float(np.partition(near, n - 1)[:n].mean(dtype=np.float64))
    doubts = [f"only {n} pairs were averaged"] if n < 200 else []
    doubts += ["most of them are nearly equal pictures"] if eps < 1e-3 else []
    warning = f"eps={eps:.3g} by {asked} is unsure: {' and '.join(doubts)}; give a number for eps, or a larger share"
    return ShareEps(eps, n, warning if doubts else "")

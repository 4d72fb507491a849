"""Adjusted mutual information of two partitions, with time that depends on the sizes of clusters, not their number.

scikit-learn sums over all pairs of an identity and a cluster, minutes where outliers make 50,000 clusters of one. A
term depends on the two sizes alone, so here each pair of sizes is computed once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

__all__ = ["adjusted_mutual_information"]

Floats = NDArray[np.float64]


def adjusted_mutual_information(counts: Floats, of_pid: Floats, of_cluster: Floats, mutual: float) -> float:
    """(MI - E[MI]) / (mean entropy - E[MI]): 1 for equal partitions, about 0 for independent ones.

    Parameters
    ----------
    counts : (M,) float64
        Nonzero cells of the contingency table.
    of_pid, of_cluster : (I,) and (C,) float64
        Sizes of identities and clusters.
    mutual : float
        Mutual information in nats.

    Notes
    -----
    Vinh, Epps, Bailey, JMLR 2010, equation 24; the mean of the two entropies is the arithmetic one.
    """
    if len(counts) == len(of_pid) == len(of_cluster):  # one and the same partition
        return 1.0
    expected = _expected(of_pid, of_cluster)
    entropy = (_entropy(of_pid) + _entropy(of_cluster)) / 2
    return float((mutual - expected) / max(entropy - expected, np.finfo(float).eps))


def _entropy(sizes: Floats) -> float:
    share = sizes / sizes.sum()
    return float(-(share * np.log(share)).sum())


def _expected(of_pid: Floats, of_cluster: Floats) -> float:
    """Mean mutual information of all pairs of partitions with these sizes (hypergeometric)."""
    n = float(of_pid.sum())
    a_sizes, a_times = np.unique(of_pid, return_counts=True)
    b_sizes, b_times = np.unique(of_cluster, return_counts=True)
    total = 0.0
    for a, times in zip(a_sizes, a_times, strict=True):
        for b, also in zip(b_sizes, b_times, strict=True):
            x = np.arange(max(1.0, a + b - n), min(a, b) + 1)  # possible overlaps
            log_chance = (
                gammaln(a + 1) + gammaln(b + 1) + gammaln(n - a + 1) + gammaln(n - b + 1) - gammaln(n + 1)
                - gammaln(x + 1) - gammaln(a - x + 1) - gammaln(b - x + 1) - gammaln(n - a - b + x + 1)
            )  # fmt: skip
            total += times * also * float((x / n * np.log(n * x / (a * b)) * np.exp(log_chance)).sum())
    return total

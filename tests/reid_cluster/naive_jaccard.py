"""The Jaccard distance on dense float64 arrays, written to be read beside the paper."""

from __future__ import annotations

import numpy as np


def ranking(x):
    """(N, N) neighbours by distance, ties by index, itself first."""
    x = x.astype(np.float64)
    squares = (x * x).sum(1)
    d = squares[:, None] + squares - 2 * x @ x.T
    np.fill_diagonal(d, -np.inf)
    return np.argsort(d, axis=1, kind="stable")


def depths(n, k1, k2, count_self):
    """How far the long and the short sets and the query expansion look."""
    k1 = min(k1, n if count_self else n - 1)
    long = k1 + (not count_self)
    return long, min(int(np.around(k1 / 2)) + 1, long), min(k2, long)


def reciprocal(rank, depth):
    """(N, N) of bool: both are among the nearest `depth` of each other."""
    near = np.zeros((len(rank), len(rank)), bool)
    np.put_along_axis(near, rank[:, :depth], True, axis=1)
    return near & near.T


def weights(x, rank, long, short, squared):
    """Rows V: a distribution over the expanded reciprocal set."""
    long_sets, short_sets = reciprocal(rank, long), reciprocal(rank, short)
    expanded = long_sets.copy()
    for i, near in enumerate(long_sets):
        for c in np.flatnonzero(near):
            if 3 * (short_sets[c] & near).sum() > 2 * short_sets[c].sum():
                expanded[i] |= short_sets[c]
    x = x.astype(np.float64)
    d = 2 - 2 * x @ x.T
    if squared:
        squares = (x * x).sum(1)
        d = squares[:, None] + squares - 2 * x @ x.T
    d = np.where(expanded, d, np.inf)
    v = np.exp(d.min(1, keepdims=True) - d)
    return v / v.sum(1, keepdims=True)


def naive_jaccard(x, k1=30, k2=6, count_self=True, squared=False, rank=None):
    """(N, N) float64."""
    rank = ranking(x) if rank is None else rank
    long, short, mean = depths(len(x), k1, k2, count_self)
    v = weights(x, rank, long, short, squared)
    v = v[rank[:, :mean]].mean(1)
    shared = np.array([np.minimum(row, v).sum(1) for row in v])
    return 1 - shared / (2 - shared)

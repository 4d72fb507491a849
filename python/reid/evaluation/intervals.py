"""Percentile intervals of means over queries, by resampling identities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["intervals"]

_TOGETHER = 64
"""Resamples held at once."""


def intervals(
    values: NDArray[np.float64], pid: NDArray[np.int64], *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> NDArray[np.float64]:
    """Bootstrap intervals of the means of `values` over queries.

    Identities are drawn with replacement, each with all its queries: queries of one identity are alike, and to draw
    them one by one would give intervals that are too narrow. Efron, Tibshirani, An Introduction to the Bootstrap,
    1993, chapter 13 (percentiles); Field, Welsh, Bootstrapping clustered data, JRSS B 2007 (clusters).

    Parameters
    ----------
    values : (Q, M) float64
        M figures of each query; no NaN.
    pid : (Q,) int64
        Identity of each query.
    resamples : int, default 1000
        How often identities are drawn.
    seed : int, default 0
        Seed of the draws.
    level : float, default 0.95
        Share of the resamples inside the interval.

    Returns
    -------
    (M, 2) float64
        Lower and upper end. With a single identity both are its mean: nothing can be said then.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.array([[0.0], [0.0], [1.0], [1.0]])
    >>> intervals(values, np.array([0, 0, 1, 1])).tolist()
    [[0.0, 1.0]]
    """
    number = np.unique(pid, return_inverse=True)[1]
    n = int(number.max()) + 1
    sums = np.zeros((n, values.shape[1]))
    np.add.at(sums, number, values)
    counts = np.bincount(number, minlength=n).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for lo in range(0, resamples, _TOGETHER):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(_TOGETHER, resamples - lo)).astype(np.float64)
        means.append((drawn @ sums) / (drawn @ counts)[:, None])
    tail = (1 - level) / 2
    return np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0).T

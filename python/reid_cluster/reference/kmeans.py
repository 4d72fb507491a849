"""k-means, written for reading: all distances in every round.

A round, with x_i the rows, c_k the centres and a_i the label of row i::

    a_i = argmin_k |x_i - c_k|^2          (the lowest k among equals)
    c_k = mean of the rows with a_i = k

S. Lloyd, *Least squares quantization in PCM*, IEEE Trans. Inform. Theory 28, 1982. The start is k-means++ with
trials: D. Arthur, S. Vassilvitskii, *k-means++: the advantages of careful seeding*, SODA 2007.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster._kmeans import KMeans

__all__ = ["kmeans"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def kmeans(
    features: Any,
    n_clusters: int,
    *,
    init: Any = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int | np.random.Generator | None = None,
) -> KMeans:
    """Cluster rows around K means, as :func:`reid_cluster.kmeans`; the named starts draw other rows.

    Parameters and result are those of the fast function. In float64, N x K x D values are held.

    Examples
    --------
    >>> from reid_cluster.reference import kmeans
    >>> kmeans([[0.0], [1.0], [9.0], [11.0]], 2, init=[[0.0], [1.0]]).labels.tolist()
    [0, 0, 1, 1]
    """
    x = np.asarray(features, dtype=np.float64)
    if not isinstance(init, str):
        return _lloyd(x, np.array(init, dtype=np.float64), max_iter, tol)
    random = np.random.default_rng(random_state)
    draw = {"k-means++": _plus_plus, "random": _random}[init]
    runs = [_lloyd(x, x[draw(x, n_clusters, random)], max_iter, tol) for _ in range(n_init)]
    return min(runs, key=lambda run: run.inertia)


def _lloyd(x: Floats, centers: Floats, max_iter: int, tol: float) -> KMeans:
    clusters = range(len(centers))
    enough = tol * x.var(axis=0).mean()
    labels = _squares(x, centers).argmin(axis=1)
    n_iter = 0
    while True:
        n_iter += 1
        labels = _fill_empty(x, centers, labels)
        old, centers = centers, np.stack([x[labels == k].mean(axis=0) for k in clusters])
        before, labels = labels, _squares(x, centers).argmin(axis=1)
        shift, full = np.sum((centers - old) ** 2), len(np.unique(labels)) == len(centers)
        if not full and shift == 0:
            raise ValueError(f"n_clusters={len(centers)}: only {len(np.unique(labels))} rows can be told apart")
        stable = bool((labels == before).all())
        if stable or (full and shift <= enough) or n_iter == max_iter:
            break
    inertia = float(np.sum((x - centers[labels]) ** 2))
    return KMeans(labels, centers.astype(np.float32), inertia, min(n_iter + stable, max_iter))


def _squares(x: Floats, y: Floats) -> Floats:
    """Squared distances of all rows, (N, K)."""
    return np.asarray(((x[:, None] - y) ** 2).sum(axis=2))


def _fill_empty(x: Floats, centers: Floats, labels: Ints) -> Ints:
    """Labels after each empty cluster took the row farthest from its own centre, among clusters of two and more."""
    labels, far = labels.copy(), ((x - centers[labels]) ** 2).sum(axis=1)
    for k in np.flatnonzero(np.bincount(labels, minlength=len(centers)) == 0):
        alone = np.bincount(labels, minlength=len(centers))[labels] < 2
        row = np.where(alone, -1.0, far).argmax()
        labels[row] = k
    return labels


def _random(x: Floats, n_clusters: int, random: np.random.Generator) -> Ints:
    """Different rows, each as likely as any other."""
    return random.choice(len(x), n_clusters, replace=False)


def _plus_plus(x: Floats, n_clusters: int, random: np.random.Generator) -> Ints:
    """Rows drawn by their squared distance to the nearest one so far, the best of 2 + floor(ln K) trials each."""
    chosen = [int(random.integers(len(x)))]
    closest = _squares(x, x[chosen])[:, 0]
    while len(chosen) < n_clusters:
        if closest.sum() == 0:  # copies only
            left = np.setdiff1d(np.arange(len(x)), chosen)
            chosen.extend(left[: n_clusters - len(chosen)].tolist())
            break
        trials = random.choice(len(x), 2 + int(np.log(n_clusters)), p=closest / closest.sum())
        with_trial = np.minimum(closest[:, None], _squares(x, x[trials]))
        best = with_trial.sum(axis=0).argmin()
        chosen.append(int(trials[best]))
        closest = with_trial[:, best]
    return np.array(chosen)

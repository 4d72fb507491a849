"""k-means."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _inputs

#: More runs than anybody waits for.
_MAX_RUNS = 1_000_000


class KMeans(NamedTuple):
    """Clusters around means.

    Attributes
    ----------
    labels : numpy.ndarray, shape (N,), int64
        The nearest of `centers` for each row, the lowest among equals.
    centers : numpy.ndarray, shape (K, D), float32
        Centres; where the run converged, each is the mean of its rows.
    inertia : float
        Sum of the squared distances of the rows to their centres.
    n_iter : int
        Rounds of the best run, the one that changed nothing included.
    """

    labels: NDArray[np.int64]
    centers: NDArray[np.float32]
    inertia: float
    n_iter: int


def kmeans(
    features: Any,
    n_clusters: int,
    *,
    init: Any = "k-means++",
    n_init: int = 1,
    max_iter: int = 300,
    tol: float = 1e-4,
    random_state: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> KMeans:
    """Cluster rows around K means, with the labels of Lloyd's algorithm from the same start.

    Every row goes to its nearest centre, every centre to the mean of its rows, and again, until nothing changes. A
    centre without rows takes over the row farthest from its own centre (ties by the smaller row), among clusters of
    two and more, so that all K labels are used unless `max_iter` ends the run.

    Parameters
    ----------
    features : array-like, shape (N, D)
        Rows to cluster by Euclidean distance as they are. Converted to float32 once if they are not.
    n_clusters : int
        Clusters K, 1 to N.
    init : {"k-means++", "random"} or array-like, shape (K, D)
        Rows drawn far from each other, the best of ``2 + floor(ln K)`` trials each; rows drawn evenly; or the
        centres to start from.
    n_init : int
        Runs from different draws, of which the one with the smallest inertia counts; 1 when centres are given.
    max_iter : int
        Most rounds of one run.
    tol : float
        A run ends when the squared shifts of all centres sum to at most `tol` times the mean variance of the
        columns; 0 or more. With 0 it ends when no label changes.
    random_state : int, numpy.random.Generator or None
        Source of the draws; None draws differently each time. The draws are not those of scikit-learn.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    KMeans
        ``labels``, ``centers``, ``inertia``, ``n_iter``.

    Raises
    ------
    ValueError
        For parameters out of range, K above the number of rows or of different rows, centres of another shape, NaN
        or inf.
    TypeError
        If features or centres are not real numbers, or `random_state` is none of the above.
    MemoryError
        When the centres do not fit beside the features.

    Notes
    -----
    ``N K D`` multiply-adds for the first round; later rounds compare rows only with the centres that moved, and with
    all where a row's own centre moved too far: about a quarter of the work in all, and no rounding in it. The draws of
    k-means++ cost ``(2 + ln K) N K D``. Memory of four times the centres and some 64 MB. S. Lloyd, *Least squares
    quantization in PCM*, IEEE Trans. Inform. Theory 28, 1982; D. Arthur, S. Vassilvitskii, *k-means++: the advantages
    of careful seeding*, SODA 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import kmeans
    >>> found = kmeans(np.array([[0.0], [1.0], [9.0], [11.0]]), 2, init=[[0.0], [1.0]])
    >>> found.labels.tolist(), found.centers.tolist(), found.inertia
    ([0, 0, 1, 1], [[0.5], [10.0]], 2.5)
    """
    x = _inputs.features(features)
    k = _inputs.ints("n_clusters", n_clusters, low=1)
    runs = _inputs.ints("n_init", n_init, low=1)
    if runs > _MAX_RUNS:
        raise ValueError(f"n_init={runs}: must be 1 to {_MAX_RUNS}")
    start: tuple[NDArray[np.float32] | None, list[int], bool]
    if isinstance(init, str):
        plus_plus = _inputs.choice("init", init, ("k-means++", "random")) == "k-means++"
        draw = _inputs.generator(random_state)
        start = (None, draw.integers(2**64, size=runs, dtype=np.uint64).tolist(), plus_plus)
    elif runs > 1:
        raise ValueError(f"n_init={runs}: must be 1 with centres given as init")
    else:
        start = (_inputs.features(init, "init"), [], False)
    found = _core.kmeans(
        x,
        k,
        init=start,
        max_iter=_inputs.ints("max_iter", max_iter, low=1),
        tol=_inputs.real("tol", tol, low=0.0),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )
    return KMeans(*found)

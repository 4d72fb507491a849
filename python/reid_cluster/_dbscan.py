"""DBSCAN on given distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _distances, _inputs


def dbscan(
    distances: Any,
    eps: float,
    min_samples: int = 4,
    *,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> NDArray[np.int64]:
    """Cluster points by their density, with the labels of scikit-learn's ``DBSCAN(metric="precomputed")``.

    The neighbours of a point are those at most `eps` away, itself included; with `min_samples` neighbours it
    is a core point. Core points that are neighbours share a cluster, numbered by its smallest core point;
    other points join the first cluster that reaches them, the rest is noise.

    Parameters
    ----------
    distances : array-like or scipy.sparse.csr_array, shape (N, N)
        Distances, 0 or more; row i says who the neighbours of i are, so that a matrix that is not symmetric
        is read as scikit-learn reads it. Dense: float32 in C order is read as it is. Sparse: a missing pair
        is far, a stored zero is a distance of 0, the diagonal is 0 whether stored or not; rows may be
        unsorted, an entry stored twice is refused.
    eps : float
        Largest distance of neighbours, above 0; compared in float32.
    min_samples : int
        Neighbours that make a core point, itself counted.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    numpy.ndarray, shape (N,), int64
        Labels from 0, -1 for noise.

    Raises
    ------
    ValueError
        For NaN or negative distances, a matrix that is not square, a broken CSR structure, `eps` or
        `min_samples` out of range, or `eps` above the ``max_distance`` that a graph of :func:`jaccard_graph`
        carries.
    TypeError
        For a sparse format other than CSR, or values that are not real numbers.

    Notes
    -----
    Time linear in the stored pairs (N^2 for a dense matrix), memory O(N). Ester, Kriegel, Sander, Xu, *A
    density-based algorithm for discovering clusters*, KDD 1996.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import dbscan
    >>> x = np.array([0.0, 0.1, 0.2, 5.0, 5.1, 5.2, 9.0])
    >>> dbscan(np.abs(x[:, None] - x), eps=0.3, min_samples=2).tolist()
    [0, 0, 0, 1, 1, 1, -1]
    """
    pairs = _distances.distances(distances)
    eps = _inputs.real("eps", eps, low=0.0)
    _distances.check_cut(distances, eps, "eps")
    return _core.dbscan(
        pairs,
        eps,
        _inputs.ints("min_samples", min_samples, low=1),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )

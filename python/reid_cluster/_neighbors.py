"""Exact nearest neighbours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _inputs


class Neighbors(NamedTuple):
    """The k nearest rows of every query, nearest first.

    Attributes
    ----------
    indices : numpy.ndarray, shape (Q, k), int32
        Row numbers of the features.
    distances : numpy.ndarray, shape (Q, k), float32
        Squared Euclidean distances.
    """

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]


def knn(
    features: Any,
    k: int,
    *,
    queries: Any = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> Neighbors:
    """Find the k nearest rows by squared Euclidean distance, exactly.

    The distance is ``max(0, |x|^2 + |y|^2 - 2 x.y)`` in float32; ties go to the smaller index. The arrays must
    not be written to by another thread during the call.

    Parameters
    ----------
    features : array-like, shape (N, D)
        Rows to search. Float32 in C order is used as it is, other real types are converted once. Rows of a CUDA
        tensor are searched on its device, with the same result.
    k : int
        Neighbours per query, 1 to N.
    queries : array-like, shape (Q, D), optional
        Rows to search for. By default every row of `features`; each is then its own first neighbour, at
        distance 0, before any exact copy of it.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    Neighbors
        ``indices`` (Q, k) int32 and ``distances`` (Q, k) float32, nearest first.

    Raises
    ------
    ValueError
        For k out of range, shapes that do not fit, NaN or inf, squared norms beyond float32.
    TypeError
        If an array does not hold real numbers.
    MemoryError
        If Q times k entries do not fit, or a CUDA tensor's copy in float32 does not fit on its device.

    Notes
    -----
    N^2 D / 2 multiply-adds without queries (each pair once), Q N D with; memory O(Q k) and 3 MB a thread. Rows
    with a large common offset lose digits; subtract their mean first.

    With a CUDA tensor the GPU names candidates, a quarter more than `k` and 8 at least, and the CPU measures them:
    Q N D multiply-adds there; here Q k of length D, some thirty times dearer each. Queries for which a bound on
    the rounding leaves room for other rows (ties, a large offset) are searched again among more candidates, at
    last on the CPU. Memory on the device: up to half of what is free, 2 GB at most, and a copy of the rows unless
    they are float32 in C order; on the host: a copy of the rows and some 300 MB.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import knn
    >>> found = knn(np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]]), k=2)
    >>> found.indices.tolist()
    [[0, 2], [1, 0], [2, 0]]
    >>> found.distances.tolist()
    [[0.0, 1.0], [0.0, 9.0], [0.0, 1.0]]
    """
    x = _inputs.features(features)
    k = _inputs.ints("k", k, low=1)
    q = None if queries is None else _inputs.features(queries, "queries")
    jobs, report = _inputs.jobs(n_jobs), _inputs.callback(progress)
    if _inputs.on_gpu(features) or _inputs.on_gpu(queries):
        from reid_cluster import _gpu

        return Neighbors(*_gpu.knn(features, queries, k, x, q, n_jobs=jobs, progress=report))
    return Neighbors(*_core.knn(x, k, queries=q, n_jobs=jobs, progress=report))

"""Jaccard distance of k-reciprocal neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _inputs
from reid_cluster._neighbors import Neighbors

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def jaccard(
    features: Any,
    k1: int = 30,
    k2: int = 6,
    *,
    count_self: bool = True,
    weights: str = "inner",
    neighbors: Any = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> NDArray[np.float32]:
    """Compute the Jaccard distance of k-reciprocal neighbours between all rows.

    Two rows are close when they share their neighbourhoods: each row is a distribution over its reciprocal
    neighbours, weighted by ``exp(-d)`` and averaged over its `k2` nearest; the distance is 1 minus the
    overlap of two distributions over their union.

    Parameters
    ----------
    features : array-like, shape (N, D)
        Rows, usually of unit length. Float32 in C order is used as it is, other real types are converted
        once. Neighbours of a CUDA tensor are found on its device, as by :func:`knn`; the rest runs here.
    k1 : int
        Reciprocal neighbours; clipped to N (N - 1 when it does not count the row itself).
    k2 : int
        Rows averaged by query expansion, itself among them; 1 for none; clipped to the depth of the search.
    count_self : bool
        True: `k1` counts the row itself (SpCL, Cluster Contrast, HHCL, CDSM); False: it does not (3C, the
        original re-ranking).
    weights : {"inner", "sqeuclidean"}
        ``d = 2 - 2 x.y``, or ``d = |x|^2 + |y|^2 - 2 x.y``. Equal for unit rows.
    neighbors : array-like of int, shape (N, >= k1), or Neighbors, optional
        Neighbours found elsewhere, nearest first; one more column when `k1` does not count the row itself.
        Further columns are ignored. The row itself is put first, -1 and repeats are left out. By default
        :func:`knn` finds them.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    numpy.ndarray, shape (N, N), float32
        Distances from 0 to 1, symmetric bit for bit, 0 on the diagonal. Different rows may be at distance 0.

    Raises
    ------
    ValueError
        For k1 or k2 below 1, NaN or inf, squared norms beyond float32, neighbours out of range or too few.
    TypeError
        If an array does not hold numbers of the right kind.
    MemoryError
        If N times N float32 do not fit into free memory; :func:`jaccard_graph` needs far less.

    See Also
    --------
    jaccard_graph : the same distances, close pairs only.

    Notes
    -----
    After the search, time grows with N (except for writing the matrix). Zhong, Zheng, Cao, Li, *Re-ranking
    person re-identification with k-reciprocal encoding*, CVPR 2017. Published code pads lists of fewer than
    k1 points with the last point; here k1 is clipped.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import jaccard
    >>> angles = np.array([0.0, 0.1, 0.2, 3.0, 3.1])
    >>> x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> [round(float(d), 2) for d in jaccard(x, k1=3, k2=1)[0]]
    [0.0, 0.01, 0.03, 1.0, 1.0]
    """
    x, params = _inputs.features(features), settings(k1, k2, count_self, weights)
    jobs, report = _inputs.jobs(n_jobs), _inputs.callback(progress)
    if neighbors is None and _inputs.on_gpu(features):
        neighbors = _found_on_gpu(features, x, params, jobs, report)
    return _core.jaccard(x, params, neighbors=_lists(neighbors, len(x)), n_jobs=jobs, progress=report)


def jaccard_graph(
    features: Any,
    k1: int = 30,
    k2: int = 6,
    *,
    max_distance: float = 0.6,
    count_self: bool = True,
    weights: str = "inner",
    neighbors: Any = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> csr_array:
    """Compute the Jaccard distances up to `max_distance` as a sparse graph, without the N x N matrix.

    Parameters
    ----------
    features : array-like, shape (N, D)
        Rows, usually of unit length; as in :func:`jaccard`.
    k1, k2, count_self, weights, neighbors, n_jobs, progress
        As in :func:`jaccard`.
    max_distance : float
        Largest distance kept, 0 to 1, compared in float32; the largest eps that the graph can answer. At 1
        every distance below 1 is kept.

    Returns
    -------
    scipy.sparse.csr_array, shape (N, N), float32
        Both directions of a pair, rows sorted, distances of zero and the diagonal stored. A missing pair is
        farther than `max_distance`, which the array carries as the attribute ``max_distance``. Each value has
        the bits of :func:`jaccard`'s.

    Raises
    ------
    ValueError
        As in :func:`jaccard`, and for a `max_distance` outside 0 to 1.
    TypeError
        If an array does not hold numbers of the right kind.
    MemoryError
        If the graph does not fit.

    Notes
    -----
    Beside the search, time and memory grow with N alone: at k1 = 30 a row shares a few thousand entries and
    keeps about a dozen pairs at 0.6, but a few thousand at 1.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import dbscan, jaccard_graph
    >>> angles = np.array([0.0, 0.1, 0.2, 3.0, 3.1])
    >>> x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> graph = jaccard_graph(x, k1=3, k2=1, max_distance=0.5)
    >>> graph.indices.tolist(), graph.max_distance
    ([0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 3, 4], 0.5)
    >>> dbscan(graph, eps=0.5, min_samples=2).tolist()
    [0, 0, 0, 1, 1]
    """
    x, params = _inputs.features(features), settings(k1, k2, count_self, weights)
    cut = _inputs.real("max_distance", max_distance, low=0.0)
    jobs, report = _inputs.jobs(n_jobs), _inputs.callback(progress)
    if neighbors is None and _inputs.on_gpu(features):
        neighbors = _found_on_gpu(features, x, params, jobs, report)
    indptr, indices, data = _core.jaccard_graph(
        x, params, max_distance=cut, neighbors=_lists(neighbors, len(x)), n_jobs=jobs, progress=report
    )
    from scipy.sparse import csr_array

    if len(data) <= np.iinfo(np.int32).max:  # scipy wants one index type in both arrays
        indptr = indptr.astype(np.int32)
    graph = csr_array((data, indices, indptr), shape=(len(x), len(x)))
    graph.has_canonical_format = True
    graph.max_distance = cut  # type: ignore[attr-defined]
    return graph


def settings(k1: Any, k2: Any, count_self: Any, weights: Any) -> tuple[int, int, bool, bool]:
    """k1, k2, count_self, and whether `weights` are those of square distances; TypeError or ValueError otherwise."""
    squared = _inputs.choice("weights", weights, ("inner", "sqeuclidean")) == "sqeuclidean"
    return _inputs.ints("k1", k1, low=1), _inputs.ints("k2", k2, low=1), _inputs.flag("count_self", count_self), squared


def _found_on_gpu(
    features: Any,
    x: NDArray[np.float32],
    params: tuple[int, int, bool, bool],
    n_jobs: int,
    progress: _inputs.Progress | None,
) -> NDArray[np.int32]:
    """The neighbours that the kernel would look for, found where the tensor is."""
    from reid_cluster import _gpu

    k1, _, count_self, _ = params
    depth = min(k1 + (not count_self), len(x))
    return _gpu.knn(features, None, depth, x, None, n_jobs=n_jobs, progress=progress)[0]


def _lists(neighbors: Any, n: int) -> tuple[NDArray[np.int32], int] | None:
    """Neighbour lists one after the other, and their length."""
    if neighbors is None:
        return None
    if isinstance(neighbors, Neighbors):
        neighbors = neighbors.indices
    array = _inputs.array_of(neighbors, "neighbors")
    if array.dtype.kind not in "iu":
        raise TypeError(f"neighbors has dtype {array.dtype}: must hold row numbers, int32 or int64")
    if array.ndim != 2 or len(array) != n:
        raise ValueError(f"neighbors has shape {array.shape}: must be ({n}, k), one list a row of features")
    if array.dtype != np.int32:  # what passes int32 stays out of range, and the kernel names its place
        low = 0 if array.dtype.kind == "u" else -2
        array = np.clip(array, low, np.iinfo(np.int32).max).astype(np.int32)
    return np.ascontiguousarray(array).reshape(-1), array.shape[1]

"""Samples that cannot be one person, and clustering that keeps them apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _distances, _inputs

#: Whole numbers up to here are exact in float64.
_EXACT = 2**53


def time_overlap(
    start: Any,
    end: Any,
    *,
    camera: Any = None,
    clock: Any = None,
    scope: str = "all",
    margin: float = 0,
    exempt: Iterable[Any] = (),
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> NDArray[np.int32]:
    """Find the pairs of samples that were seen at the same time, and so are two people.

    Nobody is in two places at once, and two tracks that one camera sees at once are two people. Samples i and j
    overlap if ``start[i] <= end[j] + margin`` and ``start[j] <= end[i] + margin``: spans that touch do.

    Parameters
    ----------
    start, end : array-like, shape (N,)
        First and last moment at which each sample was seen, in any unit, on a clock common to all cameras; for a
        single picture the same. NaN in either: the time is not known, the sample overlaps nothing. Integers
        of any size are compared exactly if all of them lie within 2**53.
    camera : array-like of int, shape (N,), optional
        Camera of each sample, -1 if it is not known. Needed, and only then looked at, when `scope` is not "all" or
        `exempt` is not empty; a sample without a camera then overlaps nothing.
    clock : array-like of int, shape (N,), optional
        The clock that each sample's times were read from; only samples of the same clock are compared, and
        those with -1, not known, with none. By default there is one clock.
    scope : {"all", "cross", "same"}
        Compare all samples, only those of different cameras, or only those of the same camera.
    margin : float
        Time by which the spans may miss each other, in the unit of `start`; a negative one asks each span to
        begin at least that long before the other ends, so that small errors of the clocks make no pairs.
    exempt : iterable of pairs of int
        Pairs of cameras, in any order, whose views overlap, so that one person can be in both: not compared.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    numpy.ndarray, shape (M, 2), int32
        Pairs i < j, sorted, each once.

    Raises
    ------
    ValueError
        For a span that ends before it starts, an infinite time, columns of different lengths, no samples, cameras that
        are needed and not given, a `margin` that is not finite, or integers that lie too far apart.
    TypeError
        If times are not real numbers (dates: convert them to seconds), or ids no integers.
    MemoryError
        If the pairs, 12 bytes each, do not fit.

    Notes
    -----
    A sweep over the sorted starts: O(N log N) and the number of pairs that overlap, those that `scope` "cross",
    `exempt` or a negative `margin` drop included.

    References
    ----------
    B. Xu et al.: arXiv 2205.03124, 2022 (time-overlapping constraint).

    Examples
    --------
    >>> from reid_cluster import time_overlap
    >>> time_overlap([0, 5, 9, 2], [5, 8, 9, 3]).tolist()
    [[0, 1], [0, 3]]
    >>> time_overlap([0, 5, 9, 2], [5, 8, 9, 3], camera=[1, 2, 2, 1], scope="cross").tolist()
    [[0, 1]]
    """
    starts, ends = _times(start, end)
    n, scope = len(starts), _inputs.choice("scope", scope, ("all", "cross", "same"))
    try:
        free = _inputs.pairs(exempt if hasattr(exempt, "shape") else list(exempt), "exempt", np.int64)
    except TypeError as error:
        given = _inputs.shown(exempt)
        raise TypeError(f"exempt={given}: must be pairs of camera ids, like [(2, 8), (3, 5)]") from error
    return _core.time_overlap(
        starts,
        ends,
        camera=None if camera is None else _inputs.labels(camera, n, "camera"),
        clock=None if clock is None else _inputs.labels(clock, n, "clock"),
        cross=scope == "cross",
        same=scope == "same",
        margin=_inputs.finite("margin", margin),
        exempt=free.tolist(),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )


def constrained_dbscan(
    distances: Any,
    eps: float,
    cannot_link: Any,
    min_samples: int = 4,
    *,
    relaxed: float | None = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> NDArray[np.int64]:
    """Cluster points by their density, with no two linked points in one cluster.

    A cluster forbids every partner of its members. It grows from each free point in ascending order: the smallest
    member not yet looked at takes its free neighbours, ascending, if at least `min_samples` of its neighbours,
    itself included, are not forbidden; one that became forbidden meanwhile is passed over. A cluster
    that ends with fewer than `min_samples` members is dissolved, and they are free again.

    Parameters
    ----------
    distances : array-like or scipy.sparse.csr_array, shape (N, N)
        Distances, as :func:`dbscan` takes them.
    eps : float
        Largest distance of neighbours, above 0; compared in float32.
    cannot_link : array-like of int, shape (M, 2)
        Pairs of samples, as :func:`time_overlap` finds them; may be empty. In any order: a pair given twice or turned
        counts once, one of a sample and itself not at all. Not changed.
    min_samples : int
        Neighbours that let a point take others in, itself counted, and least size of a cluster.
    relaxed : float, optional
        Which links are believed; None (default): all. With ``relaxed >= 0`` not those of pairs at most
        ``eps * relaxed`` apart, which look too alike (0: only those at distance 0); with ``relaxed < 0`` not those of
        pairs more than ``eps * -relaxed`` apart (-1: only links of direct neighbours remain). In a matrix
        that is not symmetric the smaller distance counts.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    numpy.ndarray, shape (N,), int64
        Labels from 0, -1 for noise. Every cluster has at least `min_samples` members.

    Raises
    ------
    ValueError
        For whatever :func:`dbscan` refuses, a link to no sample, a `relaxed` that is not finite, or
        ``eps * abs(relaxed)`` above the ``max_distance`` that a graph carries.
    TypeError
        For a sparse format other than CSR, distances that are not real numbers, or links that are not integers.
    MemoryError
        If the links, 24 bytes each, do not fit.

    Notes
    -----
    Time linear in the stored pairs (N^2 for a dense matrix) and the links, memory linear in points and links.
    Without links the labels are those of :func:`dbscan`, which however keeps a cluster with fewer than
    `min_samples` members when a core point's neighbours went to an earlier cluster.

    The published code visits the points in the order of a hash table, and keeps links from one cluster and one call
    to the next; here the order is by number and every call begins anew.

    References
    ----------
    B. Xu et al.: arXiv 2205.03124, 2022 (clustering under the time-overlapping constraint).

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import constrained_dbscan
    >>> x = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    >>> d = np.abs(x[:, None] - x)
    >>> constrained_dbscan(d, 0.15, [(2, 3)], min_samples=2).tolist()
    [0, 0, 0, 1, 1, 1]
    >>> constrained_dbscan(d, 0.15, [(2, 3)], min_samples=2, relaxed=1).tolist()
    [0, 0, 0, 0, 0, 0]
    """
    pairs = _distances.distances(distances)
    eps = _inputs.real("eps", eps, low=0.0)
    _distances.check_cut(distances, eps, "eps")
    if relaxed is not None:
        relaxed = _inputs.finite("relaxed", relaxed)
        _distances.check_cut(distances, eps * abs(relaxed), "eps*|relaxed|")
    return _core.constrained_dbscan(
        pairs,
        eps,
        _inputs.pairs(cannot_link, "cannot_link", np.int32).reshape(-1),
        _inputs.ints("min_samples", min_samples, low=1),
        relaxed=relaxed,
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )


def _times(start: Any, end: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64; large integers, say nanoseconds since 1970, are counted from the smallest."""
    columns = {"start": _inputs.times(start, "start"), "end": _inputs.times(end, "end")}
    if all(column.dtype.kind in "iu" for column in columns.values()):
        low = min(int(column.min()) for column in columns.values())
        high = max(int(column.max()) for column in columns.values())
        if max(high, -low) > _EXACT:
            if high - low > _EXACT:
                raise ValueError(f"start and end go from {low} to {high}: count in a coarser unit, or give float64")
            columns = {name: column.astype(object) - low for name, column in columns.items()}
    starts, ends = (_inputs.converted(column, np.dtype(np.float64), name) for name, column in columns.items())
    if len(starts) != len(ends):
        raise ValueError(f"start has {len(starts)} entries and end {len(ends)}: both need the same")
    return starts, ends

"""Retrieval metrics: CMC, mean average precision, mean inverse negative penalty."""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _inputs


class Ranking(NamedTuple):
    """Retrieval metrics of all queries; shares from 0 to 1.

    Attributes
    ----------
    cmc : numpy.ndarray, shape (max_rank,), float64
        ``cmc[r - 1]``: share of valid queries whose first match has at most rank r; the rank-1 score is
        ``cmc[0]``.
    ap : numpy.ndarray, shape (Q,), float64
        Average precision of each query, NaN without a match.
    inp : numpy.ndarray, shape (Q,), float64
        Inverse negative penalty of each query: matches / rank of the last one, NaN without a match.
    map : float
        Mean of `ap` over the valid queries (mAP).
    minp : float
        Mean of `inp` over the valid queries (mINP).
    n_valid : int
        Queries that have a match.
    """

    cmc: NDArray[np.float64]
    ap: NDArray[np.float64]
    inp: NDArray[np.float64]
    map: float
    minp: float
    n_valid: int


@overload
def evaluate_rank(
    distances: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = ...,
    ap: str = ...,
    n_jobs: int | None = ...,
    progress: _inputs.Progress | None = ...,
) -> Ranking: ...
@overload
def evaluate_rank(
    distances: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = ...,
    ap: tuple[str, ...],
    n_jobs: int | None = ...,
    progress: _inputs.Progress | None = ...,
) -> tuple[Ranking, ...]: ...
def evaluate_rank(
    distances: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = 50,
    ap: str | tuple[str, ...] = "step",
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> Ranking | tuple[Ranking, ...]:
    """Score given query x gallery distances by the Market-1501 rule.

    For each query, gallery items of its identity seen by its own camera are left out, and so are junk items
    (pid -1). Queries with no match left are NaN and counted out.

    Parameters
    ----------
    distances : array-like, shape (Q, G)
        Any finite distances, smaller is more similar; compared in float32.
    q_pids, g_pids : sequence of int or str, shape (Q,) and (G,)
        Identities. -1 (or ``"-1"``) is junk.
    q_camids, g_camids : sequence of int or str, shape (Q,) and (G,), or None
        Cameras. None for both: nothing is left out but the query itself, and that only where both sets are
        the same pictures, which `q_pids` and `g_pids` being one object says.
    max_rank : int
        Length of the CMC curve; beyond the gallery it stays at its last value.
    ap : {"step", "trapezoid"} or tuple of them
        Average precision as the mean precision at the matches (today's definition), or as the area under the
        precision-recall curve by trapezoids from (0, 1) on (the Market-1501 toolkit, BUC, PUL). Tied
        distances are one threshold either way; CMC and INP rank ties by gallery index. A tuple gives a result
        for each of its names, at the cost of one.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    Ranking, or tuple of Ranking where `ap` is a tuple
        ``cmc``, ``ap``, ``inp``, ``map``, ``minp``, ``n_valid``.

    Raises
    ------
    ValueError
        For lengths that do not fit, NaN or inf, ``max_rank`` below 1, or when no query has a match.
    TypeError
        For ids that are neither integers nor strings.

    Notes
    -----
    Time O(Q G), no sorting of the gallery; sums in float64. Zheng et al., *Scalable person re-identification:
    a benchmark*, ICCV 2015 (rule, CMC, mAP); Ye et al., *Deep learning for person re-identification*, TPAMI
    2021 (mINP).

    Examples
    --------
    >>> from reid_cluster import evaluate_rank
    >>> found = evaluate_rank([[0.1, 0.3, 0.2]], [7], [7, 7, 8], [0], [1, 1, 1], max_rank=2)
    >>> found.cmc.tolist(), round(found.map, 4), round(found.minp, 4)
    ([1.0, 1.0], 0.8333, 0.6667)
    """
    names = _names(ap)
    d = _inputs.features(distances, "distances")
    ids = _ids(q_pids, g_pids, q_camids, g_camids, itself=q_pids is g_pids)
    found = _core.evaluate_rank(
        d,
        ids,
        max_rank=_inputs.ints("max_rank", max_rank, low=1),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )
    return _rankings(found, names)


@overload
def evaluate_features(
    query: Any,
    gallery: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = ...,
    ap: str = ...,
    n_jobs: int | None = ...,
    progress: _inputs.Progress | None = ...,
) -> Ranking: ...
@overload
def evaluate_features(
    query: Any,
    gallery: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = ...,
    ap: tuple[str, ...],
    n_jobs: int | None = ...,
    progress: _inputs.Progress | None = ...,
) -> tuple[Ranking, ...]: ...
def evaluate_features(
    query: Any,
    gallery: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = 50,
    ap: str | tuple[str, ...] = "step",
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> Ranking | tuple[Ranking, ...]:
    """Score features by the Market-1501 rule; the (Q, G) distances are never held.

    The distances are the squared Euclidean ones of the rows as given, the same values as :func:`knn` finds;
    for unit rows they rank as the cosine does. All else is as in :func:`evaluate_rank`.

    Parameters
    ----------
    query : array-like, shape (Q, D)
        Query features.
    gallery : array-like, shape (G, D)
        Gallery features.
    q_pids, g_pids : sequence of int or str, shape (Q,) and (G,)
        Identities. -1 (or ``"-1"``) is junk.
    q_camids, g_camids : sequence of int or str, shape (Q,) and (G,), or None
        Cameras. None for both: nothing is left out but the query itself, and that only where `query` and
        `gallery` are one object.
    max_rank : int
        Length of the CMC curve; beyond the gallery it stays at its last value.
    ap : {"step", "trapezoid"} or tuple of them
        Definition of average precision, see :func:`evaluate_rank`.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    Ranking, or tuple of Ranking where `ap` is a tuple
        ``cmc``, ``ap``, ``inp``, ``map``, ``minp``, ``n_valid``.

    Raises
    ------
    ValueError
        For shapes that do not fit, NaN or inf, ``max_rank`` below 1, or when no query has a match.
    TypeError
        For features that are not real numbers, ids that are neither integers nor strings.

    Notes
    -----
    Q G D multiply-adds; memory of 512 rows of G distances (at most 256 MB, fewer rows for a larger gallery).

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import evaluate_features
    >>> features = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]])
    >>> pids = ["a", "a", "b"]
    >>> found = evaluate_features(features, features, pids, pids, None, None, max_rank=1)
    >>> found.cmc.tolist(), found.n_valid
    ([1.0], 2)
    """
    names = _names(ap)
    same = query is gallery
    q = _inputs.features(query, "query")
    g = q if same else _inputs.features(gallery, "gallery")
    found = _core.evaluate_features(
        q,
        g,
        _ids(q_pids, g_pids, q_camids, g_camids, itself=same),
        max_rank=_inputs.ints("max_rank", max_rank, low=1),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )
    return _rankings(found, names)


def _names(ap: Any) -> str | tuple[str, ...]:
    """`ap` as given, if it is one of the definitions or a tuple of some."""
    known = ("step", "trapezoid")
    if isinstance(ap, tuple) and ap:
        return tuple(_inputs.choice("ap", name, known) for name in ap)
    return _inputs.choice("ap", ap, known)


def _rankings(found: _core._Metrics, names: str | tuple[str, ...]) -> Ranking | tuple[Ranking, ...]:
    """What the kernel found, by one definition of average precision or by several."""
    step = Ranking(*found[:6])
    by = {"step": step, "trapezoid": step._replace(ap=found[6], map=found[7])}
    return by[names] if isinstance(names, str) else tuple(by[name] for name in names)


def _ids(q_pids: Any, g_pids: Any, q_camids: Any, g_camids: Any, itself: bool) -> _core._Ids:
    """Ids as the kernel takes them, int64."""
    if (q_camids is None) != (g_camids is None):
        missing = "q_camids" if q_camids is None else "g_camids"
        raise ValueError(f"{missing}=None: give the cameras of both sets, or None for both")
    pids = _codes(q_pids, g_pids, "q_pids", "g_pids")
    if q_camids is None:
        return (*pids, None, None, itself)
    return (*pids, *_codes(q_camids, g_camids, "q_camids", "g_camids"), False)


def _codes(query: Any, gallery: Any, q_name: str, g_name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Integers of two sets as they are; names numbered alike in both, with "-1" as -1."""
    q, g = _column(query, q_name), _column(gallery, g_name)
    if q.dtype.kind == "U" and g.dtype.kind == "U":
        names, codes = np.unique(np.concatenate([q, g]), return_inverse=True)
        codes = np.where(names[codes] == "-1", -1, codes).astype(np.int64)
        return codes[: len(q)], codes[len(q) :]
    if q.dtype.kind == "U" or g.dtype.kind == "U":
        raise TypeError(f"{q_name} and {g_name} mix integers and strings: give one kind in both")
    return _inputs.labels(q, len(q), q_name), _inputs.labels(g, len(g), g_name)


def _column(x: Any, name: str) -> NDArray[Any]:
    """`x` as a 1-D array of integers or of str."""
    array = _inputs.array_of(x, name)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}: give one id a row, shape (n,)")
    if array.dtype.kind == "O" and all(isinstance(value, str) for value in array):
        array = array.astype(np.str_)
    if array.dtype.kind not in "iuU" and array.size:
        raise TypeError(f"{name} has dtype {array.dtype}: ids must be integers or strings")
    return array

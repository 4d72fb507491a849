"""Clustering by harmonic discrepancy (HDC), and k-means++ on distances, where it starts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _distances, _inputs


class HDCTrace(NamedTuple):
    """All T rounds of :func:`hdc`.

    Attributes
    ----------
    labels : numpy.ndarray, shape (T, N), int64
        Labels, -1 for outliers.
    labels_all : numpy.ndarray, shape (T, N), int64
        Labels with outliers in their clusters.
    scores : numpy.ndarray, shape (T, N), float32
        Discrepancy of each sample to its cluster.
    """

    labels: NDArray[np.int64]
    labels_all: NDArray[np.int64]
    scores: NDArray[np.float32]


class HDC(NamedTuple):
    """Clusters of the last round of :func:`hdc`.

    Attributes
    ----------
    labels : numpy.ndarray, shape (N,), int64
        Labels from 0, -1 for outliers (without ``outliers`` the same as `labels_all`).
    labels_all : numpy.ndarray, shape (N,), int64
        Labels with outliers in their clusters; -1 only by ``isolated="outlier"``.
    centroids : numpy.ndarray, shape (K, D), float32
        Means of the members that are no outliers.
    scores : numpy.ndarray, shape (N,), float32
        Discrepancy of each sample to its cluster, 0 to 1; high scores are outliers.
    shifts : numpy.ndarray, shape (T,), float64
        Squared shift of all centroids in each round.
    n_iter : int
        Number T of rounds.
    trace : HDCTrace or None
        All rounds, if asked for.
    """

    labels: NDArray[np.int64]
    labels_all: NDArray[np.int64]
    centroids: NDArray[np.float32]
    scores: NDArray[np.float32]
    shifts: NDArray[np.float64]
    n_iter: int
    trace: HDCTrace | None


def kmeans_plusplus(
    distances: Any,
    n_clusters: int,
    *,
    first: int | None = None,
    uniforms: Any = None,
    random_state: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> NDArray[np.int32]:
    """Choose samples far from each other by k-means++ on given distances.

    Each step draws L candidates with the distance to the nearest chosen sample as weight, and keeps the one that
    leaves the smallest sum of these distances (the first on ties).

    Parameters
    ----------
    distances : array-like or scipy.sparse.csr_array, shape (N, N)
        Distances, 0 or more, not squared by this function. In a graph a missing pair is 1 apart, a missing diagonal 0.
    n_clusters : int
        Samples K to choose, 1 to N.
    first : int, optional
        The first sample; drawn by default.
    uniforms : array-like of float, shape (K - 1, L), optional
        Numbers in [0, 1), one for each candidate: u stands for the first sample at which the running sum of weights
        reaches u times the whole. By default drawn, with L = 2 + floor(ln K).
    random_state : int or numpy.random.Generator, optional
        Seed or generator of what is drawn; by default the system seeds.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    numpy.ndarray, shape (K,), int32
        Row numbers in the order of their choice. With enough copies among the samples one may be chosen twice.

    Raises
    ------
    ValueError
        For parameters out of range, distances that are none, or a graph that is cut below 1.
    TypeError
        For a sparse format other than CSR, or values that are not real numbers.

    Notes
    -----
    K L rows of distances are read; memory O(L N).

    References
    ----------
    D. Arthur, S. Vassilvitskii: k-means++: The Advantages of Careful Seeding. SODA 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import kmeans_plusplus
    >>> x = np.array([0.0, 0.1, 5.0, 5.1, 9.0])
    >>> kmeans_plusplus(np.abs(x[:, None] - x), 3, first=0, uniforms=[[0.5, 0.9], [0.2, 0.6]]).tolist()
    [0, 3, 4]
    """
    pairs = _given(distances)
    first, uniforms = _draws(_rows(pairs), n_clusters, first, uniforms, random_state)
    return _core.kmeans_plusplus(
        pairs,
        n_clusters,
        first=first,
        uniforms=uniforms,
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )


def hdc(
    features: Any,
    distances: Any,
    n_clusters: int,
    *,
    init: Any = "k-means++",
    max_iter: int = 80,
    min_iter: int = 10,
    patience: int = 4,
    n_sigma: float = 1.0,
    threshold: float | None = None,
    outliers: bool = True,
    similarity: str = "euler",
    normalize_centroids: bool = False,
    isolated: str = "cluster",
    return_trace: bool = False,
    random_state: int | np.random.Generator | None = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> HDC:
    """Cluster by harmonic discrepancy, with confidence and outliers: HDC of the method 3C.

    A sample is as far from a cluster as from the member that is both far from it and sure of the cluster. With the
    discrepancy ``a_ik = 1 - exp(-distances_ik)`` and the confidence ``q_k = exp(-5 d_k / d_max)`` of a sample at
    ``d_k`` from its centroid, that is the first member k with the largest ``a_ik q_k / (a_ik + q_k)``, and the score
    is its ``a_ik``. Each sample joins the cluster with the least score, empty clusters take the samples with the
    weakest membership, members with a score above mean + `n_sigma` standard deviations of their cluster are outliers,
    and centroids are the means of the others.

    Parameters
    ----------
    features : array-like, shape (N, D)
        Unit rows, as a rule. Converted to float32 once if they are not.
    distances : array-like or scipy.sparse.csr_array, shape (N, N), or None
        Distances of all pairs, 0 or more, as of :func:`jaccard` or ``jaccard_graph(max_distance=1)``. In a graph a
        missing pair is 1 apart, a missing diagonal 0. None: the features' own distances by `similarity`, divided by
        the largest.
    n_clusters : int
        Number K of clusters, 1 to N.
    init : {"k-means++", "random"} or array-like
        Where to start: samples by :func:`kmeans_plusplus` on the distances (L = 2 + floor(ln K) candidates), random
        labels, centers (K, D), samples (K,) or labels (N,) from 0 to K - 1; with K = N samples are meant.
    max_iter : int
        Rounds at most.
    min_iter : int
        Rounds before shifts are compared.
    patience : int
        Rounds without a smaller shift that are waited for.
    n_sigma : float
        Standard deviations above the mean score of a cluster that make an outlier, at least 0.
    threshold : float, optional
        Score above which a sample is an outlier, in place of `n_sigma`. A cluster of outliers only keeps its centroid.
    outliers : bool
        Whether outliers are labelled -1 in the result. They never count in centroids and always remain members in the
        next round.
    similarity : {"euler", "cosine", "euclidean"}
        Distance of samples to centroids: of the Euler representation with alpha = 1.9, ``(1 - cos) / 2``, or
        Euclidean. The first and the last are divided by the largest distance of a sample to a centroid.
    normalize_centroids : bool
        Scale centroids to unit length.
    isolated : {"cluster", "outlier"}
        A sample without any near member in any cluster joins the first cluster (the authors' code), or none: label -1.
    return_trace : bool
        Return all rounds, too.
    random_state : int or numpy.random.Generator, optional
        Seed or generator of what is drawn; by default the system seeds.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    HDC
        Labels, centroids, scores, shifts, number of rounds, and the trace.

    Raises
    ------
    ValueError
        For parameters out of range, shapes that do not fit, NaN or inf in features, distances that are none, or a
        graph that is cut below 1.
    TypeError
        If arrays hold other than real numbers, or labels and samples no integers.
    MemoryError
        If the work does not fit.

    Notes
    -----
    A round costs the stored pairs, N D, and at most little more than one product N K D for ``d_max``; memory two copies
    of the features (Euler) and 8 bytes a sample and round. A dense matrix is read as it is, N^2 a round. Without
    distances a round costs N^2 D (Euler: 4 N^2 D), nothing N x N is kept. Rounds that are known to come again are not
    computed again.

    The last round is returned, as by the authors' code, of which this gives the labels. Differences: the relocated
    samples go by (membership, index) and one alone in its cluster is never moved; a cluster emptied by `threshold`
    keeps its centroid.

    References
    ----------
    HDC is the clustering of 3C: arXiv 2408.09464; Neurocomputing 641 (2025), 130368.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import hdc
    >>> x = np.float32([[0, 1], [0.1, 1], [1, 0], [1, 0.1], [1, 0.2]])
    >>> hdc(x, None, 2, init=[0, 2], similarity="cosine").labels_all.tolist()
    [0, 0, 1, 1, 1]
    """
    x = _inputs.features(features)
    pairs = None if distances is None else _given(distances)
    if pairs is not None and _rows(pairs) != len(x):
        raise ValueError(f"distances has {_rows(pairs)} rows and features {len(x)}: both need the same")
    rounds = (
        _inputs.ints("max_iter", max_iter, low=1),
        _inputs.ints("min_iter", min_iter, low=0),
        _inputs.ints("patience", patience, low=0),
    )
    labels, labels_all, centroids, scores, shifts, trace = _core.hdc(
        x,
        pairs,
        _clusters(n_clusters, len(x)),
        _start(init, x.shape, n_clusters, random_state),
        rounds=rounds,
        n_sigma=_inputs.real("n_sigma", n_sigma, low=0.0),
        threshold=None if threshold is None else _inputs.real("threshold", threshold, low=0.0),
        outliers=_inputs.flag("outliers", outliers),
        similarity=_inputs.choice("similarity", similarity, ("euler", "cosine", "euclidean")),
        normalize_centroids=_inputs.flag("normalize_centroids", normalize_centroids),
        isolated=_inputs.choice("isolated", isolated, ("cluster", "outlier")) == "outlier",
        return_trace=_inputs.flag("return_trace", return_trace),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )
    rounds_seen = None if trace is None else HDCTrace(*trace)
    return HDC(labels, labels_all, centroids, scores, shifts, len(shifts), rounds_seen)


def _given(distances: Any) -> NDArray[np.float32] | _distances.Csr:
    """Distances for kernels that take a missing pair for 1 apart."""
    cut = getattr(distances, "max_distance", None)
    if cut is not None and np.float32(_inputs.real("distances.max_distance", cut, low=0.0)) < 1:
        raise ValueError(f"distances is a graph cut at max_distance={cut}: build it with max_distance=1")
    return _distances.distances(distances)


def _rows(pairs: NDArray[np.float32] | _distances.Csr) -> int:
    return len(pairs[0]) - 1 if isinstance(pairs, tuple) else len(pairs)


def _clusters(n_clusters: Any, n: int) -> int:
    number = _inputs.ints("n_clusters", n_clusters, low=1)
    if number > n:
        raise ValueError(f"n_clusters={number}: must be 1 to {n}, the number of samples")
    return number


def _draws(n: int, n_clusters: Any, first: Any, uniforms: Any, random_state: Any) -> tuple[int, NDArray[np.float64]]:
    """The first sample and the numbers of the candidates; what is not given is drawn, the first sample first."""
    k = _clusters(n_clusters, n)
    generator = _inputs.generator(random_state)
    first = int(generator.integers(n)) if first is None else _inputs.ints("first", first, low=0)
    if uniforms is None:
        return first, generator.random((k - 1) * (2 + int(math.log(k))))
    numbers = _inputs.array_of(uniforms, "uniforms")
    if numbers.dtype.kind not in "fiu" and numbers.size:
        raise TypeError(f"uniforms must hold real numbers, got dtype {numbers.dtype}: give numbers in [0, 1)")
    if numbers.ndim != 2 or len(numbers) != k - 1:
        raise ValueError(f"uniforms has shape {numbers.shape}: must be ({k - 1}, L), a row for each step")
    return first, _inputs.converted(numbers, np.dtype(np.float64), "uniforms").ravel()


def _start(
    init: Any, shape: tuple[int, ...], n_clusters: int, random_state: Any
) -> tuple[int, NDArray[np.float64]] | tuple[str, NDArray[Any]]:
    """`init` for the kernel."""
    n, k = shape[0], _clusters(n_clusters, shape[0])
    if isinstance(init, str):
        if _inputs.choice("init", init, ("k-means++", "random")) == "random":
            return "labels", _inputs.generator(random_state).integers(k, size=n)
        return _draws(n, k, None, None, random_state)
    init = _inputs.array_of(init, "init")
    if init.ndim == 2:
        centers = _inputs.features(init, "init")
        if centers.shape != (k, shape[1]):
            raise ValueError(f"init has shape {centers.shape}: centers need shape ({k}, {shape[1]})")
        return "centers", centers
    if init.shape == (k,):
        return "indices", _inputs.labels(init, k, "init")
    if init.shape == (n,):
        return "labels", _inputs.labels(init, n, "init")
    raise ValueError(
        f"init has shape {init.shape}: give centers ({k}, {shape[1]}), {k} samples, or {n} labels, one a sample"
    )

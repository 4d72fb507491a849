"""HDC of 3C (arXiv 2408.09464) and k-means++ on distances, by whole matrices in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_cluster._hdc import HDC, HDCTrace

ALPHA = 1.9
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def similarity_distances(x: ArrayLike, y: ArrayLike, similarity: str = "euler") -> Floats:
    """Distances of rows: Euler |sum (phi(x) - phi(y))^2|, phi(x) = exp(i pi 1.9 x) / sqrt 2; (1 - cos) / 2; or |x - y|.

    The square in the first is that of a complex number, as in the authors' code, not its modulus.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if similarity == "cosine":
        norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
        return (1 - np.divide(x @ y.T, norms, out=np.zeros_like(norms), where=norms > 0)).clip(0, 2) / 2
    if similarity == "euclidean":
        return np.stack([np.linalg.norm(row - y, axis=1) for row in x])
    a, b = np.exp(1j * np.pi * ALPHA * x) / np.sqrt(2), np.exp(1j * np.pi * ALPHA * y) / np.sqrt(2)
    return np.stack([np.abs(((row - b) ** 2).sum(1)) for row in a])


def normalized_distances(x: ArrayLike, y: ArrayLike, similarity: str = "euler") -> Floats:
    """:func:`similarity_distances` divided by the largest of the matrix; the cosine as it is."""
    d = similarity_distances(x, y, similarity)
    return d if similarity == "cosine" or d.max() == 0 else d / d.max()


def discrepancies(a: Floats, q: Floats, labels: Ints, n_clusters: int) -> Floats:
    """H (N, K): a_ik of the first member k with the largest t_ik = a_ik q_k / (a_ik + q_k); without members a_i0."""
    h = np.repeat(a[:, :1], n_clusters, axis=1)
    for c in np.unique(labels[labels >= 0]):
        members = np.flatnonzero(labels == c)
        total = a[:, members] + q[members]
        t = np.divide(a[:, members] * q[members], total, out=np.zeros_like(total), where=total > 0)
        h[:, c] = np.take_along_axis(a[:, members], t.argmax(1)[:, None], axis=1)[:, 0]
    return h


def relocate(labels: Ints, scores: Floats, membership: Floats, h: Floats) -> tuple[Ints, Floats]:
    """Fill empty clusters with the samples of the weakest membership; pass by pass, until none is empty."""
    labels, scores = labels.copy(), scores.copy()
    n, k = h.shape
    while True:
        counts = np.bincount(labels[labels >= 0], minlength=k)
        empty = np.flatnonzero(counts == 0)
        if not len(empty):
            return labels, scores
        size = np.where(labels >= 0, counts[labels], n)
        key = np.where((size < 5) & (labels >= 0), 1.0, membership)
        order = [i for i in np.lexsort((np.arange(n), key)) if labels[i] < 0 or size[i] > 1]
        for c, i in zip(empty, order, strict=False):
            labels[i], scores[i] = c, h[i, c]


def outlier_rule(
    labels: Ints, scores: ArrayLike, n_clusters: int, n_sigma: float = 1.0, threshold: float | None = None
) -> NDArray[np.bool_]:
    """Whether a score is above mean + n_sigma standard deviations (n - 1) of its cluster, or above the threshold."""
    scores = np.asarray(scores, np.float64)
    out = np.zeros(len(labels), bool)
    for c in range(n_clusters):
        members = np.flatnonzero(labels == c)
        s = scores[members]
        if threshold is not None:
            out[members] = s > threshold
        elif len(s) > 1 and s.min() < s.max():
            out[members] = s > s.mean() + n_sigma * s.std(ddof=1)
    return out


def kmeans_plusplus(
    distances: Any,
    n_clusters: int,
    *,
    first: int | None = None,
    uniforms: ArrayLike | None = None,
    random_state: int | np.random.Generator | None = None,
) -> NDArray[np.int32]:
    """Samples far from each other, as :func:`reid_cluster.kmeans_plusplus`."""
    d = _dense(distances)
    n, generator = len(d), np.random.default_rng(random_state)
    first = int(generator.integers(n)) if first is None else first
    if uniforms is None:
        uniforms = generator.random((n_clusters - 1, 2 + int(math.log(n_clusters))))
    chosen, closest = [first], d[first]
    for u in np.asarray(uniforms, np.float64):
        sums = np.cumsum(closest, dtype=np.float64)
        candidates = np.minimum(np.searchsorted(sums, u * sums[-1]), n - 1)
        best = np.argmin([np.cumsum(np.minimum(closest, d[c]), dtype=np.float64)[-1] for c in candidates])
        chosen.append(int(candidates[best]))
        closest = np.minimum(closest, d[chosen[-1]])
    return np.asarray(chosen, np.int32)


def hdc(
    features: ArrayLike,
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
) -> HDC:
    """Clusters by harmonic discrepancy, as :func:`reid_cluster.hdc`: every round is computed, none is replayed."""
    x = np.asarray(features, np.float32)
    d = normalized_distances(x, x, similarity) if distances is None else _dense(distances)
    a = (-np.expm1(-d)).astype(np.float32).astype(np.float64)
    far = np.float32(1 - math.exp(-1))
    labels, centroids = _start(x, d, n_clusters, init, similarity, normalize_centroids, random_state)
    shifts: list[float] = []
    rounds: list[tuple[Ints, Ints, Floats]] = []
    best, waited = math.inf, 0
    for t in range(max_iter):
        dn = normalized_distances(x, centroids, similarity)
        q = np.where(labels >= 0, np.exp(-5 * dn[np.arange(len(x)), labels]), 0)
        h = discrepancies(a, q, labels, n_clusters)
        labels, scores = h.argmin(1), h.min(1)
        if isolated == "outlier":
            labels[scores >= far] = -1
        others = [math.fsum(row) - least for row, least in zip(h, scores, strict=True)]
        membership = np.asarray(others) / max(n_clusters - 1, 1)
        labels, scores = relocate(labels, scores, membership.round(11), h)
        inliers = np.where(outlier_rule(labels, scores, n_clusters, n_sigma, threshold), -1, labels)
        new = _means(x, inliers, centroids, normalize_centroids)
        shifts.append(float(((new - centroids) ** 2).sum()))
        centroids = new
        rounds.append((inliers, labels, scores))
        if shifts[-1] == 0:
            break
        if t >= min_iter:
            waited = 0 if shifts[-1] < best else waited + 1
            best = min(best, shifts[-1])
            if waited > patience:
                break
    trace = HDCTrace(*map(np.stack, zip(*rounds, strict=True))) if return_trace else None
    return HDC(
        inliers if outliers else labels,
        labels,
        centroids.astype(np.float32),
        scores.astype(np.float32),
        np.asarray(shifts),
        len(shifts),
        trace,
    )


def _start(
    x: NDArray[np.float32], d: Floats, k: int, init: Any, similarity: str, normalize: bool, random_state: Any
) -> tuple[Ints, Floats]:
    """Labels and centroids."""
    if isinstance(init, str):
        if init == "random":
            init = np.random.default_rng(random_state).integers(k, size=len(x))
        else:
            init = kmeans_plusplus(d, k, random_state=random_state)
    init = np.asarray(init)
    if init.ndim == 2:
        return similarity_distances(x, init, similarity).argmin(1), init.astype(np.float64)
    if len(init) == k:
        return d[:, init].argmin(1), x[init].astype(np.float64)
    return init, _means(x, init, np.repeat(x[:1].astype(np.float64), k, axis=0), normalize)


def _means(x: NDArray[np.float32], labels: Ints, before: Floats, normalize: bool) -> Floats:
    """Mean of each cluster in float32, as clusters without members were before."""
    means = before.copy()
    for c in np.unique(labels[labels >= 0]):
        mean = x[labels == c].mean(0, dtype=np.float64)
        norm = np.linalg.norm(mean) if normalize else 1.0
        means[c] = (mean / (norm if norm > 0 else 1.0)).astype(np.float32)
    return means


def _dense(distances: Any) -> Floats:
    """A graph as a matrix: missing pairs are 1 apart, a missing diagonal is 0."""
    if not hasattr(distances, "tocsr"):
        return np.asarray(distances, np.float64)
    d = np.ones(distances.shape)
    np.fill_diagonal(d, 0)
    for i in range(len(d)):
        row = slice(distances.indptr[i], distances.indptr[i + 1])
        d[i, distances.indices[row]] = distances.data[row]
    return d

"""Which pairs of samples a person should judge: those that teach most about where clusters end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.clustering.cameras import center_cameras
from reid.clustering.mutual import mutual_partners
from reid.report.geometry import closest_clusters, means

__all__ = ["Pair", "choose_pairs"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

OFTEN = 3
"""A sample is asked about at most so often."""
SEARCHED = 20_000
"""Samples among which mutual pairs are sought; of more, so many are drawn."""
MEMBERS = 256
"""Members of a cluster that are compared; of more, those farthest from its middle."""


class Pair(NamedTuple):
    """Two samples, and why they are asked about."""

    a: int
    b: int
    why: str


def choose_pairs(
    features: Floats, camid: Ints, labels: Ints, count: int, *, seed: int = 0, n_jobs: int | None = None
) -> list[Pair]:
    """Choose pairs of three kinds in equal parts, as far as there are enough of each.

    The nearest members of clusters whose middles are closest (one identity in two clusters?); the farthest members of
    the loosest clusters (two identities in one?); and samples of two cameras, or any where cameras are not known, that
    are nearest to each other but not in one cluster. Of a cluster first one pair is taken, then up to `OFTEN`.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows.
    camid : (N,) int64
        Cameras, -1 unknown.
    labels : (N,) int64
        Clusters, -1 for outliers.
    count : int
        Pairs wanted; there may be fewer.
    seed : int
        Of the draw of half of twice as many best pairs as are needed, and of the order.
    n_jobs : int, optional
        Threads; all cores by default.

    Returns
    -------
    list of Pair
        a < b, no pair twice.
    """
    rng = np.random.default_rng(seed)
    kinds = [
        _borders(features, labels, 2 * count, n_jobs),
        _loose(features, labels, 2 * count),
        _mutual(features, camid, labels, 2 * count, rng, n_jobs),
    ]
    share = -(-count // 3)
    chosen: dict[tuple[int, int], Pair] = {}
    seen = np.zeros(len(labels), np.int64)

    def take(pairs: list[Pair], most: int) -> None:
        for pair in pairs:
            if most == 0 or len(chosen) == count:
                return
            if (pair.a, pair.b) not in chosen and max(seen[pair.a], seen[pair.b]) < OFTEN:
                chosen[pair.a, pair.b] = pair
                seen[[pair.a, pair.b]] += 1
                most -= 1

    for pairs in kinds:
        best = pairs[: 2 * share]
        take([best[k] for k in rng.permutation(len(best))], share)
    for pairs in kinds:  # where one kind has too few
        take(pairs, count)
    found = list(chosen.values())
    return [found[k] for k in rng.permutation(len(found))]


def _borders(features: Floats, labels: Ints, most: int, n_jobs: int | None) -> list[Pair]:
    rows = _members(features, labels)
    ranked: list[list[Pair]] = [[] for _ in range(OFTEN)]
    for a, b in closest_clusters(features, labels, most=most, n_jobs=n_jobs)[0].tolist():
        d = 2 - 2 * features[rows[a]] @ features[rows[b]].T
        for rank, at in enumerate(np.argsort(d, axis=None, kind="stable")[:OFTEN]):
            i, j = divmod(int(at), d.shape[1])
            ranked[rank].append(_pair(rows[a][i], rows[b][j], "Two clusters that nearly touch"))
    return [pair for pairs in ranked for pair in pairs]


def _loose(features: Floats, labels: Ints, most: int) -> list[Pair]:
    found = []
    for rows in _members(features, labels).values():
        d = 2 - 2 * features[rows[1:]] @ features[rows[0]]  # from the member farthest from the middle
        for rank, k in enumerate(np.argsort(-d, kind="stable")[:OFTEN]):
            found.append((rank, -float(d[k]), _pair(rows[0], rows[1 + k], "Far apart in one cluster")))
    return [pair for _, _, pair in sorted(found)[:most]]


def _mutual(
    features: Floats, camid: Ints, labels: Ints, most: int, rng: np.random.Generator, n_jobs: int | None
) -> list[Pair]:
    n = len(features)
    rows = np.arange(n) if n <= SEARCHED else np.sort(rng.permutation(n)[:SEARCHED])
    if len(np.unique(camid[rows][camid[rows] >= 0])) > 1:
        rows = rows[camid[rows] >= 0]
        x, why = center_cameras(features[rows], camid[rows]), "Nearest to each other across two cameras"
        partner = mutual_partners(x, camid[rows])
    elif len(rows) > 1:
        x, why = features[rows], "Nearest to each other"
        near = reid_cluster.knn(x, 2, n_jobs=n_jobs).indices[:, 1].astype(np.int64)
        partner = np.where(near[near] == np.arange(len(rows)), near, -1)
    else:
        return []
    i = np.flatnonzero(partner > np.arange(len(rows)))
    j = partner[i]
    apart = (labels[rows[i]] != labels[rows[j]]) | (labels[rows[i]] < 0)
    i, j = i[apart], j[apart]
    order = np.argsort(np.square(x[i] - x[j]).sum(axis=1), kind="stable")[:most]
    return [_pair(rows[i[k]], rows[j[k]], why) for k in order]


def _members(features: Floats, labels: Ints) -> dict[int, Ints]:
    """Rows of each cluster, those farthest from its middle first, at most `MEMBERS`."""
    clusters, _, centers = means(features, labels)
    order = np.argsort(labels, kind="stable")
    order = order[labels[order] >= 0]
    first = np.unique(labels[order], return_index=True)[1]
    found = {}
    for k, rows in enumerate(np.split(order, first[1:]) if len(order) else []):
        away = np.square(features[rows] - centers[k]).sum(axis=1)
        found[int(clusters[k])] = rows[np.argsort(-away, kind="stable")[:MEMBERS]]
    return found


def _pair(a: np.int64, b: np.int64, why: str) -> Pair:
    return Pair(min(int(a), int(b)), max(int(a), int(b)), why)

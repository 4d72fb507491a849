"""Pairs that choose each other across cameras: pseudo labels for data in which few pictures show one identity.

Pictures of one camera look alike whoever is on them, and some pictures are near to everything. Both are balanced out:

    L_uv = d_uv - r_u / 2 - r_v / 2,   d = 2 - 2 cos,   r_u = mean d of u to its 10 nearest in other cameras

(cross-domain similarity local scaling, Conneau et al., ICLR 2018). u and v are joined when they share no camera and
each is the nearest of the other under L.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

__all__ = ["mutual_labels", "mutual_partners"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NEIGHBORS = 10
BLOCK = 1024


def mutual_labels(features: Floats, camid: Ints, *, within_camera: bool) -> Ints:
    """Join pictures that are mutually nearest across cameras.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows, best centred per camera.
    camid : (N,) int64
        Camera of each row.
    within_camera : bool
        First join pictures within each camera: average linkage, cut at the 0.75 quantile (over all pictures) of the
        distance to the nearest picture of the own camera. Right where an identity passes a camera in several pictures;
        False where no two pictures of a camera show one identity.

    Returns
    -------
    (N,) int64
        Clusters from 0 by their first picture; -1: joined with nothing.

    Notes
    -----
    Time O(N^2 D), memory O(n^2) for the largest camera's n pictures with `within_camera`, else O(N).
    """
    units = _units_within_cameras(features, camid) if within_camera else np.arange(len(features), dtype=np.int64)
    n_units = int(units.max()) + 1
    means = np.zeros((n_units, features.shape[1]), dtype=np.float64)
    np.add.at(means, units, features)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    camera = np.empty(n_units, dtype=np.int64)
    camera[units] = camid
    partner = mutual_partners(means.astype(np.float32), camera)
    joined = np.arange(n_units)
    linked = partner >= 0
    joined[linked] = np.minimum(joined[linked], partner[linked])
    return _by_first_picture(joined[units])


def _units_within_cameras(features: Floats, camid: Ints) -> Ints:
    """(N,) groups of look-alikes within a camera, numbered from 0."""
    groups = [np.flatnonzero(camid == camera) for camera in np.unique(camid)]
    distances = []
    for rows in groups:
        d = np.maximum(2.0 - 2.0 * features[rows].astype(np.float64) @ features[rows].T.astype(np.float64), 0.0)
        np.fill_diagonal(d, 0.0)
        distances.append((d + d.T) / 2)
    nearest = [np.partition(d, 1, axis=1)[:, 1] for d in distances if len(d) > 1]
    cut = float(np.quantile(np.concatenate(nearest), 0.75)) if nearest else 0.0
    units, count = np.empty(len(features), dtype=np.int64), 0
    for rows, d in zip(groups, distances, strict=True):
        if len(rows) == 1:
            units[rows] = count
        else:
            tree = linkage(squareform(d, checks=False), method="average")
            units[rows] = count + fcluster(tree, cut, criterion="distance") - 1
        count = int(units[rows].max()) + 1
    return units


def mutual_partners(features: Floats, camera: Ints) -> Ints:
    """Find the row in another camera that each row is mutually nearest with under L.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows.
    camera : (N,) int64
        Camera of each row.

    Returns
    -------
    (N,) int64
        The partner, -1 for none; ties go to the smaller row. Time O(N^2 D), memory O(N).
    """
    n = len(features)
    reach = np.empty(n, dtype=np.float32)
    for lo in range(0, n, BLOCK):
        d = _across(features, camera, lo)
        k = min(NEIGHBORS, d.shape[1])
        near = np.partition(d, k - 1, axis=1)[:, :k]
        counted = np.isfinite(near)
        reach[lo : lo + BLOCK] = np.where(counted, near, 0).sum(1) / np.maximum(counted.sum(1), 1)
    nearest = np.full(n, -1, dtype=np.int64)
    for lo in range(0, n, BLOCK):
        balanced = _across(features, camera, lo) - reach / 2  # r_u is the same for the whole row
        best = balanced.argmin(axis=1)
        reachable = np.isfinite(balanced[np.arange(len(best)), best])
        nearest[lo : lo + BLOCK] = np.where(reachable, best, -1)
    chosen = nearest >= 0
    mutual = np.zeros(n, dtype=bool)
    mutual[chosen] = nearest[nearest[chosen]] == np.flatnonzero(chosen)
    return np.where(mutual, nearest, -1)


def _across(features: Floats, camera: Ints, lo: int) -> Floats:
    """Distances of rows lo..lo+BLOCK to all rows, infinite within a camera."""
    d = (2.0 - 2.0 * (features[lo : lo + BLOCK] @ features.T)).astype(np.float32)
    d[camera[lo : lo + BLOCK, None] == camera] = np.inf
    return d


def _by_first_picture(groups: Ints) -> Ints:
    """Groups of several as clusters numbered by their first row, -1 for groups of one."""
    _, first, which, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts > 1)
    number = np.full(len(counts), -1, dtype=np.int64)
    number[several[np.argsort(first[several])]] = np.arange(len(several))
    return number[which]

"""Camera knowledge for clustering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["center_cameras", "one_of_each_camera", "same_camera_pairs"]


def center_cameras(
    features: NDArray[np.float32], camid: NDArray[np.int64], shrink: float = 50.0
) -> NDArray[np.float32]:
    """Take each camera's own mean out of its features, so that neighbours are people and not places.

    From every row go the mean of all rows and n / (n + shrink) of what its camera's mean differs from that, n being
    the camera's number of rows: a camera with many pictures is centred fully, one with few hardly. Rows are
    L2-normalised again.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows.
    camid : (N,) int64
        Camera of each row; rows with -1 lose the mean of all rows only.
    shrink : float, default 50
        Number of pictures at which half of a camera's own mean is taken out.

    Returns
    -------
    (N, D) float32
        Centred unit rows; a row equal to its camera's mean stays zero.
    """
    mean = features.mean(axis=0, dtype=np.float64)  # (D,)
    centered = features - mean.astype(np.float32)
    for camera in np.unique(camid[camid >= 0]):
        rows = camid == camera
        n = int(rows.sum())
        own = features[rows].mean(axis=0, dtype=np.float64) - mean
        centered[rows] -= (own * (n / (n + shrink))).astype(np.float32)
    norm = np.linalg.norm(centered, axis=1, keepdims=True)
    return np.ascontiguousarray(centered / np.maximum(norm, 1e-12), dtype=np.float32)


def same_camera_pairs(camid: NDArray[np.int64]) -> NDArray[np.int32]:
    """All pairs (i, j), i < j, of rows with the same camera, (M, 2) int32: cannot-links of `constrained_dbscan`.

    Raises
    ------
    MemoryError
        More than 2^28 pairs (2 GiB).
    """
    order = np.argsort(camid, kind="stable")
    sizes = np.unique(camid, return_counts=True)[1]
    pairs = int((sizes * (sizes - 1) // 2).sum())
    if pairs > 2**28:
        raise MemoryError(
            f"same_camera='forbid': {pairs:,} pairs share a camera ({8 * pairs / 1e9:.1f} GB); use fewer pictures"
        )
    parts = []
    for rows in np.split(order, np.cumsum(sizes)[:-1]):
        i, j = np.triu_indices(len(rows), 1)
        parts.append(np.column_stack([rows[i], rows[j]]).astype(np.int32))
    return np.concatenate(parts)


def one_of_each_camera(
    labels: NDArray[np.int64], camid: NDArray[np.int64], misfit: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Of each cluster and camera keep the row that fits best, and make the others outliers.

    Parameters
    ----------
    labels : (N,) int64
        Clusters, -1 for outliers.
    camid : (N,) int64
        Camera of each row.
    misfit : (N,) float
        How badly a row fits its cluster; ties go to the smaller index.

    Returns
    -------
    (N,) int64
        Labels in which no cluster holds two rows of one camera.
    """
    order = np.lexsort((np.arange(len(labels)), misfit, camid, labels))
    first = np.ones(len(labels), dtype=bool)
    first[1:] = (labels[order[1:]] != labels[order[:-1]]) | (camid[order[1:]] != camid[order[:-1]])
    result = np.full(len(labels), -1, dtype=np.int64)
    result[order[first]] = labels[order[first]]
    return result

"""Camera knowledge for clustering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["center_cameras"]


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

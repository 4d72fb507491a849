"""Reliable samples of a k-means partition: those close to the sample in the middle of their cluster (PUL)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Reliable", "reliable_samples"]


class Reliable(NamedTuple):
    """Which samples are reliable, and why."""

    mask: NDArray[np.bool_]
    """(N,) the sample is trained on."""
    centers: NDArray[np.int64]
    """(K,) the sample in the middle of each cluster; -1 for an empty one."""
    similarity: NDArray[np.float32]
    """(N,) what was compared with the threshold."""


def reliable_samples(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    centers: NDArray[np.float32],
    threshold: float = 0.85,
    *,
    rule: Literal["own", "any"] = "own",
) -> Reliable:
    """Select the samples whose cosine with a middle sample is above `threshold`.

    The middle sample of a cluster is the one nearest to its centroid, ties (within 1e-6 of the distance) to the smaller
    index. `own`: it is sought among the members of the cluster, and a sample is compared with that of its own cluster.
    `any`, as the authors' code has it: it is sought among all samples, and a sample is reliable when it is close to any
    of them, though it keeps the label of its own cluster.

    Parameters
    ----------
    features : (N, D) float32
        As clustered; rows of any length. A zero row is never reliable.
    labels : (N,) int64
        Clusters 0..K-1.
    centers : (K, D) float32
        Centroids.
    threshold : float, default 0.85
        Lambda; compared strictly, in float32.
    rule : {"own", "any"}, default "own"

    References
    ----------
    Fan, Zheng, Yan, Yang: Unsupervised person re-identification: clustering and fine-tuning, TOMM 2018.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1, 0], [1, 0.1], [0, 1], [0.7, 0.7]], dtype=np.float32)
    >>> found = reliable_samples(x, np.array([0, 0, 1, 1]), np.array([[1, 0.05], [0.2, 0.9]], dtype=np.float32), 0.8)
    >>> found.mask.tolist(), found.centers.tolist()
    ([True, True, True, False], [0, 2])
    """
    if features.shape[:1] != labels.shape or centers.ndim != 2 or centers.shape[1] != features.shape[1]:
        raise ValueError(
            f"features {features.shape}, labels {labels.shape}, centers {centers.shape}: must be (N, D), (N,), (K, D)"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(centers):
        raise ValueError(f"labels lie in {labels.min()}..{labels.max()}: must be 0..{len(centers) - 1}")
    wide = features.astype(np.float64)
    unit = (wide / np.sqrt(np.maximum(np.square(wide).sum(1, keepdims=True), 1e-12))).astype(np.float32)
    middle = np.full(len(centers), -1, dtype=np.int64)
    for k, center in enumerate(centers.astype(np.float64)):
        members = np.flatnonzero(labels == k) if rule == "own" else np.arange(len(features))
        if len(members):
            distance = np.sqrt(np.square(wide[members] - center).sum(1))
            middle[k] = members[np.flatnonzero(distance <= distance.min() * (1 + 1e-6))[0]]
    if rule == "own":
        similarity = np.einsum("nd,nd->n", unit, unit[middle[labels]]).astype(np.float32)
    else:
        similarity = (unit @ unit[middle].T).max(axis=1)
    zero = ~wide.any(axis=1)
    return Reliable((similarity > np.float32(threshold)) & ~zero, middle, similarity)

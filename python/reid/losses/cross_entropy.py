"""Cross-entropies that do not give the whole target to one class: restricted label smoothing, a teacher's opinion."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

import reid_cluster

__all__ = ["nearest_clusters", "rlsce", "soft_cross_entropy"]


def nearest_clusters(
    centers: NDArray[np.float32], n_near: int, k1: int = 30, k2: int = 6, *, n_jobs: int | None = None
) -> NDArray[np.int64]:
    """For each cluster its nearest others, by the k-reciprocal Jaccard distance between the centres.

    Parameters
    ----------
    centers : float32 array (C, D)
        Mean features of the clusters.
    n_near : int
        K, clusters wanted of each.
    k1, k2 : int, default 30, 6
        As of `reid_cluster.jaccard_graph`; clipped to C.
    n_jobs : int, optional
        Threads; default all cores.

    Returns
    -------
    int64 array (C, min(K, C - 1))
        Clusters, nearest first, never the row's own. Equally near ones (many are at distance 1) come by number.

    Examples
    --------
    >>> import numpy as np
    >>> angles = np.array([0.0, 0.1, 0.25, 3.0])
    >>> centers = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    >>> nearest_clusters(centers, 2, k1=3, k2=1)[:2].tolist()
    [[1, 2], [0, 2]]
    """
    n = len(centers)
    wanted = min(n_near, n - 1)
    found = np.empty((n, wanted), dtype=np.int64)
    if not wanted:
        return found
    graph = reid_cluster.jaccard_graph(centers, min(k1, n), k2, max_distance=1.0, n_jobs=n_jobs)
    for c in range(n):
        stored = slice(graph.indptr[c], graph.indptr[c + 1])
        close = graph.indices[stored][np.argsort(graph.data[stored], kind="stable")]
        close = close[close != c][:wanted]
        # All pairs that the graph leaves out are at distance 1; of these so many hold enough that are not close.
        far = np.setdiff1d(np.arange(min(n, wanted + 1)), [*close, c])
        found[c] = np.append(close, far)[:wanted]
    return found


def rlsce(logits: Tensor, labels: Tensor, near: Tensor, n_near: int, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with label smoothing that is restricted to the clusters near the own one (RLSCE).

    Mean of -sum_c q_bc log softmax(logits_b)_c with q = 1 - smoothing at the label and smoothing / K at each of the
    clusters near it. Where fewer than K are near, q sums up to less than 1.

    Parameters
    ----------
    logits : Tensor of shape (B, C)
    labels : int64 Tensor of shape (B,)
    near : int64 Tensor of shape (C, M)
        For each cluster those near it (`nearest_clusters`); -1 fills up a row that has fewer.
    n_near : int
        K.
    smoothing : float, default 0.1
        Part of the target that is given away.
    """
    logs = functional.log_softmax(logits, dim=1)  # (B, C)
    others = near[labels]  # (B, M)
    own = logs.gather(1, labels[:, None]).sum(1)  # (B,)
    given = torch.where(others >= 0, logs.gather(1, others.clamp_min(0)), 0.0).sum(1)  # (B,)
    return -((1.0 - smoothing) * own + smoothing / n_near * given).mean()


def soft_cross_entropy(logits: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy with the classes that a teacher gives: mean of -sum_c softmax(teacher_b)_c log softmax(logits_b)_c.

    Parameters
    ----------
    logits, teacher : Tensor of shape (B, C)
        No gradient goes to the teacher's.
    """
    return functional.cross_entropy(logits, teacher.detach().softmax(dim=1))

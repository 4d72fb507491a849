"""How far clusters survive a smaller and a larger eps: the criteria of SpCL and CDSM, and the core samples of DBSCAN.

With A_i, T_i, L_i the samples that share the label of i at the normal, a tighter and a looser eps (i included, an
outlier alone)::

    compactness_i = |A_i n T_i| / |A_i u T_i|        independence_i = |A_i n L_i| / |A_i u L_i|

both in (0, 1]. They come from the sizes of the intersections of clusters; no N x N matrix is built.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DiversityScores", "SelfPaced", "core_samples", "diversity_scores", "filtered_position", "overlap",
    "self_paced_labels", "singletons",
]  # fmt: skip

Labels = NDArray[np.int64]


def singletons(labels: Labels) -> Labels:
    """Give each -1, in order, the next free label.

    Examples
    --------
    >>> import numpy as np
    >>> singletons(np.array([1, -1, 0, -1, 1])).tolist()
    [1, 2, 0, 3, 1]
    """
    result = np.array(labels, np.int64)
    alone = result < 0
    result[alone] = result.max(initial=-1) + 1 + np.arange(alone.sum())
    return result


def overlap(a: Labels, b: Labels) -> NDArray[np.float32]:
    """Intersection over union of the cluster of each sample in two labellings.

    Parameters
    ----------
    a, b : (N,) int64
        Labels; a sample with -1 is a cluster of its own.

    Returns
    -------
    (N,) float32
        |A_i n B_i| / |A_i u B_i|, in (0, 1]. Equal ratios are equal bits.

    Notes
    -----
    Time O(N log N), memory O(N).

    Examples
    --------
    >>> import numpy as np
    >>> overlap(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 0, 0, -1])).tolist()
    [0.75, 0.75, 0.75, 0.20000000298023224, 0.5]
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"labels have shapes {a.shape} and {b.shape}: must be (N,) both")
    a, b = singletons(a), singletons(b)
    pair = a * (b.max(initial=0) + 1) + b
    _, which, both = np.unique(pair, return_inverse=True, return_counts=True)
    common = both[which]
    union = np.bincount(a)[a] + np.bincount(b)[b] - common
    return np.divide(common, union, dtype=np.float32)


class SelfPaced(NamedTuple):
    """Classes of SpCL, and what they were decided by."""

    labels: Labels
    """(N,) classes from 0; every sample has one. Numbers of dissolved clusters are left out."""
    theta: float | None
    """Threshold of independence to hand to the next round; None where it could not be measured."""
    compactness: NDArray[np.float32]
    """(N,) 1 - |A n T| / |A u T|, 0 = compact."""
    independence: NDArray[np.float32]
    """(N,) 1 - |A n L| / |A u L|, 0 = independent."""
    n_kept: int
    """Clusters with more than one sample in `labels`."""


def self_paced_labels(
    normal: Labels, tight: Labels, loose: Labels, theta: float | None = None, *, keep_last: bool = False
) -> SelfPaced:
    """Keep reliable cluster members, make every other sample a class of its own (SpCL).

    A sample keeps its cluster c if min over c of its members' independence <= `theta` and its own compactness <= min
    over c of its members' compactness (both as distances, 0 is best). Clusters that a larger eps would merge with much
    else are dissolved, and of a cluster that a smaller eps would split the largest parts stay.

    Parameters
    ----------
    normal, tight, loose : (N,) int64
        Labels at eps, eps - gap and eps + gap; -1 for outliers.
    theta : float, optional
        Threshold of an earlier round. Without it, it is measured: the 0.9 quantile of the independence of the clusters
        with more than one member (entry min(q - 1, round(0.9 q)) of q sorted values); where there is no such cluster,
        everything is accepted and the result's `theta` is None.
    keep_last : bool, default False
        The rule of OpenUnReID: the last sample left in a class keeps its label, so that no number is left out.

    Returns
    -------
    SelfPaced

    Notes
    -----
    Time O(N log N). Ge et al.: Self-paced contrastive learning with hybrid memory, NeurIPS 2020, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> normal = np.array([0, 0, 0, 1, 1, -1])
    >>> result = self_paced_labels(normal, np.array([0, 0, -1, 1, 1, -1]), normal)
    >>> result.labels.tolist(), result.theta
    ([0, 0, 3, 1, 1, 2], 0.0)
    """
    compactness = np.float32(1) - overlap(normal, tight)
    independence = np.float32(1) - overlap(normal, loose)
    labels = singletons(normal)
    n_classes = int(labels.max(initial=-1)) + 1
    compact_c, independent_c = (_class_min(values, labels, n_classes) for values in (compactness, independence))
    if theta is None:
        several = np.sort(independent_c[np.bincount(labels, minlength=n_classes) > 1])
        q = len(several)
        theta = float(several[min(q - 1, round(0.9 * q))]) if q else None
    fails = (independent_c[labels] > np.float32(1.0 if theta is None else theta)) | (compactness > compact_c[labels])
    if keep_last:
        left = np.bincount(labels[~fails], minlength=n_classes)
        last = np.full(n_classes, -1)
        last[labels] = np.arange(len(labels))  # of a class, the assignment that stays is the last
        fails[last[(left == 0) & (last >= 0)]] = False
    labels[fails] = n_classes + np.arange(fails.sum())
    n_kept = int((np.bincount(labels) > 1).sum())
    return SelfPaced(labels, theta, compactness, independence, n_kept)


class DiversityScores(NamedTuple):
    """Reliability of samples, and what a cluster asks of them (CDSM)."""

    compactness: NDArray[np.float32]
    """(N,) |A n T| / |A u T|, 1 = compact."""
    independence: NDArray[np.float32]
    """(N,) |A n L| / |A u L|, 1 = independent."""
    compact_threshold: NDArray[np.float32]
    """(C,) share of the largest compactness in each cluster."""
    independent_threshold: NDArray[np.float32]
    """(C,) share of the largest independence in each cluster."""

    def passes(self, index: Labels, labels: Labels) -> NDArray[np.bool_]:
        """Do the scores at positions `index` (B,) reach one of the thresholds of clusters `labels` (B,)?"""
        compact = self.compactness[index] >= self.compact_threshold[labels]
        return compact | (self.independence[index] >= self.independent_threshold[labels])

    def reliable(self, labels: Labels, *, legacy_index: bool = False) -> NDArray[np.bool_]:
        """Which samples may become marginal rows: (N,), False for outliers.

        Parameters
        ----------
        labels : (N,) int64
            Clusters the scores were made of, -1 for outliers.
        legacy_index : bool, default False
            As published: the scores of a sample are looked up at its position among the samples that are no outliers,
            so those of another sample are found.
        """
        inside = np.flatnonzero(labels >= 0)
        index = filtered_position(labels)[inside] if legacy_index else inside
        result = np.zeros(len(labels), bool)
        result[inside] = self.passes(index, labels[inside])
        return result


def diversity_scores(normal: Labels, tight: Labels, loose: Labels, *, share: float = 0.2) -> DiversityScores:
    """Compactness and independence of the samples, and `share` of the best of each cluster as its thresholds (CDSM).

    Parameters
    ----------
    normal, tight, loose : (N,) int64
        Labels at eps, eps - gap and eps + gap; -1 for outliers. The clusters of `normal` are 0..C-1, none empty.
    share : float, default 0.2
        Part of the best score that a member must reach.

    Notes
    -----
    Time O(N log N). With labels of DBSCAN hardly any sample fails: a cluster lies inside one looser cluster, so that
    independence is equal within it.
    """
    compactness, independence = overlap(normal, tight), overlap(normal, loose)
    inside = normal >= 0
    n_clusters = int(normal.max(initial=-1)) + 1
    thresholds = (
        np.float32(share) * -_class_min(-values[inside], normal[inside], n_clusters)
        for values in (compactness, independence)
    )
    return DiversityScores(compactness, independence, *thresholds)


def filtered_position(labels: Labels) -> Labels:
    """Position of each sample among those that are no outliers, -1 for outliers.

    Examples
    --------
    >>> import numpy as np
    >>> filtered_position(np.array([-1, 4, -1, 0])).tolist()
    [-1, 0, -1, 1]
    """
    inside = labels >= 0
    return np.where(inside, np.cumsum(inside) - 1, -1)


def core_samples(distances: Any, eps: float, min_samples: int = 4) -> NDArray[np.bool_]:
    """Which samples have `min_samples` neighbours at most `eps` away, themselves counted: the cores of DBSCAN.

    Parameters
    ----------
    distances : (N, N) float32 array or scipy.sparse.csr_array
        What :func:`reid_cluster.dbscan` takes; in a graph a missing pair is far.
    eps : float
        Largest distance of neighbours, compared in float32.
    min_samples : int, default 4
        Neighbours that make a core sample.

    Returns
    -------
    (N,) bool

    Notes
    -----
    Time linear in the stored pairs.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([0.0, 0.1, 0.2, 0.35, 5.0])
    >>> core_samples(np.abs(x[:, None] - x), eps=0.12, min_samples=3).tolist()
    [False, True, False, False, False]
    """
    cut = np.float32(eps)
    if hasattr(distances, "tocsr"):
        rows = np.repeat(np.arange(distances.shape[0]), np.diff(distances.indptr))
        near = (distances.data <= cut) & (distances.indices != rows)
        others = np.bincount(rows[near], minlength=distances.shape[0])
    else:
        others = np.array([np.count_nonzero(row <= cut) for row in distances]) - (np.diagonal(distances) <= cut)
    return others + 1 >= min_samples


def _class_min(values: NDArray[np.float32], labels: Labels, n_classes: int) -> NDArray[np.float32]:
    """Smallest value of each class; infinite for a class without members."""
    result = np.full(n_classes, np.inf, np.float32)
    np.minimum.at(result, labels, values)
    return result

"""Bottom-up clustering."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _inputs


class BottomUp(NamedTuple):
    """Clusters after merging.

    Attributes
    ----------
    labels : numpy.ndarray, shape (N,), int64
        New labels, contiguous from 0; classes are numbered by the smallest old label in them.
    n_clusters : int
        Number of clusters.
    pairs : numpy.ndarray, shape (m, 2), int32
        Rows i < j of each merge in order: the closest two of the clusters, or with average linkage the smallest
        row of each. Fewer than ``n_merges`` when no more merges were acceptable.
    weights : numpy.ndarray, shape (m,), float32
        Penalised dissimilarity of each merge.
    next_weight : float
        That of the merge that would come next; inf when there is none.
    """

    labels: NDArray[np.int64]
    n_clusters: int
    pairs: NDArray[np.int32]
    weights: NDArray[np.float32]
    next_weight: float


def bottom_up(
    features: Any,
    labels: Any = None,
    *,
    n_merges: int,
    size_penalty: float = 0.003,
    distance: str = "sqeuclidean",
    linkage: str = "single",
    sizes: str = "frozen",
    min_clusters: int = 1,
    groups: Any = None,
    cannot_link: Any = None,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> BottomUp:
    """Merge the closest clusters, where large clusters cost extra (Lin et al., AAAI 2019).

    Clusters A and B are ``D(A, B) + size_penalty * (|A| + |B|)`` apart; the `n_merges` lightest acceptable merges
    are done, ties by (weight, i, j). The arrays must not be written to by another thread during the call.

    Parameters
    ----------
    features : array-like, shape (N, D)
        Unit rows, for which `size_penalty` is meant; other rows work. Converted to float32 once if they are not.
    labels : array-like of int, shape (N,), optional
        Clusters to start from, contiguous from 0. By default every row is its own.
    n_merges : int
        Merges to do, 0 or more; 0 changes nothing.
    size_penalty : float
        Weight added per member of the two clusters, finite and at least 0. The paper's code uses 0.003.
    distance : {"sqeuclidean", "euclidean"}
        Distance of two rows. The authors' code squares it, the paper does not.
    linkage : {"single", "average"}
        D is the least distance between two rows (the authors' code) or its mean over all pairs of rows; the
        latter needs ``distance="sqeuclidean"``.
    sizes : {"frozen", "live"}
        Sizes as at the start of the call (the authors' code), or after each merge: sequential agglomeration.
    min_clusters : int
        Stop at this many clusters.
    groups : array-like of int, shape (N,), optional
        Clusters with rows of a common group never merge; -1 is no group.
    cannot_link : array-like of int, shape (M, 2), optional
        Pairs of rows whose clusters never merge, as :func:`time_overlap` finds them; in any order, doubled ones count
        once.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    BottomUp
        Labels, number of clusters, merged pairs, their weights, and the next weight.

    Raises
    ------
    ValueError
        For parameters out of range, labels that are negative, have gaps or put linked rows into one class, a link to
        no row, shapes that do not fit, NaN or inf.
    TypeError
        If features are not real numbers, or labels, groups or links no integers.
    MemoryError
        For ``sizes="live"`` with more clusters than memory for 2 C^2 bytes.

    Notes
    -----
    N^2 D / 2 multiply-adds (C^2 D / 2 with average linkage) and O(N + n_merges) memory; live sizes 2 C^2 bytes.
    Frozen: Kruskal's algorithm on a stream of edges, of which a few are kept. Live sizes break ties by the
    smallest rows of the two clusters.

    References
    ----------
    Y. Lin, X. Dong, L. Zheng, Y. Yan, Y. Yang: A Bottom-Up Clustering Approach to Unsupervised Person
    Re-Identification. AAAI 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import bottom_up
    >>> result = bottom_up(np.array([[0.0], [1.0], [5.0], [5.5]]), n_merges=2, size_penalty=0.0)
    >>> result.labels.tolist(), result.pairs.tolist(), result.weights.tolist()
    ([0, 0, 1, 1], [[2, 3], [0, 1]], [0.25, 1.0])
    >>> result.next_weight
    16.0
    """
    x = _inputs.features(features)
    n = len(x)
    return BottomUp(
        *_core.bottom_up(
            x,
            None if labels is None else _inputs.labels(labels, n),
            n_merges=_inputs.ints("n_merges", n_merges, low=0),
            size_penalty=_inputs.real("size_penalty", size_penalty, low=0.0),
            euclidean=_inputs.choice("distance", distance, ("sqeuclidean", "euclidean")) == "euclidean",
            average=_inputs.choice("linkage", linkage, ("single", "average")) == "average",
            live=_inputs.choice("sizes", sizes, ("frozen", "live")) == "live",
            min_clusters=_inputs.ints("min_clusters", min_clusters, low=1),
            groups=None if groups is None else _inputs.labels(groups, n, "groups"),
            cannot_link=None
            if cannot_link is None
            else _inputs.pairs(cannot_link, "cannot_link", np.int32).reshape(-1),
            n_jobs=_inputs.jobs(n_jobs),
            progress=_inputs.callback(progress),
        )
    )

"""Bottom-up clustering with a cost for large clusters."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, ClusterMixin

from reid_cluster import _inputs, bottom_up
from reid_cluster.sklearn._checks import rows, threads


class BottomUpClustering(ClusterMixin, BaseEstimator):
    """Merge the closest clusters, where large clusters cost extra (BUC).

    Clusters A and B are ``D(A, B) + size_penalty * (|A| + |B|)`` apart.

    Parameters
    ----------
    n_clusters : int, default=2
        Stop at this many clusters.
    n_merges : int, default=None
        Merges to do at most, as one step of BUC does; None for as many as `n_clusters` allows.
    size_penalty : float, default=0.003
        Weight per member of the two clusters, meant for rows of unit length.
    distance : {"sqeuclidean", "euclidean"}, default="sqeuclidean"
        Distance of two samples.
    linkage : {"single", "average"}, default="single"
        D is the least distance between two samples, as in the paper, or its mean over all pairs.
    sizes : {"frozen", "live"}, default="frozen"
        Sizes as at the start (a step of BUC), or after each merge: sequential agglomeration, in which the penalty
        also works when every sample starts alone. Needs 2 C^2 bytes for C starting clusters.
    n_jobs : int, default=None
        Threads; None and -1 mean all cores. The result does not depend on it.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Clusters from 0, numbered by their smallest starting cluster.
    n_clusters_ : int
        Clusters found; more than `n_clusters` when `n_merges` or `groups` forbid the rest.
    pairs_ : ndarray of shape (n_merged, 2), int32
        Samples i < j of each merge, in order.
    weights_ : ndarray of shape (n_merged,), float32
        Penalised distance of each merge.
    next_weight_ : float
        That of the merge that would come next, infinite when there is none.
    n_features_in_ : int
        Number of features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all of them were strings.

    See Also
    --------
    reid_cluster.bottom_up : The function, with cost and formula.
    sklearn.cluster.AgglomerativeClustering : Agglomeration without a cost of size.

    References
    ----------
    Y. Lin, X. Dong, L. Zheng, Y. Yan, Y. Yang: A Bottom-Up Clustering Approach to Unsupervised Person
    Re-Identification. AAAI 2019.

    Examples
    --------
    >>> from reid_cluster.sklearn import BottomUpClustering
    >>> X = [[0.0], [1.0], [5.0], [5.5]]
    >>> BottomUpClustering(n_clusters=2).fit_predict(X).tolist()
    [0, 0, 1, 1]

    No two samples of a camera in one cluster:

    >>> BottomUpClustering(n_clusters=1).fit(X, groups=[0, 1, 1, 1]).labels_.tolist()
    [0, 0, 1, 2]
    """

    def __init__(
        self,
        n_clusters: int = 2,
        *,
        n_merges: int | None = None,
        size_penalty: float = 0.003,
        distance: str = "sqeuclidean",
        linkage: str = "single",
        sizes: str = "frozen",
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_merges = n_merges
        self.size_penalty = size_penalty
        self.distance = distance
        self.linkage = linkage
        self.sizes = sizes
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, *, labels: Any = None, groups: Any = None) -> BottomUpClustering:
        """Cluster the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, usually of unit length.
        y : Ignored
            Not used; here by convention.
        labels : array-like of int of shape (n_samples,), default=None
            Clusters to start from, contiguous from 0; None: every sample is its own.
        groups : array-like of int of shape (n_samples,), default=None
            Clusters with samples of a common group (a camera, say) never merge; -1 is no group.

        Returns
        -------
        BottomUpClustering
            The fitted estimator.
        """
        x = rows(self, X)
        n_clusters = _inputs.ints("n_clusters", self.n_clusters, low=1)
        if n_clusters > len(x):
            raise ValueError(f"n_clusters={n_clusters}: must be at most n_samples={len(x)}")
        merged = bottom_up(
            x,
            labels,
            n_merges=len(x) if self.n_merges is None else self.n_merges,
            size_penalty=self.size_penalty,
            distance=self.distance,
            linkage=self.linkage,
            sizes=self.sizes,
            min_clusters=n_clusters,
            groups=groups,
            n_jobs=threads(self.n_jobs),
        )
        self.labels_, self.n_clusters_, self.pairs_, self.weights_, self.next_weight_ = merged
        return self

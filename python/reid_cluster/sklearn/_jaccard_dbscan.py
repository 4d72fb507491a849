"""DBSCAN on k-reciprocal Jaccard distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin

from reid_cluster import dbscan, jaccard_graph
from reid_cluster.sklearn._checks import radius, rows, threads


class JaccardDBSCAN(ClusterMixin, BaseEstimator):
    """DBSCAN on the k-reciprocal Jaccard distance: how SpCL, Cluster Contrast and HHCL make pseudo labels.

    Parameters
    ----------
    k1 : int, default=30
        Reciprocal neighbours of a sample; clipped to the number of samples.
    k2 : int, default=6
        Samples averaged by query expansion, itself among them; 1 for none.
    eps : float, default=0.6
        Largest Jaccard distance of neighbours, above 0 and below 1.
    min_samples : int, default=4
        Neighbours that make a core sample, itself counted.
    count_self : bool, default=True
        Does `k1` count the sample itself? True in the SpCL family, False in 3C and the original re-ranking.
    weights : {"inner", "sqeuclidean"}, default="inner"
        Distance inside the weights of neighbours: ``2 - 2 x.y``, or ``|x|^2 + |y|^2 - 2 x.y``. Equal for rows of
        unit length, which the published code has; choose the latter for other rows.
    n_jobs : int, default=None
        Threads; None and -1 mean all cores. The result does not depend on it.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Clusters from 0, -1 for noise.
    core_sample_indices_ : ndarray of shape (n_core_samples,), int64
        Samples with at least `min_samples` neighbours.
    n_features_in_ : int
        Number of features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all of them were strings.

    See Also
    --------
    KReciprocalTransformer : The distances alone, for other clusterers.
    ConstrainedDBSCAN : With pairs that may not share a cluster.
    reid_cluster.jaccard_graph, reid_cluster.dbscan : The functions, with cost and formula.

    References
    ----------
    Z. Zhong, L. Zheng, D. Cao, S. Li: Re-ranking Person Re-identification with k-reciprocal Encoding. CVPR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster.sklearn import JaccardDBSCAN
    >>> angles = np.array([0.0, 0.1, 0.2, 3.0, 3.1, 3.2])
    >>> X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> JaccardDBSCAN(k1=3, k2=1, min_samples=2).fit_predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    def __init__(
        self,
        k1: int = 30,
        k2: int = 6,
        *,
        eps: float = 0.6,
        min_samples: int = 4,
        count_self: bool = True,
        weights: str = "inner",
        n_jobs: int | None = None,
    ) -> None:
        self.k1 = k1
        self.k2 = k2
        self.eps = eps
        self.min_samples = min_samples
        self.count_self = count_self
        self.weights = weights
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> JaccardDBSCAN:
        """Cluster the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, usually of unit length.
        y : Ignored
            Not used; here by convention.

        Returns
        -------
        JaccardDBSCAN
            The fitted estimator.
        """
        x, n_jobs = rows(self, X), threads(self.n_jobs)
        graph = jaccard_graph(
            x,
            self.k1,
            self.k2,
            max_distance=radius(self.eps),
            count_self=self.count_self,
            weights=self.weights,
            n_jobs=n_jobs,
        )
        self.labels_ = dbscan(graph, self.eps, self.min_samples, n_jobs=n_jobs)
        # The graph ends at eps and holds its diagonal: the entries of a row are its neighbours.
        self.core_sample_indices_ = np.flatnonzero(np.diff(graph.indptr) >= self.min_samples)
        return self

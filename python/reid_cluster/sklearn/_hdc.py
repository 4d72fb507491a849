"""Harmonic discrepancy clustering."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state

from reid_cluster import _inputs, hdc, jaccard_graph
from reid_cluster.sklearn._checks import rows, threads


class HarmonicDiscrepancyClustering(ClusterMixin, BaseEstimator):
    """Harmonic discrepancy clustering (HDC): a given number of clusters, of which doubtful members are left out (3C).

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    init : "k-means++", "random" or array-like, default="k-means++"
        How to start: drawn, or centres of shape (n_clusters, n_features), samples of shape (n_clusters,) or labels of
        shape (n_samples,).
    max_iter : int, default=80
        Most rounds.
    min_iter : int, default=10
        Rounds before `patience` counts.
    patience : int, default=4
        Rounds without a smaller shift of the centres that end the run.
    n_sigma : float, default=1.0
        A member is an outlier when its score is so many standard deviations above the mean of its cluster.
    threshold : float, default=None
        A fixed score above which a member is an outlier, instead of `n_sigma`.
    outliers : bool, default=True
        Label outliers -1. False: keep their cluster in ``labels_``, too.
    similarity : {"euler", "cosine", "euclidean"}, default="euler"
        Distance of samples to centres.
    normalize_centroids : bool, default=False
        Scale centres to unit length.
    isolated : {"cluster", "outlier"}, default="cluster"
        What becomes of samples that are far from all clusters.
    metric : {"k_reciprocal", "similarity"}, default="k_reciprocal"
        Distance between samples: the k-reciprocal Jaccard distance, or that of `similarity`, scaled to 1.
    k1 : int, default=30
        Reciprocal neighbours of a sample, itself not counted; clipped to the number of samples.
    k2 : int, default=6
        Samples averaged by query expansion, itself among them; 1 for none.
    weights : {"inner", "sqeuclidean"}, default="inner"
        Distance inside the weights of neighbours, see `JaccardDBSCAN`.
    random_state : int, RandomState instance or None, default=None
        Source of the draws of `init`; an int makes results repeat.
    n_jobs : int, default=None
        Threads; None and -1 mean all cores. The result does not depend on it.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Clusters from 0, -1 for outliers.
    labels_all_ : ndarray of shape (n_samples,), int64
        Clusters with their outliers.
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float32
        Means of the members that are no outliers.
    scores_ : ndarray of shape (n_samples,), float32
        Harmonic discrepancy of each sample to its cluster, smaller is surer.
    n_iter_ : int
        Rounds.
    n_features_in_ : int
        Number of features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all of them were strings.

    See Also
    --------
    reid_cluster.hdc : The function, with cost and formula.
    sklearn.cluster.KMeans : Clusters around means, every sample in one.

    References
    ----------
    arXiv 2408.09464; Neurocomputing 641, 2025, 130368 (3C).

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster.sklearn import HarmonicDiscrepancyClustering
    >>> angles = np.array([0.0, 0.1, 0.2, 3.0, 3.1, 3.2])
    >>> X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> model = HarmonicDiscrepancyClustering(n_clusters=2, k1=2, k2=1, init=[0, 3]).fit(X)
    >>> model.labels_all_.tolist()
    [0, 0, 0, 1, 1, 1]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        max_iter: int = 80,
        min_iter: int = 10,
        patience: int = 4,
        n_sigma: float = 1.0,
        threshold: float | None = None,
        outliers: bool = True,
        similarity: str = "euler",
        normalize_centroids: bool = False,
        isolated: str = "cluster",
        metric: str = "k_reciprocal",
        k1: int = 30,
        k2: int = 6,
        weights: str = "inner",
        random_state: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.min_iter = min_iter
        self.patience = patience
        self.n_sigma = n_sigma
        self.threshold = threshold
        self.outliers = outliers
        self.similarity = similarity
        self.normalize_centroids = normalize_centroids
        self.isolated = isolated
        self.metric = metric
        self.k1 = k1
        self.k2 = k2
        self.weights = weights
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> HarmonicDiscrepancyClustering:
        """Cluster the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, usually of unit length.
        y : Ignored
            Not used; here by convention.

        Returns
        -------
        HarmonicDiscrepancyClustering
            The fitted estimator.
        """
        x, n_jobs = rows(self, X), threads(self.n_jobs)
        distances = None
        if _inputs.choice("metric", self.metric, ("k_reciprocal", "similarity")) == "k_reciprocal":
            distances = jaccard_graph(
                x, self.k1, self.k2, max_distance=1, count_self=False, weights=self.weights, n_jobs=n_jobs
            )
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):  # scikit-learn's generators, and its global one for None
            seed = int(check_random_state(seed).randint(2**31 - 1))
        found = hdc(
            x,
            distances,
            self.n_clusters,
            init=self.init,
            max_iter=self.max_iter,
            min_iter=self.min_iter,
            patience=self.patience,
            n_sigma=self.n_sigma,
            threshold=self.threshold,
            outliers=self.outliers,
            similarity=self.similarity,
            normalize_centroids=self.normalize_centroids,
            isolated=self.isolated,
            random_state=seed,
            n_jobs=n_jobs,
        )
        self.labels_, self.labels_all_ = found.labels, found.labels_all
        self.cluster_centers_, self.scores_, self.n_iter_ = found.centroids, found.scores, found.n_iter
        return self

"""DBSCAN in which linked samples never share a cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data

from reid_cluster import _inputs, constrained_dbscan, jaccard_graph, time_overlap
from reid_cluster.sklearn._checks import radius, rows, threads


class ConstrainedDBSCAN(ClusterMixin, BaseEstimator):
    """DBSCAN that keeps apart samples that cannot be one identity (MTCluster).

    What is known of the samples goes to ``fit``: pairs that cannot be one, or the times at which each was seen: samples
    whose times overlap are such a pair. Without either there are none.

    Parameters
    ----------
    k1 : int, default=30
        Reciprocal neighbours of a sample; clipped to the number of samples.
    k2 : int, default=6
        Samples averaged by query expansion, itself among them; 1 for none.
    eps : float, default=0.6
        Largest distance of neighbours; below 1 for the k-reciprocal distance.
    min_samples : int, default=4
        Neighbours that let a sample take others in, itself counted, and least size of a cluster.
    metric : {"k_reciprocal", "precomputed"}, default="k_reciprocal"
        `X` holds features, between which the k-reciprocal Jaccard distance is taken; or distances, square, dense or
        sparse, as `KReciprocalTransformer` makes them.
    relaxed : float, default=None
        Which pairs are believed; None: all. With ``relaxed >= 0`` not those at most ``eps * relaxed`` apart, with
        ``relaxed < 0`` not those more than ``eps * -relaxed`` apart.
    scope : {"all", "cross", "same"}, default="all"
        Compare the times of all samples, only across cameras, or only within a camera.
    margin : float, default=0
        Time by which two spans may miss each other and still count as overlapping; may be negative.
    exempt : list of pairs of int, default=None
        Cameras whose views overlap, so that one person can be in both at once.
    count_self : bool, default=True
        Does `k1` count the sample itself?
    weights : {"inner", "sqeuclidean"}, default="inner"
        Distance inside the weights of neighbours, see `JaccardDBSCAN`.
    n_jobs : int, default=None
        Threads; None and -1 mean all cores. The result does not depend on it.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Clusters from 0, -1 for noise.
    cannot_link_ : ndarray of shape (n_pairs, 2), int32
        The pairs that were given or found, before `relaxed` drops some.
    n_features_in_ : int
        Number of features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all of them were strings.

    See Also
    --------
    JaccardDBSCAN : Without such pairs; keeps clusters smaller than `min_samples`.
    reid_cluster.time_overlap, reid_cluster.constrained_dbscan : The functions, with cost and formula.

    References
    ----------
    B. Xu et al.: arXiv 2205.03124, 2022 (clustering under the time-overlapping constraint).

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster.sklearn import ConstrainedDBSCAN
    >>> x = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    >>> d = np.abs(x[:, None] - x)
    >>> model = ConstrainedDBSCAN(eps=0.15, min_samples=2, metric="precomputed")
    >>> model.fit_predict(d, cannot_link=[(2, 3)]).tolist()
    [0, 0, 0, 1, 1, 1]

    The same pair, since only samples 2 and 3 were seen at one time:

    >>> model.fit(d, start=[0, 2, 4, 4, 6, 8], end=[1, 3, 5, 5, 7, 9]).cannot_link_.tolist()
    [[2, 3]]
    """

    def __init__(
        self,
        k1: int = 30,
        k2: int = 6,
        *,
        eps: float = 0.6,
        min_samples: int = 4,
        metric: str = "k_reciprocal",
        relaxed: float | None = None,
        scope: str = "all",
        margin: float = 0,
        exempt: list[tuple[int, int]] | None = None,
        count_self: bool = True,
        weights: str = "inner",
        n_jobs: int | None = None,
    ) -> None:
        self.k1 = k1
        self.k2 = k2
        self.eps = eps
        self.min_samples = min_samples
        self.metric = metric
        self.relaxed = relaxed
        self.scope = scope
        self.margin = margin
        self.exempt = exempt
        self.count_self = count_self
        self.weights = weights
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        cannot_link: Any = None,
        start: Any = None,
        end: Any = None,
        camera: Any = None,
        clock: Any = None,
    ) -> ConstrainedDBSCAN:
        """Cluster the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or distances of shape (n_samples, n_samples)
            Features, usually of unit length; with ``metric="precomputed"`` distances, dense or CSR.
        y : Ignored
            Not used; here by convention.
        cannot_link : array-like of int of shape (n_pairs, 2), default=None
            Pairs of samples that never share a cluster, in any order.
        start, end : array-like of shape (n_samples,), default=None
            First and last moment at which each sample was seen; both or neither. Joined with `cannot_link`.
        camera : array-like of int of shape (n_samples,), default=None
            Camera of each sample; needed with `start` when `scope` is not "all" or `exempt` is not empty.
        clock : array-like of int of shape (n_samples,), default=None
            Clock of each sample's times; only those of one clock are compared.

        Returns
        -------
        ConstrainedDBSCAN
            The fitted estimator.
        """
        n_jobs = threads(self.n_jobs)
        if _inputs.choice("metric", self.metric, ("k_reciprocal", "precomputed")) == "precomputed":
            distances = validate_data(self, X, accept_sparse="csr", dtype=np.float32, order="C")
        else:
            distances = self._graph(rows(self, X), n_jobs)
        self.cannot_link_ = self._links(cannot_link, start, end, camera, clock, n_jobs)
        self.labels_ = constrained_dbscan(
            distances, self.eps, self.cannot_link_, self.min_samples, relaxed=self.relaxed, n_jobs=n_jobs
        )
        return self

    def _graph(self, x: NDArray[np.float32], n_jobs: int | None) -> Any:
        """Jaccard distances as far as the clustering asks."""
        reach = radius(self.eps)
        if self.relaxed is not None:
            reach = max(reach, reach * abs(_inputs.finite("relaxed", self.relaxed)))
            if np.float32(reach) >= 1:
                raise ValueError(f"relaxed={self.relaxed!r}: eps * |relaxed| must be below 1, the largest distance")
        return jaccard_graph(
            x,
            self.k1,
            self.k2,
            max_distance=reach,
            count_self=self.count_self,
            weights=self.weights,
            n_jobs=n_jobs,
        )

    def _links(
        self, cannot_link: Any, start: Any, end: Any, camera: Any, clock: Any, n_jobs: int | None
    ) -> NDArray[np.int32]:
        """The pairs given, and those of samples seen at one time."""
        links = (
            np.empty((0, 2), np.int32) if cannot_link is None else _inputs.pairs(cannot_link, "cannot_link", np.int32)
        )
        if (start is None) != (end is None):
            missing = "start" if start is None else "end"
            raise ValueError(f"{missing}=None: give both start and end, or neither")
        if start is None:
            return links
        overlaps = time_overlap(
            start,
            end,
            camera=camera,
            clock=clock,
            scope=self.scope,
            margin=self.margin,
            exempt=self.exempt or (),
            n_jobs=n_jobs,
        )
        return np.concatenate([links, overlaps])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        given = self.metric == "precomputed"
        tags.input_tags.pairwise = tags.input_tags.sparse = tags.input_tags.positive_only = given
        return tags

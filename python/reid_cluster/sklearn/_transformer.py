"""Features to k-reciprocal Jaccard distances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.neighbors import sort_graph_by_row_values
from sklearn.utils.validation import check_is_fitted

from reid_cluster import _inputs, jaccard_graph, knn
from reid_cluster._jaccard import settings
from reid_cluster.sklearn import _encoding
from reid_cluster.sklearn._checks import rows, threads

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class KReciprocalTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn features into a sparse graph of k-reciprocal Jaccard distances.

    Goes before what takes ``metric="precomputed"``, as `sklearn.neighbors.KNeighborsTransformer` does: a pair that is
    not stored is farther than `max_distance`.

    Parameters
    ----------
    k1 : int, default=30
        Reciprocal neighbours of a sample; clipped to the number of samples.
    k2 : int, default=6
        Samples averaged by query expansion, itself among them; 1 for none.
    max_distance : float, default=0.6
        Largest distance stored, 0 to 1; the largest eps that the graph can answer. At 1 every distance below 1 is
        stored, which is what a search for a number of neighbours needs.
    count_self : bool, default=True
        Does `k1` count the sample itself? True in the SpCL family, False in 3C and the original re-ranking.
    weights : {"inner", "sqeuclidean"}, default="inner"
        Distance inside the weights of neighbours: ``2 - 2 x.y``, or ``|x|^2 + |y|^2 - 2 x.y``. Equal for rows of
        unit length, which the published code has; choose the latter for other rows.
    n_jobs : int, default=None
        Threads; None and -1 mean all cores. The result does not depend on it.

    Attributes
    ----------
    n_samples_fit_ : int
        Number of fitted samples, which is the number of columns of the graph.
    n_features_in_ : int
        Number of features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if all of them were strings.

    See Also
    --------
    JaccardDBSCAN : The graph and DBSCAN in one.
    reid_cluster.jaccard_graph : The function, with cost and formula.

    Notes
    -----
    ``fit_transform`` is :func:`reid_cluster.jaccard_graph`. A row given to ``transform`` later is compared with the
    fitted rows, which keep their neighbourhoods: its own is the mean of those of its `k2` nearest fitted rows, the
    published formula, which does not ask more of a row. So rows given together do not know of each other, and a fitted
    row gets its distances of ``fit_transform`` up to rounding (copies of a row may rank differently). ``transform``
    runs in numpy, O(n_queries * n_samples_fit_), and first works out all fitted neighbourhoods: give it many rows at
    once. The estimator keeps the fitted rows.

    References
    ----------
    Z. Zhong, L. Zheng, D. Cao, S. Li: Re-ranking Person Re-identification with k-reciprocal Encoding. CVPR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.cluster import DBSCAN
    >>> from sklearn.pipeline import make_pipeline
    >>> from reid_cluster.sklearn import KReciprocalTransformer
    >>> angles = np.array([0.0, 0.1, 0.2, 3.0, 3.1, 3.2])
    >>> X = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> graph = KReciprocalTransformer(k1=3, k2=1)
    >>> make_pipeline(graph, DBSCAN(metric="precomputed", min_samples=2)).fit_predict(X).tolist()
    [0, 0, 0, 1, 1, 1]
    """

    def __init__(
        self,
        k1: int = 30,
        k2: int = 6,
        *,
        max_distance: float = 0.6,
        count_self: bool = True,
        weights: str = "inner",
        n_jobs: int | None = None,
    ) -> None:
        self.k1 = k1
        self.k2 = k2
        self.max_distance = max_distance
        self.count_self = count_self
        self.weights = weights
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> KReciprocalTransformer:
        """Find the neighbours of the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, usually of unit length.
        y : Ignored
            Not used; here by convention.

        Returns
        -------
        KReciprocalTransformer
            The fitted estimator.
        """
        x = rows(self, X)
        k1, _, count_self, _ = settings(self.k1, self.k2, self.count_self, self.weights)
        if _inputs.real("max_distance", self.max_distance, low=0.0) > 1:
            raise ValueError(f"max_distance={self.max_distance}: must be 0 to 1")
        itself = not count_self
        k1 = min(k1, len(x) - itself)
        self._half = min(round(k1 / 2) + 1, k1 + itself)  # halves round to even, as in the published code
        self._ranks = knn(x, k1 + itself, n_jobs=threads(self.n_jobs)).indices
        self._fit_x = x
        self.n_samples_fit_ = len(x)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> csr_array:
        """Compute the distances between the rows of `X`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features, usually of unit length.
        y : Ignored
            Not used; here by convention.

        Returns
        -------
        csr_array of shape (n_samples, n_samples), float32
            Distances up to `max_distance`, zeros stored, rows sorted by distance.
        """
        self.fit(X)
        graph = jaccard_graph(
            self._fit_x,
            self.k1,
            self.k2,
            max_distance=self.max_distance,
            count_self=self.count_self,
            weights=self.weights,
            neighbors=self._ranks,
            n_jobs=threads(self.n_jobs),
        )
        return _by_distance(graph)

    def transform(self, X: Any) -> csr_array:
        """Compute the distances of the rows of `X` to the fitted rows.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            Features, as those of ``fit``.

        Returns
        -------
        csr_array of shape (n_queries, n_samples_fit_), float32
            Distances up to `max_distance`, zeros stored, rows sorted by distance.
        """
        check_is_fitted(self)
        x, n_jobs = rows(self, X, reset=False), threads(self.n_jobs)
        mean = min(self.k2, self._ranks.shape[1])
        fitted = _encoding.neighborhoods(self._fit_x, self._ranks, self._half, self.weights == "sqeuclidean")
        nearest = knn(self._fit_x, mean, queries=x, n_jobs=n_jobs).indices
        encoded = fitted if mean == 1 else _encoding.means(fitted, self._ranks[:, :mean])
        graph = _encoding.distances(_encoding.means(fitted, nearest), encoded, self.max_distance)
        return _by_distance(graph)

    @property
    def _n_features_out(self) -> int:
        return self.n_samples_fit_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _by_distance(graph: csr_array) -> csr_array:
    """Sort the entries of each row, as scikit-learn's neighbour searches want a graph."""
    graph = sort_graph_by_row_values(graph, warn_when_not_sorted=False)
    graph.has_sorted_indices = graph.has_canonical_format = False  # scipy means the columns
    return graph

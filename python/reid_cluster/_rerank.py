"""Re-ranking of a gallery with k-reciprocal encoding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import _core, _inputs


def rerank(
    query: Any,
    gallery: Any,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    *,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> NDArray[np.float32]:
    """Re-rank the gallery for each query by shared neighbourhoods (Zhong et al., CVPR 2017).

    The result is :func:`rerank_distances` of the Euclidean distances of the rows, up to rounding, but only the
    (Q, G) result is ever held. It mixes two distances from 0 to 1: the Jaccard distance of k-reciprocal
    neighbours among queries and gallery together, and the squared distance as a share of the query's farthest::

        (1 - lambda_value) * J + lambda_value * d,    d_ij = |x_i - x_j|^2 / max_l |x_i - x_l|^2

    Parameters
    ----------
    query : array-like, shape (Q, D)
        Query features, usually of unit length. Float32 in C order is used as it is, other real types are
        converted once.
    gallery : array-like, shape (G, D)
        Gallery features.
    k1 : int
        Reciprocal neighbours, the row itself not counted; clipped to Q + G - 1.
    k2 : int
        Rows averaged by query expansion, itself among them; 1 for none; clipped to Q + G.
    lambda_value : float
        Share of the original distance, 0 to 1.
    n_jobs : int, optional
        Threads; default all cores. The result does not depend on it.
    progress : callable, optional
        Called as ``progress(done, total, stage)`` from the calling thread.

    Returns
    -------
    numpy.ndarray, shape (Q, G), float32
        Distances from 0 to 1, smaller is more similar; :func:`evaluate_rank` scores them.

    Raises
    ------
    ValueError
        For parameters out of range, shapes that do not fit, NaN or inf, squared norms beyond float32.
    TypeError
        If an array does not hold real numbers.
    MemoryError
        If the result does not fit into free memory.

    See Also
    --------
    rerank_distances : the same from distances, whatever they are.
    evaluate_features : retrieval metrics without re-ranking.

    Notes
    -----
    (Q + G)^2 D / 2 multiply-adds, each pair once; memory 4 Q G bytes and O((Q + G)(k1 + k2)), where the published
    code holds five matrices of (Q + G)^2. Every query and gallery item counts as a neighbour, so the result for a
    query depends on the others. Ties go to the smaller index, queries before gallery; a row is its own first
    neighbour. Rows with a large common offset lose digits; subtract their mean first.

    Published GPU code of the same name ("GNN re-ranking") sharpens cosine similarities along a neighbour graph:
    another measure, with other values. Published code that takes features in float16 differs by its rounding.

    References
    ----------
    Z. Zhong, L. Zheng, D. Cao, S. Li: Re-ranking person re-identification with k-reciprocal encoding. CVPR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import rerank
    >>> angles = np.array([0.0, 0.1, 0.2, 2.0, 3.0, 3.1])
    >>> x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    >>> rerank(x[:1], x[1:], k1=2, k2=1).astype(float).round(2).tolist()
    [[0.0, 0.01, 0.91, 1.0, 1.0]]
    """
    return _core.rerank(
        _inputs.features(query, "query"),
        _inputs.features(gallery, "gallery"),
        _params(k1, k2, lambda_value),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )


def rerank_distances(
    query_gallery: Any,
    query_query: Any,
    gallery_gallery: Any,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    *,
    n_jobs: int | None = None,
    progress: _inputs.Progress | None = None,
) -> NDArray[np.float32]:
    """Re-rank given distances with k-reciprocal encoding (Zhong et al., CVPR 2017), as the authors' code does.

    The three arrays are joined to one (Q + G, Q + G) matrix, its entries squared and each column divided by its
    largest entry; what follows is in :func:`rerank`. Nothing of that size is made here.

    Parameters
    ----------
    query_gallery : array-like, shape (Q, G)
        Distances of queries and gallery. They are squared: give plain ones (Euclidean). The evaluators of SpCL,
        Cluster Contrast, HHCL, CDSM, 3C and MTCluster give squared distances, whose 4th powers are then used; give
        the same to get their figures. Only the size counts, so that -1e-7 by rounding is harmless, and
        similarities are not understood.
    query_query : array-like, shape (Q, Q)
        Distances among the queries. Where it is not symmetric, columns are read as the published code reads them.
    gallery_gallery : array-like, shape (G, G)
        Distances among the gallery.
    k1, k2, lambda_value, n_jobs, progress
        As in :func:`rerank`.

    Returns
    -------
    numpy.ndarray, shape (Q, G), float32
        Distances from 0 to 1, smaller is more similar.

    Raises
    ------
    ValueError
        For parameters out of range, shapes that do not fit, NaN or inf, squares beyond float32.
    TypeError
        If an array does not hold real numbers.
    MemoryError
        If the result does not fit into free memory.

    Notes
    -----
    Time O((Q + G)^2), without sorting; memory as :func:`rerank`. A point is its own first neighbour whatever its
    distance to itself; ties go to the smaller index, queries before gallery. Published code gives NaN where all
    distances of a point are 0, here they stay 0; and `J` slightly below 0 by rounding is 0.

    References
    ----------
    Z. Zhong, L. Zheng, D. Cao, S. Li: Re-ranking person re-identification with k-reciprocal encoding. CVPR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from reid_cluster import rerank_distances
    >>> x = np.array([0.0, 1.0, 2.0, 9.0, 10.0])
    >>> d = np.abs(x[:, None] - x)
    >>> rerank_distances(d[:1, 1:], d[:1, :1], d[1:, 1:], k1=2, k2=1).astype(float).round(2).tolist()
    [[0.01, 0.04, 0.94, 1.0]]
    """
    return _core.rerank_distances(
        _inputs.features(query_gallery, "query_gallery"),
        _inputs.features(query_query, "query_query"),
        _inputs.features(gallery_gallery, "gallery_gallery"),
        _params(k1, k2, lambda_value),
        n_jobs=_inputs.jobs(n_jobs),
        progress=_inputs.callback(progress),
    )


def _params(k1: Any, k2: Any, lambda_value: Any) -> tuple[int, int, float]:
    share = _inputs.real("lambda_value", lambda_value, low=0.0)
    if share > 1:
        raise ValueError(f"lambda_value={share}: must be 0 to 1")
    return _inputs.ints("k1", k1, low=1), _inputs.ints("k2", k2, low=1), share

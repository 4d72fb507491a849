"""Retrieval metrics of a network on a query and a gallery set, by the Market-1501 rule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.data.records import Samples

__all__ = ["evaluate_retrieval", "query_cameras"]


def query_cameras(query: Samples) -> NDArray[np.int64]:
    """(Q,) cameras as the metrics take them: one that is not known (-1) is not the gallery's that is not known."""
    return np.where(query.camid < 0, -2, query.camid)


def evaluate_retrieval(
    query_features: NDArray[np.float32],
    gallery_features: NDArray[np.float32],
    query: Samples,
    gallery: Samples,
    *,
    n_jobs: int | None = None,
) -> dict[str, float]:
    """mAP and CMC of `query` searched in `gallery`.

    Gallery items of the query's own identity and camera (if it is known) are left out, queries without a match
    elsewhere are not counted (Market-1501). Features are compared by squared Euclidean distance as they are.

    Parameters
    ----------
    query_features, gallery_features : (Q, D) and (G, D) float32
        L2-normalised features.
    query, gallery : Samples
        Their identities and cameras.
    n_jobs : int, optional
        Threads; all cores by default.

    Returns
    -------
    dict
        mAP (mean of the precision at each hit), mAP_trapezoid (area under the precision-recall curve, as the
        tables of BUC and PUL give it), rank1, rank5, rank10, n_queries (those with a match).
    """
    step, trapezoid = reid_cluster.evaluate_features(
        query_features, gallery_features, query.pid, gallery.pid, query_cameras(query), gallery.camid,
        max_rank=10, ap=("step", "trapezoid"), n_jobs=n_jobs,
    )  # fmt: skip
    return {
        "mAP": float(step.map),
        "mAP_trapezoid": float(trapezoid.map),
        "rank1": float(step.cmc[0]),
        "rank5": float(step.cmc[4]),
        "rank10": float(step.cmc[9]),
        "n_queries": float(step.n_valid),
    }

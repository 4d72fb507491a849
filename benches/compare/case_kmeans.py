"""`kmeans`: one cluster for each identity, from the same rows on both sides; peer: scikit-learn's Lloyd."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from contest import Data, Floats, Kernel, Result, same_labels


def start(data: Data) -> Floats:
    """Rows drawn evenly, as many as there are identities."""
    k = len(np.unique(data.pids))
    return data.features[np.random.default_rng(0).choice(len(data.features), k, replace=False)]


def kmeans_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import kmeans

    centers = start(data)
    return lambda: {"labels": kmeans(data.features, len(centers), init=centers, n_jobs=data.threads).labels}


def kmeans_peer(data: Data) -> Callable[[], Result]:
    from sklearn.cluster import KMeans

    centers = start(data)
    clusters = KMeans(len(centers), init=centers, n_init=1, algorithm="lloyd")  # threads: OMP_NUM_THREADS
    return lambda: {"labels": clusters.fit(data.features).labels_}


KERNELS = {"kmeans": Kernel(kmeans_ours, kmeans_peer, same_labels)}

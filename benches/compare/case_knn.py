"""`knn`: the 30 nearest rows; peer: faiss IndexFlatL2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from contest import Data, K, Kernel, Result, load_faiss


def knn_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import knn

    return lambda: knn(data.features, K, n_jobs=data.threads)._asdict()


def knn_peer(data: Data) -> Callable[[], Result]:
    faiss = load_faiss()

    def run() -> Result:
        index = faiss.IndexFlatL2(data.features.shape[1])
        index.add(data.features)
        distances, indices = index.search(data.features, K)
        return {"indices": indices, "distances": distances}

    return run


def same_neighbors(ours: Result, peer: Result) -> str:
    """Whether each row has the same neighbours, but for those as far as the last one."""
    wrong = 0
    for a, b, d, e in zip(ours["indices"], peer["indices"], ours["distances"], peer["distances"], strict=True):
        last = min(d[-1], e[-1]) - 1e-5
        wrong += bool((d[~np.isin(a, b)] < last).any() or (e[~np.isin(b, a)] < last).any())
    return f"no: {wrong} rows" if wrong else "yes"


KERNELS = {"knn": Kernel(knn_ours, knn_peer, same_neighbors)}

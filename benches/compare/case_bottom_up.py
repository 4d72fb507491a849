"""`bottom_up`: one merge of 5 % of the rows; peer: the dense way of the published code, all N x N distances sorted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from contest import Data, Floats, Ints, Kernel, Result, same_labels
from numeric import squared_distances

MERGE_PERCENT, SIZE_PENALTY = 0.05, 0.003


def bottom_up_ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import bottom_up

    merges = int(MERGE_PERCENT * len(data.features))
    options: dict[str, Any] = {"n_merges": merges, "size_penalty": SIZE_PENALTY, "n_jobs": data.threads}
    return lambda: {"labels": bottom_up(data.features, **options).labels}


def bottom_up_peer(data: Data) -> Callable[[], Result]:
    merges, labels = int(MERGE_PERCENT * len(data.features)), np.arange(len(data.features))
    return lambda: {"labels": dense_bottom_up(data.features, labels, merges, SIZE_PENALTY)}


def dense_bottom_up(x: Floats, labels: Ints, merges: int, size_penalty: float) -> Ints:
    """One step of bottom-up clustering (Lin et al., AAAI 2019): sort every entry of the N x N distances, walk them."""
    n = len(x)
    sizes = np.bincount(labels)[labels].astype(np.float32)
    distances = squared_distances(x, x)
    np.maximum(distances, 0, out=distances)
    distances += np.float32(size_penalty) * (sizes[:, None] + sizes)
    distances[labels[:, None] == labels] = np.inf
    distances[np.tri(n, dtype=np.bool_)] = np.inf
    order = np.argsort(distances, axis=None)
    parent = list(range(int(labels.max()) + 1))

    def root(label: int) -> int:
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    done = 0
    for pair in order:
        i, j = divmod(int(pair), n)
        a, b = root(int(labels[i])), root(int(labels[j]))
        if a != b:
            parent[max(a, b)] = min(a, b)
            done += 1
        if done == merges:
            break
    return np.unique([root(int(label)) for label in labels], return_inverse=True)[1]


KERNELS = {"bottom_up": Kernel(bottom_up_ours, bottom_up_peer, same_labels, dense=True)}

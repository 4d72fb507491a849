"""`constrained_dbscan` with 10 links a sample.

constrained_dbscan: on the sparse graph that our jaccard_graph made; peer: the way of the published code, Python sets
made by two scans of each row of the dense matrix, with 4,000 rows at most. It takes the points in ascending order, the
published one as a hash table happens to hold them, so that both sides must find the same labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from contest import EPS, MIN_SAMPLES, Data, Floats, Ints, Kernel, Result, same_labels

LINKS = 10


def ours(data: Data) -> Callable[[], Result]:
    from reid_cluster import constrained_dbscan

    graph, pairs = data.csr(), random_links(len(data.pids))
    return lambda: {"labels": constrained_dbscan(graph, EPS, pairs, MIN_SAMPLES, relaxed=0, n_jobs=data.threads)}


def peer(data: Data) -> Callable[[], Result]:
    graph, pairs = data.csr().tocoo(), random_links(len(data.pids))
    distances = np.ones(graph.shape, np.float32)
    distances[graph.row, graph.col] = graph.data
    partners: list[set[int]] = [set() for _ in data.pids]
    for i, j in pairs.tolist():
        partners[i].add(j)
        partners[j].add(i)
    return lambda: {"labels": scanned_clusters(distances, partners)}


def random_links(n: int) -> Ints:
    """Pairs of different samples, LINKS a sample on the average."""
    random = np.random.default_rng(2)
    first = random.integers(n, size=LINKS * n // 2)
    return np.stack([first, (first + random.integers(1, n, size=len(first))) % n], axis=1)


def scanned_clusters(distances: Floats, partners: list[set[int]]) -> Ints:
    """Clusters without linked members, links of pairs at distance 0 dropped."""
    n, eps = len(distances), float(np.float32(EPS))
    near, links = [], []
    for i, row in enumerate(distances):
        values = row.tolist()
        near.append({j for j, d in enumerate(values) if d <= eps} | {i})
        links.append(partners[i] - {j for j, d in enumerate(values) if d <= 0})
    labels = np.full(n, -1)
    clusters = 0
    for seed in range(n):
        if labels[seed] != -1:
            continue
        labels[seed] = clusters
        members, pending, forbidden = [seed], [seed], set(links[seed])
        while pending:
            point = min(pending)
            pending.remove(point)
            free = near[point] - links[point] - forbidden
            if len(free) < MIN_SAMPLES:
                continue
            for other in sorted(free):
                if labels[other] == -1 and other not in forbidden:
                    labels[other] = clusters
                    members.append(other)
                    pending.append(other)
                    forbidden |= links[other]
        if len(members) < MIN_SAMPLES:
            labels[members] = -1
        else:
            clusters += 1
    return labels


KERNELS = {"constrained_dbscan": Kernel(ours, peer, same_labels, dense=True, graph=True, peer_rows=4000)}

"""The usual ways to do what our kernels do, plain and readable: dense matrices, full sorts, loops over rows."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Result = dict[str, NDArray[Any]]


class Missing(Exception):
    """A peer that is not installed; the text goes into the table."""


def load_faiss() -> Any:
    """The module faiss; Missing without it."""
    try:
        return import_module("faiss")
    except ImportError:
        raise Missing("faiss-cpu not installed") from None


def squared_distances(x: Floats, y: Floats) -> Floats:
    """Squared Euclidean distances of all rows, by one matrix product."""
    distances = x @ y.T
    distances *= -2
    distances += np.square(x).sum(1)[:, None]
    distances += np.square(y).sum(1)
    return distances


def nearest(x: Floats, k: int, faiss: Any) -> Ints:
    """The k nearest rows of each row, nearest first, (N, k)."""
    if faiss is not None:
        index = faiss.IndexFlatL2(x.shape[1])
        index.add(x)
        return np.asarray(index.search(x, k)[1], dtype=np.int64)
    parts = []
    for lo in range(0, len(x), 1024):
        distances = squared_distances(x[lo : lo + 1024], x)
        found = np.argpartition(distances, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, found, axis=1), axis=1)
        parts.append(np.take_along_axis(found, order, axis=1))
    return np.concatenate(parts)


def reciprocal(ranks: Ints, i: int, depth: int) -> Ints:
    """Neighbours of i up to `depth` that have i among their own."""
    forward = ranks[i, :depth]
    return forward[(ranks[forward, :depth] == i).any(axis=1)]


def dense_jaccard(x: Floats, ranks: Ints, k2: int) -> Floats:
    """Jaccard distance of k-reciprocal neighbours (Zhong et al., CVPR 2017), with N x N weights as is usual."""
    n, k1 = ranks.shape
    half = int(np.around(k1 / 2)) + 1
    long = [reciprocal(ranks, i, k1) for i in range(n)]
    short = [reciprocal(ranks, i, half) for i in range(n)]
    weights = np.zeros((n, n), dtype=np.float32)
    for i, near in enumerate(long):
        members = [near]
        for c in near:
            if np.isin(short[c], near).sum() > 2 / 3 * len(short[c]):
                members.append(short[c])
        expanded = np.unique(np.concatenate(members))
        row = np.exp(2 * (x[expanded] @ x[i]) - 2)  # exp(-d), d = 2 - 2 x.y of unit rows
        weights[i, expanded] = row / row.sum()
    if k2 > 1:
        means = np.empty_like(weights)
        for i in range(n):
            means[i] = weights[ranks[i, :k2]].mean(axis=0)
        weights = means
    holders = [np.flatnonzero(weights[:, column]) for column in range(n)]
    distances = np.zeros((n, n), dtype=np.float32)
    for i in range(n):
        shared = np.zeros(n, dtype=np.float32)
        for column in np.flatnonzero(weights[i]):
            rows = holders[column]
            shared[rows] += np.minimum(weights[i, column], weights[rows, column])
        distances[i] = 1 - shared / (2 - shared)
    return np.maximum(distances, 0, out=distances)


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


def sorted_ranking(
    query: Floats, gallery: Floats, q_pids: Ints, g_pids: Ints, q_cams: Ints, g_cams: Ints, *, max_rank: int
) -> Result:
    """CMC and average precision from the whole distance matrix, each row sorted."""
    order = np.argsort(squared_distances(query, gallery), axis=1)
    cmc = np.zeros(max_rank)
    ap = np.full(len(query), np.nan)
    for i, row in enumerate(order):
        row = row[(g_pids[row] != q_pids[i]) | (g_cams[row] != q_cams[i])]
        ranks = np.flatnonzero(g_pids[row] == q_pids[i]) + 1
        if len(ranks):
            cmc[ranks[0] - 1 :] += 1
            ap[i] = np.mean(np.arange(1, len(ranks) + 1) / ranks)
    return {"cmc": cmc / np.isfinite(ap).sum(), "ap": ap}

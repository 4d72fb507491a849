"""Retrieval metrics, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_cluster import Ranking
from reid_cluster.reference.neighbors import squared_distances


def evaluate_rank(
    distances: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = 50,
    ap: str = "step",
) -> Ranking:
    """Score given query x gallery distances by the Market-1501 rule: see :func:`reid_cluster.evaluate_rank`.

    Left out of a query's list: junk (pid -1), and its own identity seen by its own camera. With P(t) and R(t),
    precision and recall of what is at most t away, t going through the distinct distances in order::

        AP  = sum_t (R(t) - R(t before)) * P(t)     or, by trapezoids, * (P(t) + P(t before)) / 2, from R = 0, P = 1 on
        INP = matches / rank of the last match

    Zheng et al., ICCV 2015 (CMC, AP); Ye et al., TPAMI 2021 (INP).

    Examples
    --------
    >>> from reid_cluster.reference import evaluate_rank
    >>> found = evaluate_rank([[0.1, 0.3, 0.2]], [7], [7, 7, 8], [0], [1, 1, 1], max_rank=2)
    >>> found.cmc.tolist(), round(found.map, 4), round(found.minp, 4)
    ([1.0, 1.0], 0.8333, 0.6667)
    """
    return _evaluate(distances, q_pids, g_pids, q_camids, g_camids, max_rank, ap, itself=q_pids is g_pids)


def evaluate_features(
    query: Any,
    gallery: Any,
    q_pids: Any,
    g_pids: Any,
    q_camids: Any,
    g_camids: Any,
    *,
    max_rank: int = 50,
    ap: str = "step",
) -> Ranking:
    """Score features by their squared Euclidean distances: see :func:`reid_cluster.evaluate_features`.

    Examples
    --------
    >>> from reid_cluster.reference import evaluate_features
    >>> features, pids = [[0.0, 1.0], [0.1, 1.0], [1.0, 0.0]], ["a", "a", "b"]
    >>> evaluate_features(features, features, pids, pids, None, None).n_valid
    2
    """
    d = squared_distances(np.asarray(query, np.float64), np.asarray(gallery, np.float64))
    return _evaluate(d, q_pids, g_pids, q_camids, g_camids, max_rank, ap, itself=query is gallery)


def _evaluate(
    distances: Any, q_pids: Any, g_pids: Any, q_camids: Any, g_camids: Any, max_rank: int, ap: str, itself: bool
) -> Ranking:
    d = np.asarray(distances, np.float32)
    q_pids, g_pids = np.asarray(q_pids), np.asarray(g_pids)
    junk = np.isin(g_pids, ["-1"] if g_pids.dtype.kind == "U" else [-1])
    first = np.full(len(d), np.inf)
    aps, inps = np.full(len(d), np.nan), np.full(len(d), np.nan)
    for i, row in enumerate(d):
        if q_camids is not None:
            own = np.asarray(g_camids) == q_camids[i]
        else:
            own = np.full(len(row), itself) & (np.arange(len(row)) == i)
        order = np.argsort(row, kind="stable")
        order = order[~(junk | ((g_pids == q_pids[i]) & own))[order]]
        match = g_pids[order] == q_pids[i]
        if match.any():
            ranks = np.flatnonzero(match) + 1
            first[i], inps[i] = ranks[0], len(ranks) / ranks[-1]
            aps[i] = average_precision(row[order], match, ap)
    valid = np.isfinite(first)
    cmc = np.array([(first[valid] <= rank).mean() for rank in range(1, max_rank + 1)])
    return Ranking(cmc, aps, inps, float(aps[valid].mean()), float(inps[valid].mean()), int(valid.sum()))


def average_precision(distances: NDArray[np.float32], match: NDArray[np.bool_], ap: str) -> float:
    """Average precision of one sorted list; equal distances are one step."""
    last = np.flatnonzero(np.append(np.diff(distances) != 0, True))  # of each distinct distance
    found = np.cumsum(match)[last]
    recall, precision = found / found[-1], found / (last + 1)
    before = np.append(1.0, precision[:-1])
    height = precision if ap == "step" else (precision + before) / 2
    return float((np.diff(recall, prepend=0.0) * height).sum())

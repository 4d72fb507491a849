"""Time overlap and DBSCAN under cannot-link pairs (arXiv 2205.03124), by sets and loops."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def time_overlap(
    start: ArrayLike,
    end: ArrayLike,
    *,
    camera: ArrayLike | None = None,
    clock: ArrayLike | None = None,
    scope: str = "all",
    margin: float = 0,
    exempt: Iterable[tuple[int, int]] = (),
) -> NDArray[np.int32]:
    """Pairs i < j with s_i <= e_j + margin and s_j <= e_i + margin, as :func:`reid_cluster.time_overlap`."""
    s, e, exempt = np.asarray(start), np.asarray(end), list(exempt)
    no_later = s[:, None] <= e[None, :] + margin
    overlap = no_later & no_later.T & ~np.isnan(s + e) & ~np.isnan(s + e)[:, None]
    if clock is not None:
        of = np.asarray(clock)
        overlap &= (of[:, None] == of) & (of != -1)
    if scope != "all" or exempt:
        at = np.asarray(camera)
        overlap &= (at != -1) & (at[:, None] != -1)
        if scope != "all":
            overlap &= (at[:, None] == at) == (scope == "same")
        for a, b in exempt:
            overlap &= ~((at[:, None] == a) & (at == b)) & ~((at[:, None] == b) & (at == a))
    return np.argwhere(np.triu(overlap, 1)).astype(np.int32)


def constrained_dbscan(
    distances: Any,
    eps: float,
    cannot_link: ArrayLike,
    min_samples: int = 4,
    *,
    relaxed: float | None = None,
) -> NDArray[np.int64]:
    """Labels of clusters without linked members, as :func:`reid_cluster.constrained_dbscan`."""
    d = _dense(distances)
    n = len(d)
    neighbors = [set(np.flatnonzero(row <= np.float32(eps)).tolist()) | {i} for i, row in enumerate(d)]
    links = _links(d, eps, np.asarray(cannot_link, int).reshape(-1, 2).tolist(), relaxed)
    labels = np.full(n, -1)
    k = 0
    for seed in range(n):
        if labels[seed] >= 0:
            continue
        labels[seed] = k
        members, pending, forbidden = [seed], {seed}, set(links[seed])
        while pending:
            u = min(pending)
            pending.remove(u)
            near = neighbors[u] - forbidden  # links[u] is part of what is forbidden since u joined
            if len(near) < min_samples:
                continue
            for q in sorted(near):
                if labels[q] < 0 and q not in forbidden:
                    labels[q] = k
                    members.append(q)
                    pending.add(q)
                    forbidden |= links[q]
        if len(members) < min_samples:
            labels[members] = -1  # dissolved: they are free again, and k is used again
        else:
            k += 1
    return labels


def _dense(distances: Any) -> NDArray[np.float32]:
    """A matrix of its own; pairs that a graph does not store are infinitely far."""
    if not hasattr(distances, "tocoo"):
        return np.array(distances, np.float32)
    graph = distances.tocoo()
    d = np.full(graph.shape, np.inf, np.float32)
    d[graph.row, graph.col] = graph.data
    return d


def _links(d: NDArray[np.float32], eps: float, pairs: list[list[int]], relaxed: float | None) -> list[set[int]]:
    """The partners of each sample, less the links that `relaxed` does not believe."""
    links: list[set[int]] = [set() for _ in d]
    for i, j in pairs:
        if relaxed is not None:
            near = min(d[i, j], d[j, i]) <= np.float32(eps * abs(relaxed))
            if near == (relaxed >= 0):
                continue
        if i != j:
            links[i].add(j)
            links[j].add(i)
    return links

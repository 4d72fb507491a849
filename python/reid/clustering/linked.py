"""DBSCAN that obeys links."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.clustering.links import MOST_PAIRS, Links

__all__ = ["believed", "linked_dbscan"]

Pairs = NDArray[np.int32]

CHUNK = 1 << 22


def linked_dbscan(
    graph: Any, eps: float, min_samples: int, links: Links, *, n_jobs: int | None = None
) -> NDArray[np.int64]:
    """Cluster a graph of distances by density, with no forbidden pair in a cluster and no must-group in two.

    Samples of a must-group are at distance 0 from each other, and what one of them must not be with, none of them may;
    what DBSCAN leaves apart all the same is joined by `Links.obey`.

    Parameters
    ----------
    graph : scipy.sparse.csr_array, (N, N)
        Distances, as `reid_cluster.jaccard_graph` makes them.
    eps : float
    min_samples : int
    links : Links
        Of the N samples. Relaxable links are believed as far as the distances bear them out (`believed`).
    n_jobs : int, optional
        Threads; default all cores.

    Returns
    -------
    (N,) int64
        Clusters from 0, -1 for outliers. Without links the labels of `reid_cluster.dbscan`.

    Raises
    ------
    MemoryError
        Must-groups multiply the cannot-links beyond 2^28 pairs.
    """
    links = believed(links, graph, eps)
    if len(links.must) == 0:
        if len(links.cannot) == 0:
            return reid_cluster.dbscan(graph, eps, min_samples, n_jobs=n_jobs)
        return reid_cluster.constrained_dbscan(graph, eps, links.cannot, min_samples, n_jobs=n_jobs)
    joined = _joined(graph, links.groups, min_samples)
    if len(links.cannot):
        labels = reid_cluster.constrained_dbscan(joined, eps, _closed(links), min_samples, n_jobs=n_jobs)
    else:
        labels = reid_cluster.dbscan(joined, eps, min_samples, n_jobs=n_jobs)
    return links.obey(labels, joined, smallest=min_samples)


def believed(links: Links, graph: Any, eps: float) -> Links:
    """The links with those relaxable ones that distances bear out; the others are dropped.

    With ``relaxed >= 0`` a link is dropped whose samples are at most ``eps * relaxed`` apart: they look too alike.
    With ``relaxed < 0`` one is dropped whose samples are more than ``eps * -relaxed`` apart: it hardly matters, and
    false links do least harm so. A pair that the graph does not hold is farther than all it holds.
    """
    if not links.relaxable:
        return links
    kept = [links.cannot]
    for pairs, relaxed in links.relaxable:
        near = _distances(graph, pairs) <= np.float32(eps * abs(relaxed))
        kept.append(pairs[near if relaxed < 0 else ~near])
    return Links(np.concatenate(kept), links.must, links.n)


def _distances(graph: Any, pairs: Pairs) -> NDArray[np.float32]:
    """(M,) stored distance of each pair, infinite where there is none."""
    keys = _keys(graph)
    wanted = pairs[:, 0].astype(np.int64) * graph.shape[0] + pairs[:, 1]
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found = np.full(len(pairs), np.inf, np.float32)
    if len(keys):
        hit = keys[at] == wanted
        found[hit] = graph.data[at[hit]]
    return found


def _keys(graph: Any) -> NDArray[np.int64]:
    """row * N + column of each stored pair, ascending."""
    n = graph.shape[0]
    keys = np.repeat(np.arange(n, dtype=np.int64) * n, np.diff(graph.indptr))
    keys += graph.indices
    if (np.diff(keys) <= 0).any():
        raise ValueError("graph: rows must be sorted; call graph.sort_indices()")
    return keys


def _joined(graph: Any, groups: NDArray[np.int64], min_samples: int) -> Any:
    """The graph with must-groups at distance 0.

    Not all pairs of a group: each member and the next ``min_samples - 1`` in a circle, so that a group of `min_samples`
    is all core points, as it would be with all pairs.
    """
    n = graph.shape[0]
    order = np.argsort(groups, kind="stable")
    size = np.bincount(groups)
    start = (np.cumsum(size) - size)[groups[order]]
    place, own = np.arange(n) - start, size[groups[order]]
    new = []
    for step in range(1, max(2, min_samples)):
        far = own > step
        i, j = order[far], order[(start + (place + step) % np.maximum(own, 1))[far]]
        new += [i * n + j, j * n + i]
    wanted = np.unique(np.concatenate(new))
    keys = _keys(graph)
    at = np.searchsorted(keys, wanted)
    held = np.zeros(len(wanted), dtype=bool)
    if len(keys):
        held = keys[np.minimum(at, len(keys) - 1)] == wanted
    data = graph.data.copy()
    data[at[held]] = 0.0
    data = np.insert(data, at[~held], np.float32(0))
    indices = np.insert(graph.indices, at[~held], (wanted[~held] % n).astype(graph.indices.dtype))
    counts = np.diff(graph.indptr) + np.bincount(wanted[~held] // n, minlength=n)
    made = type(graph)((data, indices, np.concatenate([[0], np.cumsum(counts)])), shape=graph.shape)
    if hasattr(graph, "max_distance"):
        made.max_distance = graph.max_distance
    return made


def _closed(links: Links) -> Pairs:
    """(M, 2) all pairs of samples of two must-groups that must not share a cluster."""
    order = np.argsort(links.groups, kind="stable")
    size = np.bincount(links.groups)
    start = np.cumsum(size) - size
    a, b = links.apart.T
    counts = size[a] * size[b]
    total = int(counts.sum())
    if total > MOST_PAIRS:
        raise MemoryError(
            f"constraints: must-links make {total:,} pairs ({8 * total / 1e9:.1f} GB) of {len(links.cannot):,} "
            "cannot-links; cluster tracklets (instances='tracklet'), or leave a rule out"
        )
    pairs = np.empty((total, 2), np.int32)
    done = 0
    cuts = np.searchsorted(np.cumsum(counts), np.arange(CHUNK, total + CHUNK, CHUNK), side="right")
    for block in np.split(np.arange(len(a)), np.unique(np.clip(cuts, 0, len(a)))):
        which = np.repeat(block, counts[block])
        first = np.cumsum(counts[block]) - counts[block]
        offset = np.arange(len(which)) - np.repeat(first, counts[block])
        pairs[done : done + len(which), 0] = order[start[a[which]] + offset // size[b[which]]]
        pairs[done : done + len(which), 1] = order[start[b[which]] + offset % size[b[which]]]
        done += len(which)
    return pairs

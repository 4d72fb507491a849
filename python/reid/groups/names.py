"""Names of clusters that stay the same when a grown data set is clustered again.

The clusters of two runs are compared by the pictures that both hold. A name goes from a group to the cluster with the
largest part of it, or with a part at least half as large, provided that the group is the largest part of that cluster's
known pictures, or at least half as large. Of the ways to hand out names so, that with the most pictures under their
old name is taken (optimal assignment). A name that is given up is never given to another group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

__all__ = ["Change", "Named", "by_size", "carry_names"]

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """What became of a group."""

    cluster: int
    """Its name."""
    state: Literal["kept", "grown", "new", "merged", "split", "gone"]
    """kept: the same pictures, or fewer. grown: more. merged: large parts of several groups are in it, or it went into
    another one. split: its group has large parts in several clusters. gone: none of its pictures is in a cluster."""
    size: int
    """Samples in it now; 0 where the name was given up."""
    added: int
    """Samples in it that were not in the group of this name."""
    lost: int
    """Samples that were in the group of this name, and are no longer in it or no longer there."""
    sources: tuple[int, ...] = ()
    """Earlier groups of which it has a large part."""
    into: tuple[int, ...] = ()
    """Clusters that have large parts of the group of this name."""


class Named(NamedTuple):
    """Clusters under their names."""

    names: Labels
    """(N,) name of each sample's cluster, -1 for outliers."""
    used: int
    """Names from 0 up to here, without it, have been given, now or earlier."""
    changes: tuple[Change, ...]
    """Of each cluster and each name that was given up, by name; empty in a first run."""


def by_size(labels: Labels) -> Labels:
    """Number clusters from 0 by falling size, equal ones by their first member; -1 stays.

    Examples
    --------
    >>> by_size(np.array([5, 2, 2, -1])).tolist()
    [1, 0, 0, -1]
    """
    inside = labels >= 0
    _, first, which, sizes = np.unique(labels[inside], return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(sizes), np.int64)
    number[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    result = np.full(len(labels), -1, np.int64)
    result[inside] = number[which]
    return result


def carry_names(labels: Labels, before: Labels, used: int = 0, absent: Sequence[int] = ()) -> Named:
    """Give clusters the names of an earlier run.

    Parameters
    ----------
    labels : (N,) int64
        Clusters now, -1 for outliers.
    before : (N,) int64
        Names of the same samples' clusters in the earlier run; -1 for outliers and samples that are new.
    used : int, default 0
        Names below were given in earlier runs.
    absent : sequence of int, optional
        Names of the earlier run's samples that are not among the N, one for each such sample.

    Returns
    -------
    Named
        Equal overlaps: smaller names are kept first. New clusters get the next names, by falling size.

    Examples
    --------
    >>> carry_names(np.array([0, 0, 1, 1, 1]), np.array([7, 7, -1, 3, -1]), used=8).names.tolist()
    [7, 7, 3, 3, 3]
    """
    old, gone = np.unique(before[before >= 0]), np.asarray(absent, np.int64)
    gone = gone[gone >= 0]
    everyone = np.union1d(old, gone)
    used = max([used, *(everyone + 1).tolist()])
    labels = by_size(labels)
    n_new = int(labels.max(initial=-1)) + 1
    both = (labels >= 0) & (before >= 0)
    row = np.searchsorted(everyone, before[both])
    shared = csr_array((np.ones(len(row), np.int64), (row, labels[both])), shape=(len(everyone), n_new))
    shared.sum_duplicates()
    i, j, count = _entries(shared)
    of_row, of_column = _largest(i, count, len(everyone)), _largest(j, count, n_new)
    large = 2 * count >= of_row[i]  # a large part of the group
    own = _assign(i, j, count, large & (2 * count >= of_column[j]), len(everyone), n_new)
    name = np.full(n_new, -1, np.int64)
    kept = own >= 0
    name[own[kept]] = everyone[kept]
    fresh = np.flatnonzero(name < 0)
    name[fresh] = used + np.arange(len(fresh))
    names = np.full(len(labels), -1, np.int64)
    names[labels >= 0] = name[labels[labels >= 0]]
    sizes = np.bincount(labels[labels >= 0], minlength=n_new)
    held = np.searchsorted(everyone, before[before >= 0])
    total = np.bincount(np.concatenate([held, np.searchsorted(everyone, gone)]), minlength=len(everyone))
    changes = _changes(everyone, total, name, sizes, own, shared, i[large], j[large])
    return Named(names, used + len(fresh), tuple(sorted(changes, key=lambda c: c.cluster)))


def _entries(matrix: csr_array) -> tuple[Labels, Labels, Labels]:
    """Row, column and value of each stored entry."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return rows.astype(np.int64), matrix.indices.astype(np.int64), matrix.data


def _largest(index: Labels, count: Labels, n: int) -> Labels:
    result = np.zeros(n, np.int64)
    np.maximum.at(result, index, count)
    return result


def _assign(i: Labels, j: Labels, count: Labels, allowed: NDArray[np.bool_], n: int, m: int) -> Labels:
    """(n,) column of each row, -1 for none, that together have the largest count among the allowed entries."""
    i, j, count = i[allowed], j[allowed], count[allowed]
    if not len(i):
        return np.full(n, -1, np.int64)
    # Each row may also take a column of its own, worth next to nothing: so all rows find one, and the matrix stays
    # sparse. What the smaller names are worth more decides between equal counts, and never against a larger one.
    rank = n - i
    worth = count * (n * (n + 1) // 2 + 1) + rank + 1
    rows, columns = np.concatenate([i, np.arange(n)]), np.concatenate([j, m + np.arange(n)])
    weights = np.concatenate([worth, np.ones(n, np.int64)]).astype(np.float64)
    chosen = min_weight_full_bipartite_matching(csr_array((weights, (rows, columns)), shape=(n, m + n)), maximize=True)
    own = np.full(n, -1, np.int64)
    own[chosen[0]] = np.where(chosen[1] < m, chosen[1], -1)
    return own


def _changes(
    everyone: Labels, total: Labels, name: Labels, sizes: Labels, own: Labels, shared: csr_array, i: Labels, j: Labels
) -> list[Change]:
    """What became of each cluster and each name; (i, j) are the groups' large parts."""
    targets: dict[int, list[int]] = {}
    sources: dict[int, list[int]] = {}
    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        targets.setdefault(a, []).append(b)
        sources.setdefault(b, []).append(a)
    row_of = {int(c): a for a, c in enumerate(own.tolist()) if c >= 0}
    result = []
    for b, size in enumerate(sizes.tolist()):
        a, origin = row_of.get(b), sources.get(b, [])
        stayed = int(shared[a, b]) if a is not None else 0
        state: Literal["kept", "grown", "new", "merged", "split"]
        if len(origin) > 1:
            state = "merged"
        elif any(len(targets[s]) > 1 for s in origin):
            state = "split"
        elif a is None:
            state = "new"
        else:
            state = "grown" if size > stayed else "kept"
        lost = int(total[a]) - stayed if a is not None else 0
        into = tuple(sorted(int(name[t]) for t in targets.get(a, []))) if a is not None else ()
        result.append(
            Change(int(name[b]), state, size, size - stayed, lost, tuple(int(everyone[s]) for s in origin), into)
        )
    for a in np.flatnonzero(own < 0).tolist():
        into = tuple(sorted(int(name[t]) for t in targets.get(a, [])))
        result.append(Change(int(everyone[a]), "merged" if into else "gone", 0, 0, int(total[a]), (), into))
    return result

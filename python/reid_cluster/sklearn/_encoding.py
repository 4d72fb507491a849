"""Neighbourhoods of rows that were not fitted, against those that were.

The published formula encodes row i as the mean of the neighbourhoods ``V_t`` of its `k2` nearest rows t, itself first.
It needs of row i only who its nearest fitted rows are, so it holds for a row outside the fitted set as well, whose
neighbourhood the fitted rows do not know. For a fitted row both say the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def neighborhoods(x: NDArray[np.float32], ranks: NDArray[np.int32], half: int, squared: bool) -> csr_array:
    """Rows ``V``: a distribution over the expanded reciprocal neighbours (steps 1 to 3 of the Jaccard distance)."""
    near, short = _reciprocal(ranks), _reciprocal(ranks[:, :half])
    inside = 3.0 * near.multiply(near @ short.T)  # three times |H_c and R_i|, for c in R_i
    inside = inside.tocoo()
    wide = inside.data > 2 * np.diff(short.indptr)[inside.col]  # more than two thirds of H_c
    joined = csr_array((inside.data[wide], (inside.row[wide], inside.col[wide])), shape=near.shape)
    sets = (near + joined @ short).tocsr()
    sets.sort_indices()
    i, j = np.repeat(np.arange(len(x)), np.diff(sets.indptr)), sets.indices
    d = 2.0 - 2.0 * _products(x, i, j)
    if squared:
        norms = np.einsum("ij,ij->i", x, x, dtype=np.float64)
        d += norms[i] + norms[j] - 2.0
    least = np.minimum.reduceat(d, sets.indptr[:-1])  # no row is empty: each is its own neighbour
    v = np.exp(least[i] - d)
    total = np.add.reduceat(v, sets.indptr[:-1])
    return csr_array((v / total[i], sets.indices, sets.indptr), shape=near.shape)


def means(v: csr_array, nearest: NDArray[np.int32]) -> csr_array:
    """Mean of the rows of `v` that each row of `nearest` names: query expansion."""
    q, k = nearest.shape
    pick = csr_array((np.full(q * k, 1.0 / k), nearest.ravel(), np.arange(0, q * k + 1, k)), shape=(q, v.shape[0]))
    return (pick @ v).tocsr()


def distances(queries: csr_array, fitted: csr_array, cut: float) -> csr_array:
    """Jaccard distances ``1 - s / (2 - s)`` up to `cut`, zeros stored; s is what two distributions share."""
    columns = fitted.tocsc()
    found: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for q in range(queries.shape[0]):
        entries = slice(queries.indptr[q], queries.indptr[q + 1])
        own, weights = queries.indices[entries], queries.data[entries]
        counts = columns.indptr[own + 1] - columns.indptr[own]
        # Places of the columns' entries, one column after the other.
        places = np.arange(counts.sum()) + np.repeat(columns.indptr[own] - np.cumsum(counts) + counts, counts)
        least = np.minimum(columns.data[places], np.repeat(weights, counts))
        shared = np.bincount(columns.indices[places], least, minlength=fitted.shape[0])
        d = np.clip(1.0 - shared / (2.0 - shared), 0.0, 1.0).astype(np.float32)
        kept = np.flatnonzero((shared > 0.0) & (d <= np.float32(cut)))
        found.append((kept, d[kept]))
    indptr = np.concatenate([[0], np.cumsum([len(kept) for kept, _ in found])])
    indices, data = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return csr_array((data, indices, indptr), shape=(queries.shape[0], fitted.shape[0]))


def _reciprocal(ranks: NDArray[np.int32]) -> csr_array:
    """Ones where both rows are in each other's list."""
    n, k = ranks.shape
    lists = csr_array((np.ones(n * k), ranks.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    return lists.multiply(lists.T).tocsr()


def _products(x: NDArray[np.float32], i: NDArray[Any], j: NDArray[Any]) -> NDArray[np.float64]:
    """Scalar products of rows i and j, a few megabytes of rows at a time."""
    step = max(1, (1 << 21) // x.shape[1])
    blocks = [
        np.einsum("ij,ij->i", x[i[at : at + step]], x[j[at : at + step]], dtype=np.float64)
        for at in range(0, len(i), step)
    ]
    return np.concatenate(blocks)

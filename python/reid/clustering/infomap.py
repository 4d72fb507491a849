"""Infomap on the nearest neighbours: what Cluster Contrast's authors offer beside DBSCAN.

Every picture is linked to those of its k nearest by cosine that are near enough, with the cosine as weight. A walker
that follows these directed links stays long within groups of look-alikes; Infomap finds the modules that describe its
walk in the fewest bits (Rosvall, Bergstrom: Maps of random walks on complex networks, PNAS 2008).

The search itself is the package `infomap`, licence GPL-3.0-or-later: it is an optional extra, imported only here and
only when asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import reid_cluster

__all__ = ["infomap_labels", "load_infomap"]

SEED = 123


def load_infomap() -> Any:
    """Import the class `infomap.Infomap`. Raises ValueError naming the extra when the package is missing."""
    try:
        from infomap import Infomap
    except ImportError:
        raise ValueError(
            "labels='infomap': needs the package infomap (licence GPL-3.0-or-later; Python 3.11 or newer): "
            "pip install 'reid-cluster[infomap]'"
        ) from None
    return Infomap


def infomap_labels(neighbors: reid_cluster.Neighbors, eps: float, min_size: int) -> NDArray[np.int64]:
    """Modules of the directed graph of nearest neighbours.

    Parameters
    ----------
    neighbors : Neighbors
        `reid_cluster.knn` of unit rows (N, D); a picture may be among its own (15 with itself in the authors' code).
    eps : float
        Largest cosine distance 1 - cos of a link (0.5).
    min_size : int
        Pictures of the smallest module that stays (5).

    Returns
    -------
    (N,) int64
        Modules from 0, -1 for pictures without a link and for members of small modules.

    Raises
    ------
    ValueError
        The package `infomap` is missing.

    Notes
    -----
    Two levels, one trial, a fixed seed: the same labels every time with the same release of the package.
    """
    infomap = load_infomap()
    indices, distances = neighbors
    n = len(indices)
    near = (distances <= 2 * eps) & (indices != np.arange(n)[:, None])  # |x - y|^2 = 2 (1 - cos)
    source, rank = np.nonzero(near)
    labels = np.full(n, -1, dtype=np.int64)
    if len(source) == 0:
        return labels
    weight = 1 - distances[source, rank].astype(np.float64) / 2
    search = infomap(two_level=True, directed=True, silent=True, seed=SEED)
    search.add_links(np.column_stack([source, indices[source, rank], weight]))
    nodes, modules = np.array(list(search.run().modules().items()), dtype=np.int64).T
    _, which, sizes = np.unique(modules, return_inverse=True, return_counts=True)
    stays = sizes >= max(min_size, 2)
    labels[nodes] = np.where(stays, np.cumsum(stays) - 1, -1)[which]
    return labels

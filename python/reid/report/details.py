"""What a report shows that takes features, kept small in the run folder (report/details.npz).

With it a report can be written again when network, data and machine are gone; pictures are read from where they lie.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.data.records import Samples, printable
from reid.files import atomic_path
from reid.report.geometry import camera_tables, closest_clusters, distance_histograms, jaccard_histograms, spread
from reid.report.searches import Searches, camera_pairs, searches

__all__ = ["Details", "make_details", "middle_frames", "read_details", "write_details"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Details:
    """Arrays over the N training samples, their clusters and cameras, and a few searches.

    Identities are used by `answer_mark`, `query_ap` and `pair_hits` alone.
    """

    frame: Ints
    """(N,) row of labels.csv that shows the sample: its middle frame."""
    to_center: Floats
    """(N,) squared distance to the mean of its cluster, NaN for outliers."""
    near: Ints
    """(N,) nearest other sample, -1 if there is none."""
    near_distance: Floats
    """(N,) squared distance to it."""
    cluster_pairs: Ints
    """(P, 2) clusters whose means are closest, closest first."""
    cluster_gap: Floats
    """(P,) squared distances of these means."""
    edges: Floats
    """(B + 1,) of the bins of squared distances."""
    within: Ints
    """(B,) drawn pairs of one cluster."""
    between: Ints
    """(B,) drawn pairs of two clusters."""
    jaccard_edges: Floats
    """(J + 1,) of the bins of Jaccard distances; empty where there are none."""
    jaccard_within: Ints
    """(J,) pairs below distance 1 within clusters."""
    jaccard_between: Ints
    """(J,) pairs below distance 1 of two clusters, or with an outlier."""
    cameras: Ints
    """(C,) cameras of the training samples, without -1."""
    camera_sizes: Ints
    """(C,) their samples."""
    camera_neighbors: Ints
    """(C, C) ten nearest neighbours of samples of a camera, by their cameras."""
    camera_members: Ints
    """(C, C) other members of their clusters, by their cameras."""
    pair_query: Ints
    """(Q,) cameras of queries."""
    pair_gallery: Ints
    """(G,) cameras of gallery samples."""
    pair_hits: Ints
    """(Q, G) queries whose nearest in that camera is right."""
    pair_total: Ints
    """(Q, G) queries that have a match in that camera."""
    query_kind: NDArray[np.str_]
    """(K,) easiest, hardest or random."""
    query_ap: NDArray[np.float64]
    """(K,) average precision, NaN unknown."""
    query_name: NDArray[np.str_]
    """(K,) path of the query."""
    query_camid: Ints
    """(K,)"""
    answer_name: NDArray[np.str_]
    """(K, 10) paths of the nearest of the gallery, "" behind its end."""
    answer_camid: Ints
    """(K, 10)"""
    answer_mark: Ints
    """(K, 10) 1 right, 0 wrong, -1 unknown."""
    answer_distance: Floats
    """(K, 10) squared distances."""


def make_details(
    features: Floats,
    samples: Samples,
    labels: Ints,
    query: tuple[Floats, Samples] | None = None,
    gallery: tuple[Floats, Samples] | None = None,
    *,
    k1: int = 20,
    k2: int = 6,
    n_jobs: int | None = None,
) -> Details:
    """Compute what a report shows of features.

    Parameters
    ----------
    features : (N, D) float32
        Unit rows of the training samples.
    samples : Samples
        Their cameras and frames; identities mark right and wrong answers where there is no query set.
    labels : (N,) int64
        Clusters, -1 for outliers.
    query, gallery : (features, Samples), optional
        Test sets with identities. Without them, training samples are searched among each other.
    k1, k2 : int
        Of the Jaccard distance, see `reid_cluster.jaccard_graph`.
    n_jobs : int, optional
        Threads; all cores by default.

    Returns
    -------
    Details
        Deterministic: draws are seeded.

    Notes
    -----
    Two neighbour searches over the training samples (one in the Jaccard graph), one ranking of the queries.
    """
    to_center, near, near_distance, neighbors = spread(features, labels, n_jobs=n_jobs)
    pairs, gap = closest_clusters(features, labels, n_jobs=n_jobs)
    edges, within, between = distance_histograms(features, labels)
    jaccard = jaccard_histograms(features, labels, k1, k2, n_jobs=n_jobs)
    cameras = camera_tables(neighbors, samples.camid, labels)
    found: Searches
    if query is not None and gallery is not None:
        found = searches(*query, *gallery, n_jobs=n_jobs)
        by_camera = camera_pairs(*query, *gallery, n_jobs=n_jobs)
    else:
        found = searches(features, samples, features, samples, same_set=True, n_jobs=n_jobs)
        none = np.empty(0, np.int64)
        by_camera = none, none, np.empty((0, 0), np.int64), np.empty((0, 0), np.int64)
    return Details(
        middle_frames(samples), to_center, near, near_distance, pairs, gap, edges, within, between, *jaccard,
        *cameras, *by_camera, *found,  # type: ignore[arg-type]  # a tuple of unlike arrays
    )  # fmt: skip


def middle_frames(samples: Samples) -> Ints:
    """(N,) place of each sample's middle frame among the frames of all samples."""
    n = samples.n_frames
    return np.cumsum(n) - n + n // 2


def write_details(path: Path, details: Details) -> None:
    """Write as a compressed .npz."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **{f.name: getattr(details, f.name) for f in fields(details)})


def read_details(path: Path) -> Details | None:
    """Read what `write_details` wrote; None when there is no such file. Raises ValueError (file named) on another."""
    if not path.is_file():
        return None
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays: dict[str, Any] = {f.name: file[f.name] for f in fields(Details)}
    except (OSError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{printable(path)}: cannot be read ({error}); remove the file to go on without it") from None
    return Details(**arrays)

"""How much there is of what in a data set: pictures, identities, cameras, tracklets, times. No picture is opened."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reid.data.records import Dataset, Samples
from reid.data.twins import SPLITS

__all__ = ["count", "count_split", "tracklet_numbers"]

Ints = NDArray[np.int64]


def count(data: Dataset) -> dict[str, Any]:
    """Counts of a data set as plain JSON values: name, layout, notes, and `count_split` of each split."""
    splits = {split: getattr(data, split) for split in SPLITS}
    train, test = data.train.pid, [s.pid for s in (data.query, data.gallery) if s is not None]
    shared = np.intersect1d(train, np.concatenate([*test, np.empty(0, np.int64)]))
    return {
        "name": data.name,
        "layout": data.layout,
        "notes": list(data.notes),
        "splits": {split: count_split(samples) for split, samples in splits.items() if samples is not None},
        "identities_in_train_and_test": int((shared > 0).sum()),  # 0: distractors
    }


def count_split(samples: Samples) -> dict[str, Any]:
    """Counts of one split.

    Parameters
    ----------
    samples : Samples

    Returns
    -------
    dict
        rows, pictures (frames of all rows), identities, rows_without_identity, cameras, rows_without_camera, tracklets
        (also rows of several frames), rows_with_time, clocks, seconds (from first to last on the longest of the
        clocks; None without times). Quantiles, five numbers (least, quarter, median, three quarters, most) or None
        where there is nothing: pictures_of_identity, pictures_of_identity_in_camera, pictures_of_tracklet.
        identities_of_camera: [camera, pictures, identities] each; shared_identities: [camera, camera, identities that
        both have seen] of each two cameras that share some.
    """
    n = samples.n_frames
    known, placed = samples.pid >= 0, samples.camid >= 0
    pids, identity = np.unique(samples.pid[known], return_inverse=True)
    cameras, camera = np.unique(samples.camid[placed], return_inverse=True)
    both = known & placed
    pairs, pair = np.unique(np.column_stack([samples.pid, samples.camid])[both], axis=0, return_inverse=True)
    tracklet = tracklet_numbers(samples)
    timed = ~np.isnan(samples.start)
    seen = csr_array(
        (
            np.ones(len(pairs), np.int64),
            (np.searchsorted(pids, pairs[:, 0]), np.searchsorted(cameras, pairs[:, 1])),
        ),
        shape=(len(pids), len(cameras)),
    )
    together = (seen.T @ seen).tocoo()  # identities that two cameras share
    a, b, shared = together.row, together.col, together.data
    order = np.lexsort((b, a))
    of_camera = np.bincount(a[a == b], weights=shared[a == b], minlength=len(cameras)).astype(int)
    pictures = np.bincount(camera, weights=n[placed], minlength=len(cameras)).astype(int)
    return {
        "rows": len(samples),
        "pictures": int(n.sum()),
        "identities": len(pids),
        "rows_without_identity": int((~known).sum()),
        "cameras": len(cameras),
        "rows_without_camera": int((~placed).sum()),
        "tracklets": len(np.unique(tracklet[tracklet >= 0])),
        "rows_with_time": int(timed.sum()),
        "clocks": len(np.unique(samples.clock[timed])),
        "seconds": _longest(samples, timed),
        "pictures_of_identity": _quantiles(np.bincount(identity.ravel(), weights=n[known])),
        "pictures_of_identity_in_camera": _quantiles(np.bincount(pair.ravel(), weights=n[both])),
        "pictures_of_tracklet": _quantiles(_sums(tracklet, n)),
        "identities_of_camera": np.column_stack([cameras, pictures, of_camera]).tolist(),
        "shared_identities": [
            [int(cameras[a[k]]), int(cameras[b[k]]), int(shared[k])] for k in order.tolist() if a[k] < b[k]
        ],
    }


def tracklet_numbers(samples: Samples) -> Ints:
    """(N,) tracklet of each row; -1 none. A row of several frames is one, also without a number."""
    unnumbered = (samples.tracklet < 0) & (samples.n_frames > 1)
    last = int(samples.tracklet.max(initial=-1))
    return np.where(unnumbered, last + np.cumsum(unnumbered), samples.tracklet)


def _sums(group: Ints, weights: Ints) -> NDArray[Any]:
    rows = group >= 0
    return np.bincount(np.unique(group[rows], return_inverse=True)[1].ravel(), weights=weights[rows])


def _quantiles(values: NDArray[Any]) -> list[float] | None:
    return np.percentile(values, [0, 25, 50, 75, 100]).tolist() if len(values) else None


def _longest(samples: Samples, timed: NDArray[np.bool_]) -> float | None:
    if not timed.any():
        return None
    spans = [
        float(samples.end[rows].max() - samples.start[rows].min())
        for rows in (timed & (samples.clock == clock) for clock in np.unique(samples.clock[timed]))
    ]
    return max(spans)

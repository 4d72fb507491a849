"""The ranked list of every query, and what is read off it: rank of the first match, AP, INP, pairs by distance.

Lists are made for a block of queries at a time; nothing of size queries x gallery is held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.evaluation.protocols import Plan, Trial
from reid.evaluation.roc import PairCounts

__all__ = ["CameraCells", "Lists", "Progress", "rank"]

CELLS = 2**22
"""Entries of the lists that are held at once."""

Floats = NDArray[np.float64]
Progress = Callable[[int, int, str], None]


class Score(NamedTuple):
    """What one ranked list gives."""

    first: int
    """Rank of the first match, from 1."""
    ap: float
    ap_trapezoid: float
    inp: float


@dataclass(eq=False)
class CameraCells:
    """Sums over queries by camera of the query and camera of the gallery items that it searches."""

    cameras: NDArray[np.int64]
    n: Floats
    """(C, C) queries with a match there."""
    hits: Floats
    ap: Floats

    @classmethod
    def of(cls, camid: NDArray[np.int64]) -> CameraCells:
        """Empty, for the cameras that are known."""
        cameras = np.unique(camid[camid >= 0])
        n, hits, ap = (np.zeros((len(cameras), len(cameras))) for _ in range(3))
        return cls(cameras, n, hits, ap)

    def add(self, query: int, gallery: int, score: Score) -> None:
        """Count one query's list over the gallery items of one camera."""
        cell = tuple(np.searchsorted(self.cameras, [query, gallery]))
        self.n[cell] += 1
        self.hits[cell] += score.first == 1
        self.ap[cell] += score.ap


class Lists(NamedTuple):
    """Figures of each query of a trial, NaN without a match."""

    first: Floats
    ap: Floats
    ap_trapezoid: Floats
    inp: Floats


def rank(
    plan: Plan, trial: Trial, pairs: PairCounts, cells: CameraCells | None, *,
    distances: NDArray[np.float32] | None = None, n_jobs: int | None = None, progress: Progress | None = None,
) -> Lists:  # fmt: skip
    """Rank the gallery for each query and read the figures off; ties go to the smaller row.

    Parameters
    ----------
    plan, trial : Plan, Trial
        Features, identities and the rule; the rows that search and are searched.
    pairs : PairCounts
        Takes every pair that the rule leaves in.
    cells : CameraCells, optional
        Takes each query's list camera by camera.
    distances : (Q, G) float32, optional
        Rank by these, instead of squared Euclidean distances of the features.
    n_jobs : int, optional
        Threads; all cores by default.
    progress : callable, optional
        Called with (done, total, "ranking").

    Returns
    -------
    Lists
    """
    pid, camid = plan.samples.pid, plan.samples.camid
    g_pid, g_camid = pid[trial.gallery], camid[trial.gallery]
    out = Lists(*(np.full(len(trial.query), np.nan) for _ in Lists._fields))
    for lo, order, far in _blocks(plan, trial, distances, n_jobs):
        own = g_pid[order] == pid[trial.query[lo : lo + len(order)], None]  # (B, G) the query's identity, sorted
        pairs.add_different(far, own)
        for b in range(len(order)):
            q = trial.query[lo + b]
            at = np.flatnonzero(own[b])  # positions in the list
            gone = plan.left_out(np.full(len(at), q), trial.gallery[order[b, at]])
            hits, removed = at[~gone], at[gone]
            if not len(hits):
                continue
            pairs.add_same(far[b, hits])
            near = np.delete(far[b], removed) if len(removed) else far[b]
            hits = hits - np.searchsorted(removed, hits)
            for column, value in zip(out, _score(near, hits), strict=True):
                column[lo + b] = value
            if cells is not None and camid[q] >= 0:
                _by_camera(cells, int(camid[q]), np.delete(g_camid[order[b]], removed), near, hits)
        if progress is not None:
            progress(min(lo + len(order), len(out.ap)), len(out.ap), "ranking")
    return out


def _blocks(
    plan: Plan, trial: Trial, distances: NDArray[np.float32] | None, n_jobs: int | None
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """First query of a block, its lists (B, G) as positions in the gallery, and the distances in that order."""
    gallery = plan.features[trial.gallery] if distances is None else None
    size = max(1, CELLS // len(trial.gallery))
    for lo in range(0, len(trial.query), size):
        if gallery is not None:
            queries = plan.features[trial.query[lo : lo + size]]
            found = reid_cluster.knn(gallery, len(gallery), queries=queries, n_jobs=n_jobs)
            yield lo, found.indices, found.distances
        elif distances is not None:
            block = distances[lo : lo + size]
            order = np.argsort(block, axis=1, kind="stable")
            yield lo, order.astype(np.int32), np.take_along_axis(block, order, axis=1)


def _score(far: NDArray[np.float32], hits: NDArray[np.int64]) -> Score:
    """Score a list of ascending distances with matches at the positions `hits`.

    AP takes equal distances as one threshold: a match at distance d has the precision of all that is at most d away.
    """
    d = far[hits]
    reached, closer = np.searchsorted(far, d, side="right"), np.searchsorted(far, d, side="left")
    found, before = np.searchsorted(d, d, side="right"), np.searchsorted(d, d, side="left")
    after = found / reached
    earlier = np.where(closer == 0, 1.0, before / np.maximum(closer, 1))
    return Score(
        int(hits[0]) + 1, float(after.mean()), float((after + earlier).mean() / 2), len(hits) / (int(hits[-1]) + 1)
    )


def _by_camera(
    cells: CameraCells, query: int, camid: NDArray[np.int64], far: NDArray[np.float32], hits: NDArray[np.int64]
) -> None:
    """Count the list once for each camera with a match, over the items of that camera alone."""
    for camera in np.unique(camid[hits]):
        if camera >= 0:
            inside = np.flatnonzero(camid == camera)
            positions = np.searchsorted(inside, hits[camid[hits] == camera])
            cells.add(query, int(camera), _score(far[inside], positions))

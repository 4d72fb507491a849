"""A few ranked lists, and how often the first answer is right from camera to camera."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.data.records import Samples
from reid.evaluation.retrieval import query_cameras

__all__ = ["Searches", "camera_pairs", "searches"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

TOP = 10
EACH = 3
"""Queries of each kind."""


class Searches(NamedTuple):
    """See the fields of these names in `reid.report.details.Details`."""

    query_kind: NDArray[np.str_]
    query_ap: NDArray[np.float64]
    query_name: NDArray[np.str_]
    query_camid: Ints
    answer_name: NDArray[np.str_]
    answer_camid: Ints
    answer_mark: Ints
    answer_distance: Floats


def searches(
    query: Floats, asked: Samples, gallery: Floats, among: Samples, *, same_set: bool = False, n_jobs: int | None = None
) -> Searches:
    """Search a few queries: easiest and hardest by average precision, and random ones; seeded.

    With `same_set` queries and gallery are the same samples; a sample is not its own answer, and all queries are
    random, as average precision would take a test set.
    """
    ap = np.full(len(asked), np.nan)
    if not same_set:
        q_camids = query_cameras(asked)
        ap = reid_cluster.evaluate_features(
            query, gallery, asked.pid, among.pid, q_camids, among.camid, max_rank=1, n_jobs=n_jobs
        ).ap
    rows, kinds = _chosen(ap, 3 * EACH if same_set else EACH)
    shape = (len(rows), TOP)
    names = [[""] * TOP for _ in rows]
    camid, mark, distance = np.full(shape, -1), np.full(shape, -1), np.full(shape, np.nan, np.float32)
    for k, i in enumerate(rows):
        d = np.maximum(2 - 2 * (gallery @ query[i]), 0)  # unit rows
        out = np.zeros(len(among), bool)
        if same_set:
            out[i] = True
        elif asked.pid[i] >= 0:  # junk, and the query's own camera: the rule of Market-1501
            out = among.pid < 0
            out |= (among.pid == asked.pid[i]) & (among.camid == asked.camid[i]) & (asked.camid[i] >= 0)
        order = np.argsort(np.where(out, np.inf, d), kind="stable")[: min(TOP, int((~out).sum()))]
        for place, j in enumerate(order):
            names[k][place] = _shown(among, j)
            camid[k, place], distance[k, place] = among.camid[j], d[j]
            if asked.pid[i] >= 0 and among.pid[j] >= 0:
                mark[k, place] = int(asked.pid[i] == among.pid[j])
    return Searches(
        np.array(kinds, np.str_), ap[rows], np.array([_shown(asked, i) for i in rows], np.str_), asked.camid[rows],
        np.array(names, np.str_).reshape(shape), camid, mark, distance,
    )  # fmt: skip


def camera_pairs(
    query: Floats, asked: Samples, gallery: Floats, among: Samples, *, n_jobs: int | None = None
) -> tuple[Ints, Ints, Ints, Ints]:
    """Cameras of queries (Q,) and gallery (G,), and (Q, G) right first answers, and queries with a match there."""
    rows, columns = np.unique(asked.camid[asked.camid >= 0]), np.unique(among.camid[among.camid >= 0])
    hits, total = (np.zeros((len(rows), len(columns)), np.int64) for _ in range(2))
    for c, camera in enumerate(columns):
        part = np.flatnonzero((among.camid == camera) & (among.pid >= 0))
        able = np.flatnonzero(
            (asked.camid >= 0) & (asked.camid != camera) & (asked.pid >= 0) & np.isin(asked.pid, among.pid[part])
        )
        if not len(able):
            continue
        first = part[reid_cluster.knn(gallery[part], 1, queries=query[able], n_jobs=n_jobs).indices[:, 0]]
        place = np.searchsorted(rows, asked.camid[able])
        right = among.pid[first] == asked.pid[able]
        total[:, c] = np.bincount(place, minlength=len(rows))
        hits[:, c] = np.bincount(place[right], minlength=len(rows))
    return rows, columns, hits, total


def _chosen(ap: NDArray[np.float64], each: int) -> tuple[list[int], list[str]]:
    """Rows of easiest, hardest and random queries, each once, and what they are."""
    rng = np.random.default_rng(0)
    known = np.flatnonzero(~np.isnan(ap))
    order = known[np.argsort(ap[known], kind="stable")]
    kinds: dict[int, str] = {}
    if len(order):
        # Many queries tie at the best; those drawn are not always the first ones.
        ties = order[ap[order] == ap[order[-1]]]
        best = np.sort(rng.permutation(ties)[:each]) if len(ties) > each else order[::-1][:each]
        kinds = {int(i): "easiest" for i in best}
        for i in [int(i) for i in order if int(i) not in kinds][:each]:
            kinds[i] = "hardest"
    rest = [i for i in (known if len(known) else np.arange(len(ap))).tolist() if i not in kinds]
    kinds |= {int(i): "random" for i in np.sort(rng.permutation(rest)[:each]).astype(int)}
    return list(kinds), list(kinds.values())


def _shown(samples: Samples, i: int) -> str:
    frames = samples.frames[i]
    return frames[len(frames) // 2]

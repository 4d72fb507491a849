"""Retrieval with what cameras and clocks say of query and gallery (B. Xu et al.: arXiv 2205.03124, 2022).

In this order: TOC, what was seen at the same time as the query is another identity and goes behind everything else;
SCP, distances within a camera grow; STS, distances of pairs that an implausible time lies between grow.

Such figures are transductive: they use times and cameras of the query and gallery sets, which a search over pictures
alone has not. They stand beside the plain ones, never in their place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid.clustering.side import SideConfig, sts_factor, travel_times_of
from reid.clustering.travel_times import Moments, TravelTimes
from reid.config import TrainConfig
from reid.data.records import Samples
from reid.evaluation.retrieval import query_cameras

__all__ = ["check_side", "evaluate_side", "side_distances"]

Floats = NDArray[np.float32]

CELLS = 2**22
"""Distances held at once."""
BEHIND = np.float32(2.0**64)


def side_distances(
    distances: Floats, query: Samples, gallery: Samples, *, toc: bool = False, scp: float = 0.0,
    times: TravelTimes | None = None, strength: float = 0.6, decay: float = 8.0,
) -> Floats:  # fmt: skip
    """Put what cameras and clocks say into distances of queries and gallery.

    Parameters
    ----------
    distances : (Q, G) float32
        At least 0, but for rounding; not changed.
    query, gallery : Samples
        Their cameras, times and clocks; what is unknown changes nothing.
    toc : bool, default False
        Put gallery items whose time overlaps the query's behind all others of the row, in their own order: they are
        multiplied by 2^64, which keeps every digit. (The authors add 1000, which leaves three digits in float32.)
    scp : float, default 0
        Penalty of items of the query's camera (0.03).
    times : TravelTimes, optional
        Multiply by 1 + strength exp(-decay p); without, nothing.
    strength, decay : float
        lambda and gamma.

    Returns
    -------
    (Q, G) float32
        To be ranked; without `toc` also to be re-ranked by `reid_cluster.rerank_distances`.
    """
    result = np.array(distances, dtype=np.float32)
    sides = Moments.of(query), Moments.of(gallery)
    rows, columns = sides[0].take((slice(None), None)), sides[1].take((None, slice(None)))
    if scp:
        result += np.float32(scp) * ((rows.camid == columns.camid) & (rows.camid >= 0))
    if times is not None:
        result *= sts_factor(times.plausibility(rows, columns), strength, decay)
    if toc:
        known = np.isfinite(rows.time) & np.isfinite(columns.time) & (rows.clock == columns.clock)
        meets = (query.start[:, None] <= gallery.end) & (gallery.start <= query.end[:, None])
        # 2^-40 of the row's largest times 2^64 is more than the largest: even an item at distance 0 goes behind.
        least = np.maximum(result.max(axis=1, keepdims=True, initial=0.0) * np.float32(2.0**-40), np.float32(1e-30))
        result = np.where(known & meets, np.maximum(result, least) * BEHIND, result)
    return result


def evaluate_side(
    query_features: Floats, gallery_features: Floats, query: Samples, gallery: Samples, *, toc: bool = False,
    scp: float = 0.0, times: TravelTimes | None = None, strength: float = 0.6, decay: float = 8.0,
    n_jobs: int | None = None,
) -> dict[str, float]:  # fmt: skip
    """mAP and rank-1 of `query` searched in `gallery` with `side_distances` (see there) of squared distances.

    Rules as in `reid.evaluation.retrieval.evaluate_retrieval`. A block of queries at a time: never Q x G.

    Returns
    -------
    dict
        side_mAP, side_rank1.
    """
    q_camids = query_cameras(query)
    squares = np.square(gallery_features, dtype=np.float32).sum(axis=1)  # (G,)
    found = np.flatnonzero(_findable(query.pid, q_camids, gallery))
    size = max(1, CELLS // max(1, len(gallery)))
    total, first, n_valid = 0.0, 0.0, 0
    for lo in range(0, len(found), size):
        block = found[lo : lo + size]
        x, part = query_features[block], query.take(block)
        distances = np.maximum(np.square(x).sum(1)[:, None] + squares - 2 * (x @ gallery_features.T), 0)
        distances = side_distances(
            distances, part, gallery, toc=toc, scp=scp, times=times, strength=strength, decay=decay
        )
        ranking = reid_cluster.evaluate_rank(
            distances, part.pid, gallery.pid, q_camids[block], gallery.camid, max_rank=1, n_jobs=n_jobs
        )
        total += float(np.nansum(ranking.ap))
        first += float(ranking.cmc[0]) * ranking.n_valid
        n_valid += ranking.n_valid
    return {"side_mAP": total / n_valid, "side_rank1": first / n_valid}


def _findable(pid: NDArray[np.int64], camid: NDArray[np.int64], gallery: Samples) -> NDArray[np.bool_]:
    """(Q,) queries whose identity is in the gallery in another camera; a block without any would be an error."""
    seen = np.unique(np.column_stack([gallery.pid, gallery.camid]), axis=0)  # each identity's cameras
    pids, cameras = np.unique(seen[:, 0], return_counts=True)
    of_pid = dict(zip(pids.tolist(), cameras.tolist(), strict=True))
    pairs = set(map(tuple, seen.tolist()))
    own = zip(pid.tolist(), camid.tolist(), strict=True)
    return np.array([p >= 0 and of_pid.get(p, 0) > ((p, c) in pairs) for p, c in own], dtype=bool)


def check_side(config: TrainConfig, train: Samples, query: Samples | None, gallery: Samples | None) -> None:
    """Refuse settings that ask for times or cameras which the data lack. Raises ValueError."""
    asked = {name: bool(getattr(config, name)) for name in ("toc_test", "scp_test", "sts_test")}
    first = next((name for name, value in asked.items() if value), None)
    if first is None:
        return
    if query is None or gallery is None:
        raise ValueError(f"{first}: is for retrieval, but these data have no query and gallery with identities")
    own_table = isinstance(config, SideConfig) and bool(config.sts_table)
    if asked["sts_test"] and own_table:
        travel_times_of(config, train, np.empty(0, np.int64))  # is the file good?
    sets = {"query": query, "gallery": gallery}
    if asked["sts_test"] and not own_table:
        sets["training"] = train
    for name, samples in sets.items():
        for setting in ("scp_test", "sts_test"):
            if asked[setting] and (samples.camid < 0).all():
                raise ValueError(f"{setting}: needs camera ids; the {name} set has none")
        for setting in ("toc_test", "sts_test"):
            if asked[setting] and np.isnan(Moments.of(samples).time).all():
                raise ValueError(f"{setting}: needs the times at which pictures were taken; the {name} set has none")

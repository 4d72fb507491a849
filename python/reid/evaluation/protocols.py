"""Who searches whom, and which pictures of the query's own identity do not count: the protocols of retrieval.

A protocol makes lists of query rows and gallery rows of one table, and a rule. The rule names pairs of one identity
that are left out: neither right nor wrong, as if the picture were not in the gallery. Pictures of other identities
always stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.data.records import Samples
from reid.evaluation.settings import EvalConfig
from reid.feature_table import FeatureTable

__all__ = ["Plan", "Trial", "make_plan"]

_UNIT = 2e-3
"""Norms this near 1 are 1 but for the rounding of half precision."""

Rows = NDArray[np.int64]
Rule = Callable[[Rows, Rows], NDArray[np.bool_]]
"""Of pairs (i, j) of rows of one identity: is j left out when i searches?"""


@dataclass(frozen=True, eq=False)
class Trial:
    """One search: rows of the plan's table, junk and unknown identities left out."""

    query: Rows
    gallery: Rows


@dataclass(frozen=True, eq=False)
class Plan:
    """Searches to be averaged over."""

    protocol: str
    features: NDArray[np.float32]
    """(N, D), unit rows."""
    samples: Samples
    names: list[str]
    """(N,) for people."""
    trials: list[Trial]
    left_out: Rule
    notes: list[str]


def make_plan(table: FeatureTable, config: EvalConfig) -> Plan:
    """Set up the searches of `config.protocol` over a table's query and gallery rows.

    A table without both sets is one set: each row with an identity searches all others. Features are brought to unit
    length, so squared Euclidean distances rank as the cosine does.

    Raises
    ------
    ValueError
        No identities; times or tracklets that the protocol needs are missing.
    """
    notes: list[str] = []
    if not (table.samples.pid >= 0).any():
        raise ValueError("identities: none are known, so nothing can be evaluated; give --data with identities")
    norms = _norms(table.features)
    if (abs(norms - 1) > _UNIT).any():
        notes.append("Features were brought to unit length.")
    features, samples, names, split = table.features / norms[:, None], table.samples, table.names(), table.split
    if config.protocol == "tracklet":
        before = len(samples)
        features, samples, names, split = _pooled(features, samples, names, split)
        notes.append(f"{before:,} rows pooled to {len(samples):,} tracklets, query and gallery each by itself.")
    is_query, is_gallery = split == "query", split == "gallery"
    if not is_query.any() or not is_gallery.any():
        notes.append("The features have no query and gallery: every row searches all others.")
        is_query = is_gallery = np.ones(len(samples), dtype=bool)
    known = samples.pid >= 0
    code = _codes(samples)
    protocol = config.protocol
    if protocol == "auto":
        seen = (samples.camid >= 0) & known
        protocol = "cross-camera" if (seen & is_query).any() and (seen & is_gallery).any() else "any-camera"
    if protocol in ("leave-one-out", "vehicleid"):
        pool = np.flatnonzero(is_query | is_gallery)
        pool = pool[np.sort(np.unique(code[pool], return_index=True)[1])]  # a picture in both sets counts once
        is_query = is_gallery = np.isin(np.arange(len(samples)), pool)
    for name, side in (("queries", is_query), ("gallery rows", is_gallery)):
        unknown = int((side & ~known).sum())
        if unknown:
            notes.append(f"{unknown:,} {name} without identity (junk) left out.")
    query, gallery = np.flatnonzero(is_query & known), np.flatnonzero(is_gallery & known)
    if protocol == "vehicleid":
        trials = _draws(samples.pid, query, config)
        notes.append(f"Means over {config.draws} draws of one gallery picture an identity, seed {config.seed}.")
    else:
        trials = [Trial(query, gallery)]
    if protocol == "time-gap":
        _check_times(samples.take(np.union1d(query, gallery)))
    rule = _rule(protocol, samples, code, config.min_gap)
    return Plan(protocol, features, samples, names, trials, rule, notes)


def _rule(protocol: str, samples: Samples, code: Rows, min_gap: float) -> Rule:
    camid, start, end, tracklet = samples.camid, samples.start, samples.end, samples.tracklet

    def itself(i: Rows, j: Rows) -> NDArray[np.bool_]:
        return code[i] == code[j]

    def camera(i: Rows, j: Rows) -> NDArray[np.bool_]:
        return ((camid[i] == camid[j]) & (camid[i] >= 0)) | itself(i, j)  # two unknown cameras are not one camera

    def near(i: Rows, j: Rows) -> NDArray[np.bool_]:
        return (np.maximum(start[j] - end[i], start[i] - end[j]) <= min_gap) | itself(i, j)

    def piece(i: Rows, j: Rows) -> NDArray[np.bool_]:
        return camera(i, j) | ((tracklet[i] == tracklet[j]) & (tracklet[i] >= 0))

    return {"cross-camera": camera, "time-gap": near, "tracklet": piece}.get(protocol, itself)


def _draws(pid: Rows, pool: Rows, config: EvalConfig) -> list[Trial]:
    rng = np.random.default_rng(config.seed)
    trials = []
    for _ in range(config.draws):
        shuffled = rng.permutation(pool)
        gallery = np.sort(shuffled[np.unique(pid[shuffled], return_index=True)[1]])
        trials.append(Trial(np.setdiff1d(pool, gallery), gallery))
    return trials


def _codes(samples: Samples) -> Rows:
    """(N,) the same number for the same picture (or the same frames)."""
    number: dict[tuple[str, ...], int] = {}
    return np.array([number.setdefault(frames, len(number)) for frames in samples.frames], dtype=np.int64)


def _check_times(samples: Samples) -> None:
    without = int((np.isnan(samples.start) | np.isnan(samples.end)).sum())
    if without:
        raise ValueError(
            f"protocol=time-gap: {without:,} of {len(samples):,} test rows have no time; give a table with time_start"
        )
    clocks = np.unique(samples.clock)
    if len(clocks) > 1 or clocks[0] < 0:
        said = f"come from {len(clocks)} clocks" if clocks[0] >= 0 else "come from clocks that are not known"
        raise ValueError(
            f"protocol=time-gap: the times {said} and can't be compared; give a table whose column clock is one "
            "number from 0, or another protocol"
        )


def _pooled(
    features: NDArray[np.float32], samples: Samples, names: list[str], split: NDArray[np.str_]
) -> tuple[NDArray[np.float32], Samples, list[str], NDArray[np.str_]]:
    """Rows of one tracklet and one split joined: the mean of their features, brought to unit length."""
    if (samples.tracklet < 0).all() and (samples.n_frames == 1).all():
        raise ValueError("protocol=tracklet: no row has a tracklet; give data with tracklets, or another protocol")
    parts, means, kept, splits = [], [], [], []
    for name in dict.fromkeys(split.tolist()):
        rows = np.flatnonzero(split == name)
        group = _groups(samples.tracklet[rows])  # numbered by first row, as by_tracklet orders them
        part = samples.take(rows).by_tracklet()
        sums = np.zeros((len(part), features.shape[1]), dtype=np.float64)
        np.add.at(sums, group, features[rows])
        mean = (sums / np.bincount(group)[:, None]).astype(np.float32)
        means.append(mean / _norms(mean)[:, None])
        first = np.sort(np.unique(group, return_index=True)[1])
        kept += [names[i] for i in rows[first]]
        splits += [name] * len(part)
        parts.append(part)
    return np.concatenate(means), _joined(parts), kept, np.array(splits)


def _groups(tracklet: Rows) -> Rows:
    alone = -2 - np.arange(len(tracklet))
    number: dict[int, int] = {}
    own = np.where(tracklet >= 0, tracklet, alone).tolist()
    return np.array([number.setdefault(value, len(number)) for value in own], dtype=np.int64)


def _joined(parts: list[Samples]) -> Samples:
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("pid", "camid", "tracklet", "start", "end", "clock")
    }
    return Samples(frames=tuple(row for part in parts for row in part.frames), **columns)


def _norms(features: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = np.einsum("nd,nd->n", features, features, dtype=np.float64)
    return np.maximum(np.sqrt(squares), 1e-12).astype(np.float32)

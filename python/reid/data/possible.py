"""What can be done with a data set: which ways to evaluate, which constraints and flags; and what is missing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.data.counts import tracklet_numbers
from reid.data.records import Dataset, Samples

__all__ = ["Possibility", "constraints", "protocols"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Possibility:
    """Something that can or cannot be done with the data."""

    name: str
    possible: bool
    why: str
    """What it would work on, or what is missing."""


def protocols(data: Dataset) -> list[Possibility]:
    """Which protocols of evaluation can be used, and on how many queries: those with a right answer.

    Parameters
    ----------
    data : Dataset
        Where it has no query and gallery, its training set searches itself.

    Returns
    -------
    list of Possibility
        cross-camera, any-camera, leave-one-out, vehicleid, time-gap, tracklet.
    """
    query, gallery = (
        (data.train, data.train) if data.query is None or data.gallery is None else (data.query, data.gallery)
    )
    sides = "training set" if data.query is None else "query and gallery sets"
    names = ("cross-camera", "any-camera", "leave-one-out", "vehicleid", "time-gap", "tracklet")
    if not ((query.pid >= 0).any() and (gallery.pid >= 0).any()):
        return [Possibility(name, False, f"no identities in the {sides}") for name in names]
    there = set(gallery.frames)
    own = np.array([frames in there for frames in query.frames], dtype=np.int64)  # finds itself, which does not count
    anywhere = _matches(query, gallery, []) - own > 0
    # Rows of one known camera do not count, nor does the row itself; two unknown cameras are not one.
    nearby = np.where(query.camid >= 0, _matches(query, gallery, ["camid"]), own)
    across = _matches(query, gallery, []) - nearby > 0
    both = dict(zip(query.frames + gallery.frames, np.concatenate([query.pid, gallery.pid]).tolist(), strict=True))
    _, sizes = np.unique([pid for pid in both.values() if pid >= 0], return_counts=True)
    pooled = int(sizes[sizes > 1].sum())
    many = f"{pooled} pictures of {int((sizes > 1).sum())} identities with two or more"
    known = int((query.camid >= 0).sum())
    cameras = len(np.unique(np.concatenate([s.camid[s.camid >= 0] for s in (query, gallery)])))
    clocks = np.unique(np.concatenate([s.clock[~np.isnan(s.start)] for s in (query, gallery)]))
    timed = not any(np.isnan(s.start).any() for s in (query, gallery))
    in_tracklets = any((tracklet_numbers(s) >= 0).any() for s in (query, gallery))
    crossing = bool(across.any()) and cameras > 1 and known > 0
    no_cross = "no query has its identity in another camera" if cameras > 1 else f"{cameras or 'no'} known cameras"
    of = f"of {len(query)} queries have a match"
    found = [
        (crossing, f"{int(across.sum())} {of}", no_cross),
        (anywhere.any(), f"{int(anywhere.sum())} {of}", "no query has its identity in the gallery"),
        (pooled, many, "no identity with two pictures"),
        (pooled, many, "no identity with two pictures"),
        (anywhere.any() and timed and len(clocks) == 1 and clocks[0] >= 0, f"{int(anywhere.sum())} {of} at some time",
         "rows without times" if not timed else "times of several clocks, or of none that is known"),
        (crossing and in_tracklets, f"by the rule of cross-camera, {int(across.sum())} {of}",
         no_cross if in_tracklets else "no tracklets"),
    ]  # fmt: skip
    return [
        Possibility(name, bool(ok), why if ok else lack) for name, (ok, why, lack) in zip(names, found, strict=True)
    ]


def _matches(query: Samples, gallery: Samples, same: list[str]) -> Ints:
    """(Q,) gallery rows of the query's identity that also agree in the columns `same`."""
    keys = [np.column_stack([getattr(side, name) for name in ("pid", *same)]) for side in (query, gallery)]
    number = np.unique(np.concatenate(keys), axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(number[len(query) :], minlength=int(number.max()) + 1)
    return np.where(query.pid >= 0, counts[number[: len(query)]], 0)


def constraints(data: Dataset) -> list[Possibility]:
    """Which knowledge of cameras, times and tracklets training and retrieval can use, by the flags that use it.

    Parameters
    ----------
    data : Dataset

    Returns
    -------
    list of Possibility
    """
    train = data.train
    cameras = len(np.unique(train.camid[train.camid >= 0]))
    unknown = int((train.camid < 0).sum())
    some = f" ({unknown} of {len(train)} rows without)" if unknown and cameras else ""
    tracklet = tracklet_numbers(train)
    n_tracklets = len(np.unique(tracklet[tracklet >= 0]))
    sizes = np.bincount(np.unique(tracklet, return_inverse=True)[1].ravel(), weights=train.n_frames)
    long = int((sizes[-n_tracklets:] > 1).sum()) if n_tracklets else 0
    frame, overlap = (_at_once(train, tracklet, own) for own in (True, False))
    shared = _clock_of_cameras(train)
    times = "no times" if np.isnan(train.start).all() else None
    no_clock = times or "no two cameras share a clock: give --clock-offsets"
    found = [
        ("camera rule (--same-camera, --center-cameras, --scp)", cameras > 1,
         f"{cameras} cameras{some}", f"{'one camera' if cameras else 'no cameras'}; two are needed"),
        ("tracklets (--instances tracklet, rule same-tracklet)", long > 0,
         f"{n_tracklets} tracklets, {long} of two or more pictures", "no tracklets of two or more pictures"),
        ("same frame (--constraints, rule same-frame)", frame > 0,
         f"{frame} pairs of one camera and moment", times or "no two pictures of one camera and moment"),
        ("time overlap (--toc, rule time-overlap)", overlap > 0,
         f"{overlap} pairs, of different tracklets", times or "nothing was seen at one moment of one clock"),
        ("travel times (--sts, rule min-travel-time)", shared > 1,
         f"{shared} cameras on one clock", no_clock if cameras > 1 else f"{cameras or 'no'} cameras"),
    ]  # fmt: skip
    query, gallery = data.query, data.gallery
    if query is not None and gallery is not None:
        timed = all((~np.isnan(s.start)).any() for s in (query, gallery))
        placed = all((s.camid >= 0).any() for s in (query, gallery))
        found += [
            ("retrieval with times (--toc-test)", timed, "query and gallery have times",
             "query or gallery without times"),
            ("retrieval with cameras (--scp-test)", placed, "query and gallery have cameras",
             "query or gallery without cameras"),
            ("retrieval with travel times (--sts-test)", timed and placed and shared > 1,
             f"{shared} cameras on one clock", no_clock if placed else "query or gallery without cameras"),
        ]  # fmt: skip
    negatives = max(frame, overlap)
    lacking = [word for word, there in (("tracklets", long), ("pictures of one moment", negatives)) if not there]
    found.append(
        ("probability of one identity (reid-search)", long > 0 and negatives > 0,
         f"fitted on {long} tracklets and {negatives} pairs of one moment", f"no {' and no '.join(lacking)}")
    )  # fmt: skip
    return [Possibility(name, bool(ok), there if ok else lack) for name, ok, there, lack in found]


def _at_once(samples: Samples, tracklet: Ints, same_camera: bool) -> int:
    """Pairs of rows that were seen at one moment by one clock (and camera), and are not of one tracklet."""
    rows = ~np.isnan(samples.start) & (samples.clock >= 0)
    keys = [samples.clock[rows]]
    if same_camera:
        rows &= samples.camid >= 0
        keys = [samples.clock[rows], samples.camid[rows]]
    start, end = samples.start[rows], samples.end[rows]
    pairs = _overlaps(np.column_stack(keys), start, end)
    numbered = tracklet[rows] >= 0
    keys.append(tracklet[rows])
    return pairs - _overlaps(np.column_stack(keys)[numbered], start[numbered], end[numbered])


def _overlaps(keys: Ints, start: NDArray[np.float64], end: NDArray[np.float64]) -> int:
    """Pairs of rows with equal keys whose times overlap, ends included; counted, not listed."""
    if not len(start):
        return 0
    group = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    pairs = 0
    order = np.lexsort((start, group))
    for part in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        begun = np.searchsorted(start[part], end[part], side="right")  # rows that have begun when this one ends
        pairs += int((begun - np.arange(1, len(part) + 1)).sum())
    return pairs


def _clock_of_cameras(samples: Samples) -> int:
    """Most cameras whose times are of one clock."""
    rows = (samples.camid >= 0) & (samples.clock >= 0) & ~np.isnan(samples.start)
    pairs = np.unique(np.column_stack([samples.clock, samples.camid])[rows], axis=0)
    return int(np.unique(pairs[:, 0], return_counts=True)[1].max(initial=0))

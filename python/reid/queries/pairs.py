"""Pairs that are one identity, and pairs that are two, told by tracks and clocks alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.clustering.rules import overlap_part
from reid.data.records import Samples

__all__ = ["KnownPairs", "known_pairs"]

Pairs = NDArray[np.int64]

MOST_SAME, MOST_DIFFERENT = 20_000, 200_000
"""Pairs drawn at most."""
MOST_TRACKS = 50_000
"""Tracks whose times are compared at most."""


class KnownPairs(NamedTuple):
    """Pairs of rows."""

    same: Pairs
    """(P, 2) other pictures of one tracklet."""
    different: Pairs
    """(M, 2) pictures of two tracklets, or of none, that were seen at one time."""
    track: NDArray[np.int64]
    """(N,) number of each row's tracklet; a row without one has a number of its own."""
    met: int
    """Pairs of tracks that `different` was drawn from."""


def known_pairs(samples: Samples, exempt: list[tuple[int, int]], seed: int) -> KnownPairs:
    """Draw pairs that are sure to be one identity or two.

    A tracklet shows one identity from its first to its last picture, so two of them whose times overlap are two,
    but for cameras that see one place (`exempt`).

    Raises
    ------
    ValueError
        A tracklet holds two cameras or two clocks.
    """
    rng = np.random.default_rng(seed)
    tracks = samples.without_pid().by_tracklet()
    n = len(samples)
    key = np.where(samples.tracklet >= 0, samples.tracklet, samples.tracklet.max(initial=-1) + 1 + np.arange(n))
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))  # in the order of first members, as by_tracklet has it
    track = number[which]
    order, size = np.argsort(track, kind="stable"), np.bincount(track)
    start = np.cumsum(size) - size

    several = np.flatnonzero(size > 1)
    same = np.empty((0, 2), np.int64)
    if len(several):
        # Each tracklet is as likely as any other: long ones would have nearly all pairs.
        t = rng.choice(several, MOST_SAME)
        a = rng.integers(size[t])
        b = (a + 1 + rng.integers(size[t] - 1)) % size[t]
        same = _each_once(order[start[t] + a], order[start[t] + b])

    chosen = np.arange(len(size))
    if len(chosen) > MOST_TRACKS:
        chosen = np.sort(rng.choice(chosen, MOST_TRACKS, replace=False))
    met = _meetings(tracks, chosen, exempt, rng)
    different = np.empty((0, 2), np.int64)
    if len(met):
        t, u = met[rng.integers(len(met), size=MOST_DIFFERENT)].T
        different = _each_once(order[start[t] + rng.integers(size[t])], order[start[u] + rng.integers(size[u])])
    return KnownPairs(same, different, track, len(met))


def _meetings(
    tracks: Samples, chosen: NDArray[np.int64], exempt: list[tuple[int, int]], rng: np.random.Generator
) -> Pairs:
    """Pairs of tracks seen at one time; of fewer tracks where they are too many."""
    while True:
        try:
            found = overlap_part("time overlap", tracks.take(chosen), exempt=exempt).cannot
        except MemoryError:
            chosen = np.sort(rng.choice(chosen, len(chosen) // 2, replace=False))
            continue
        return chosen[found]


def _each_once(i: NDArray[np.int64], j: NDArray[np.int64]) -> Pairs:
    return np.unique(np.sort(np.column_stack([i, j]), axis=1), axis=0)

"""Which rows are drawn: samplers yield int64 arrays of positions in `Samples` and own their generator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


class Shuffled:
    """Plain random sampling in epochs: each epoch is a new permutation, its last incomplete batch is dropped.

    Iterating is endless and goes on where the last iteration's generator stood; `len` is the number of
    batches an epoch. With fewer positions than `batch_size` a batch holds whole permutations one after the
    other (rows repeat) and an epoch is one batch.

    Parameters
    ----------
    positions : int array (n,)
        Rows of `Samples` to draw from, n >= 1.
    batch_size : int
        Rows a batch, >= 1.
    rng : numpy.random.Generator
        Its state is all the state there is.

    Raises
    ------
    ValueError
        No positions, or a batch size below 1.
    """

    def __init__(self, positions: Int, batch_size: int, rng: np.random.Generator) -> None:
        self.positions = np.array(positions, dtype=np.int64)
        if self.positions.ndim != 1 or not len(self.positions):
            raise ValueError(f"positions has shape {self.positions.shape}: at least one row is needed to draw from")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1")
        self.batch_size = int(batch_size)
        self.rng = rng

    def __len__(self) -> int:
        return max(1, len(self.positions) // self.batch_size)

    def __iter__(self) -> Iterator[Int]:
        n, size = len(self.positions), self.batch_size
        while True:
            rounds = -(-size // n)
            order = np.concatenate([self.rng.permutation(self.positions) for _ in range(rounds)])
            for k in range(len(self)):
                yield order[k * size : (k + 1) * size]


def draw_frames(pictures_first: Int, index: Int, frames: int, rng: np.random.Generator) -> Int:
    """Draw the same number of frames of each sample (BUC's training samples: 16 frames of a tracklet).

    Parameters
    ----------
    pictures_first : int64 array (N + 1,)
        `Pictures.first`: the frames of sample i are the rows first[i]:first[i + 1].
    index : int array (B,)
        Samples.
    frames : int
        Frames to draw of each, without replacement; with replacement from a sample that has fewer. >= 1.
    rng : numpy.random.Generator

    Returns
    -------
    int64 array (B, frames)
        Frames as `Pictures.rows` counts them, ascending in each row.
    """
    begin, count = _frames_of(pictures_first, index, frames)
    if frames == 1:
        return (begin + rng.integers(0, count))[:, None]
    drawn = [rng.choice(n, size=frames, replace=n < frames) for n in count.tolist()]
    return begin[:, None] + np.sort(np.asarray(drawn, dtype=np.int64).reshape(len(begin), frames), axis=1)


def draw_window(
    pictures_first: Int, index: Int, frames: int, rng: np.random.Generator, *, reach_last: bool = True
) -> Int:
    """Draw a window of consecutive frames of each sample; one that has too few is gone through again and again.

    Parameters
    ----------
    pictures_first : int64 array (N + 1,)
        `Pictures.first`.
    index : int array (B,)
        Samples.
    frames : int
        Length of the window, >= 1.
    rng : numpy.random.Generator
        One draw a sample: where its window begins, uniform.
    reach_last : bool, default True
        Let windows of a longer sample end on its last frame. False: they end before it, as in the code of many video
        methods, which never show a network the last frame of a tracklet longer than the window.

    Returns
    -------
    int64 array (B, frames)
        Frames as `Pictures.rows` counts them.
    """
    begin, count = _frames_of(pictures_first, index, frames)
    last = np.maximum(0, count - frames - (not reach_last))  # (B,) latest begin
    start = rng.integers(0, last + 1)
    window = np.arange(frames) % np.minimum(frames, count - start)[:, None]  # (B, frames)
    return (begin + start)[:, None] + window


def _frames_of(pictures_first: Int, index: Int, frames: int) -> tuple[Int, Int]:
    """First frame and number of frames of each sample in `index`."""
    if frames < 1:
        raise ValueError(f"frames={frames}: must be at least 1")
    index = np.asarray(index, dtype=np.int64)
    begin = pictures_first[index]
    return begin, pictures_first[index + 1] - begin


class ClusterBatches:
    """P x K batches: K members of each cluster, the partners of the first from other cameras where there are any.

    A pass visits the clusters in random order. Of each it draws an anchor, then K - 1 partners among the members that
    another camera took (among all others where there are none, or `camid` is None): without repeats when there are
    enough, else with. A cluster of one emits its only member once. Passes follow each other without a gap, batches are
    cut from that stream: one batch may hold the end of a pass and the start of the next, and clusters that are too few
    for a batch come again in it.

    Iterating is endless and goes on where the generator stood; `len` is the number of batches a pass, at least 1.

    Parameters
    ----------
    labels : int array (N,)
        Cluster of each row of `Samples`; rows with a negative label are not drawn.
    batch_size : int
        Rows a batch, >= 1. A multiple of K keeps the members of a cluster in one batch.
    instances : int
        K, members of a cluster, >= 1.
    rng : numpy.random.Generator
        Its state is all the state there is.
    camid : int array (N,), optional
        Camera of each row; negative: unknown, a camera of its own.

    Raises
    ------
    ValueError
        No row has a cluster, or a number is out of range.

    References
    ----------
    Dai et al., "Cluster Contrast for Unsupervised Person Re-Identification", 2021, and its code. There a last
    incomplete batch of a pass is dropped, and K partners are needed for a draw without repeats.
    """

    def __init__(
        self, labels: Int, batch_size: int, instances: int, rng: np.random.Generator, camid: Int | None = None
    ) -> None:
        if batch_size < 1 or instances < 1:
            raise ValueError(f"batch_size={batch_size}, instances={instances}: must be at least 1")
        rows = np.flatnonzero(labels >= 0).astype(np.int64)
        if not len(rows):
            raise ValueError(f"labels: none of {len(labels)} samples has a cluster to draw from")
        order = rows[np.argsort(labels[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
        self.clusters = np.split(order, starts[1:])
        self.camid = camid
        self.batch_size, self.instances, self.rng = int(batch_size), int(instances), rng
        self._pass = sum(instances if len(members) > 1 else 1 for members in self.clusters)

    def __len__(self) -> int:
        return max(1, self._pass // self.batch_size)

    def __iter__(self) -> Iterator[Int]:
        kept = np.empty(0, dtype=np.int64)
        while True:
            drawn = [kept]
            for c in self.rng.permutation(len(self.clusters)):
                drawn.append(self._draw(self.clusters[c]))
            kept = np.concatenate(drawn)
            while len(kept) >= self.batch_size:
                yield kept[: self.batch_size]
                kept = kept[self.batch_size :]

    def _draw(self, members: Int) -> Int:
        anchor = members[self.rng.integers(len(members))]
        others = members[members != anchor]
        if not len(others) or self.instances == 1:
            return members[members == anchor]
        if self.camid is not None:
            away = others[(self.camid[others] != self.camid[anchor]) | (self.camid[others] < 0)]
            others = away if len(away) else others
        wanted = self.instances - 1
        return np.append(anchor, self.rng.choice(others, size=wanted, replace=len(others) < wanted))

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
        Rows of `Pictures.frames`, ascending in each row.
    """
    if frames < 1:
        raise ValueError(f"frames={frames}: must be at least 1")
    index = np.asarray(index, dtype=np.int64)
    begin = pictures_first[index]  # (B,)
    count = pictures_first[index + 1] - begin  # (B,)
    if frames == 1:
        return (begin + rng.integers(0, count))[:, None]
    drawn = [rng.choice(n, size=frames, replace=n < frames) for n in count.tolist()]
    return begin[:, None] + np.sort(np.asarray(drawn, dtype=np.int64).reshape(len(index), frames), axis=1)

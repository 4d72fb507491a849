"""How many pairs of one identity are found at a given rate of false ones: ROC, by a histogram of distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["FPR", "PairCounts"]

FPR = (1e-2, 1e-3, 1e-4)

_SHIFT = 10
_BINS = 2 ** (31 - _SHIFT)


class PairCounts:
    """Pairs of one identity, and of two, by distance.

    A bin is what the first 13 binary digits of a float32 tell apart, so bins are 1/8192 of the distance wide or
    less. Counts are exact, at the edges of bins: one pass over the pairs, 32 MB whatever their number.
    """

    def __init__(self) -> None:
        self.same = np.zeros(_BINS, dtype=np.int64)
        self.different = np.zeros(_BINS, dtype=np.int64)

    def add_same(self, distances: NDArray[np.float32]) -> None:
        """Count pairs of one identity, at distances of at least 0."""
        np.add.at(self.same, _bins(distances), 1)

    def add_different(self, distances: NDArray[np.float32], own: NDArray[np.bool_]) -> None:
        """Count those pairs of a block that are not `own`, of one identity."""
        self.different += np.bincount(_bins(distances).ravel(), minlength=_BINS)
        np.subtract.at(self.different, _bins(distances[own]), 1)

    def tpr(self, fpr: float) -> float:
        """Share of the pairs of one identity that are accepted by the widest threshold with a false rate up to `fpr`.

        Returns
        -------
        float
            NaN where there are fewer than 1 / `fpr` pairs of two identities: none may be accepted, which says little.
        """
        allowed = fpr * self.different.sum()
        if allowed < 1 or not self.same.any():
            return float("nan")
        accepted = np.searchsorted(np.cumsum(self.different), allowed, side="right")  # bins below the threshold
        return float(self.same[:accepted].sum() / self.same.sum())


def _bins(distances: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Positive floats sort as their bits do; -0 becomes 0."""
    return (np.asarray(distances, dtype=np.float32) + np.float32(0)).view(np.uint32) >> np.uint32(_SHIFT)

"""How long it takes from one camera to another, learned from clusters: is it plausible that two pictures show one
identity?

    p(i, j) = table[camera of the later][camera of the earlier][floor(|t_i - t_j| / bin_width)]

Each row of the table is a smoothed histogram of the times that clusters took from one camera to another (st-ReID: Wang,
Lai, Huang, Xie: Spatial-Temporal Person Re-identification, AAAI 2019, with pseudo labels in place of identities). A
constant error of a camera's clock shifts its rows and harms nothing.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from reid.data.records import Samples
from reid.files import atomic_path

__all__ = ["Moments", "TravelTimes", "learn_travel_times", "read_travel_times", "write_travel_times"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BINS = 4096
"""Most bins of an automatic table."""
CELLS = 2**24
"""Most entries of an automatic table, except that it has 64 bins at least."""


class Moments(NamedTuple):
    """Where and when samples were seen."""

    camid: Ints
    """(N,) camera, -1 unknown."""
    time: Floats
    """(N,) middle of the time they were seen in, seconds, NaN unknown."""
    clock: Ints
    """(N,) what `time` was read from; only times of one clock are compared."""

    @classmethod
    def of(cls, samples: Samples) -> Moments:
        """Those of samples. Where no sample names its clock they share one; else one without has no time."""
        named = samples.clock >= 0
        time = samples.start + (samples.end - samples.start) / 2
        return cls(samples.camid, np.where(named | ~named.any(), time, np.nan), samples.clock)

    def take(self, index: NDArray[np.integer] | tuple[slice | None, ...]) -> Moments:
        """Those at `index`; broadcasting indices as `(slice(None), None)` are allowed."""
        return Moments(self.camid[index], self.time[index], self.clock[index])


@dataclass(frozen=True, eq=False)
class TravelTimes:
    """A table of plausibilities p.

    Parameters
    ----------
    table : (M, M, B) float32
        p at 0 or more by the camera of the later, the camera of the earlier, and the bin of the time between them;
        infinite: nothing is known of these two cameras.
    cameras : (M,) int64
        Camera ids, ascending.
    bin_width : float
        Seconds.

    Raises
    ------
    ValueError
        Shapes that do not fit, cameras that do not ascend, negative or missing numbers.
    """

    table: NDArray[np.float32]
    cameras: Ints
    bin_width: float

    def __post_init__(self) -> None:
        table, cameras = np.asarray(self.table), np.asarray(self.cameras)
        m = len(cameras) if cameras.ndim == 1 else -1
        if table.ndim != 3 or table.shape[:2] != (m, m) or table.shape[2] < 1:
            raise ValueError(f"table has shape {table.shape}: must be (M, M, bins) for the {max(m, 0)} cameras")
        if table.dtype.kind not in "fiu" or cameras.dtype.kind not in "iu":
            raise ValueError(f"table is {table.dtype}, cameras are {cameras.dtype}: give floats and whole numbers")
        if not (table >= 0).all():  # False for NaN
            raise ValueError("table: holds a negative number or NaN; plausibilities are 0 or more")
        if m < 1 or cameras[0] < 0 or (np.diff(cameras.astype(np.int64)) <= 0).any():
            raise ValueError(f"cameras={cameras.tolist()}: must be ids from 0, ascending, one at least")
        if not (math.isfinite(self.bin_width) and self.bin_width > 0):
            raise ValueError(f"bin_width={self.bin_width}: must be above 0 seconds")
        object.__setattr__(self, "table", np.ascontiguousarray(table, dtype=np.float32))
        object.__setattr__(self, "cameras", cameras.astype(np.int64))
        object.__setattr__(self, "bin_width", float(self.bin_width))

    @property
    def seen(self) -> bool:
        """Whether anything is known of any two cameras, or of one."""
        return bool(np.isfinite(self.table).any())

    def plausibility(
        self, first: Moments, second: Moments, first_wins: NDArray[np.bool_] | bool = True
    ) -> NDArray[np.float32]:
        """p of pairs.

        Parameters
        ----------
        first, second : Moments
            The two sides, of shapes that broadcast.
        first_wins : bool array, default True
            Of two that were seen at the same time, does the first count as the later one? With
            ``index of first < index of second`` p is symmetric.

        Returns
        -------
        float32 array of the broadcast shape
            0 beyond the table; infinite (no reason to doubt) for a camera that is unknown or not in the table, a time
            that is unknown, and different clocks.
        """
        gap = first.time - second.time
        known = np.isfinite(gap) & (first.clock == second.clock)
        gap = np.where(known, gap, 0.0)
        a, b = self._rows(first.camid), self._rows(second.camid)
        known = known & (a >= 0) & (b >= 0)
        later = (gap > 0) | ((gap == 0) & first_wins)
        bins = np.floor(np.abs(gap) / self.bin_width)
        last = self.table.shape[2] - 1
        rows = np.where(later, a, b), np.where(later, b, a)
        p = self.table[(*rows, np.minimum(bins, last).astype(np.int64))]
        p = np.where((bins > last) & np.isfinite(p), np.float32(0), p)
        return np.where(known, p, np.float32(np.inf)).astype(np.float32)

    def _rows(self, camid: Ints) -> Ints:
        """Row of each camera, -1 where it has none."""
        row = np.minimum(np.searchsorted(self.cameras, camid), len(self.cameras) - 1)
        return np.where(self.cameras[row] == camid, row, -1)


def learn_travel_times(
    labels: Ints, moments: Moments, *, bin_width: float = 0.0, sigma: float = 0.0, n_bins: int = 0,
    norm: Literal["max", "sum"] = "max", unseen: Literal["neutral", "zero"] = "neutral", same_camera: bool = True,
) -> TravelTimes:  # fmt: skip
    """Learn a table from clusters.

    Each cluster that was seen by two cameras adds the gap between its mean times there to the histogram of these
    cameras and their order; each camera's row with itself takes the gaps between the members of a cluster, which
    together weigh 1. Histograms are divided by their sums, smoothed with a Gaussian, and scaled.

    Parameters
    ----------
    labels : (N,) int64
        Clusters, -1 for none.
    moments : Moments
        Where and when the N samples were seen.
    bin_width : float, default 0
        Seconds. 0: a quarter of `sigma`, or so much more that the longest gap is within 4096 bins.
    sigma : float, default 0
        Deviation of the Gaussian, seconds. 0: Silverman's rule, 0.9 min(sd, IQR / 1.34) n^(-1/5), the median over the
        camera pairs.
    n_bins : int, default 0
        Bins of a row; longer gaps are left out. 0: so many that all gaps are in.
    norm : {"max", "sum"}
        Scale of p: largest value of a row 1 (its size depends neither on the bin width nor on the spread of the gaps),
        or sum of a row 1 (as st-ReID).
    unseen : {"neutral", "zero"}
        Rows of cameras that no cluster joins: what all pairs of different cameras (for a camera with itself: all
        cameras with themselves) give together, infinite where that is nothing; or zero.
    same_camera : bool, default True
        Fill the rows of a camera with itself; without, they count as unseen (with "zero" as st-ReID).

    Returns
    -------
    TravelTimes
        For the cameras of all samples.

    Raises
    ------
    ValueError
        No sample has a camera, or `bin_width` is so small that the table would have more than 2^24 entries.

    References
    ----------
    G. Wang et al.: Spatial-temporal person re-identification. AAAI 2019. B. W. Silverman: Density estimation, 1986.
    """
    cameras, camera = np.unique(moments.camid[moments.camid >= 0], return_inverse=True)
    m = len(cameras)
    if m == 0:
        raise ValueError("camid: no sample has a camera; travel times are between cameras")
    used = (labels >= 0) & (moments.camid >= 0) & np.isfinite(moments.time)
    row = np.full(len(labels), -1)
    row[moments.camid >= 0] = camera
    order = np.lexsort((moments.time, row, moments.clock, labels))
    order = order[used[order]]
    # A visit is all that one cluster shows in one camera by one clock.
    visit = _runs(labels[order], moments.clock[order], row[order])
    first = np.flatnonzero(np.diff(visit, prepend=-1))
    place, time = row[order], moments.time[order]
    sizes = np.bincount(visit)
    mean = np.bincount(visit, time - time.mean() if len(time) else time) / np.maximum(sizes, 1)
    later, earlier, gaps = _between(_runs(labels[order][first], moments.clock[order][first]), place[first], mean)
    spans = time[first + sizes - 1] - time[first]  # times ascend within a visit
    longest = max(gaps.max(initial=0.0), spans.max(initial=0.0) if same_camera else 0.0)
    sigma = sigma or _bandwidth(later * m + earlier, gaps) or _spread(spans[spans > 0]) or bin_width or 1.0
    most = min(BINS, max(64, CELLS // m**2))
    if not bin_width:
        bin_width = max(sigma / 4, (longest + 3 * sigma) / (most - 2))
    if not n_bins:
        n_bins = math.ceil((longest + 3 * sigma) / bin_width) + 1
        if n_bins > most and n_bins * m * m > CELLS:
            raise ValueError(
                f"bin_width={bin_width:g}: gaps of up to {longest:g} s between {m} cameras need {n_bins:,} bins; "
                f"give at least {(longest + 3 * sigma) / (most - 2):.3g} s"
            )
    counts = np.zeros((m, m, n_bins))
    _add(counts, later, earlier, gaps / bin_width, np.ones(len(gaps)))
    if same_camera:
        weight = 2.0 / np.maximum(sizes * (sizes - 1.0), 1.0)  # of each of a visit's pairs
        for i, j in _pairs(visit):
            _add(counts, place[i], place[i], (time[j] - time[i]) / bin_width, weight[visit[i]])
    table = _scaled(_smoothed(_shares(counts), sigma / bin_width), norm)
    if unseen == "neutral":
        diagonal, empty = np.eye(m, dtype=bool), ~counts.any(axis=2)
        for kind in (diagonal, ~diagonal):
            pooled = counts[kind].sum(axis=0)
            known = pooled.any()
            table[kind & empty] = _scaled(_smoothed(_shares(pooled), sigma / bin_width), norm) if known else np.inf
    return TravelTimes(table.astype(np.float32), cameras, bin_width)


def read_travel_times(path: Path) -> TravelTimes:
    """Read a table that `write_travel_times` wrote, or a user's own: an .npz file with `table`, `cameras`, `bin_width`.

    Raises
    ------
    ValueError
        The file is missing, no .npz file, or holds something else; it is named.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return TravelTimes(file["table"], file["cameras"], float(file["bin_width"]))
    except FileNotFoundError:
        raise ValueError(f"sts_table={path}: no such file") from None
    except KeyError as error:
        raise ValueError(f"sts_table={path}: {error.args[0]}; it needs table, cameras and bin_width") from None
    except (ValueError, TypeError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"sts_table={path}: not a table of travel times ({error})") from None


def write_travel_times(path: Path, times: TravelTimes) -> None:
    """Write a table as .npz, in one piece."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, table=times.table, cameras=times.cameras, bin_width=np.float64(times.bin_width))


def _runs(*columns: Ints) -> Ints:
    """Number from 0 of each run of equal rows."""
    if not len(columns[0]):
        return np.empty(0, np.int64)
    new = np.zeros(len(columns[0]), dtype=bool)
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.cumsum(new)


def _pairs(group: Ints) -> Iterator[tuple[Ints, Ints]]:
    """All pairs i < j of one group, those that lie k apart at a time; groups are contiguous."""
    i, lag = np.arange(len(group)), 1
    while True:
        i = i[i + lag < len(group)]
        i = i[group[i + lag] == group[i]]
        if not len(i):
            return
        yield i, i + lag
        lag += 1


def _between(cluster: Ints, place: Ints, mean: Floats) -> tuple[Ints, Ints, Floats]:
    """Rows of the later and the earlier camera and the gap, of each two visits of a cluster by one clock."""
    parts = list(_pairs(cluster))
    i = np.concatenate([a for a, _ in parts]) if parts else np.empty(0, np.int64)
    j = np.concatenate([b for _, b in parts]) if parts else np.empty(0, np.int64)
    first = mean[i] > mean[j]  # of two means that are equal, the camera with the larger id is the later one
    return np.where(first, place[i], place[j]), np.where(first, place[j], place[i]), np.abs(mean[i] - mean[j])


def _add(counts: Floats, later: Ints, earlier: Ints, bins: Floats, weight: Floats) -> None:
    """Add weights to the histograms; bins beyond the last are left out."""
    m, _, n_bins = counts.shape
    inside = bins < n_bins
    cell = (later * m + earlier)[inside] * n_bins + bins[inside].astype(np.int64)
    if len(cell):
        np.add.at(counts.reshape(-1), cell, weight[inside])


def _shares(counts: Floats) -> Floats:
    return counts / (counts.sum(axis=-1, keepdims=True) + 1e-7)


def _smoothed(shares: Floats, sigma: float) -> Floats:
    """Gaussian of `sigma` bins out to three of them; what falls over the ends is lost."""
    u = np.arange(-math.floor(3 * sigma), math.floor(3 * sigma) + 1)
    kernel = np.exp(-(u**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    return _shares(np.asarray(convolve1d(shares, kernel, axis=-1, mode="constant"), dtype=np.float64))


def _scaled(shares: Floats, norm: str) -> Floats:
    if norm == "sum":
        return shares
    largest = shares.max(axis=-1, keepdims=True)
    return np.divide(shares, largest, out=np.zeros_like(shares), where=largest > 0)


def _bandwidth(pair: Ints, gaps: Floats) -> float:
    """Median of Silverman's bandwidth over pairs of cameras with three gaps or more, else that of all gaps."""
    found = [_spread(gaps[pair == p]) for p, n in zip(*np.unique(pair, return_counts=True), strict=True) if n >= 3]
    found = [width for width in found if width > 0]
    return float(np.median(found)) if found else _spread(gaps)


def _spread(values: Floats) -> float:
    """0.9 min(sd, IQR / 1.34) n^(-1/5) (Silverman 1986, 3.31), 0 without any spread."""
    if len(values) < 2:
        return 0.0
    sd, (low, high) = float(values.std()), np.quantile(values, [0.25, 0.75])
    return 0.9 * (min(sd, float(high - low) / 1.34) or sd) * len(values) ** -0.2

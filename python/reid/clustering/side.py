"""What clocks and cameras say of a pair of samples, put into its distance (B. Xu et al.: arXiv 2205.03124, 2022).

    D = (J + scp [same camera]) (1 + lambda exp(-gamma p))

J Jaccard distance; SCP: same-camera penalty, since pictures of one camera look alike whoever is on them; STS:
spatio-temporal similarity, p how plausible the time between two cameras is (`reid.clustering.travel_times`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reid.clustering.travel_times import Moments, TravelTimes, learn_travel_times, read_travel_times
from reid.config import TrainConfig
from reid.data.records import Samples

__all__ = ["SideConfig", "SideInformation", "modify", "sts_factor", "travel_times_of"]

Labels = NDArray[np.int64]

BLOCK = 2**20


@dataclass(frozen=True)
class SideConfig(TrainConfig):
    """Settings of cameras and clocks in Jaccard distances. The values in brackets are MTCluster's."""

    scp: float = 0.0
    """Same-camera penalty: what the distance of two pictures of one camera grows by (0.006). Uses camera ids."""
    sts: bool = False
    """Spatio-temporal similarity: multiply the distance of two pictures by 1 + lambda exp(-gamma p), p how often
    clusters took that time between these cameras, as seen in the round before. Uses camera ids and times."""
    sts_lambda: float = 0.6
    """Largest growth by an implausible time (0.6). Also used by --sts-test."""
    sts_gamma: float = 8.0
    """How fast the growth goes down with p (8). Also used by --sts-test."""
    sts_norm: Literal["max", "sum"] = "max"
    """Scale of p: the most frequent time of two cameras has 1 (max), or all times together (sum: p is small, and
    sts_gamma must be large)."""
    sts_bin: float = 0.0
    """Bin width of the histograms of times, seconds (1.67). 0: a quarter of sts_sigma."""
    sts_sigma: float = 0.0
    """Gaussian that smooths the histograms, seconds (83). 0: by the spread of the times (Silverman's rule)."""
    sts_static: bool = False
    """Keep the histograms of the first round."""
    sts_table: str = ""
    """Histograms of your own in place of those of clusters: an .npz file with `table` (cameras, cameras, bins; p by the
    camera of the later, that of the earlier, the time between), `cameras` (ids) and `bin_width` (seconds)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("scp", "sts_lambda", "sts_bin", "sts_sigma"):
            self._check(name, 0, 1e9)  # so no infinity
        self._check("sts_gamma", 0, 1e9, open_low=True)

    @property
    def uses_cameras(self) -> bool:
        """Whether a run reads camera ids."""
        return super().uses_cameras or self.scp > 0 or self.sts


def sts_factor(p: NDArray[np.float32], strength: float, decay: float) -> NDArray[np.float32]:
    """1 + strength exp(-decay p), float32; 1 where p is infinite."""
    return np.float32(1) + np.float32(strength) * np.exp(np.float32(-decay) * p)


def modify(
    graph: Any, moments: Moments, *, scp: float = 0.0, times: TravelTimes | None = None, strength: float = 0.6,
    decay: float = 8.0,
) -> csr_array:  # fmt: skip
    """Put what cameras and clocks say into a graph of distances.

    Parameters
    ----------
    graph : scipy.sparse.csr_array (N, N) float32
        `reid_cluster.jaccard_graph`; not changed.
    moments : Moments
        Where and when the N samples were seen.
    scp : float, default 0
        Penalty of pairs of one camera, at least 0.
    times : TravelTimes, optional
        Without, times say nothing.
    strength, decay : float
        lambda, at least 0, and gamma of the factor of `times`.

    Returns
    -------
    csr_array (N, N) float32
        The pairs up to `max_distance`, if the graph carries that, with their new distances; the diagonal stays 0.

    Notes
    -----
    Only stored pairs are looked at, a million at a time. A pair that is not stored has J > max_distance; its new
    distance is (J + c) F with c >= 0 and F >= 1, so at least J: it is farther than max_distance still, and the result
    means what the graph meant. A stored pair that got farther than that is left out for the same reason: `hdc`, which
    reads a missing pair as 1, must not find a stored one beyond it.
    """
    if not scp and times is None:
        return graph
    n = graph.shape[0]
    data = np.array(graph.data, dtype=np.float32)
    rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(graph.indptr))
    for lo in range(0, len(data), BLOCK):
        i, j, d = rows[lo : lo + BLOCK], graph.indices[lo : lo + BLOCK], data[lo : lo + BLOCK]
        off = i != j
        if scp:
            same = (moments.camid[i] == moments.camid[j]) & (moments.camid[i] >= 0)
            d[same & off] += np.float32(scp)
        if times is not None:
            p = times.plausibility(moments.take(i), moments.take(j), i < j)
            d[off] *= sts_factor(p[off], strength, decay)
    cut = getattr(graph, "max_distance", None)
    if cut is None:
        return csr_array((data, graph.indices.copy(), graph.indptr.copy()), shape=graph.shape)
    kept = data <= np.float32(cut)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=n))]).astype(graph.indptr.dtype)
    result = csr_array((data[kept], graph.indices[kept], indptr), shape=graph.shape)
    result.has_canonical_format = True
    result.max_distance = cut  # type: ignore[attr-defined]
    return result


def travel_times_of(config: TrainConfig, samples: Samples, labels: Labels) -> TravelTimes:
    """The user's table, or what these clusters of training samples say; settings that a method lacks are default."""
    c = config if isinstance(config, SideConfig) else SideConfig()
    if c.sts_table:
        return read_travel_times(Path(c.sts_table).expanduser())
    return _learn(c, Moments.of(samples), labels)


def _learn(c: SideConfig, moments: Moments, labels: Labels) -> TravelTimes:
    return learn_travel_times(labels, moments, bin_width=c.sts_bin, sigma=c.sts_sigma, norm=c.sts_norm)


class SideInformation:
    """Cameras and clocks of a run's training samples.

    Parameters
    ----------
    config : SideConfig
    samples : Samples

    Raises
    ------
    ValueError
        The settings ask for cameras or times that the samples lack, or for a table that cannot be used.
    """

    def __init__(self, config: SideConfig, samples: Samples) -> None:
        self.config = config
        self.moments = Moments.of(samples)
        self.active = 0
        """What the last graph was changed by: 1 SCP, 2 STS, 3 both."""
        self.warnings: list[str] = []
        """What is to be said of this round."""
        self._times: TravelTimes | None = None
        if config.scp and (samples.camid < 0).all():
            raise ValueError(f"scp={config.scp:g}: needs camera ids; these data have none")
        if not config.sts:
            return
        if (samples.camid < 0).all():
            raise ValueError("sts=True: needs camera ids; these data have none")
        if np.isnan(self.moments.time).all():
            raise ValueError("sts=True: needs the times at which pictures were taken; these data have none")
        if config.sts_table:
            self._times = read_travel_times(Path(config.sts_table).expanduser())
            if not np.isin(self._times.cameras, samples.camid).any():
                raise ValueError(
                    f"sts_table={config.sts_table}: knows cameras {self._times.cameras.tolist()}, none of these data"
                )

    @property
    def all(self) -> int:
        """`active` as it is when everything that the settings ask for is in."""
        return bool(self.config.scp) + 2 * self.config.sts

    def put_into(self, graph: Any, last: Labels | None, cluster: Callable[[Any], Labels]) -> Any:
        """`graph` with SCP and STS.

        Travel times are those of the clusters of the round before, `last`; in the first round of clusters that
        `cluster` finds on the graph without STS.
        """
        c = self.config
        self.warnings, self.active = [], int(c.scp > 0)
        if not c.sts:
            return modify(graph, self.moments, scp=c.scp)
        times = self._times
        if times is None:
            labels = cluster(modify(graph, self.moments, scp=c.scp)) if last is None else last
            times = _learn(c, self.moments, labels)
            if not times.seen:
                self.warnings.append("sts: no cluster holds two pictures with camera and time; times say nothing yet")
            elif c.sts_static:
                self._times = times
        if times.seen:
            self.active = self.all
        return modify(graph, self.moments, scp=c.scp, times=times, strength=c.sts_lambda, decay=c.sts_gamma)

    def state(self) -> dict[str, np.ndarray]:
        """What a resumed run needs: the table of the first round where that is kept."""
        if self._times is None or self.config.sts_table:
            return {}
        times = self._times
        return {"sts_table": times.table, "sts_cameras": times.cameras, "sts_bin": np.array([times.bin_width])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up `state`."""
        if "sts_table" in state:
            self._times = TravelTimes(state["sts_table"], state["sts_cameras"], float(state["sts_bin"][0]))

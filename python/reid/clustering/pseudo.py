"""Pseudo labels from a graph of neighbours: what Cluster Contrast, HHCL, SpCL, CDSM and 3C's warm-up share.

Features -> (centred per camera) -> k-reciprocal Jaccard graph -> (what cameras and clocks say) -> DBSCAN, under the
links of `reid.clustering.toc` where there are any -> a look at the result, which may be retried, kept from the round
before, or stop the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import reid_cluster
from reid import processes
from reid.clustering.cameras import center_cameras
from reid.clustering.eps import EPS_HIGH, EPS_LOW, choose_eps, eps_from_share
from reid.clustering.guards import describe_collapse, distance_quantiles
from reid.clustering.infomap import infomap_labels, load_infomap
from reid.clustering.linked import linked_dbscan
from reid.clustering.mutual import mutual_labels
from reid.clustering.reliability import core_samples
from reid.clustering.side import SideConfig, SideInformation
from reid.clustering.toc import TocConfig, run_links
from reid.data.records import Samples

__all__ = ["GraphConfig", "Nested", "Pseudo", "PseudoLabels"]

Labels = NDArray[np.int64]

SHARE_REACH = 0.9
"""Pairs up to here are looked at for eps='share', before it is known."""


@dataclass(frozen=True)
class GraphConfig(TocConfig, SideConfig):
    """Settings of methods that cluster a Jaccard graph. The values in brackets are the papers'."""

    labels: Literal["jaccard-dbscan", "infomap", "mutual"] = "jaccard-dbscan"
    """How pseudo labels are made: DBSCAN on Jaccard distances; Infomap's modules of the nearest neighbours (needs the
    extra `infomap`, licence GPL-3.0-or-later); or pairs that choose each other across cameras (mutual; needs cameras).
    """
    k1: int | None = None
    """Neighbours that may be reciprocal (30), with Infomap those that may be linked, the picture itself counted (15).
    Default: 20, with pretrained weights 8."""
    k2: int | None = None
    """Neighbours whose weights are averaged (6). Default: 6, with pretrained weights 3."""
    eps: float | Literal["auto", "share"] = 0.5
    """Largest Jaccard distance of DBSCAN neighbours (0.6), with Infomap largest 1 - cos of a link (0.5); above 0 and
    below 1. auto: chosen anew each round between 0.2 and 0.7, so that many samples are in many clusters of like size
    (Jaccard distances only). share: mean distance of the nearest pairs in the first round (Jaccard distances only)."""
    eps_neighbors: float = 0.0
    """Nearest pairs that eps=share counts, for each sample on average. 0: 0.43 k1 (13 at k1=30)."""
    eps_share: float = 0.0
    """The same as a share of all pairs (1.6e-3, which means 13 a sample at 8,000 samples and 52 at 32,000). 0: by
    eps_neighbors."""
    min_samples: int | None = None
    """Neighbours, itself counted, that make a core point of DBSCAN (4), with Infomap pictures of the smallest cluster
    (5). Default: 4, with pretrained weights 2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("k1", "k2", "min_samples"):
            self._check(name, 1)
        self._check("eps", 0, 0.999, open_low=True)
        self._check("eps_neighbors", 0, 1e9)
        self._check("eps_share", 0, 1)
        if isinstance(self.eps, str) and self.labels != "jaccard-dbscan":
            raise ValueError(
                f"eps={self.eps!r}: is a choice among Jaccard distances; give a number with labels={self.labels!r}"
            )
        if self.eps_neighbors and self.eps_share:
            raise ValueError(f"eps_neighbors={self.eps_neighbors}, eps_share={self.eps_share}: give one of the two")
        if (self.scp or self.sts) and self.labels != "jaccard-dbscan":
            raise ValueError(f"scp, sts: change Jaccard distances, which labels={self.labels!r} does not use")

    @property
    def uses_cameras(self) -> bool:
        """Whether a run reads camera ids."""
        return super().uses_cameras or self.labels == "mutual"

    @property
    def eps_range(self) -> tuple[float, float]:
        """Smallest and largest eps that may be used, before retries; with share the smallest is a guess."""
        if isinstance(self.eps, str):
            return EPS_LOW, EPS_HIGH if self.eps == "auto" else SHARE_REACH
        return self.eps, self.eps

    def _check_gap(self, gap: float) -> None:
        """Refuse an eps_gap that leads out of the distances."""
        low, high = self.eps_range
        if gap >= low or high + gap >= 1:
            raise ValueError(f"eps_gap={gap}: eps={self.eps} minus and plus it must lie between 0 and 1")


@dataclass(frozen=True)
class Pseudo:
    """Labels of one clustering and what is said of them."""

    labels: Labels
    """(N,) clusters from 0, -1 for outliers."""
    facts: dict[str, float]
    warnings: tuple[str, ...] = ()
    stop: str = ""
    collapsed: bool = False
    """The clusters at the eps asked for had collapsed; `warnings` say what was done."""


class Nested(NamedTuple):
    """Clusters at three distances."""

    found: Pseudo
    tight: Labels
    loose: Labels
    core: NDArray[np.bool_]
    """(N,) core samples of the clusters that were found."""


class PseudoLabels:
    """Clusters features as the settings say.

    Parameters
    ----------
    config : GraphConfig
        With k1, k2 and min_samples filled in (`resolve`).
    samples : Samples
        Their cameras, times and tracklets are read where settings and constraints ask for them.

    Raises
    ------
    ValueError
        The settings ask for cameras or times that the samples lack, or for a package that is not installed; constraints
        that cannot be read or contradict each other.
    """

    def __init__(self, config: GraphConfig, samples: Samples) -> None:
        self.config = config
        self.camid = samples.camid
        if config.same_camera == "forbid" and (samples.camid < 0).any():
            raise ValueError("same_camera='forbid': needs a camera id for every picture; these data have none")
        if config.center_cameras and (samples.camid < 0).all():
            raise ValueError("center_cameras=True: needs camera ids; these data have none")
        if config.labels == "mutual" and len(np.unique(samples.camid)) < 2:
            raise ValueError("labels='mutual': needs pictures of two cameras or more; these data have one")
        if config.labels == "infomap":
            load_infomap()
        self.links = run_links(config, samples, graph=config.labels == "jaccard-dbscan")
        self.side = SideInformation(config, samples)
        self._last: Labels | None = None
        self._share: tuple[float, int] | None = None  # eps by share, and what was active when it was found
        self._doubts: list[str] = []

    def centered(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, D) what neighbours are sought with."""
        return center_cameras(features, self.camid) if self.config.center_cameras else features

    def graph(self, features: NDArray[np.float32], reach: float) -> Any:
        """Jaccard graph of unit rows (N, D), with cameras and clocks, all pairs up to `reach`; scipy CSR."""
        c = self.config
        assert c.k1 is not None
        assert c.k2 is not None
        graph = reid_cluster.jaccard_graph(
            self.centered(features), c.k1, c.k2, max_distance=min(reach, 1.0), n_jobs=c.workers or None
        )
        return self.side.put_into(graph, self._last, lambda first: self.cluster(first, self.eps(first)))

    def cluster(self, graph: Any, eps: float) -> Labels:
        """DBSCAN on a graph, (N,) labels that obey the links."""
        c = self.config
        assert c.min_samples is not None
        return linked_dbscan(graph, eps, c.min_samples, self.links, n_jobs=c.workers or None)

    def eps(self, graph: Any) -> float:
        """The eps of the settings, or the one found on a graph that holds distances up to `_reach`.

        That by share is found once for each set of what changes distances: it would be on another's scale.
        """
        c = self.config
        if c.eps == "share":
            if self._share is None or self._share[1] != self.side.active:
                assert c.k1 is not None
                # The authors' share gave 13 pairs a sample at k1 = 30 on both of their sets (N about 8,200).
                pairs = {"rho": c.eps_share} if c.eps_share else {"neighbors": c.eps_neighbors or 13 / 30 * c.k1}
                found = eps_from_share(graph, **pairs)
                self._share = found.eps, self.side.active
                self._doubts = [found.warning] if found.warning else []
            return self._share[0]
        return choose_eps(lambda e: self.cluster(graph, e)) if c.eps == "auto" else c.eps

    @processes.once
    def __call__(self, features: NDArray[np.float32]) -> Pseudo:
        """Clusters of unit rows (N, D), and the look at them."""
        if self.config.labels != "jaccard-dbscan":
            return self.guarded(self._without_graph(features), features)
        graph = self.graph(features, self._reach())
        return self.guarded(lambda eps: self.cluster(graph, eps), features, self.eps(graph))

    @processes.once
    def nested(self, features: NDArray[np.float32], gap: float) -> Nested:
        """Clusters at eps, at eps - gap and at eps + gap, and the core samples of the first.

        Mutual pairs are the same at all three; all of them, and all members of Infomap's modules, are core.
        """
        c = self.config
        if c.labels != "jaccard-dbscan":
            cluster = self._without_graph(features)
            found = self.guarded(cluster, features)
            eps = found.facts["eps"]
            return Nested(found, cluster(eps - gap), cluster(eps + gap), found.labels >= 0)
        assert c.min_samples is not None
        graph = self.graph(features, min(self._reach() + gap, 0.999))
        found = self.guarded(lambda eps: self.cluster(graph, eps), features, self.eps(graph))
        eps = found.facts["eps"]
        if eps <= gap:
            raise ValueError(f"eps_gap={gap}: must be below the eps={eps:.3g} that eps={c.eps!r} found")
        tight, loose = self.cluster(graph, eps - gap), self.cluster(graph, eps + gap)
        core = core_samples(graph, eps, c.min_samples) & (found.labels >= 0)
        # A cluster may have lost its core samples to the camera rule; then all of its members count.
        without = np.setdiff1d(found.labels[found.labels >= 0], found.labels[core])
        return Nested(found, tight, loose, core | np.isin(found.labels, without))

    def _reach(self) -> float:
        """Largest distance that a graph must hold: a retry may ask for more than eps."""
        largest = self.config.eps_range[1]
        if self._share is not None and self._share[1] == self.side.all:
            largest = self._share[0]
        return min(0.999, largest * 1.3) if self.config.on_collapse == "retry" else largest

    def _without_graph(self, features: NDArray[np.float32]) -> Callable[[float], Labels]:
        """The search of clusters that needs no Jaccard graph, as a function of eps."""
        c, centered = self.config, self.centered(features)
        if c.labels == "mutual":
            labels = mutual_labels(centered, self.camid, within_camera=c.same_camera != "forbid")
            labels = self.links.obey(labels, centered)
            return lambda _: labels
        k1, smallest = c.k1, c.min_samples
        assert k1 is not None
        assert smallest is not None
        neighbors = reid_cluster.knn(centered, min(k1, len(centered)), n_jobs=c.workers or None)
        return lambda eps: self.links.obey(infomap_labels(neighbors, eps, smallest), centered, smallest=smallest)

    def guarded(
        self, cluster: Callable[[float], Labels], features: NDArray[np.float32], start: float | None = None
    ) -> Pseudo:
        """Run `cluster` with the eps `start`, by default that of the settings, and act on a collapse as they say.

        A retry takes a smaller eps when one cluster has swallowed the others and a larger one when hardly anything is
        clustered, up to five times.
        """
        found = self._guarded(cluster, features, start)
        said = (*self.side.warnings, *self._doubts)
        self.side.warnings, self._doubts = [], []
        return dataclasses.replace(found, warnings=(*said, *found.warnings), collapsed=bool(found.warnings))

    def _guarded(
        self, cluster: Callable[[float], Labels], features: NDArray[np.float32], start: float | None
    ) -> Pseudo:
        c = self.config
        if start is None:
            assert not isinstance(c.eps, str)
            start = c.eps
        labels = cluster(start)
        collapse = describe_collapse(labels)
        if not collapse:
            self._last = labels
            return Pseudo(labels, {"eps": start})
        measured = f"{collapse} at eps={start:g}; {distance_quantiles(self.centered(features))}"
        if c.on_collapse == "retry":
            step = 0.9 if labels.max(initial=-1) >= 0 and (labels >= 0).mean() > 0.5 else 1.05
            for k in range(1, 6):
                eps = start * step**k
                labels = cluster(eps)
                if not describe_collapse(labels):
                    self._last = labels
                    return Pseudo(labels, {"eps": eps}, (f"{measured}; eps={eps:.3g} was taken instead",))
        if c.on_collapse != "stop" and self._last is not None:
            return Pseudo(self._last, {"eps": start}, (f"{measured}; the clusters of the round before are kept",))
        side = "smaller" if (labels >= 0).mean() > 0.5 else "larger"
        return Pseudo(labels, {"eps": start}, (measured,), f"{collapse} (try a {side} eps than {start:g})")

    def state(self) -> dict[str, np.ndarray]:
        """What a resumed run needs: labels of the last good round, the eps by share, travel times."""
        state = self.side.state()
        if self._last is not None:
            state["labels"] = self._last
        if self._share is not None:
            state["eps"] = np.array(self._share, dtype=np.float64)
        return state

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up `state`."""
        self._last = state.get("labels")
        self._share = (float(state["eps"][0]), int(state["eps"][1])) if "eps" in state else None
        self.side.restore(state)

"""Settings of `reid-cluster`; importing them loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["ClusterConfig", "SourceConfig", "at_least"]


@dataclass(frozen=True)
class SourceConfig:
    """Where features come from."""

    root: Path | None = None
    """Folder of the pictures, where it has moved since the feature table was written."""
    run: Path | None = None
    """Run folder of the network that turns pictures into features."""
    weights: str | None = None
    """Weights in place of a run: a network saved by this program, or as in reid-train (`imagenet`, `pip`, a file)."""
    height: int | None = None
    """Picture height in pixels, with weights. Default: 256 or 128 by the median shape of the pictures."""
    width: int | None = None
    """Picture width in pixels, with weights. Default: see height."""
    device: str = "auto"
    """Where features are computed: auto, cpu, cuda, cuda:N."""
    workers: int = 0
    """Threads that decode pictures and run kernels. 0: all cores."""

    def __post_init__(self) -> None:
        if self.run is not None and self.weights is not None:
            raise ValueError(f"run={self.run}, weights={self.weights}: give one of the two")
        if (self.height is None) != (self.width is None):
            raise ValueError(f"height={self.height}, width={self.width}: give both or neither")
        if self.height is not None and self.run is not None:
            raise ValueError(f"height={self.height}: a run brings its own size; leave height and width out")
        for name in ("height", "width"):
            at_least(name, getattr(self, name), 1)
        at_least("workers", self.workers, 0)


@dataclass(frozen=True)
class ClusterConfig(SourceConfig):
    """Settings of a clustering. Raises ValueError (name, value, remedy) when one is out of range."""

    path: str = ""
    """Feature table (of reid-extract, or an .npz with an array `features`), or pictures: a known layout, any folder, a
    CSV or Parquet table; pictures need run or weights."""
    output: Path = Path("labels.csv")
    """CSV file to be written, a line a picture."""
    split: Literal["all", "train", "query", "gallery"] = "all"
    """Rows that are clustered. all: each picture once, whatever split it is in."""
    method: Literal["dbscan", "bottom-up", "kmeans", "hdc"] = "dbscan"
    """dbscan: dense groups of the Jaccard graph of neighbours; bottom-up: merges of the nearest clusters, 5 % at a
    time; kmeans; hdc: harmonic discrepancy, for groups of like size. All but dbscan need a number of clusters."""
    eps: float | Literal["auto"] = "auto"
    """Largest Jaccard distance of DBSCAN neighbours, above 0 and below 1. auto: that between 0.2 and 0.7
    with the best silhouettes, outliers counting 0."""
    min_samples: int = 2
    """Neighbours, itself counted, that make a core point of DBSCAN."""
    k1: int = 12
    """Neighbours that may be reciprocal; about the pictures that an identity has."""
    k2: int = 4
    """Neighbours whose weights are averaged."""
    n_clusters: int | None = None
    """Clusters of bottom-up, kmeans and hdc. Default: as many as DBSCAN finds with the settings above; for bottom-up
    its outliers are clusters of one."""
    same_camera: Literal["allow", "forbid", "auto"] = "allow"
    """forbid: no cluster may hold two samples of one camera (right where each identity passes a camera once). auto:
    measured (`reid.clustering.cameras.choose_same_camera`). Uses camera ids."""
    center_cameras: bool = False
    """Centre features per camera, shrunk by n / (n + 50), before neighbours are sought. Uses camera ids."""
    constraints: Path | None = None
    """What is known of who is who: a .toml file of rules, or a .csv file of pairs (path_a,path_b,relation)."""
    previous: Path | None = None
    """labels.csv of an earlier clustering: groups keep their names."""
    report: bool = False
    """Write a page with the clusters' pictures beside the labels."""
    seed: int = 0
    """Seed of the starts of kmeans and hdc."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.eps, str) and not 0 < self.eps < 1:
            raise ValueError(f"eps={self.eps}: must be above 0 and below 1, or auto")
        for name in ("min_samples", "k1", "k2", "n_clusters"):
            at_least(name, getattr(self, name), 1)
        at_least("seed", self.seed, 0)
        if self.n_clusters is not None and self.method == "dbscan":
            raise ValueError(f"n_clusters={self.n_clusters}: DBSCAN finds the number itself; leave it out, or set eps")
        if self.output.suffix.lower() != ".csv":
            raise ValueError(f"output={self.output}: must end in .csv")


def at_least(name: str, value: Any, low: int) -> None:
    """Refuse a number below `low`; None passes."""
    if value is not None and value < low:
        raise ValueError(f"{name}={value}: must be at least {low}")

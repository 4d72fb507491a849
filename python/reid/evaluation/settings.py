"""Settings of an evaluation; loads no torch, so that ``reid-eval --help`` answers at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reid.config import nearest

__all__ = ["PROTOCOLS", "EvalConfig"]

PROTOCOLS = ("auto", "cross-camera", "any-camera", "leave-one-out", "vehicleid", "time-gap", "tracklet")


@dataclass(frozen=True)
class EvalConfig:
    """What to evaluate, and how. Raises ValueError (name, value, remedy) when a setting is out of range."""

    features: Path | None = None
    """Features to evaluate: an .npz or .parquet file, with identities or with --data."""
    run: Path | None = None
    """Run folder to evaluate: its network computes features of query and gallery."""
    labels: Path | None = None
    """Clusters to evaluate: a table path,label (labels.csv), with a column pid or with --data."""
    data: str | None = None
    """Where identities, cameras and times are: a known layout or a table. Default: the run's own data, or what the
    features file or the labels say themselves."""
    model: Literal["last", "selected"] = "last"
    """Network of the run: after the last round, or of the best label-free score."""
    protocol: Literal["auto", "cross-camera", "any-camera", "leave-one-out", "vehicleid", "time-gap", "tracklet"] = (
        "auto"
    )
    """What counts as a match: cross-camera (not of the query's own camera: Market-1501), any-camera, leave-one-out
    (each test picture searches all others), vehicleid (one drawn gallery picture an identity), time-gap (not within
    --min-gap of the query), tracklet (features pooled over tracklets). auto: cross-camera where cameras are known,
    else any-camera."""
    min_gap: float = 60.0
    """time-gap: a match is more than so many seconds before or after the query."""
    draws: int = 10
    """vehicleid: draws of a gallery, averaged."""
    rerank: bool = False
    """Also the figures after k-reciprocal re-ranking (Zhong 2017); holds queries x gallery distances in memory."""
    k1: int = 20
    """Reciprocal neighbours of --rerank."""
    k2: int = 6
    """Rows averaged by query expansion of --rerank."""
    lambda_value: float = 0.3
    """Share of the original distance in --rerank, 0 to 1."""
    resamples: int = 1000
    """Resamples of identities for the 95 % intervals; 0: no intervals."""
    seed: int = 0
    """Seed of draws and resamples."""
    output: Path | None = None
    """Folder to be made for queries.csv (each query's figures) and evaluation.json."""
    device: str = "auto"
    """Where a run's network computes: auto (a GPU when there is one), cpu, cuda, cuda:N."""
    workers: int = 0
    """Threads that decode pictures and search. 0: all cores."""

    def __post_init__(self) -> None:
        for name, low in (("draws", 1), ("k1", 1), ("k2", 1), ("resamples", 0), ("seed", 0), ("workers", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {low}")
        if not (0 <= self.min_gap < math.inf):
            raise ValueError(f"min_gap={self.min_gap}: must be seconds, at least 0")
        if not 0 <= self.lambda_value <= 1:
            raise ValueError(f"lambda_value={self.lambda_value}: must lie between 0 and 1")
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol={self.protocol!r}: {nearest(self.protocol, list(PROTOCOLS))}")
        if self.model not in ("last", "selected"):
            raise ValueError(f"model={self.model!r}: must be last or selected")

    def source(self) -> Literal["features", "run", "labels"]:
        """Which of the three is evaluated. Raises ValueError unless exactly one is given."""
        given = [name for name in ("features", "run", "labels") if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(f"--{name}" for name in given) or "nothing"
            raise ValueError(f"{said} given: give one of --run DIR, --features FILE, --labels FILE")
        return given[0]  # type: ignore[return-value]

"""Settings of `reid-report` and `reid-review`; importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro.conf

__all__ = ["ReportConfig", "ReviewConfig"]


@dataclass(frozen=True)
class ReportConfig:
    """Write the report of a run as one HTML file; of several runs, a page that puts them side by side."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Run folders that reid-train wrote."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """The page. Default: report.html in the folder of a single run, comparison.html here for several."""
    pictures: bool = True
    """Put small pictures into the page. With --no-pictures it holds no pixels, and no folders but those below the
    data's root: for private data."""
    max_megabytes: float = 6.0
    """Size of the page, about: pictures beyond it are left out."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.max_megabytes <= 100:
            raise ValueError(f"max_megabytes={self.max_megabytes}: must be from 0.5 to 100")


@dataclass(frozen=True)
class ReviewConfig:
    """Write a page on which a person marks pairs of pictures as same or different, and downloads them as a CSV file."""

    source: tyro.conf.Positional[Path | None] = None
    """Run folder (its network looks at the pictures again), or features as .npz."""
    labels: Path | None = None
    """Clusters of the features: a CSV table with columns path and label. Default: labels.csv of the run."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("review.html")
    """The page."""
    pairs: int = 60
    """Pairs to mark."""
    root: Path | None = None
    """Folder of the pictures, where it has moved (features)."""
    seed: int = 0
    """Seed of the choice among equally good pairs, and of their order."""
    height: int = 224
    """Height of a picture on the page, pixels."""
    max_megabytes: float = 12.0
    """Size of the page, about: pairs whose pictures no longer fit are left out."""
    workers: int = 0
    """Threads that decode pictures and run kernels. 0: all cores."""

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"pairs={self.pairs}: must be at least 1")
        if not 32 <= self.height <= 1024:
            raise ValueError(f"height={self.height}: must be from 32 to 1024")
        if not 0.5 <= self.max_megabytes <= 200:
            raise ValueError(f"max_megabytes={self.max_megabytes}: must be from 0.5 to 200")
        if self.seed < 0 or self.workers < 0:
            raise ValueError(f"seed={self.seed}, workers={self.workers}: must be at least 0")

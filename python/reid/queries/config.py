"""Settings of `reid-search`; importing them loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reid.groups.config import SourceConfig, at_least

__all__ = ["SearchConfig"]


@dataclass(frozen=True)
class SearchConfig(SourceConfig):
    """Settings of a search. Raises ValueError (name, value, remedy) when one is out of range."""

    path: str = ""
    """Feature table (of reid-extract, or an .npz with an array `features`) to be searched; all its rows are."""
    query: tuple[str, ...] = ()
    """Pictures to search for: names in the table (or the ends of them), or files; features of new ones are
    computed by run or weights, by default the network that the table names."""
    query_features: Path | None = None
    """Feature table of queries, in place of query."""
    top: int = 10
    """Results of each query."""
    camera: int | None = None
    """Camera of queries that are not in the table."""
    exclude_same_camera: bool = False
    """Leave out what the query's own camera saw."""
    rerank: bool = False
    """Order by shared neighbours (k-reciprocal re-ranking, k1=20, k2=6, lambda=0.3) in place of distance alone."""
    max_false: float | None = None
    """Only results that are false with at most this probability, from 0 to 1; across cameras, where that cannot be
    told, those up to a distance at which at most this share is false. Needs tracklets and times."""
    overlapping_views: str = ""
    """Pairs of cameras that see one place, such as 2-8,3-5: who they see at one time may be one identity."""
    output: Path | None = None
    """CSV file for the results."""
    seed: int = 0
    """Seed of the pairs that probabilities are fitted to."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("top", self.top, 1)
        for name in ("camera", "seed"):
            at_least(name, getattr(self, name), 0)
        if self.max_false is not None and not 0 < self.max_false < 1:
            raise ValueError(f"max_false={self.max_false}: must be above 0 and below 1")
        if self.query and self.query_features is not None:
            raise ValueError(f"query={self.query[0]}, query_features={self.query_features}: give one of the two")
        if self.output is not None and self.output.suffix.lower() != ".csv":
            raise ValueError(f"output={self.output}: must end in .csv")

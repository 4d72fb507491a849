"""Settings of `reid.check` and `reid.stats`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CheckConfig", "StatsConfig"]


@dataclass(frozen=True)
class StatsConfig:
    """What to count."""

    path: Path
    """A known layout (Market-1501), a folder of pictures, or a CSV or Parquet table."""


@dataclass(frozen=True)
class CheckConfig:
    """What to look at. Raises ValueError (name, value, remedy) when a setting is out of range."""

    path: Path
    """A known layout (Market-1501), a folder of pictures, or a CSV or Parquet table."""
    output: Path | None = None
    """CSV file to be written: path, kind, detail, a line a finding. An older file is replaced."""
    tiny: int = 16
    """Pictures with a side shorter than this are tiny, pixels."""
    workers: int = 0
    """Threads that decode pictures. 0: one a core."""

    def __post_init__(self) -> None:
        for name, low in (("tiny", 0), ("workers", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {low}")

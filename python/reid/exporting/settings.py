"""Settings of an export; loads no torch, so that ``reid-export --help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reid.config import nearest

__all__ = ["ExportConfig"]


@dataclass(frozen=True)
class ExportConfig:
    """Which network to hand over, and how. Raises ValueError (name, value, remedy) when a setting is out of range."""

    run: Path
    """Run folder of a trained network."""
    output: Path | None = None
    """Folder to be made. Default: export, in the run folder."""
    model: Literal["last", "selected"] = "last"
    """Network of the run: after the last round, or of the best label-free score."""
    onnx: bool = True
    """Also write model.onnx; needs the extra `onnx`."""

    def __post_init__(self) -> None:
        if self.model not in ("last", "selected"):
            raise ValueError(f"model={self.model!r}: {nearest(str(self.model), ['last', 'selected'])}")

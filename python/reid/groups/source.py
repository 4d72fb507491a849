"""Features to work on: from a table of them, or from pictures by a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid.data.records import printable
from reid.feature_table import SPLITS, FeatureTable, read_features
from reid.groups.config import SourceConfig

__all__ = ["load_table", "same_features", "unique_rows", "unit_rows"]

Progress = Callable[[int, int, str], None]


def load_table(path: str, config: SourceConfig, progress: Progress | None = None) -> FeatureTable:
    """Read the feature table at `path`, or make one of the pictures there.

    Raises
    ------
    ValueError, FileNotFoundError
        The file cannot be read, or these are pictures and there is neither a run nor weights.
    """
    if not path:
        raise ValueError("path: is missing: give a feature table (.npz), or a folder or table of pictures")
    of_network = config.run is not None or config.weights is not None
    if path.lower().endswith(".npz") and of_network:
        raise ValueError(f"path={printable(path)}: holds features already; leave run and weights out")
    if path.lower().endswith(".npz") or (path.lower().endswith(".parquet") and not of_network):
        return read_features(Path(path).expanduser(), config.root)
    if config.root is not None:
        raise ValueError(f"root={printable(config.root)}: is for feature tables; pictures lie where path says")
    if not of_network:
        raise ValueError(f"path={printable(path)}: pictures need a network: give run or weights, or a table .npz")
    from reid.data.readers import read_dataset

    data = read_dataset(Path(path).expanduser())
    parts = {name: part for name in SPLITS if (part := getattr(data, name)) is not None and len(part)}
    if not parts:
        raise ValueError(f"path={printable(path)}: holds no pictures")
    from reid.groups.pictures import features_of  # torch is loaded when there are pictures to look at

    found = features_of(list(parts.values()), config, progress)
    return FeatureTable.of(data, dict(zip(parts, found, strict=True)), {"run": str(config.run or config.weights)})


def unique_rows(table: FeatureTable, split: str = "all") -> FeatureTable:
    """The rows of a split, or of all: a picture in several splits stands there once, as the first of them has it."""
    keep: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for i, frames in enumerate(table.samples.frames):
        if split in ("all", table.split[i]) and frames not in seen:
            seen.add(frames)
            keep.append(i)
    if not keep:
        present = ", ".join(sorted(set(table.split.tolist()))) or "none"
        raise ValueError(f"split={split}: has no rows; those there are: {present}")
    if len(keep) == len(table.samples):
        return table
    rows = np.array(keep)
    return dataclasses.replace(
        table, features=table.features[rows], samples=table.samples.take(rows), split=table.split[rows]
    )


def unit_rows(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their length; those of zeros stay, those of unit length keep their bits."""
    norm = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))[:, None]
    if (np.abs(norm - 1) < 1e-5).all():
        return features
    return np.ascontiguousarray(features / np.maximum(norm, 1e-12), dtype=np.float32)


def same_features(a: FeatureTable, b: FeatureTable) -> None:
    """Refuse tables of different networks."""
    if a.features.shape[1] != b.features.shape[1]:
        raise ValueError(
            f"features of {a.features.shape[1]} and {b.features.shape[1]} columns: they are of different networks"
        )

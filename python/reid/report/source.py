"""What is to be reviewed: features, samples and clusters of a run or of a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.data.pictures import Pictures
from reid.data.records import Samples, printable
from reid.evaluation.clusterings import read_labels
from reid.feature_table import read_features
from reid.features import extract
from reid.models.embedder import load_embedder
from reid.report.folder import Member, RunFolder, read
from reid.report.settings import ReviewConfig

__all__ = ["Source", "read_source"]

Progress = Callable[[int, int, str], None]


class Source(NamedTuple):
    """N samples to be reviewed."""

    features: NDArray[np.float32]
    """(N, D) unit rows."""
    samples: Samples
    labels: NDArray[np.int64]
    """(N,), -1 for outliers."""
    root: Path | None
    name: str


def read_source(config: ReviewConfig, progress: Progress | None = None) -> Source:
    """Read `config.source`; a run's network looks at the pictures again."""
    source = config.source
    if source is None:
        raise ValueError("source: name a run folder, or a file of features (.npz)")
    return _of_run(source, config, progress) if source.is_dir() else _of_file(source, config)


def _of_run(run: Path, config: ReviewConfig, progress: Progress | None) -> Source:
    found = read(run)
    if not found.rows:
        raise ValueError(f"source={printable(run)}: holds no labels.csv; finish the run first")
    if config.root is not None:
        raise ValueError("root: is for features; a run's labels.csv says where its pictures are")
    samples, own = _samples(found)
    labels = own if config.labels is None else _match(_read_labels(config.labels), samples, None, config.labels)
    network = load_embedder(run / "model.safetensors")
    height, width = (found.settings.get(name) for name in ("height", "width"))
    if not isinstance(height, int) or not isinstance(width, int):
        raise ValueError(f"{printable(run / 'config.toml')}: does not tell height and width")

    def reading(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total, "reading pictures")

    pictures = Pictures.load(samples, height, width, workers=config.workers, progress=reading)
    root = found.fact("data", "root")
    return Source(
        extract(network, pictures, progress=progress), samples, labels, Path(root) if isinstance(root, str) else None,
        run.resolve().name,
    )  # fmt: skip


def _samples(found: RunFolder) -> tuple[Samples, NDArray[np.int64]]:
    """Samples of labels.csv: lines that follow each other are frames of one where tracklets were clustered."""
    groups: list[list[tuple[int, Member]]] = [[row] for row in found.rows]
    if found.unit == "tracklets":
        keyed = groupby(
            enumerate(found.rows), key=lambda x: (x[1][1].tracklet, x[1][0], x[0] if x[1][1].tracklet < 0 else -1)
        )
        groups = [[row for _, row in rows] for _, rows in keyed]
    first = [rows[0] for rows in groups]
    unknown = np.full(len(groups), -1)
    samples = Samples(
        frames=tuple(tuple(member.path for _, member in rows) for rows in groups), pid=unknown,
        camid=np.array([member.camid for _, member in first], np.int64),
        tracklet=np.array([member.tracklet for _, member in first], np.int64),
        start=np.full(len(groups), np.nan), end=np.full(len(groups), np.nan),
    )  # fmt: skip
    return samples, np.array([label for label, _ in first], np.int64)


def _of_file(file: Path, config: ReviewConfig) -> Source:
    table = read_features(file, config.root)
    if config.labels is None:
        raise ValueError("labels: name the CSV table of clusters that belongs to these features (reid-cluster)")
    features, samples = table.part("train") if (table.split == "train").any() else (table.features, table.samples)
    labels = _match(_read_labels(config.labels), samples, table.root, config.labels)
    norms = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return Source((features / norms).astype(np.float32), samples, labels, table.root, file.stem)


def _read_labels(path: Path) -> dict[str, int]:
    found = read_labels(path)
    return dict(zip(map(os.path.normpath, found.paths), found.labels.tolist(), strict=True))


def _match(given: dict[str, int], samples: Samples, root: Path | None, path: Path) -> NDArray[np.int64]:
    """Labels of the samples, by any of their frames' paths, absolute or from `root`; those that are not named: -1."""
    labels = np.full(len(samples), -1)
    hits = 0
    for i, frames in enumerate(samples.frames):
        names = [os.path.normpath(frame) for frame in frames]
        names += [os.path.relpath(frame, root) for frame in frames] if root is not None else []
        known = next((given[name] for name in names if name in given), None)
        if known is not None:
            labels[i], hits = known, hits + 1
    if not hits:
        raise ValueError(f"labels={printable(path)}: names none of these pictures; give the table of these features")
    return labels

"""The folder of a run: who may write into it, and what stands where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid import processes
from reid.clustering.travel_times import TravelTimes, write_travel_times
from reid.config import TrainConfig, from_mapping, nearest, read_toml, write_toml
from reid.data.records import Samples, printable
from reid.files import TEMPORARY, atomic_path, csv_text, lock_folder, write_text
from reid.methods import METHODS
from reid.models.embedder import Embedder, load_embedder
from reid.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

__all__ = ["NETWORKS", "LoadedRun", "RunFolder", "latest_run", "load_run", "new_run_path"]

NETWORKS = {"last": "model.safetensors", "selected": "selected.safetensors"}
"""Networks of a run: after the last round, and of the round with the best label-free score."""


class RunFolder:
    """A run's files. One process at a time holds it; the lock goes with the process, however it ends.

    Of the processes of one run, the first reads and writes; the others are told what it read.

    ::

        config.toml   the resolved settings          model.safetensors    the network after the last round
        run.json      versions, data, command        selected.safetensors the network of the best label-free score
        metrics.jsonl one object a round             labels.csv           path, camid, tracklet, pseudo identity
        labels/       round-NNN.npz, a round each    report.html          the same to look at
        checkpoints/  last.safetensors, last.json    report/              details.npz, what the report shows of features
                                                     synthetic/           the built-in data, when they are used
        travel_times.npz what the last round's clusters say of times between cameras, when they are used

    Raises
    ------
    ValueError
        The folder is in use by another run (its process and host are named), holds another run, or none to resume.
    """

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self._made_here = False
        self._lock: IO[str] | None = None
        self._open(path, resume)

    @processes.first_only
    def _open(self, path: Path, resume: bool) -> None:
        if path.exists() and not path.is_dir():
            raise ValueError(f"output={path}: is a file, not a folder; choose another name")
        if resume and not (path / "config.toml").exists():
            raise ValueError(f"resume={path}: holds no run (no config.toml there)")
        self._made_here = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        self._lock = lock_folder(path)
        for left in path.rglob(TEMPORARY):  # by a run that was killed while it wrote
            left.unlink(missing_ok=True)
        if not resume:
            others = sorted(p.name for p in path.iterdir() if p.name != ".lock")
            if others:
                self.close()
                what = "holds a run already" if "config.toml" in others else f"is not empty ({others[0]})"
                remedy = f"go on with it by --resume {path}, or " if "config.toml" in others else ""
                raise ValueError(f"output={path}: {what}; {remedy}choose another folder")

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()

    def discard(self) -> None:
        """Take back what a run that could not begin has made."""
        if self._made_here:
            shutil.rmtree(self.path, ignore_errors=True)

    @processes.first_only
    def write_settings(self, config: TrainConfig, method: str, facts: dict[str, Any]) -> None:
        """Write config.toml and run.json; config.toml last: it marks the folder as a run that can be resumed."""
        write_text(self.path / "run.json", json.dumps(facts, indent=1, sort_keys=True) + "\n")
        write_toml(self.path / "config.toml", config, method)

    @processes.once
    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest sound checkpoint, and warnings."""
        return load_checkpoint(self.path / "checkpoints")

    @processes.first_only
    def save_round(self, r: int, labels: NDArray[np.int64], checkpoint: Checkpoint) -> None:
        """Write the files of a finished round: labels, checkpoint, metrics, in that order."""
        with atomic_path(self.path / "labels" / f"round-{r:03d}.npz") as temporary:
            np.savez_compressed(temporary, labels=labels)
        save_checkpoint(self.path / "checkpoints", checkpoint)
        self.write_metrics(checkpoint.state["history"])

    @processes.once
    def read_labels(self, r: int) -> NDArray[np.int64]:
        """The labels of round `r`."""
        with np.load(self.path / "labels" / f"round-{r:03d}.npz", allow_pickle=False) as file:
            return file["labels"]

    @processes.first_only
    def write_metrics(self, history: Sequence[dict[str, Any]]) -> None:
        """Write metrics.jsonl whole: a run that was killed between two files is mended by the next write."""
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in history))

    @processes.first_only
    def write_times(self, times: TravelTimes) -> None:
        """Write travel_times.npz, which `sts_table` reads."""
        write_travel_times(self.path / "travel_times.npz", times)

    @processes.first_only
    def write_labels(self, samples: Samples, labels: NDArray[np.int64]) -> None:
        """Write labels.csv: one line a picture, with the pseudo identity of its sample (-1: none)."""
        rows = (
            (frame, samples.camid[i], samples.tracklet[i], labels[i])
            for i, frames in enumerate(samples.frames)
            for frame in frames
        )
        write_text(self.path / "labels.csv", csv_text(["path", "camid", "tracklet", "label"], rows))


def new_run_path(base: Path, name: str) -> Path:
    """First free folder among base/name, base/name-2, base/name-3 ..."""
    path, number = base / name, 1
    while path.exists():
        number += 1
        path = base / f"{name}-{number}"
    return path


def latest_run(base: Path) -> Path:
    """The run folder in `base` that was written to last. Raises ValueError when there is none."""
    runs = [p for p in base.iterdir() if (p / "config.toml").exists()] if base.is_dir() else []
    if not runs:
        raise ValueError(f"resume: no run in {base}; name its folder")
    return max(runs, key=lambda p: ((p / "config.toml").stat().st_mtime_ns, p.name))


class LoadedRun(NamedTuple):
    """The network of a run, and how it was made."""

    network: Embedder
    """On the CPU, in evaluation mode."""
    config: TrainConfig
    """The resolved settings; their class is that of the run's method."""
    height: int
    """Height of the pictures that the network was trained on, pixels."""
    width: int
    """Width of them, pixels."""
    method: str
    """Name of the method."""


def load_run(path: Path | str, model: Literal["last", "selected"] = "last") -> LoadedRun:
    """Read network, settings and picture size of a run that has finished (or at least saved a round).

    Raises
    ------
    ValueError
        No run folder, settings of an unknown method, or a damaged network; the file is named.
    FileNotFoundError
        The run has no such network yet.
    """
    path = Path(path)
    where = printable(path)
    if model not in NETWORKS:
        raise ValueError(f"model={model!r}: {nearest(str(model), list(NETWORKS))}")
    if not (path / "config.toml").is_file():
        raise ValueError(f"run={where}: holds no run (no config.toml there); give the folder that reid-train wrote")
    stored = read_toml(path / "config.toml")
    method = str(stored.pop("method", ""))
    if method not in METHODS:
        raise ValueError(f"{where}/config.toml: method={method!r}: {nearest(method, list(METHODS))}")
    config = from_mapping(METHODS[method].Config, stored, f"{where}/config.toml")
    if config.height is None or config.width is None:
        raise ValueError(f"{where}/config.toml: names no height and width; add those that the run was trained with")
    file = path / NETWORKS[model]
    if not file.is_file():
        raise FileNotFoundError(f"run={where}: has no {file.name} yet; go on with it by reid-train --resume {where}")
    return LoadedRun(load_embedder(file), config, config.height, config.width, method)

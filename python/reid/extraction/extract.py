"""`reid.extract_features`: the features of a data set, in one file, part by part."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid import processes
from reid.data.pictures import Files, Pictures, cores
from reid.data.readers import read_dataset
from reid.data.records import Dataset, Samples, printable
from reid.data.sizes import usual_size
from reid.devices import choose_device
from reid.extraction.network import open_network
from reid.extraction.parts import Parts, part_bounds
from reid.extraction.settings import ExtractConfig
from reid.feature_parquet import need_pyarrow
from reid.feature_table import SPLITS, TableHead, write_blocks
from reid.features import extract
from reid.models.embedder import Embedder
from reid.training.log import Log

__all__ = ["extract_features"]


def extract_features(config: ExtractConfig, *, quiet: bool = False) -> Path:
    """Compute the features of a data set's pictures and write them with their samples.

    What is done is kept in parts beside the output; the same call goes on from there. The features have unit length.

    Parameters
    ----------
    config : ExtractConfig
    quiet : bool, default False
        Say nothing.

    Returns
    -------
    Path
        The file, for `reid.feature_table.read_features`.

    Raises
    ------
    ValueError, OSError, ImportError
        Settings, data, pictures or weights that cannot be used; the message names them and the remedy. An output that
        exists; parts that were begun with other settings or data.
    """
    config.check_network()
    output = _output(config)
    processes.join()
    log = Log(quiet or not processes.is_first())
    device = choose_device(config.device)
    source = open_network(
        run=config.run, model=config.model, weights=config.weights, backbone=config.backbone, pixels=config.pixels
    )
    data = read_dataset(config.path.expanduser())
    for note in data.notes:
        log.say(f"data: {note}")
    splits = _splits(data, config)
    height, width = config.height, config.width
    if height is None or width is None:
        height, width = source.size or usual_size(next(iter(splits.values())))
    log.say(f"{source.note}, {height}x{width} pixels, {device}{', with mirror images' if config.flip else ''}")
    facts = {
        "network": source.facts, "height": height, "width": width, "flip": config.flip, "normalized": True,
        "amp": config.amp, "device": device.type, "batch_size": config.batch_size, "part_size": config.part_size,
        "data": _describe(data, config, splits),
        "versions": {n: metadata.version(n) for n in ("reid-cluster", "torch", "torchvision", "numpy", "pillow")},
    }  # fmt: skip
    head = TableHead.of(splits, data.root, facts)
    n_frames, size = head.samples.n_frames, source.network.out_features
    parts = Parts(output, facts, part_bounds(n_frames, config.part_size), size)
    try:
        if not processes.once(lambda: parts.finished)():
            _compute(parts, source.network, head.samples, config, (height, width), device, log)
            if processes.is_first():
                write_blocks(output, head, parts.blocks(), size)
        if processes.is_first():
            parts.remove()
    finally:
        parts.close()
    counts = ", ".join(f"{name} {len(samples):,}" for name, samples in splits.items())
    log.say(f"features: {len(n_frames):,} rows of {size:,} numbers ({counts})")
    log.say(f"results: {printable(output)}")
    log.say(f"next: reid-cluster {printable(output)} -o labels.csv")
    return output


def _compute(
    parts: Parts, network: Embedder, samples: Samples, config: ExtractConfig, size: tuple[int, int],
    device: torch.device, log: Log,
) -> None:  # fmt: skip
    """Compute the parts that are not there yet; of several processes each its share of them."""
    n_frames = samples.n_frames
    missing = processes.once(parts.missing)()
    if len(missing) < len(parts.bounds):
        left = sum(int(n_frames[slice(*parts.bounds[i])].sum()) for i in missing)
        log.say(f"going on with {printable(parts.path)}: {left:,} of {int(n_frames.sum()):,} pictures are left")
    own = missing[processes.rank() :: processes.size()]
    threads = config.workers or cores()

    def files(bounds: list[tuple[int, int]]) -> Files:
        paths = [path for begin, end in bounds for row in samples.frames[begin:end] for path in row]
        return Files(paths, *size, threads)

    all_own = files([parts.bounds[i] for i in own])
    # A file that is no picture is better found now than in some hours.
    all_own.check_all(lambda done, total: log.progress(done, total, "looking at pictures"))
    done = 0
    for i in own:
        begin, end = parts.bounds[i]
        first = np.concatenate([[0], np.cumsum(n_frames[begin:end])]).astype(np.int64)
        with processes.alone():
            rows = extract(
                network, Pictures(files([(begin, end)]), first), flip=config.flip, batch_size=config.batch_size,
                device=device, amp=config.amp,
                progress=lambda now, _, stage, before=done: log.progress(before + now, len(all_own), stage),  # type: ignore[misc]
            )  # fmt: skip
        parts.save(i, rows)
        done += int(first[-1])
    log.end_stage()
    processes.check_same("end of the extraction", "reached")  # all wait for the slowest


def _output(config: ExtractConfig) -> Path:
    output = config.output.expanduser()
    if output.suffix.lower() not in (".npz", ".parquet"):
        raise ValueError(f"output={printable(output)}: must end in .npz or .parquet")
    if output.suffix.lower() == ".parquet":
        need_pyarrow()
    if output.is_dir():
        raise ValueError(f"output={printable(output)}: is a folder; give the name of a file")
    return output


def _splits(data: Dataset, config: ExtractConfig) -> dict[str, Samples]:
    """The splits that are asked for and hold something, their rows being what is asked for."""
    found = {split: getattr(data, split) for split in SPLITS if config.split in ("all", split)}
    found = {split: samples for split, samples in found.items() if samples is not None and len(samples)}
    if not found:
        here = [split for split in SPLITS if getattr(data, split) is not None and len(getattr(data, split))]
        raise ValueError(f"split={config.split!r}: these data hold {', '.join(here) or 'no pictures'} only")
    if config.instances is None:
        return found
    several = any((samples.n_frames > 1).any() for samples in found.values())
    if config.instances == "image":
        if several:
            raise ValueError("instances='image': these data are tracklets of several frames; use tracklet")
        return found
    if not several and all((samples.tracklet < 0).all() for samples in found.values()):
        raise ValueError("instances='tracklet': these data have no tracklets; use image")
    return {split: samples.by_tracklet() for split, samples in found.items()}


def _describe(data: Dataset, config: ExtractConfig, splits: dict[str, Samples]) -> dict[str, Any]:
    counts = {split: len(samples) for split, samples in splits.items()}
    return {
        "name": data.name, "layout": data.layout, "fingerprint": data.fingerprint(), "split": config.split,
        "instances": config.instances, "rows": counts,
    }  # fmt: skip

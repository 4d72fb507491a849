"""`reid.train`: from settings to a finished run folder."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import tempfile
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from reid import processes, report
from reid.clustering.cameras import FORBID_FROM, choose_same_camera
from reid.clustering.side import travel_times_of
from reid.clustering.toc import describe_links, reads_cameras
from reid.config import TrainConfig
from reid.data.clocks import read_offsets, shift_clocks
from reid.data.pictures import Pictures
from reid.data.readers import read_dataset
from reid.data.records import Dataset, Samples
from reid.data.sizes import usual_size
from reid.data.synthetic import SyntheticConfig, write_market
from reid.devices import choose_device
from reid.evaluation.side import check_side
from reid.features import extract
from reid.methods import METHODS
from reid.methods.protocol import Method
from reid.models.batch_norm import group_batch_norm
from reid.models.embedder import Embedder, start_batch_norm, start_neck
from reid.models.weights import LoadedWeights, apply_weights, resolve_weights
from reid.training.job import Job
from reid.training.log import Log
from reid.training.loop import run_rounds
from reid.training.run_folder import RunFolder, new_run_path

__all__ = ["train"]

SYNTHETIC = {"synthetic": "mild", "synthetic-hard": "hard"}
"""Values of `data` that are drawn, and their levels."""


def train(config: TrainConfig, *, resume: Path | None = None, dry_run: bool = False, quiet: bool = False) -> Path:
    """Train a network on unlabelled pictures.

    Parameters
    ----------
    config : TrainConfig
        Settings of a method, for example `reid.methods.buc.BucConfig(data="crops")`.
    resume : Path, optional
        Run folder to go on with, by the settings it was started with; `config` must be those.
    dry_run : bool, default False
        Read data and weights, build everything, say what would be done, and stop.
    quiet : bool, default False
        Say nothing.

    Returns
    -------
    Path
        The run folder; `reid.training.run_folder.RunFolder` lists its files.

    Raises
    ------
    ValueError, OSError, MemoryError
        Settings, data or weights that cannot be used; the message names them and the remedy.
    FloatingPointError
        The loss is no longer finite.
    """
    processes.join()
    log = Log(quiet or not processes.is_first())
    kind = _method_of(config)
    if dry_run:
        with tempfile.TemporaryDirectory() as scratch:
            _prepare(config, kind, processes.once(Path)(scratch), log)
            log.say("dry run: nothing was trained, nothing is left behind")
        return Path()
    new_path = processes.once(new_run_path)
    path = resume or config.output or new_path(Path("runs"), f"{kind.name}-{_data_name(config)}")
    folder = RunFolder(path, resume=resume is not None)
    try:
        checkpoint, warnings = folder.load()
        for warning in warnings:
            log.warn(warning)
        try:
            config, facts, pieces = _prepare(dataclasses.replace(config, output=path), kind, path, log)
        except BaseException:
            if resume is None:
                folder.discard()
            raise
        if resume is None:
            folder.write_settings(config, kind.name, facts)
        else:
            _check_same_data(path, facts)
            done = checkpoint.state["round"] if checkpoint else 0
            log.say(f"resuming {path} after round {done}")
        job = Job(config=config, folder=folder, log=log, **pieces)
        history = run_rounds(job, checkpoint)
        labels = folder.read_labels(int(history[-1]["round"]))
        folder.write_labels(job.train, labels)
        if config.sts_test or getattr(config, "sts", False):
            folder.write_times(travel_times_of(config, job.train, labels))
        page = processes.once(report.write)(path)
    finally:
        folder.close()
    for line in _summary(history):
        log.say(line)
    log.say(f"results: {path}  (network model.safetensors, pseudo identities labels.csv, figures metrics.jsonl)")
    log.say(f"next: open {page}")
    return path


def _prepare(
    config: TrainConfig, kind: type[Method], path: Path, log: Log
) -> tuple[TrainConfig, dict[str, Any], dict[str, Any]]:
    """Read data and weights and build network and method: (resolved settings, facts for run.json, parts of a Job)."""
    _check_processes(config)
    weights = resolve_weights(config.weights, config.backbone, config.pixels)
    device = choose_device(config.device)
    dataset = _read(config, path)
    processes.check_same("data", dataset.fingerprint())
    for note in dataset.notes:
        log.say(f"data: {note}")
    train = dataset.train
    if len(train) == 0:
        raise ValueError(f"data={config.data}: holds no training pictures")
    config, train = _instances(config, train)
    config = _resolve(config, weights, train)
    height, width = config.height or 0, config.width or 0

    def load(samples: Samples) -> Pictures:
        found = Pictures.load(
            samples, height, width, workers=config.workers,
            progress=lambda done, total: log.progress(done, total, "reading pictures"),
        )  # fmt: skip
        if not found.held:
            log.say(f"pictures: {found.n_frames:,} do not fit in memory together and are decoded when they are needed")
        return found

    query, gallery = (
        samples if samples is not None and (samples.pid >= 0).any() else None
        for samples in (dataset.query, dataset.gallery)
    )
    check_side(config, train, query, gallery)  # before any picture is decoded
    pictures = load(train)
    sides = {
        side: None if samples is None else (samples, load(samples))
        for side, samples in (("query", query), ("gallery", gallery))
    }
    network = Embedder(
        config.backbone, pooling=config.pooling, stripes=config.stripes or 1, last_stride=config.last_stride,
        mean=weights.mean, std=weights.std, neck=config.neck or "none", seed=config.seed,
    )  # fmt: skip
    note = weights.note
    if weights.state is not None:
        note = "; ".join(filter(None, [note, apply_weights(network.backbone, weights.state, weights.source)]))
    network.freeze(config.freeze or 0)
    if config.bn_group_size or processes.size() > 1:
        group_batch_norm(network, config.bn_group_size, config.frames)
    network.to(device)
    if weights.state is None:
        with processes.alone():
            start_batch_norm(network, pictures)
        if config.data not in SYNTHETIC:
            log.warn("random weights learn little from a small set of real pictures: use --weights pip or imagenet")
    if config.neck == "bn":
        start_neck(network, torch.from_numpy(extract(network, pictures, normalize=False)).to(device))
    processes.copy_from_first(network.state_dict().values())
    log.say(f"network: {config.backbone}, {config.height}x{config.width} pixels; {note}")
    cameras_used = (config.uses_cameras or reads_cameras(config)) and bool((train.camid >= 0).any())
    measured = {}
    if config.same_camera == "auto":
        rule, gap = choose_same_camera(extract(network, pictures), train.camid, n_jobs=config.workers or None)
        config = dataclasses.replace(config, same_camera=rule)
        measured = {"same_camera_first_gap": gap}
        log.say(f"same_camera: {rule} (the first gap across cameras is {gap:.2f}; {FORBID_FROM} or more forbids)")
    method = kind(config, network, train if kind.needs_pid else train.without_pid())
    source = getattr(method, "source_facts", None)
    links = getattr(getattr(method, "pseudo", method), "links", None)
    linked = describe_links(links, config) if links is not None and links.parts else None
    for rule in linked["rules"] if linked else ():
        log.say(f"constraints: {rule['rule']}: {rule['cannot']:,} pairs apart, {rule['must']:,} together")
        if "note" in rule:
            log.warn(f"constraints: {rule['rule']} {rule['note']}")
    unit = "images"
    if config.instances == "tracklet":
        unit = f"{'pieces of tracklets' if config.dense_step else 'tracklets'} (weak supervision)"
    several = f", {processes.size()} processes" if processes.size() > 1 else ""
    identities = "are used" if kind.needs_pid else "of the source alone are used" if source else "are not used"
    log.say(
        f"method: {kind.name}, {len(train)} {unit}, {method.rounds} rounds, {device}{several}; "
        f"identities {identities}, cameras {'are' if cameras_used else 'are not'}"
    )
    facts = {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "method": kind.name,
        "versions": {n: metadata.version(n) for n in ("reid-cluster", "torch", "torchvision", "numpy")}
        | {"python": platform.python_version()},
        "device": str(device),
        "processes": processes.size(),
        "threads": torch.get_num_threads(),
        "weights_note": note,
        "cameras_used": cameras_used,
        **measured,
        **({"source": source} if source else {}),
        **({"constraints": linked} if linked else {}),
        "identities_used": kind.needs_pid,
        "instances": config.instances,
        "data": _describe(dataset),
    }
    pieces = {"network": network, "method": method, "train": train, "pictures": pictures, **sides}
    return method.config, facts, pieces


def _instances(config: TrainConfig, train: Samples) -> tuple[TrainConfig, Samples]:
    """What is clustered: the rows as they are, rows of one tracklet joined, or tracklets cut into pieces."""
    several = bool((train.n_frames > 1).any())
    kind = config.instances or ("tracklet" if several else "image")
    if kind == "image":
        if several:
            raise ValueError("instances='image': these data are tracklets of several frames; use tracklet")
        if config.dense_step:
            raise ValueError(f"dense_step={config.dense_step}: cuts tracklets; use --instances tracklet, or 0")
    else:
        if not several and (train.tracklet < 0).all():
            raise ValueError("instances='tracklet': these data have no tracklets; use image")
        train = train.by_tracklet()
        if config.dense_step:
            train = train.split_tracklets(config.dense_step)
    return dataclasses.replace(config, instances=kind), train


def _method_of(config: TrainConfig) -> type[Method]:
    for kind in METHODS.values():
        if kind.Config is type(config):
            return kind
    raise TypeError(f"config is a {type(config).__name__}: give the settings of a method, such as BucConfig")


def _read(config: TrainConfig, path: Path) -> Dataset:
    place = _draw(config, path / "synthetic") if config.data in SYNTHETIC else Path(config.data).expanduser()
    data = read_dataset(place)
    if not config.clock_offsets:
        return data
    return shift_clocks(data, read_offsets(Path(config.clock_offsets).expanduser()))


@processes.once
def _draw(config: TrainConfig, root: Path) -> Path:
    if not root.exists():
        level = SYNTHETIC[config.data]
        write_market(SyntheticConfig(level=level, seed=config.data_seed), root)  # type: ignore[arg-type]
    return root


def _check_processes(config: TrainConfig) -> None:
    """Refuse what cannot be shared out evenly, and processes that were started with other settings."""
    count = processes.size()
    if count == 1:
        return
    share, rest = divmod(config.batch_size, count)
    if rest:
        raise ValueError(f"batch_size={config.batch_size}: must be a multiple of the run's {count} processes")
    group = min(config.bn_group_size, config.batch_size)
    if group and share % group and group % share:
        raise ValueError(
            f"bn_group_size={group}: must divide the {share} pictures of each of {count} processes, or be a multiple"
        )
    processes.check_same("settings", repr(dataclasses.replace(config, output=None)))


def _resolve(config: TrainConfig, weights: LoadedWeights, train: Samples) -> TrainConfig:
    """Fill in what is automatic."""
    height, width = config.height, config.width
    if height is None or width is None:
        height, width = (64, 32) if config.data in SYNTHETIC else usual_size(train)
    stripes = config.stripes or (4 if weights.backbone.startswith("tiny") else 1)
    return dataclasses.replace(
        config,
        backbone=weights.backbone,
        pixels=weights.pixels,
        height=height,
        width=width,
        stripes=stripes,
        freeze=_frozen_stages(config, weights),
        neck=config.neck or ("none" if weights.state is None else "bn"),
    )


def _frozen_stages(config: TrainConfig, weights: LoadedWeights) -> int:
    if config.freeze is not None:
        return config.freeze
    return 4 if weights.state is not None and weights.backbone.startswith("mobilenet_v2") else 0


def _data_name(config: TrainConfig) -> str:
    name = Path(config.data).expanduser().resolve().stem if config.data not in SYNTHETIC else config.data
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name)[:60] or "data"


def _describe(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "layout": dataset.layout,
        "root": os.fspath(dataset.root),
        "train": len(dataset.train),
        "query": len(dataset.query or ()),
        "gallery": len(dataset.gallery or ()),
        "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint(),
    }


@processes.first_only
def _check_same_data(path: Path, facts: dict[str, Any]) -> None:
    before = json.loads((path / "run.json").read_text(encoding="utf-8"))
    for name, what in (("data", "data"), ("source", "data"), ("constraints", "constraints")):
        if before.get(name, {}).get("fingerprint") != facts.get(name, {}).get("fingerprint"):
            raise ValueError(f"resume={path}: the {what} have changed since the run began; start a new run")


def _summary(history: list[dict[str, Any]]) -> list[str]:
    """Untrained, last, selected and oracle-best figures, one line each."""
    if "mAP" not in history[-1]:
        return []
    rows = [r for r in history if "mAP" in r]
    picks = [("untrained", rows[0]), ("last", rows[-1])]
    picks += [("selected without labels", r) for r in rows if r["selected"]]
    picks += [("oracle best (chosen on the test set)", max(rows, key=lambda r: r["mAP"]))]
    lines = [
        f"{name:<37} round {r['round']:>2}  mAP {100 * r['mAP']:5.1f}  rank-1 {100 * r['rank1']:5.1f}"
        for name, r in picks
    ]
    if "side_mAP" in rows[-1]:
        r = rows[-1]
        lines.append(
            f"{'last':<37} round {r['round']:>2}  mAP {100 * r['side_mAP']:5.1f}  rank-1 {100 * r['side_rank1']:5.1f}"
            "  with times and cameras of query and gallery (transductive)"
        )
    return lines

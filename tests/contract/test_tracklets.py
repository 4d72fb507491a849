"""Every method works on data whose rows are tracklets, as it does on pictures."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reid.config import from_mapping, read_preset, read_toml
from reid.data.pictures import Pictures
from reid.data.readers import read_dataset
from reid.data.records import Dataset, Samples
from reid.data.synthetic import SyntheticConfig, write_market
from reid.evaluation.retrieval import evaluate_retrieval
from reid.features import extract
from reid.methods import METHODS
from reid.models.embedder import load_embedder
from reid.training import loop
from reid.training.train import train

TINY = {
    "data": "tracklets", "source": "tracklets", "height": 32, "width": 16, "backbone": "tiny:0.25", "rounds": 2,
    "batch_size": 8, "merge_percent": 0.2, "epochs_first": 1, "epochs": 1, "k1": 6, "k2": 2, "min_samples": 2,
    "iters": 3, "per_cluster": 2, "known": 2, "n_init": 1, "threshold": 0.5,
}  # fmt: skip
"""Settings with which any method trains within seconds."""


def _tracklets(samples: Samples) -> Samples:
    """The eight pictures of a person and a camera as two rows: of 1 and 7 frames, of 2 and 6, and so on."""
    parts: list[NDArray[np.int64]] = []
    seen = np.unique(np.stack([samples.pid, samples.camid]), axis=1).T
    for k, (pid, camid) in enumerate(seen):
        own = np.flatnonzero((samples.pid == pid) & (samples.camid == camid))
        parts += [part for part in np.split(own, [1 + k % 7]) if len(part)]
    frames = tuple(tuple(samples.frames[i][0] for i in part) for part in parts)
    rows = samples.take([part[0] for part in parts])
    return dataclasses.replace(rows, frames=frames, tracklet=np.arange(len(rows)) + 100)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Walkers as tracklets in all three splits."""
    root = tmp_path_factory.mktemp("video") / "walkers"
    config = SyntheticConfig(seed=3, height=32, width=16, train_persons=6, test_persons=4, frames=8)
    found = read_dataset(write_market(config, root))
    assert found.query is not None
    assert found.gallery is not None
    train, gallery = _tracklets(found.train), _tracklets(found.gallery)
    assert set(range(1, 8)) == set(train.n_frames)
    return dataclasses.replace(found, layout="video", train=train, query=_tracklets(found.query), gallery=gallery)


@pytest.fixture(autouse=True)
def _reads_tracklets(video: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("reid.training.train", "reid.methods.spcl_uda"):
        monkeypatch.setattr(f"{module}.read_dataset", lambda path: video)


def _config(name: str, **settings: Any) -> Any:
    known = {f.name for f in dataclasses.fields(METHODS[name].Config)}
    return from_mapping(METHODS[name].Config, {k: v for k, v in (TINY | settings).items() if k in known}, "test")


def _same(a: Path, b: Path) -> None:
    for name in ("model.safetensors", "labels.csv"):
        assert (a / name).read_bytes() == (b / name).read_bytes()


def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no set of pictures fit in memory."""
    monkeypatch.setattr("reid.data.pictures.free_memory", lambda: 0)


@pytest.mark.parametrize("name", list(METHODS))
def test_tracklets_are_trained_on_clustered_evaluated_and_written(
    name: str, video: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(_config(name, frames=3, output=str(tmp_path / "run")))
    said = capsys.readouterr().out
    assert f"method: {name}, {len(video.train)} tracklets (weak supervision)" in said
    assert read_toml(run / "config.toml")["instances"] == json.loads((run / "run.json").read_text())["instances"]
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert np.isfinite([row["loss"] for row in rows[1:]]).all()

    last = f"round-{rows[-1]['round']:03d}.npz"
    labels = np.load(run / "labels" / last)["labels"]
    assert len(labels) == len(video.train)
    with open(run / "labels.csv", newline="") as file:
        written = [(row["path"], int(row["tracklet"]), int(row["label"])) for row in csv.DictReader(file)]
    assert written == [
        (path, tracklet, label)
        for frames, tracklet, label in zip(video.train.frames, video.train.tracklet, labels, strict=True)
        for path in frames
    ]

    # Retrieval by hand: the mean over all frames of each tracklet, then unit length.
    network = load_embedder(run / "model.safetensors")

    def features(samples: Samples) -> NDArray[np.float32]:
        pictures = Pictures.load(samples, 32, 16)
        rows = np.stack(
            [
                extract(network, Pictures(pictures.rows(np.arange(a, b)), np.arange(b - a + 1)), normalize=False).mean(
                    0
                )
                for a, b in zip(pictures.first[:-1], pictures.first[1:], strict=True)
            ]
        )
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    assert video.query is not None
    assert video.gallery is not None
    found = evaluate_retrieval(features(video.query), features(video.gallery), video.query, video.gallery)
    assert rows[-1]["mAP"] == pytest.approx(found["mAP"], abs=1e-3)

    # Cut off after the first round and taken up again, with the pixels of a few batches in memory: the same bytes.
    _few_at_once(monkeypatch)
    save = loop._save

    def save_and_fail(job: Any, history: list[dict[str, Any]], *args: Any, **kwargs: Any) -> None:
        save(job, history, *args, **kwargs)
        if history[-1]["round"] == 1:
            raise KeyboardInterrupt

    config = _config(name, frames=3, output=str(tmp_path / "cut"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_save", save_and_fail)
        train(config)
    assert "are decoded when they are needed" in capsys.readouterr().out
    _same(run, train(config, resume=tmp_path / "cut", quiet=True))


def test_frames_of_pictures_too_are_decoded_a_batch_ahead_with_the_same_bytes(
    video: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [train(_config("buc", frames=1, output=str(tmp_path / "held")), quiet=True)]
    _few_at_once(monkeypatch)
    runs.append(train(_config("buc", frames=1, output=str(tmp_path / "decoded")), quiet=True))
    _same(*runs)


def test_long_tracklets_become_pieces(video: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(_config("cluster-contrast", dense_step=2, output=str(tmp_path / "run")))
    pieces = video.train.split_tracklets(2)
    assert len(pieces) > len(video.train)
    assert f"{len(pieces)} pieces of tracklets (weak supervision)" in capsys.readouterr().out
    with open(run / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [path for frames in video.train.frames for path in frames]
    assert {int(row["tracklet"]) for row in rows} == set(video.train.tracklet)


def test_what_is_clustered_is_what_the_data_have(
    video: Dataset, tmp_path: Path, walkers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="instances='image': these data are tracklets"):
        train(_config("buc", instances="image", output=str(tmp_path / "run")), quiet=True)
    pictures = read_dataset(walkers)
    monkeypatch.setattr("reid.training.train.read_dataset", lambda path: pictures)
    with pytest.raises(ValueError, match="dense_step=4: cuts tracklets"):
        train(_config("buc", dense_step=4, output=str(tmp_path / "run")), quiet=True)
    assert not (tmp_path / "run").exists()
    run = train(_config("buc", instances="tracklet", dense_step=2, rounds=1, output=str(tmp_path / "run")), quiet=True)
    assert len(np.load(run / "labels" / "round-001.npz")["labels"]) == 2 * len(pictures.train.by_tracklet())


@pytest.mark.parametrize("preset", ["buc-mars", "buc-dukevideo"])
def test_presets_of_video_run(preset: str, video: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUC's rules for tracklets, on a small network: 16 frames a sample, frozen stages with all their batch norms."""
    shapes: set[tuple[int, ...]] = set()
    states: list[dict[str, torch.Tensor]] = []
    step, save = METHODS["buc"].step, loop._save

    def seen(self: Any, batch: Any) -> Any:
        shapes.add(tuple(batch.images.shape))
        return step(self, batch)

    def saved(job: Any, *args: Any, **kwargs: Any) -> None:
        states.append({k: v.clone() for k, v in job.network.state_dict().items()})
        save(job, *args, **kwargs)

    monkeypatch.setattr(METHODS["buc"], "step", seen)
    monkeypatch.setattr(loop, "_save", saved)
    small = {
        "weights": "none", "backbone": "resnet18", "height": 32, "width": 16, "rounds": 2, "epochs_first": 1,
        "epochs": 1, "embedding_dim": 16, "data": "tracklets", "output": str(tmp_path / "run"),
    }  # fmt: skip
    values = {k: v for k, v in read_preset(preset).items() if k != "method"} | small
    run = train(from_mapping(METHODS["buc"].Config, values, preset), quiet=True)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [0, 1, 2]
    n = len(video.train)
    assert [row["n_clusters"] for row in rows[1:]] == [n, n - n // 20]
    assert np.isfinite(rows[2]["mAP"])
    written = read_toml(run / "config.toml")
    assert (written["frames"], written["freeze"], written["memory_init"]) == (16, 3, "zeros")
    assert shapes == {(16, 16, 3, 32, 16)}
    before, after = states[0], states[-1]
    frozen = ("backbone.conv1", "backbone.bn1", "backbone.layer1", "backbone.layer2")
    for name, value in before.items():
        assert not name.startswith(frozen) or torch.equal(value, after[name]), name
    for name in ("layer3.0.conv1.weight", "layer3.0.bn1.running_mean"):
        assert not torch.equal(before[f"backbone.{name}"], after[f"backbone.{name}"])


def test_report_shows_middle_frames(video: Dataset, tmp_path: Path) -> None:
    run = train(_config("buc", output=str(tmp_path / "run")), quiet=True)
    page = (run / "report.html").read_text()
    assert f"{len(video.train)} tracklets in " in page
    assert video.query is not None
    assert video.gallery is not None
    middle = {
        str(Path(frames[len(frames) // 2]).relative_to(video.root))
        for samples in (video.train, video.query, video.gallery) for frames in samples.frames
    }  # fmt: skip
    shown = set(re.findall(r'title="(\S+?\.(?:jpg|png))', page))
    assert shown
    assert shown <= middle

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.config import from_mapping, read_toml
from reid.methods.buc import BucConfig
from reid.training.train import train


def _rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _train(settings: dict[str, Any], run: Path, **more: Any) -> Path:
    return train(from_mapping(BucConfig, {**settings, **more, "output": str(run)}, "test"), quiet=True)


def test_evaluates_as_often_as_asked_and_at_the_end(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    rows = _rows(_train(tiny_settings, tmp_path / "run", rounds=3, eval_every=2))
    assert [("mAP" in row) for row in rows] == [True, False, True, True]


def test_a_loss_that_is_not_finite_ends_the_run(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"buc is not finite in round 1.*lower the learning rate"):
        _train(tiny_settings, tmp_path / "run", optimizer="sgd", lr_first=1e30, epochs_first=3)
    assert [row["round"] for row in _rows(tmp_path / "run")] == [0]


def test_a_method_that_stops_leaves_a_whole_run(
    tiny_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clusters collapse before the third round: what was trained is evaluated, saved and reported."""
    monkeypatch.setattr(
        "reid.methods.buc.describe_collapse", lambda labels: "one giant cluster" if labels.max() < 50 else ""
    )
    run = _train(tiny_settings, tmp_path / "run", rounds=9, merge_percent=0.2, eval_every=50)
    rows = _rows(run)
    assert "one giant cluster" in rows[-1]["stop"]
    assert 0 < rows[-1]["round"] < 9
    assert "mAP" in rows[-1]
    assert "one giant cluster" in (run / "report.html").read_text()


def test_tracklets_as_instances(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    run = _train(tiny_settings, tmp_path / "run", instances="tracklet", rounds=2)
    labels = np.load(run / "labels" / "round-001.npz")["labels"]
    assert len(labels) == 6 * 3
    lines = (run / "labels.csv").read_text().splitlines()[1:]
    assert len(lines) == 6 * 3 * 4
    by_tracklet: dict[str, set[str]] = {}
    for line in lines:
        _, _, tracklet, label = line.rsplit(",", 3)
        by_tracklet.setdefault(tracklet, set()).add(label)
    assert all(len(labels) == 1 for labels in by_tracklet.values())


def test_selected_is_the_round_with_the_best_label_free_score(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    rows = _rows(_train(tiny_settings, tmp_path / "run"))
    chosen = [row for row in rows if row["selected"]]
    assert len(chosen) == 1
    assert chosen[0]["reciprocity"] == max(row["reciprocity"] for row in rows)


def test_frames_of_a_tracklet_are_averaged(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    rows = _rows(_train(tiny_settings, tmp_path / "run", instances="tracklet", frames=3, rounds=2))
    assert np.isfinite([row["loss"] for row in rows[1:]]).all()


def test_same_camera_auto_is_measured_once_and_written_down(tiny_settings: dict[str, Any], tmp_path: Path) -> None:
    """The walkers pass each camera in several pictures; the run keeps what was found before its first round."""
    run = _train(tiny_settings, tmp_path / "run", same_camera="auto", rounds=1)
    assert read_toml(run / "config.toml")["same_camera"] == "allow"
    facts = json.loads((run / "run.json").read_text())
    assert facts["cameras_used"]
    assert 0 < facts["same_camera_first_gap"] < 1.1

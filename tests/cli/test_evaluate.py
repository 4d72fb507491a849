"""``reid-eval``: features, a run and labels from the command line; one line for what is wrong."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid
from reid.cli import evaluate as command
from reid.data.readers import read_dataset
from reid.evaluation.settings import EvalConfig
from reid.feature_table import FeatureTable, write_features
from reid.methods.buc import BucConfig


def _run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "reid.cli.evaluate", *arguments]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def features(walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy features of the walkers, query and gallery."""
    data = read_dataset(walkers)
    assert data.query is not None
    assert data.gallery is not None
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(10_000, 8))
    parts = {
        split: (looks[s.pid] + 0.8 * rng.normal(size=(len(s), 8))).astype(np.float32)
        for split, s in (("query", data.query), ("gallery", data.gallery))
    }
    path = tmp_path_factory.mktemp("features") / "f.npz"
    write_features(path, FeatureTable.of(data, parts, {}))
    return path


@pytest.fixture(scope="module")
def finished(walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one round."""
    settings: dict[str, Any] = {
        "data": str(walkers), "height": 32, "width": 16, "backbone": "tiny:0.25", "embedding_dim": 16,
        "batch_size": 16, "merge_percent": 0.2, "rounds": 1, "epochs_first": 1, "epochs": 1,
    }  # fmt: skip
    output = tmp_path_factory.mktemp("runs") / "r"
    return reid.train(BucConfig(**settings, output=output), quiet=True)


def test_table_json_and_files_say_the_same(features: Path, tmp_path: Path) -> None:
    shown = _run("--features", str(features), "--rerank", "--k1", "4", "--output", "out", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("protocol cross-camera: ")
    assert lines[-2] == "results: out  (queries.csv, evaluation.json)"
    assert lines[-1].startswith("next: ")
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    printed = _run("--features", str(features), "--rerank", "--k1", "4", "--json", cwd=tmp_path)
    assert json.loads(printed.stdout) == stored
    figures = stored["figures"]
    assert f"{100 * figures['mAP']:.1f}" in next(line for line in lines if line.startswith("mAP "))
    rows = list(csv.DictReader((tmp_path / "out" / "queries.csv").read_text().splitlines()))
    assert len(rows) == stored["n_queries"]
    assert np.mean([float(row["ap"]) for row in rows if row["ap"]]) == pytest.approx(figures["mAP"], abs=1e-5)
    assert np.mean([int(row["first_match"]) == 1 for row in rows if row["ap"]]) == pytest.approx(figures["rank1"])


def test_a_run_gives_its_own_figures(finished: Path, walkers: Path) -> None:
    last = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])
    found = reid.evaluate(EvalConfig(run=finished, resamples=0))
    for name in ("mAP", "mAP_trapezoid", "rank1", "rank5", "rank10"):
        assert found["figures"][name] == pytest.approx(last[name], abs=1e-6)
    assert found["n_valid"] == last["n_queries"]
    again = reid.evaluate(EvalConfig(run=finished, data=str(walkers), model="selected", resamples=0))
    assert set(again["figures"]) == set(found["figures"])


def test_labels_of_a_run(finished: Path, walkers: Path, tmp_path: Path) -> None:
    last = json.loads((finished / "metrics.jsonl").read_text().splitlines()[-1])
    done = _run("--labels", str(finished / "labels.csv"), "--data", str(walkers), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)["figures"]
    assert figures["ari"] == pytest.approx(last["oracle_ari"])
    assert (figures["n_clusters"], figures["n_outliers"]) == (last["n_clusters"], last["n_outliers"])
    shown = _run("--labels", str(finished / "labels.csv"), "--data", str(walkers), cwd=tmp_path)
    assert "Outliers count as clusters of one." in shown.stdout
    assert f"{100 * figures['bcubed_f']:.1f}" in next(x for x in shown.stdout.splitlines() if x.startswith("BCubed F"))


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    names = ["=1+1.jpg", "<img onerror=x>\x1b[31m\n.jpg", "g.jpg"]
    x = np.eye(3, dtype=np.float32)
    np.savez(tmp_path / "f.npz", features=x, pid=[1, 2, 1], split=["query", "query", "gallery"], path=names)
    done = _run("--features", "f.npz", "--output", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert r"<img onerror=x>\x1b[31m\n.jpg" in done.stdout
    with open(tmp_path / "out" / "queries.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["'=1+1.jpg", names[1]]
    assert [row["ap"] for row in rows] == ["1.000000", ""]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "nothing given: give one of --run DIR, --features FILE, --labels FILE"),
        (("--run", "a", "--features", "b"), 2, "--features and --run given"),
        (("--features", "f.npz", "--draws", "0"), 2, "draws=0"),
        (("--config", "c.toml"), 2, "did you mean 'protocol'"),
        (("--features", "nowhere.npz"), 1, "nowhere.npz: no such file"),
        (("--run", "nowhere"), 1, "run=nowhere: holds no run"),
        (("--labels", "c.toml"), 1, "no column label"),
        (("--features", "f.npz", "--protocol", "time-gap"), 1, "have no time"),
        (("--features", "f.npz", "--output", "."), 1, "not an empty folder"),
    ],
)
def test_one_line_for_what_is_wrong(arguments: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('protcol = "any-camera"\n')
    np.savez(tmp_path / "f.npz", features=np.eye(2), pid=[1, 1])
    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr
    assert done.stdout == ""


def test_help_and_config_file(features: Path, tmp_path: Path) -> None:
    program = "import sys, reid.cli.evaluate as c\ntry: c._command(['--help'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"
    assert "(default: 60.0)" in done.stdout
    (tmp_path / "c.toml").write_text(f'features = "{features}"\nprotocol = "any-camera"\nmin-gap = 5\n')
    parsed = command._parsed(["--config", str(tmp_path / "c.toml"), "--draws", "3"]).settings
    assert (parsed.features, parsed.protocol, parsed.min_gap, parsed.draws) == (features, "any-camera", 5.0, 3)

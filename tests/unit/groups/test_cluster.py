"""Clusters of a feature table, and the files that tell of them."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import reid
from reid.data.records import Samples
from reid.feature_table import FeatureTable, write_features
from reid.files import cell, text_of
from reid.groups.config import ClusterConfig
from reid.groups.labels_file import read_labels

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a table of 20 identities, 6 pictures each in 2 cameras and tracklets of 3, or of the first few."""

    def made(n: int = 120, name: str = "f.npz", paths: list[str] | None = None) -> Path:
        rng = np.random.default_rng(0)
        who = np.arange(120) % 20
        x = rng.normal(size=(20, 32))[who] + 0.3 * rng.normal(size=(120, 32))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)[:n]
        visit = np.arange(120) // 20
        paths = paths or [f"p{i}.jpg" for i in range(n)]
        samples = Samples.from_paths(
            [os.path.join(tmp_path, p) for p in paths], camid=(visit // 3)[:n], pid=who[:n],
            tracklet=(who * 2 + visit // 3)[:n], start=(1000.0 * who + visit)[:n], clock=np.zeros(n, np.int64),
        )  # fmt: skip
        write_features(tmp_path / name, FeatureTable(x, samples, np.full(n, "train"), tmp_path, {}))
        return tmp_path / name

    return made


def _lines(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", ["dbscan", "bottom-up", "kmeans", "hdc"])
def test_methods_find_the_identities(write: Write, tmp_path: Path, method: str) -> None:
    out = tmp_path / "labels.csv"
    config = ClusterConfig(path=str(write()), output=out, method=method, k1=6, k2=2)
    found = reid.cluster(config, quiet=True)
    assert adjusted_rand_score(np.arange(120) % 20, found.clusters) > 0.85
    lines = _lines(out)
    assert [line["path"] for line in lines] == [f"p{i}.jpg" for i in range(120)]
    assert [int(line["label"]) for line in lines] == found.clusters.tolist()
    assert all((line["silhouette"] == "") == (line["label"] == "-1") for line in lines)
    assert {line["names_used"] for line in lines} == {str(found.n_clusters)}


@pytest.mark.parametrize("method", ["dbscan", "bottom-up", "kmeans", "hdc"])
def test_constraints_are_obeyed(write: Write, tmp_path: Path, method: str) -> None:
    rules = tmp_path / "review.csv"
    rules.write_text("path_a,path_b,relation\np0.jpg,p20.jpg,different\np1.jpg,p2.jpg,same\n")
    config = ClusterConfig(
        path=str(write()), output=tmp_path / "l.csv", method=method, k1=6, k2=2, constraints=rules,
    )  # fmt: skip
    c = reid.cluster(config, quiet=True).clusters
    assert c[0] != c[20] or c[0] == -1
    assert c[1] == c[2]


def test_one_picture_of_each_camera(write: Write, tmp_path: Path) -> None:
    config = ClusterConfig(path=str(write()), output=tmp_path / "l.csv", k1=6, k2=2, same_camera="forbid")
    found = reid.cluster(config, quiet=True)
    for name in range(found.n_clusters):
        cameras = found.samples.camid[found.clusters == name]
        assert len(set(cameras.tolist())) == len(cameras)


def test_names_stay_when_data_grow(write: Write, tmp_path: Path) -> None:
    settings = {"k1": 6, "k2": 2}
    first = ClusterConfig(path=str(write(70, "a.npz")), output=tmp_path / "a.csv", **settings)
    before = reid.cluster(first, quiet=True).clusters
    second = ClusterConfig(
        path=str(write(name="b.npz")), output=tmp_path / "b.csv", previous=tmp_path / "a.csv", **settings
    )  # fmt: skip
    found = reid.cluster(second, quiet=True)
    both = (before >= 0) & (found.clusters[:70] >= 0)
    assert both.sum() > 40
    assert (before[both] == found.clusters[:70][both]).mean() > 0.9
    assert {c.state for c in found.changes} & {"grown"}
    table = _lines(tmp_path / "b.changes.csv")
    assert [int(line["cluster"]) for line in table] == [c.cluster for c in found.changes]


def test_names_of_files_are_text(write: Write, tmp_path: Path) -> None:
    odd = [
        "=1+1.jpg",
        "+a.jpg",
        "-b.jpg",
        "@c.jpg",
        "'d.jpg",
        "'=i.jpg",
        "''-j.jpg",
        "e\nf.jpg",
        'g".jpg',
        "h,i.jpg",
        os.fsdecode(b"\xff.jpg"),
    ]
    path = write(paths=odd + [f"p{i}.jpg" for i in range(120 - len(odd))])
    reid.cluster(ClusterConfig(path=str(path), output=tmp_path / "l.csv", report=True), quiet=True)
    cells = [line["path"] for line in _lines(tmp_path / "l.csv")]
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert list(read_labels(tmp_path / "l.csv").clusters)[: len(odd)] == odd
    assert all(text_of(cell(name)) == name for name in odd)
    assert "<html" in (tmp_path / "l.html").read_text()


def test_what_cannot_be_used_is_named(write: Write, tmp_path: Path) -> None:
    path, out = str(write()), tmp_path / "l.csv"
    other = tmp_path / "other.csv"
    other.write_text("path,label\nelsewhere.jpg,1\n")
    broken = tmp_path / "broken.csv"
    broken.write_text("path,label\np0.jpg,one\n")
    cases = [
        ({"path": str(tmp_path)}, "pictures need a network"),
        ({"path": path, "previous": other}, "names none of these pictures"),
        ({"path": path, "previous": broken}, "line 2: label 'one'"),
        ({"path": path, "previous": tmp_path / "no.csv"}, "previous="),
        ({"path": path, "split": "query"}, "split=query: has no rows"),
        ({"path": path, "method": "kmeans", "n_clusters": 121}, "n_clusters=121"),
        ({"path": path, "constraints": tmp_path / "no.toml"}, "no.toml: no such file"),
    ]
    for settings, message in cases:
        with pytest.raises(ValueError, match=message):
            reid.cluster(ClusterConfig(output=out, **settings), quiet=True)
    for settings, message in (({"eps": 1.5}, "eps=1.5"), ({"n_clusters": 4}, "n_clusters=4"), ({"k1": 0}, "k1=0")):
        with pytest.raises(ValueError, match=message):
            ClusterConfig(**settings)
    assert not out.exists()


def test_pictures_by_a_network(walkers: Path, tmp_path: Path) -> None:
    from reid.models.embedder import Embedder, save_embedder

    run = tmp_path / "run"
    run.mkdir()
    save_embedder(run / "model.safetensors", Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3))
    (run / "config.toml").write_text('method = "buc"\nheight = 32\nwidth = 16\nbackbone = "tiny:0.25"\n')
    found = reid.cluster(ClusterConfig(path=str(walkers), run=run, output=tmp_path / "l.csv"), quiet=True)
    lines = _lines(tmp_path / "l.csv")
    assert len(lines) == len(found.samples)
    assert all((walkers / line["path"]).is_file() for line in lines)

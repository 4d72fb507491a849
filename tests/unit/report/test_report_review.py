"""The page of pairs: which pairs, which names, and that its lines are those that constraints read."""

from __future__ import annotations

import base64
import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_report_page import Page, assert_inert

import reid
from reid.clustering.pairs_file import COLUMNS, read_pairs
from reid.data.records import Samples
from reid.feature_table import FeatureTable, write_features
from reid.files import csv_text
from reid.report.names import PairNames
from reid.report.pairs import choose_pairs
from reid.report.source import read_source


def _features(pid: np.ndarray, seed: int = 0, noise: float = 0.3) -> np.ndarray:
    centers = np.random.default_rng(1).normal(size=(pid.max() + 1, 8))
    x = centers[pid] + noise * np.random.default_rng(seed).normal(size=(len(pid), 8))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_each_kind_of_pair_is_what_it_says() -> None:
    pid, camid = np.repeat(np.arange(20), 6), np.tile([0, 0, 0, 1, 1, 1], 20)
    x, labels = _features(pid), np.where(camid == 0, pid, pid + 20).astype(np.int64)  # each identity in two clusters
    labels[::7] = -1
    pairs = choose_pairs(x, camid, labels, 30, seed=0, n_jobs=1)
    assert len(pairs) == len({(p.a, p.b) for p in pairs}) == 30
    kinds = {why: [p for p in pairs if p.why == why] for why in {p.why for p in pairs}}
    assert len(kinds) == 3
    assert all(len(found) == 10 for found in kinds.values())
    for p in pairs:
        assert p.a < p.b
        if p.why == "Far apart in one cluster":
            assert labels[p.a] == labels[p.b] >= 0
            rows = np.flatnonzero(labels == labels[p.a])
            center = x[rows].mean(axis=0)
            away = np.square(x[rows] - center).sum(axis=1)
            assert rows[away.argmax()] in (p.a, p.b)
        elif p.why == "Two clusters that nearly touch":
            a, b = (np.flatnonzero(labels == labels[i]) for i in (p.a, p.b))
            assert labels[p.a] != labels[p.b]
            d = np.square(x[a][:, None] - x[b][None]).sum(axis=2)
            assert np.square(x[p.a] - x[p.b]).sum() == pytest.approx(d.min(), abs=1e-5)
        else:
            assert p.why == "Nearest to each other across two cameras"
            assert camid[p.a] != camid[p.b]
            assert labels[p.a] != labels[p.b] or labels[p.a] < 0
    counts = np.bincount(np.array([(p.a, p.b) for p in pairs]).ravel())
    assert counts.max() <= 3
    assert choose_pairs(x, camid, labels, 30, seed=0, n_jobs=1) == pairs
    assert choose_pairs(x, camid, labels, 30, seed=1, n_jobs=1) != pairs


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_samples(n: int) -> None:
    x, unknown = np.eye(8, dtype=np.float32)[:n], np.full(n, -1)
    for labels in (np.full(n, -1), np.zeros(n, np.int64), np.arange(n)):
        pairs = choose_pairs(x, unknown, labels, 10, n_jobs=1)
        assert len(pairs) == len({(p.a, p.b) for p in pairs}) <= n * (n - 1) // 2


def test_names_are_found_again_and_no_formula(tmp_path: Path) -> None:
    names = ["a.jpg", "x/a.jpg", "y/a.jpg", "=1+1.jpg", " b.jpg", "-c.jpg", 'q"uo,te.jpg', "li\nne.jpg", "trail.jpg "]
    names += [os.fsdecode(b"\xff\xfe.jpg"), "\u202egpj.exe"]
    samples = Samples.from_paths([tmp_path / name for name in names])
    found = PairNames(samples, tmp_path)
    told = [found.name(i) for i in range(len(names))]
    assert told == [
        f"{tmp_path.name}/a.jpg", "x/a.jpg", "y/a.jpg", "./=1+1.jpg", "./ b.jpg", "./-c.jpg", 'q"uo,te.jpg',
        "li\nne.jpg", None, os.fsdecode(b"\xff\xfe.jpg"), "\u202egpj.exe",
    ]  # fmt: skip
    assert found.line(0, 8) is None
    lines = [found.line(i, (i + 1) % 8) for i in range(7)] + [found.line(9, 10)]
    text = b"\n".join([",".join(COLUMNS).encode(), *(line + b"different" for line in lines if line is not None)])
    (tmp_path / "review.csv").write_bytes(text)
    cannot, must = read_pairs(tmp_path / "review.csv", samples)
    assert cannot.tolist() == [[i, i + 1] for i in range(7)] + [[9, 10]]
    assert not len(must)
    assert found.line(9, 6) == b'\xff\xfe.jpg,"q""uo,te.jpg",'
    assert PairNames(samples, None).name(1) == str(tmp_path / "x/a.jpg")
    assert PairNames(samples, tmp_path / "elsewhere").name(1) == str(tmp_path / "x/a.jpg")


@pytest.fixture
def features(tmp_path: Path) -> dict[str, Any]:
    """24 pictures with hostile names in 6 clusters, their features, and labels.csv."""
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    names = [f"<b onclick='x'>{i}\"&.png" for i in range(22)] + ["=cmd.png", os.fsdecode(b"\xff.png")]
    for name in names:
        with open(data / name, "wb") as file:
            Image.fromarray(rng.integers(0, 255, (40, 20, 3), dtype=np.uint8)).save(file, "PNG")
    pid = np.repeat(np.arange(6), 4)
    samples = Samples.from_paths([data / name for name in names], camid=np.tile([0, 1], 12))
    table = FeatureTable(_features(pid) * 2, samples, np.full(24, "train"), data, {})
    write_features(tmp_path / "features.npz", table)
    with open(tmp_path / "labels.csv", "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *zip(names, pid // 2, strict=True)])
    return {"source": tmp_path / "features.npz", "labels": tmp_path / "labels.csv", "output": tmp_path / "review.html"}


def test_page_of_features(features: dict[str, Any]) -> None:
    page = Page(reid.review(reid.ReviewConfig(**features, pairs=12, workers=1)))
    assert_inert(page)
    tasks = page.all("article")
    assert len(tasks) == 12
    assert len(page.all("img")) == 24
    assert len({img["src"] for img in page.all("img")}) >= 8  # one is shown three times at most
    known = set(os.listdir(features["source"].parent / "data"))
    for task in tasks:
        line = os.fsdecode(base64.b64decode(task["data-line"]))
        (cells,) = csv.reader([line + "same"], strict=True)
        assert cells[2] == "same"
        assert {os.path.normpath(cell) for cell in cells[:2]} <= known
        assert cells[0] != cells[1]
        assert not any(cell[0] in "=+-@" for cell in cells)
    (box,) = [d for d in page.all("div") if d.get("id") == "tasks"]
    assert box["data-head"] == "path_a,path_b,relation"


def test_same_seed_same_page(features: dict[str, Any]) -> None:
    first = reid.review(reid.ReviewConfig(**features, workers=1)).read_bytes()
    assert reid.review(reid.ReviewConfig(**features, workers=1)).read_bytes() == first


def test_pictures_moved_or_gone(features: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(ValueError, match="no pair to review"):
        reid.review(reid.ReviewConfig(**features, workers=1))
    assert not features["output"].exists()
    page = Page(reid.review(reid.ReviewConfig(**features, root=tmp_path / "moved", workers=1)))
    assert page.all("article")


def test_labels_as_our_tables_write_them(tmp_path: Path) -> None:
    samples = Samples.from_paths([tmp_path / "=1.png", tmp_path / "-2.png"])
    table = FeatureTable(np.eye(2, dtype=np.float32), samples, np.array(["train", "train"]), tmp_path)
    write_features(tmp_path / "f.npz", table)
    (tmp_path / "labels.csv").write_text(csv_text(["path", "label"], [("=1.png", 4), ("-2.png", 7)]))
    source = read_source(reid.ReviewConfig(tmp_path / "f.npz", labels=tmp_path / "labels.csv"))
    assert source.labels.tolist() == [4, 7]


def test_refusals(features: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="labels: name the CSV table"):
        reid.review(reid.ReviewConfig(features["source"]))
    (tmp_path / "bad.csv").write_text("path,label\nnobody.png,3\n")
    with pytest.raises(ValueError, match=r"bad\.csv: names none of these pictures"):
        reid.review(reid.ReviewConfig(features["source"], labels=tmp_path / "bad.csv"))
    (tmp_path / "bad.csv").write_text("path\nnobody.png\n")
    with pytest.raises(ValueError, match=r"bad\.csv: no column label"):
        reid.review(reid.ReviewConfig(features["source"], labels=tmp_path / "bad.csv"))
    with pytest.raises(ValueError, match="name a run folder"):
        reid.review(reid.ReviewConfig())
    with pytest.raises(ValueError, match="pairs=0"):
        reid.ReviewConfig(features["source"], pairs=0)

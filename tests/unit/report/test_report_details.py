"""What a report keeps of features: against loops written by hand, and as it stands in the page."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_report_page import FACTS, Page, assert_inert, make_run

from reid import report
from reid.data.records import Samples
from reid.report.details import Details, make_details, read_details, write_details

EVIL = "<img src=x onerror=alert(1)>\"'&.png"


def _samples(folder: Path, name: str, pid: np.ndarray, camid: np.ndarray) -> Samples:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    paths = [folder / f"{name}{i}{EVIL}".replace("/", "") for i in range(len(pid))]
    for path in paths:
        with open(path, "wb") as file:
            Image.fromarray(rng.integers(0, 255, (32, 16, 3), dtype=np.uint8)).save(file, "PNG")
    return Samples.from_paths(paths, pid=pid, camid=camid)


def _features(pid: np.ndarray, seed: int, noise: float = 0.25) -> np.ndarray:
    centers = np.random.default_rng(9).normal(size=(pid.max() + 1, 16))
    x = centers[pid] + noise * np.random.default_rng(seed).normal(size=(len(pid), 16))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Details, np.ndarray, np.ndarray, Samples]:
    """A run of 40 samples in 8 identities, two of them in one cluster, two outliers; and a test set."""
    root = tmp_path_factory.mktemp("made")
    data = root / "data"
    pid, camid = np.repeat(np.arange(8), 5), np.tile([0, 0, 1, 1, 2], 8)
    labels = np.where(pid == 7, 6, pid).astype(np.int64)
    labels[[0, 9]] = -1
    train, x = _samples(data, "t", pid, camid), _features(pid, 0)
    test, test_cameras = np.repeat(np.arange(6), 2), np.tile([0, 1], 6)
    query = _features(test[::2], 1), _samples(data, "q", test[::2], test_cameras[::2])
    gallery = _features(test, 2, 0.6), _samples(data, "g", test, test_cameras)
    details = make_details(x, train, labels, query, gallery, k1=8, k2=3, n_jobs=1)
    facts = {**FACTS, "data": {**FACTS["data"], "root": str(data)}}
    run = make_run(root / "run", facts=facts, settings="height = 64\nwidth = 32\nk1 = 8\neps = 0.6\n")
    write_details(run / "report" / "details.npz", details)
    (run / "labels").mkdir()
    for r, stored in enumerate([np.arange(40), np.where(labels == 3, 2, labels), labels]):
        np.savez(run / "labels" / f"round-{r:03d}.npz", labels=stored)
    with open(run / "labels.csv", "w", encoding="utf-8", newline="") as file:
        rows = zip((frames[0] for frames in train.frames), camid, [-1] * 40, labels, strict=True)
        csv.writer(file).writerows([("path", "camid", "tracklet", "label"), *rows])
    return run, details, x, labels, train


def test_geometry_equals_loops(made: tuple[Path, Details, np.ndarray, np.ndarray, Samples]) -> None:
    _, found, x, labels, train = made
    d = np.square(x[:, None] - x[None]).sum(axis=2)
    np.fill_diagonal(d, np.inf)
    np.testing.assert_array_equal(found.near, d.argmin(axis=1))
    np.testing.assert_allclose(found.near_distance, d.min(axis=1), rtol=1e-4)
    for i in range(40):
        if labels[i] < 0:
            assert np.isnan(found.to_center[i])
        else:
            center = x[labels == labels[i]].mean(axis=0)
            assert found.to_center[i] == pytest.approx(np.square(x[i] - center).sum(), rel=1e-4)
    clusters = range(7)
    centers = np.array([x[labels == c].mean(axis=0) for c in clusters])
    gaps = {(a, b): np.square(centers[a] - centers[b]).sum() for a in clusters for b in clusters if a < b}
    a, b = min(gaps, key=gaps.__getitem__)
    assert found.cluster_pairs[0].tolist() == [a, b]
    assert found.cluster_gap[0] == pytest.approx(gaps[a, b], rel=1e-4)
    nearest = np.argsort(d, axis=1, kind="stable")[:, :10]
    for p in range(3):
        for q in range(3):
            own = train.camid == p
            assert found.camera_neighbors[p, q] == (train.camid[nearest[own]] == q).sum()
            members = sum(
                labels[i] == labels[j] >= 0 and i != j
                for i in np.flatnonzero(own) for j in np.flatnonzero(train.camid == q)
            )  # fmt: skip
            assert found.camera_members[p, q] == members
    assert found.within.sum() == 20_000
    assert 15_000 < found.between.sum() < 20_000
    assert np.interp(0.5, np.cumsum(found.within) / 20_000, found.edges[1:]) < found.edges[-1] / 2
    together = sum(labels[i] == labels[j] >= 0 for i in range(40) for j in range(i))
    assert 0 < found.jaccard_within.sum() <= together


def test_searches(made: tuple[Path, Details, np.ndarray, np.ndarray, Samples]) -> None:
    found = made[1]
    assert set(found.query_kind.tolist()) <= {"easiest", "hardest", "random"}
    assert len(set(found.query_name.tolist())) == len(found.query_name) == 6
    best, worst = (found.query_ap[found.query_kind == kind] for kind in ("easiest", "hardest"))
    assert best.min() >= worst.max()
    for name, answers, marks, distances in zip(
        found.query_name, found.answer_name, found.answer_mark, found.answer_distance, strict=True
    ):
        k = int(os.path.basename(name)[1])
        own = [int(os.path.basename(a)[1:3].rstrip("<")) // 2 for a in answers]
        assert marks.tolist() == [int(k == g) for g in own]
        assert (np.diff(distances) >= 0).all()
        assert os.path.basename(name).replace("q", "g", 1).replace(str(k), str(2 * k), 1) not in map(
            os.path.basename, answers
        )  # same identity, same camera
    assert (found.pair_query.tolist(), found.pair_gallery.tolist()) == ([0], [0, 1])
    assert found.pair_total.tolist() == [[0, 6]]
    assert 0 <= found.pair_hits[0, 1] <= 6


def test_page_shows_them_as_text(made: tuple[Path, Details, np.ndarray, np.ndarray, Samples], tmp_path: Path) -> None:
    run = made[0]
    page = Page(report.write(run, output=tmp_path / "page.html"))
    assert_inert(page)
    ids = {element["id"] for element in page.all("section")}
    assert ids >= {"together", "outliers", "closest", "searches", "distances", "cameras", "settings"}
    assert {a["href"].removeprefix("#") for a in page.all("a")} == ids | {"content"}
    for words in (
        "Loosest clusters", "Clusters of most cameras", "Changed most since the round before", "Nearly taken",
        "dashed: eps 0.6", "Rank-1 from camera to camera", "squared distance of the middles",
    ):  # fmt: skip
        assert words in page.text, words
    assert "parts of" in page.text or "joined" in page.text or "left" in page.text
    assert all("onerror" not in img.get("src", "") for img in page.all("img"))
    assert not [img for img in page.all("img") if "onerror" in img]
    assert any(EVIL in img["alt"] for img in page.all("img"))
    private = Page(report.write(run, pictures=False, output=tmp_path / "private.html"))
    assert_inert(private)
    assert not private.all("img")
    assert str(run.parent) not in private.raw
    assert "made without pictures" in private.text


def test_pictures_are_gone(made: tuple[Path, Details, np.ndarray, np.ndarray, Samples], tmp_path: Path) -> None:
    run = made[0]
    data = run.parent / "data"
    data.rename(run.parent / "elsewhere")
    try:
        page = Page(report.write(run, output=tmp_path / "page.html"))
    finally:
        (run.parent / "elsewhere").rename(data)
    assert not page.all("img")
    assert "can no longer be read where they were" in page.text
    assert any(text.startswith("t1<img") for text in page.texts)


def test_written_and_read_again(made: tuple[Path, Details, np.ndarray, np.ndarray, Samples], tmp_path: Path) -> None:
    again = read_details(made[0] / "report" / "details.npz")
    assert again is not None
    for name, value in vars(made[1]).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    write_details(tmp_path / "a.npz", again)
    assert (tmp_path / "a.npz").read_bytes() == (made[0] / "report" / "details.npz").read_bytes()
    assert read_details(tmp_path / "none.npz") is None
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"bad\.npz: cannot be read .* remove the file"):
        read_details(tmp_path / "bad.npz")
    np.savez(tmp_path / "less.npz", frame=np.arange(3))
    with pytest.raises(ValueError, match=r"less\.npz: cannot be read"):
        read_details(tmp_path / "less.npz")


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("clustered", [False, True])
def test_few_samples_without_cameras_and_identities(n: int, clustered: bool, tmp_path: Path) -> None:
    x = np.eye(4, dtype=np.float32)[:n]
    labels = np.zeros(n, np.int64) if clustered else np.full(n, -1)
    samples = Samples.from_paths([f"/gone/{i}.jpg" for i in range(n)])
    found = make_details(x, samples, labels, n_jobs=1)
    assert len(found.cluster_pairs) == len(found.cameras) == 0
    assert (found.answer_mark == -1).all()
    run = make_run(tmp_path / "run")
    write_details(run / "report" / "details.npz", found)
    lines = [f"/gone/{i}.jpg,-1,-1,{labels[i]}\n" for i in range(n)]
    (run / "labels.csv").write_text("path,camid,tracklet,label\n" + "".join(lines))
    page = Page(report.write(run))
    assert_inert(page)
    assert "cameras" not in {element["id"] for element in page.all("section")}


def test_details_of_other_samples_are_refused(made: tuple[Path, Details, np.ndarray, np.ndarray, Samples], tmp_path: Path) -> None:  # fmt: skip # noqa: E501
    run = make_run(tmp_path / "run")
    write_details(run / "report" / "details.npz", made[1])
    (run / "labels.csv").write_text("path,camid,tracklet,label\na.png,0,-1,0\n")
    with pytest.raises(ValueError, match=r"details\.npz: is of other samples than labels\.csv"):
        report.write(run)

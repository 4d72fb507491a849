"""Search, and probabilities that are learned without identities."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid
import reid_cluster
from reid.data.records import Samples
from reid.feature_table import FeatureTable, write_features
from reid.queries.calibration import ACROSS, ALL, WITHIN, calibrate
from reid.queries.config import SearchConfig


def _world(people: int = 60, frames: int = 4, cameras: int = 2, noise: float = 0.9) -> tuple[np.ndarray, Samples]:
    """Each person walks past each camera twice, four pictures a visit, with three others at the same time."""
    rng = np.random.default_rng(0)
    look = rng.normal(size=(people, 24))
    rows: list[tuple[int, int, int, float]] = []
    for visit in range(2):
        for camera in range(cameras):
            for person in range(people):
                begin = 100.0 * (person // 4) + 1e5 * visit + (0 if cameras == 1 else 1e6 * camera)
                rows += [(person, camera, len(rows) // frames, begin + k) for k in range(frames)]
    who, camera, tracklet, time = (np.array(column) for column in zip(*rows, strict=True))
    x = look[who] + noise * rng.normal(size=(len(rows), 24))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    paths = [f"/data/c{c}/{i}.jpg" for i, c in enumerate(camera)]
    samples = Samples.from_paths(
        paths, pid=who, camid=camera, tracklet=tracklet, start=time, clock=np.zeros(len(rows), np.int64)
    )
    return x, samples


def _write(path: Path, x: np.ndarray, samples: Samples) -> str:
    write_features(path, FeatureTable(x, samples, np.full(len(x), "gallery"), Path("/data"), {}))
    return str(path)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return _write(tmp_path / "f.npz", *_world())


def _found(table: str, **settings: Any) -> reid.queries.search.Search:
    return reid.search(SearchConfig(path=table, **settings), quiet=True)


def test_results_are_the_nearest(table: str) -> None:
    x, samples = _world()
    found = _found(table, query=("c0/3.jpg", "/data/c1/800.jpg"), top=7)
    for query, row in zip(found.queries, (3, 800), strict=True):
        d = np.sqrt(np.square(x - x[row]).sum(axis=1, dtype=np.float64))
        expected = [i for i in np.argsort(d, kind="stable") if i != row][:7]
        assert [r.row for r in query.results] == expected
        assert [r.rank for r in query.results] == list(range(1, 8))
        assert np.allclose([r.distance for r in query.results], d[expected])
        assert [r.pid for r in query.results] == samples.pid[expected].tolist()


def test_own_camera_left_out(table: str) -> None:
    x, samples = _world()
    found = _found(table, query=("c0/3.jpg", "c1/800.jpg"), exclude_same_camera=True, top=5)
    for query, row in zip(found.queries, (3, 800), strict=True):
        others = np.flatnonzero(samples.camid != samples.camid[row])
        d = np.square(x[others] - x[row]).sum(axis=1)
        assert [r.row for r in query.results] == others[np.argsort(d, kind="stable")][:5].tolist()


def test_reranking_is_that_of_the_kernel(tmp_path: Path) -> None:
    x, samples = _world()
    table = _write(tmp_path / "g.npz", x[8:], samples.take(np.arange(8, len(x))))
    queries = _write(tmp_path / "q.npz", x[:8], samples.take(np.arange(8)))
    found = _found(table, query_features=Path(queries), rerank=True, top=20)
    expected = reid_cluster.rerank(x[:8], x[8:])
    for q, query in enumerate(found.queries):
        rows = [r.row for r in query.results]
        assert np.allclose([r.reranked for r in query.results], expected[q, rows], atol=2e-5)
        assert np.allclose(expected[q, rows], np.sort(expected[q])[:20], atol=2e-5)


def test_probabilities_are_right_on_new_visits() -> None:
    """One camera: the share of true pairs among those of one probability, by the identities that nobody used."""
    x, samples = _world(people=120, cameras=1)
    told = calibrate(x, samples.without_pid())
    assert told.fits[WITHIN].error < 0.1
    i, j = np.triu_indices(len(x), 1)
    p = told.probability(WITHIN, np.sqrt(np.square(x[i] - x[j]).sum(axis=1, dtype=np.float64)))
    same = samples.pid[i] == samples.pid[j]
    assert abs(told.fits[WITHIN].prior - same.mean()) < 0.5 * same.mean()
    for low, high in ((0.2, 0.5), (0.5, 0.8), (0.8, 1.0)):
        inside = (p >= low) & (p <= high)
        assert inside.sum() > 20
        assert abs(p[inside].mean() - same[inside].mean()) < 0.15


def test_share_of_false_results_holds_across_cameras() -> None:
    x, samples = _world(people=400, cameras=2, noise=0.5)
    # Both cameras at one time, so that there are pairs of two cameras that must differ.
    samples = Samples.from_paths(
        [row[0] for row in samples.frames], camid=samples.camid, tracklet=samples.tracklet, pid=samples.pid,
        start=samples.start % 1e6 + 7e6 * (samples.pid % 2 != samples.camid), clock=samples.clock,
    )  # fmt: skip
    told = calibrate(x, samples.without_pid())
    assert ACROSS not in told.fits
    a, b = np.flatnonzero(samples.camid == 0)[:800], np.flatnonzero(samples.camid == 1)
    d = np.sqrt(np.maximum(2 - 2 * x[a] @ x[b].T, 0)).astype(np.float64)
    same = samples.pid[a][:, None] == samples.pid[b]
    at, share = told.shares[ACROSS]
    checked = 0
    for k in range(0, len(at), 200):
        near = d <= at[k]
        if share[k] < 1 and near.sum() > 50:
            assert (~same[near]).mean() <= share[k] + 0.02
            checked += 1
    assert checked > 2


@pytest.mark.parametrize("lost", ["tracklet", "start", "clock"])
def test_refused_with_a_reason(tmp_path: Path, lost: str) -> None:
    x, samples = _world(people=20)
    columns = {name: getattr(samples, name) for name in ("camid", "tracklet", "start", "clock")}
    columns[lost] = np.full(len(x), np.nan if lost == "start" else -1)
    bare = Samples.from_paths([row[0] for row in samples.frames], **columns)
    table = _write(tmp_path / "f.npz", x, bare)
    found = _found(table, query=("c0/0.jpg",))
    assert found.queries[0].results[0].probability is None
    assert any("are needed" in text for text in found.calibration.reasons)
    if lost != "tracklet":
        with pytest.raises(ValueError, match=r"max_false=0\.1.*100 are needed"):
            _found(table, query=("c0/0.jpg",), max_false=0.1)


def test_without_cameras_all_pairs_are_of_one_kind() -> None:
    x, samples = _world(people=40, cameras=1)
    bare = Samples.from_paths(
        [row[0] for row in samples.frames], tracklet=samples.tracklet, start=samples.start, clock=samples.clock
    )
    told = calibrate(x, bare)
    assert set(told.fits) == {ALL}
    again = calibrate(x, bare)
    assert again.fits == told.fits


def test_max_false_keeps_what_is_sure(tmp_path: Path) -> None:
    table = _write(tmp_path / "f.npz", *_world(people=80, noise=0.5))
    everything = _found(table, query=("c0/3.jpg",), top=50)
    found = _found(table, query=("c0/3.jpg",), top=50, max_false=0.2)
    kept = found.queries[0].results
    assert kept
    assert [r.row for r in kept] == [
        r.row for r in everything.queries[0].results if r.probability is not None and r.probability >= 0.8
    ]
    # People meet in one camera, never in two at a time: nothing is known of pairs across cameras.
    assert any("across cameras: nothing can be said" in text for text in found.calibration.reasons)


def test_files(table: str, tmp_path: Path) -> None:
    found = _found(table, query=("c0/3.jpg",), output=tmp_path / "r.csv", top=4)
    with open(tmp_path / "r.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["path"] for line in lines] == [r.path for r in found.queries[0].results]
    assert found.as_json()["queries"][0]["results"][0]["path"] == lines[0]["path"]


def test_what_cannot_be_used_is_named(table: str, tmp_path: Path) -> None:
    here = tmp_path / "new.jpg"
    here.write_bytes(b"x")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"query": ("nobody.jpg",)}, "neither rows of .* nor files"),
        ({"query": (str(here),)}, "give run or weights"),
        ({}, "query: is missing"),
        ({"query": ("c0/3.jpg",), "overlapping_views": "2"}, "overlapping_views='2'"),
    ]
    for settings, message in cases:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            _found(table, **settings)
    with pytest.raises(ValueError, match="max_false=2"):
        SearchConfig(max_false=2)
    x, samples = _world(people=8)
    other = _write(tmp_path / "o.npz", np.ascontiguousarray(x[:, :5]), samples)
    with pytest.raises(ValueError, match="different networks"):
        _found(table, query_features=Path(other))


def test_a_name_that_two_pictures_end_in(tmp_path: Path) -> None:
    x, _ = _world(people=8)
    twice = Samples.from_paths([f"/data/{i % 2}/a{i // 2}.jpg" for i in range(len(x))])
    table = _write(tmp_path / "t.npz", x, twice)
    with pytest.raises(ValueError, match="is the end of 2 names"):
        _found(table, query=("a3.jpg",))
    assert _found(table, query=(os.path.join("1", "a3.jpg"),)).queries[0].row == 7

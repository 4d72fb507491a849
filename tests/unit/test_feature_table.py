"""Features and samples in one file: nothing is lost, and files of others are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.data.records import Dataset, Samples
from reid.feature_table import FeatureTable, read_features, write_features


def table(root: Path) -> FeatureTable:
    train = Samples(
        frames=((str(root / "a.jpg"), str(root / "b\udcff.jpg")), (str(root / "sub/=c.jpg"),)),
        pid=np.array([3, -1]), camid=np.array([1, 2]), tracklet=np.array([0, -1]),
        start=np.array([1.5, np.nan]), end=np.array([2.0, np.nan]), clock=np.array([0, -1]),
    )  # fmt: skip
    query = Samples.from_paths([root / "q.jpg"], pid=[3], camid=[2])
    data = Dataset("x", "table", root, train, query, Samples.from_paths([root / "g.jpg"]), ())
    features = {"train": np.eye(2, 3, dtype=np.float32), "query": np.ones((1, 3), np.float32)}
    return FeatureTable.of(data, features, {"model": "x.safetensors", "flip": True})


def test_a_table_comes_back_as_it_was(tmp_path: Path) -> None:
    before = table(tmp_path)
    write_features(tmp_path / "f.npz", before)
    after = read_features(tmp_path / "f.npz")
    assert after.samples.frames == before.samples.frames
    assert after.facts == before.facts
    assert after.split.tolist() == ["train", "train", "query"]
    for name in ("pid", "camid", "tracklet", "clock", "start", "end"):
        np.testing.assert_array_equal(getattr(after.samples, name), getattr(before.samples, name))
    np.testing.assert_array_equal(after.features, before.features)
    assert after.names() == ["a.jpg", "sub/=c.jpg", "q.jpg"]
    assert len(after.part("gallery")[0]) == 0


def test_pictures_that_have_moved(tmp_path: Path) -> None:
    write_features(tmp_path / "f.npz", table(tmp_path))
    assert read_features(tmp_path / "f.npz", Path("/elsewhere")).samples.frames[2] == ("/elsewhere/q.jpg",)


def test_files_of_others(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", features=np.ones((2, 4), np.float16))
    bare = read_features(tmp_path / "bare.npz")
    assert (bare.features.dtype, bare.split.tolist(), bare.samples.pid.tolist()) == (
        np.float32,
        ["train", "train"],
        [-1, -1],
    )
    np.savez(tmp_path / "other.npz", feat=np.ones((1, 4)), cam=[7], pid=[2], name=["x/y.jpg"], split=["gallery"])
    other = read_features(tmp_path / "other.npz")
    assert (other.samples.camid.tolist(), other.names()) == ([7], ["x/y.jpg"])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.ones(3)}, "no array features"),
        ({"features": np.ones(3)}, "no array features"),
        ({"features": np.full((1, 2), np.nan)}, "not finite"),
        ({"features": np.ones((2, 2)), "pid": np.ones(3, int)}, "differ in length"),
        ({"features": np.ones((1, 2)), "split": np.array(["test"])}, "split 'test'"),
    ],
)
def test_what_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(ValueError, match=said) as error:
        read_features(tmp_path / "f.npz")
    assert "f.npz" in str(error.value)


def test_no_file_and_no_npz(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_features(tmp_path / "f.npz")
    (tmp_path / "f.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ValueError, match=r"not an \.npz"):
        read_features(tmp_path / "f.npz")

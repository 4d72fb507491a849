"""Features and samples in one file: nothing is lost, and files of others are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.data.records import Dataset, Samples
from reid.feature_table import (
    FeatureTable,
    TableHead,
    read_facts,
    read_features,
    write_blocks,
    write_features,
)


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


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
def test_a_table_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    before = table(tmp_path)
    write_features(tmp_path / name, before)
    after = read_features(tmp_path / name)
    assert after.samples.frames == before.samples.frames
    assert after.facts == before.facts
    assert after.split.tolist() == ["train", "train", "query"]
    assert read_facts(tmp_path / name) == before.facts
    for column in ("pid", "camid", "tracklet", "clock", "start", "end"):
        np.testing.assert_array_equal(getattr(after.samples, column), getattr(before.samples, column))
    np.testing.assert_array_equal(after.features, before.features)
    assert after.names() == ["a.jpg", "sub/=c.jpg", "q.jpg"]
    assert len(after.part("gallery")[0]) == 0


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
def test_blocks_make_the_same_table(tmp_path: Path, name: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    samples = Samples.from_paths([tmp_path / f"{i}.jpg" for i in range(5)], camid=range(5))
    head = TableHead.of({"query": samples.take([0, 1]), "gallery": samples.take([2, 3, 4])}, tmp_path, {"flip": False})
    features = np.arange(15, dtype=np.float32).reshape(5, 3)
    write_blocks(tmp_path / name, head, (features[i : i + 2] for i in (0, 2, 4)), 3)
    first = (tmp_path / name).read_bytes()
    after = read_features(tmp_path / name)
    np.testing.assert_array_equal(after.features, features)
    assert after.split.tolist() == ["query"] * 2 + ["gallery"] * 3
    assert after.samples.frames == samples.frames
    write_blocks(tmp_path / name, head, (features[i : i + 2] for i in (0, 2, 4)), 3)
    assert (tmp_path / name).read_bytes() == first
    for wrong in (features[:4], features[:, :2], np.ones((6, 3), np.float32)):
        with pytest.raises(ValueError, match="features"):
            write_blocks(tmp_path / name, head, [wrong], 3)
    assert (tmp_path / name).read_bytes() == first
    assert len(list(tmp_path.iterdir())) == 1


def test_parquet_of_others(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    from pyarrow import parquet

    columns = {"features": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), "name": ["a.jpg"], "pid": [4]}
    parquet.write_table(pa.table(columns), tmp_path / "f.parquet")
    found = read_features(tmp_path / "f.parquet")
    assert (found.names(), found.samples.pid.tolist(), found.features.tolist()) == (["a.jpg"], [4], [[1.0, 2.0]])
    (tmp_path / "f.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(ValueError, match=r"not a \.parquet"):
        read_features(tmp_path / "f.parquet")


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

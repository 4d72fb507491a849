"""`reid.extract_features`: what it writes, what it goes on from, what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reid
from reid.data.pictures import Pictures
from reid.data.readers import read_dataset
from reid.data.records import Samples
from reid.extraction import extract as module
from reid.extraction.parts import part_bounds
from reid.feature_table import read_features
from reid.features import extract
from reid.training.run_folder import load_run


@pytest.fixture
def config(walkers: Path, random_run: Path, tmp_path: Path) -> reid.ExtractConfig:
    return reid.ExtractConfig(walkers, run=random_run, output=tmp_path / "f.npz", batch_size=8, part_size=20)


def _features(config: reid.ExtractConfig, **changes: Any) -> np.ndarray:
    changed = dataclasses.replace(config, output=config.output.with_name("other.npz"), **changes)
    features = read_features(reid.extract_features(changed, quiet=True)).features
    changed.output.unlink()
    return features


class Stop(Exception):
    """What ends an extraction in these tests."""


def _stop_at(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    calls = 0

    def stopping(*args: Any, **kwargs: Any) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls > part:
            raise Stop
        return extract(*args, **kwargs)

    monkeypatch.setattr(module, "extract", stopping)


def test_rows_are_those_of_the_data(config: reid.ExtractConfig, walkers: Path, random_run: Path) -> None:
    table = read_features(reid.extract_features(config, quiet=True))
    data = read_dataset(walkers)
    network = load_run(random_run).network
    for split in ("train", "query", "gallery"):
        samples: Samples = getattr(data, split)
        features, found = table.part(split)
        assert found.frames == samples.frames
        np.testing.assert_array_equal(found.pid, samples.pid)
        wanted = extract(network, Pictures.load(samples, 32, 16))
        np.testing.assert_allclose(features, wanted, atol=1e-6)
    facts = table.facts
    assert (facts["height"], facts["width"], facts["flip"]) == (32, 16, False)
    assert facts["data"]["fingerprint"] == data.fingerprint()
    assert facts["network"]["method"] == "buc"
    assert len(facts["network"]["sha256"]) == 64
    assert [p.name for p in config.output.parent.iterdir()] == ["f.npz"]


def test_settings_change_features(config: reid.ExtractConfig, walkers: Path, random_run: Path) -> None:
    plain = _features(config)
    np.testing.assert_allclose(_features(config, batch_size=3, part_size=7), plain, atol=1e-6)
    assert not np.allclose(_features(config, model="selected"), plain, atol=1e-3)
    flipped = _features(config, flip=True)
    assert not np.allclose(flipped, plain, atol=1e-3)
    frames = Pictures.load(read_dataset(walkers).query, 32, 16)
    wanted = extract(load_run(random_run).network, frames, flip=True)
    np.testing.assert_allclose(_features(config, flip=True, split="query"), wanted, atol=1e-6)
    assert len(_features(config, split="gallery")) == len(read_dataset(walkers).gallery)


def test_tracklets_are_means_over_frames(config: reid.ExtractConfig, walkers: Path, random_run: Path) -> None:
    table = read_features(reid.extract_features(dataclasses.replace(config, instances="tracklet"), quiet=True))
    train = read_dataset(walkers).train.by_tracklet()
    features, samples = table.part("train")
    assert samples.frames == train.frames
    assert samples.n_frames.max() > 1
    np.testing.assert_allclose(features, extract(load_run(random_run).network, Pictures.load(train, 32, 16)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
def test_an_interrupted_call_goes_on(
    config: reid.ExtractConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    config = dataclasses.replace(config, output=config.output.with_name(name))
    whole = reid.extract_features(config, quiet=True).read_bytes()
    config.output.unlink()
    with monkeypatch.context() as patch:
        _stop_at(patch, 2)
        with pytest.raises(Stop):
            reid.extract_features(config, quiet=True)
    folder = config.output.with_name(name + ".parts")
    parts = sorted(folder.glob("*.npy"))
    assert [part.name for part in parts] == ["000000.npy", "000001.npy"]
    before = [part.stat().st_mtime_ns for part in parts]
    with monkeypatch.context() as patch:
        _stop_at(patch, 1)
        with pytest.raises(Stop):
            reid.extract_features(config)
    total = sum(int(getattr(read_dataset(config.path), split).n_frames.sum()) for split in module.SPLITS)
    assert f"f{config.output.suffix}.parts: {total - 40} of {total} pictures are left" in capsys.readouterr().out
    assert [part.stat().st_mtime_ns for part in parts] == before
    reid.extract_features(config, quiet=True)
    assert config.output.read_bytes() == whole
    assert not folder.exists()


def test_killed_before_the_parts_were_gone(config: reid.ExtractConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(module.Parts, "remove", killed)
        with pytest.raises(Stop):
            reid.extract_features(config, quiet=True)
    whole = config.output.read_bytes()
    folder = config.output.with_name("f.npz.parts")
    assert folder.exists()
    (folder / "000000.npy").unlink()
    reid.extract_features(config, quiet=True)
    assert config.output.read_bytes() == whole
    assert not folder.exists()


def test_other_settings_in_between_are_refused_by_name(
    config: reid.ExtractConfig, random_run: Path, walkers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(walkers, tmp_path / "mine")
    config = dataclasses.replace(config, path=tmp_path / "mine")
    _stop_at(monkeypatch, 1)
    with pytest.raises(Stop):
        reid.extract_features(config, quiet=True)
    for change, said in (
        ({"flip": True}, r"flip \(false there, true here\)"),
        ({"model": "selected"}, r"network\.model .*network\.sha256"),
        ({"batch_size": 9}, r"batch_size \(8 there, 9 here\)"),
    ):
        with pytest.raises(ValueError, match=rf"other settings or data: {said}.*remove the folder"):
            reid.extract_features(dataclasses.replace(config, **change), quiet=True)  # type: ignore[arg-type]
    picture = next((tmp_path / "mine" / "query").iterdir())
    picture.write_bytes(picture.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"data\.fingerprint"):
        reid.extract_features(config, quiet=True)
    assert (config.output.with_name("f.npz.parts") / "000000.npy").exists()


def test_refused_and_nothing_left(config: reid.ExtractConfig, tmp_path: Path, walkers: Path) -> None:
    for changes, said in (
        ({"run": None}, "no network is given"),
        ({"weights": "pip"}, "both given"),
        ({"run": None, "weights": "none"}, "weights='none'"),
        ({"output": tmp_path / "f.csv"}, r"must end in \.npz or \.parquet"),
        ({"path": walkers / "query", "split": "query"}, r"split='query': these data hold train only"),
        ({"path": walkers / "query", "instances": "tracklet"}, "no tracklets"),
        ({"run": tmp_path}, "holds no run"),
    ):
        with pytest.raises(ValueError, match=said):
            reid.extract_features(dataclasses.replace(config, **changes), quiet=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"split='test'.*known: all, train, query, gallery"):
        dataclasses.replace(config, split="test")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="part_size=0: must be at least 1"):
        dataclasses.replace(config, part_size=0)
    crops = tmp_path / "crops"
    crops.mkdir()
    Image.new("RGB", (16, 32)).save(crops / "a.jpg")
    (crops / "b.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"b\.jpg"):
        reid.extract_features(dataclasses.replace(config, path=crops), quiet=True)
    config.output.write_bytes(b"mine")
    with pytest.raises(ValueError, match="exists already"):
        reid.extract_features(config, quiet=True)
    assert config.output.read_bytes() == b"mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["crops", "f.npz"]


def test_parts_of_others_are_left_alone(config: reid.ExtractConfig) -> None:
    folder = config.output.with_name("f.npz.parts")
    folder.mkdir()
    (folder / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match=r"holds thesis\.tex, but no plan"):
        reid.extract_features(config, quiet=True)
    assert (folder / "thesis.tex").read_text() == "precious"


def test_weights_without_a_run(config: reid.ExtractConfig, random_run: Path, tmp_path: Path) -> None:
    saved = dataclasses.replace(config, run=None, weights=str(random_run / "model.safetensors"), height=32, width=16)
    np.testing.assert_array_equal(_features(saved), _features(config))
    table = read_features(reid.extract_features(dataclasses.replace(saved, height=None, width=None), quiet=True))
    assert (table.facts["height"], table.facts["width"]) == (256, 128)


def test_parts_are_cut_between_rows() -> None:
    n_frames = np.array([1, 1, 1, 5, 1, 1])
    assert part_bounds(n_frames, 2) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert part_bounds(n_frames, 100) == [(0, 6)]
    assert part_bounds(n_frames[:0], 2) == []


def test_facts_are_json_with_no_surprises(config: reid.ExtractConfig) -> None:
    table = read_features(reid.extract_features(config, quiet=True))
    assert json.loads(json.dumps(table.facts)) == table.facts

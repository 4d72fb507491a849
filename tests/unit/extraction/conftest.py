"""A finished run, without the training."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.config import write_toml
from reid.data.pictures import Pictures
from reid.data.readers import read_dataset
from reid.methods.buc import BucConfig
from reid.models.embedder import Embedder, save_embedder, start_batch_norm


@pytest.fixture(scope="session")
def run(walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder on the walkers: two random networks of a few channels."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    write_toml(folder / "config.toml", BucConfig(data=str(walkers), height=32, width=16), "buc")
    pictures = Pictures.load(read_dataset(walkers).train, 32, 16)
    for seed, name in enumerate(("model", "selected")):
        network = Embedder("tiny:0.25", stripes=2, mean=(0.5,) * 3, std=(0.25,) * 3, seed=seed)
        start_batch_norm(network, pictures)
        save_embedder(folder / f"{name}.safetensors", network)
    return folder

"""What tests share: tiny settings, and where real data may be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def walkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic set in Market layout: 6 persons to train on, 4 to test with, 32 x 16 pixels."""
    from reid.data.synthetic import SyntheticConfig, write_market

    root = tmp_path_factory.mktemp("data") / "walkers"
    return write_market(SyntheticConfig(seed=3, height=32, width=16, train_persons=6, test_persons=4), root)


@pytest.fixture
def tiny_settings(walkers: Path) -> dict[str, Any]:
    """Settings of BUC that train within a second or two."""
    return {
        "data": str(walkers), "height": 32, "width": 16, "backbone": "tiny:0.25", "embedding_dim": 16,
        "batch_size": 16, "merge_percent": 0.2, "rounds": 3, "epochs_first": 1, "epochs": 1,
    }  # fmt: skip


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real sets (uit_vehicle_reid_128, ...); tests that need it skip where there is none."""
    folder = os.environ.get("REID_TEST_DATA")
    if not folder:
        pytest.skip("REID_TEST_DATA is not set: no real pictures to test with")
    return Path(folder)


@pytest.fixture(scope="session")
def random_run(walkers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder on the walkers: two random networks of a few channels."""
    from reid.config import write_toml
    from reid.data.pictures import Pictures
    from reid.data.readers import read_dataset
    from reid.methods.buc import BucConfig
    from reid.models.embedder import Embedder, save_embedder, start_batch_norm

    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    write_toml(folder / "config.toml", BucConfig(data=str(walkers), height=32, width=16), "buc")
    pictures = Pictures.load(read_dataset(walkers).train, 32, 16)
    for seed, name in enumerate(("model", "selected")):
        network = Embedder("tiny:0.25", stripes=2, mean=(0.5,) * 3, std=(0.25,) * 3, seed=seed)
        start_batch_norm(network, pictures)
        save_embedder(folder / f"{name}.safetensors", network)
    return folder

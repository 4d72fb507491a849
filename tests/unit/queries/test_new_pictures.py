"""Queries that are not in the table: their features are computed by the network that made it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import reid
from reid.data.readers import read_dataset
from reid.models.embedder import Embedder, save_embedder


def test_a_copy_of_a_picture_finds_it(walkers: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_embedder(weights, Embedder("tiny:0.25", mean=(0.5,) * 3, std=(0.5,) * 3))
    table = tmp_path / "f.npz"
    size = {"height": 32, "width": 16}
    reid.extract_features(reid.ExtractConfig(walkers, output=table, weights=str(weights), **size), quiet=True)
    original = read_dataset(walkers).train.frames[5][0]
    copy = tmp_path / "copy.jpg"
    shutil.copy(original, copy)
    for named in ({}, {"weights": str(weights), **size}):
        config = reid.SearchConfig(path=str(table), query=(str(copy),), top=3, camera=1, **named)
        query = reid.search(config, quiet=True).queries[0]
        assert (query.row, query.camid) == (-1, 1)
        assert walkers / query.results[0].path == Path(original)
        assert query.results[0].distance == pytest.approx(0, abs=1e-3)

"""Small clusters are taken out: goldens of 3C and edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from reid.clustering.prune import prune
from reid.memory.ccc import CameraMemory

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize(("name", "suffix"), [("prune", ""), ("prune_absent", "_fixed")])
def test_golden(name: str, suffix: str) -> None:
    golden = np.load(GOLDEN / f"ccc_{name}.npz")
    labels, kept = prune(golden["labels_in"], int(golden["min_instances"]))
    np.testing.assert_array_equal(labels, golden[f"labels_out{suffix}"])
    assert len(kept) == golden[f"num_clusters_out{suffix}"]
    memory = CameraMemory(torch.from_numpy(golden["centroids_in"][kept])).memory
    np.testing.assert_allclose(memory, golden["memory_out"], atol=1e-6, rtol=0)


def test_golden_after_clustering() -> None:
    """Rows from the centroids and rows from the means of the members."""
    golden = np.load(GOLDEN / "ccc_prune_hdc.npz")
    labels, kept = prune(golden["hdc_labels"], int(golden["min_instances"]))
    np.testing.assert_array_equal(labels, golden["labels_out"])
    assert len(kept) == golden["num_clusters_out"]
    rows = CameraMemory(torch.from_numpy(golden["hdc_centroids"][kept])).memory
    np.testing.assert_allclose(rows, golden["memory_from_hdc_centroids"], atol=1e-6, rtol=0)
    inside = labels >= 0
    means = CameraMemory.from_means(torch.from_numpy(golden["features"][inside]), torch.from_numpy(labels[inside]))
    np.testing.assert_allclose(means.memory, golden["memory_from_means"], atol=1e-6, rtol=0)


def test_edges() -> None:
    for labels in (np.full(3, -1), np.arange(3)):
        pruned, kept = prune(labels)
        assert pruned.tolist() == [-1] * 3
        assert len(kept) == 0
    assert prune(np.array([0, 3, 3]), 1)[0].tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="min_instances=0"):
        prune(np.zeros(2, np.int64), 0)

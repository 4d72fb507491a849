"""Softened targets: goldens of MTCluster, ties, few clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import reid_cluster
from reid.losses.cross_entropy import nearest_clusters, rlsce, soft_cross_entropy

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "aux_rlsce.npz")


def rows_of(marked: np.ndarray) -> Tensor:
    """A published map as lists: the marked others of each cluster, and, where it lacks itself, itself once more."""
    rows = [np.flatnonzero(row) for row in marked != np.eye(len(marked), dtype=marked.dtype)]
    near = np.full((len(rows), max(map(len, rows))), -1)
    for row, found in zip(near, rows, strict=True):
        row[: len(found)] = found
    return torch.from_numpy(near)


def value_and_gradient(case: str, suffix: str = "") -> tuple[float, np.ndarray]:
    logits = torch.from_numpy(GOLDEN[f"{case}_logits"]).requires_grad_()
    near = rows_of(GOLDEN[f"{case}_nearest_map"])
    smoothing = float(GOLDEN[f"{case}_eps{suffix}"])
    loss = rlsce(logits, torch.from_numpy(GOLDEN[f"{case}_targets"]), near, int(GOLDEN[f"{case}_K"]), smoothing)
    loss.backward()
    assert logits.grad is not None
    return loss.item(), logits.grad.numpy()


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_golden_nearest_clusters(case: str) -> None:
    near = nearest_clusters(GOLDEN[f"{case}_centers"], int(GOLDEN[f"{case}_K"]))
    marked = np.eye(len(near), dtype=np.int8)
    np.put_along_axis(marked, near, 1, axis=1)
    np.testing.assert_array_equal(marked, GOLDEN[f"{case}_nearest_map"])


@pytest.mark.parametrize(("case", "suffix"), [("a", ""), ("a", "_e2"), ("b", ""), ("b", "_e2"), ("c", ""), ("c", "_e2"),
                                              ("d", "")])  # fmt: skip
def test_golden_rlsce(case: str, suffix: str) -> None:
    loss, gradient = value_and_gradient(case, suffix)
    assert loss == pytest.approx(float(GOLDEN[f"{case}_loss{suffix}"]), abs=5e-6)
    np.testing.assert_allclose(gradient, GOLDEN[f"{case}_grad{suffix}"], atol=5e-7, rtol=0)


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_golden_of_the_others(case: str) -> None:
    logits = torch.from_numpy(GOLDEN[f"{case}_logits"]).requires_grad_()
    labels = torch.from_numpy(GOLDEN[f"{case}_targets"])
    plain = functional.cross_entropy(logits, labels).item()
    assert plain == pytest.approx(float(GOLDEN[f"{case}_ce_loss"]), abs=5e-6)
    smooth = functional.cross_entropy(logits, labels, label_smoothing=float(GOLDEN[f"{case}_eps"])).item()
    assert smooth == pytest.approx(float(GOLDEN[f"{case}_lsce_loss"]), abs=5e-6)
    soft = soft_cross_entropy(logits, torch.from_numpy(GOLDEN[f"{case}_teacher_logits"]))
    soft.backward()
    assert soft.item() == pytest.approx(float(GOLDEN[f"{case}_softce_loss"]), abs=5e-6)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, GOLDEN[f"{case}_softce_grad"], atol=5e-7, rtol=0)


def test_equally_near_clusters_come_by_number_and_never_the_own() -> None:
    near = nearest_clusters(np.ones((5, 3), dtype=np.float32), 3)
    assert near.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    apart = nearest_clusters(np.eye(4, dtype=np.float32), 2, k1=1, k2=1)
    assert apart.tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]
    assert nearest_clusters(np.ones((1, 3), dtype=np.float32), 3).shape == (1, 0)


def test_a_sparse_row_is_filled_up_by_number() -> None:
    angles = np.array([0.0, 3.0, 0.1, 0.25])
    centers = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    dense = reid_cluster.jaccard(centers, 3, 1) + 9 * np.eye(4, dtype=np.float32)
    assert (dense == 1).any()
    for wanted in (1, 2, 3):
        expected = np.argsort(dense, axis=1, kind="stable")[:, :wanted]
        np.testing.assert_array_equal(nearest_clusters(centers, wanted, 3, 1), expected)


def test_one_cluster_alone_has_a_loss() -> None:
    near = torch.empty(1, 0, dtype=torch.int64)
    assert rlsce(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), near, 4).item() == 0.0

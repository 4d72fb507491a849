"""Triplets: goldens of MTCluster, one label, equal rows; the four losses together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from reid.losses.cross_entropy import rlsce, soft_cross_entropy
from reid.losses.triplet import distances, hardest, soft_margin_triplet, soft_triplet, weight_adaptive_triplet

FOLDER = Path(__file__).parents[2] / "golden"
GOLDEN = np.load(FOLDER / "aux_triplet.npz")
CASES = ["main", "large", "small", "oneclass", "singletons", "duplicates"]


def check(case: str, name: str, loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    rows = torch.from_numpy(GOLDEN[f"{case}_emb"]).requires_grad_()
    loss = loss_of(rows, torch.from_numpy(GOLDEN[f"{case}_labels"]))
    loss.backward()
    tolerance = 1e-3 if case == "singletons" else 1e-5  # there a row's distance to itself, rounding noise, counts
    expected = float(GOLDEN[f"{case}_{name}_loss"])
    assert loss.item() == pytest.approx(expected, abs=tolerance, rel=1e-6)
    assert rows.grad is not None
    np.testing.assert_allclose(rows.grad, GOLDEN[f"{case}_{name}_grad"], atol=tolerance, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_golden_soft_margin(case: str) -> None:
    check(case, "softmargin0", lambda rows, labels: soft_margin_triplet(hardest(distances(rows), labels)))


@pytest.mark.parametrize("case", CASES)
def test_golden_soft_triplet(case: str) -> None:
    teacher = torch.from_numpy(GOLDEN[f"{case}_emb_ref"])
    check(case, "softref", lambda rows, labels: soft_triplet(hardest(distances(rows), labels), distances(teacher)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("number", range(5))
def test_golden_weight_adaptive(case: str, number: int) -> None:
    margin, weight = GOLDEN["margins_lambdas"][number].tolist()
    check(case, f"watl{number}",
          lambda rows, labels: weight_adaptive_triplet(hardest(distances(rows), labels), margin, weight))  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_golden_hinge_is_the_weight_0(case: str) -> None:
    check(case, "hinge", lambda rows, labels: weight_adaptive_triplet(hardest(distances(rows), labels), 0.3, 0.0))


def test_equal_rows_have_finite_gradients() -> None:
    rows = torch.ones(4, 3, requires_grad=True)
    found = hardest(distances(rows), torch.tensor([0, 0, 1, 1]))
    (soft_margin_triplet(found) + soft_triplet(found, distances(rows.detach()))).backward()
    assert rows.grad is not None
    assert torch.equal(rows.grad, torch.zeros(4, 3))
    assert found.positive_index.tolist() == [0, 0, 2, 2]
    assert found.negative_index.tolist() == [2, 2, 0, 0]


def test_a_triplet_beyond_the_turning_point_is_pushed_the_other_way() -> None:
    for far, sign in ((50.0, 1.0), (150.0, -1.0)):
        t = torch.tensor([far], requires_grad=True)
        found = hardest(torch.zeros(1, 1), torch.zeros(1))._replace(positive=t, negative=torch.zeros(1))
        weight_adaptive_triplet(found, 0.0, -0.01).backward()
        assert t.grad is not None
        assert torch.sign(t.grad).item() == sign


@pytest.mark.parametrize("name", ["cfg_mars", "cfg_duke", "ce_tl"])
def test_golden_of_all_four_together(name: str) -> None:
    golden = np.load(FOLDER / "aux_total_loss_ema.npz")
    rows, logits = (torch.from_numpy(golden[key]).requires_grad_() for key in ("feat", "logits"))
    labels, marked = torch.from_numpy(golden["labels"]), golden["nearest_map"]
    near = torch.from_numpy(np.stack([np.setdiff1d(np.flatnonzero(row), c) for c, row in enumerate(marked)]))
    found = hardest(distances(rows), labels)
    parts = torch.stack([
        functional.cross_entropy(logits, labels) if name == "ce_tl" else rlsce(logits, labels, near, int(golden["K"])),
        weight_adaptive_triplet(found) if name == "cfg_duke" else soft_margin_triplet(found),
        soft_cross_entropy(logits, torch.from_numpy(golden["logits_teacher"])),
        soft_triplet(found, distances(torch.from_numpy(golden["feat_teacher"]))),
    ])  # fmt: skip
    total = (parts * torch.from_numpy(golden["weights"])).sum()
    total.backward()
    np.testing.assert_allclose(parts.detach(), golden[f"{name}_parts"], atol=5e-6)
    assert total.item() == pytest.approx(float(golden[f"{name}_total"]), abs=5e-6)
    assert rows.grad is not None
    assert logits.grad is not None
    np.testing.assert_allclose(rows.grad, golden[f"{name}_grad_feat"], atol=5e-6)
    np.testing.assert_allclose(logits.grad, golden[f"{name}_grad_logits"], atol=5e-6)

"""Cluster Contrast's memory: goldens of the original, order of visits, antipodes, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from banks import load, random_batch, replay, sequential, tensor, unit

from reid.memory.cluster import ClusterMemory
from reid.memory.rows import first_argmin, mix_in_order, occurrence


@pytest.mark.parametrize(("name", "hard"), [("cc_cm", False), ("cc_cmhard", True)])
def test_golden(name: str, hard: bool) -> None:
    golden = load(name)
    bank = ClusterMemory(tensor(golden["memory_0"]), temperature=golden["temp"], momentum=golden["momentum"], hard=hard)
    replay(bank, golden, lambda s: bank.update(tensor(golden[f"inputs_{s}"]), tensor(golden[f"targets_{s}"])))


@pytest.mark.parametrize(("name", "hard"), [("cdsm_bank_cm", False), ("cdsm_bank_cmhard", True)])
def test_golden_fed_by_a_teacher(name: str, hard: bool) -> None:
    golden = load(name)
    bank = ClusterMemory(
        tensor(golden["memory_0"]), temperature=golden["temp"], momentum=golden["momentum"], hard=hard, normalize=False
    )
    replay(bank, golden, lambda s: bank.update(tensor(golden[f"inputs_ema_{s}"]), tensor(golden[f"targets_{s}"])))


def test_golden_centres() -> None:
    golden = load("cc_centers")
    inside = golden["labels"] >= 0
    bank = ClusterMemory.from_means(tensor(golden["features"][inside]), tensor(golden["labels"][inside]))
    np.testing.assert_allclose(bank.memory, golden["memory_init"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["default", "k10"])
def test_golden_centres_of_3c(name: str) -> None:
    golden = load(f"ccc_dbscan_{name}")
    inside = golden["labels"] >= 0
    bank = ClusterMemory.from_means(tensor(golden["features"][inside]), tensor(golden["labels"][inside]))
    np.testing.assert_allclose(bank.memory, golden["memory_init"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("m", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("seed", range(5))
def test_visits_side_by_side_equal_visits_one_by_one(seed: int, m: float) -> None:
    x, y, x_np, y_np = random_batch(seed, n=64, d=6, n_classes=9)
    bank = ClusterMemory(torch.eye(9, 6) + 0.1, momentum=m)
    start = bank.memory.numpy().copy()
    expected = sequential(start, x_np, y_np, m)
    bank.update(3.0 * x, y)
    np.testing.assert_allclose(bank.memory, expected, atol=1e-6)
    absent = np.setdiff1d(np.arange(9), y_np)
    assert len(absent)
    np.testing.assert_array_equal(bank.memory[absent], start[absent])


@pytest.mark.parametrize("seed", range(3))
def test_hard_update_by_hand(seed: int) -> None:
    x, y, x_np, y_np = random_batch(seed, n=40, d=6, n_classes=7)
    bank = ClusterMemory(torch.eye(7, 6) + 0.1, hard=True)
    expected = bank.memory.numpy().astype(np.float64)
    for c in np.unique(y_np):
        members = x_np[y_np == c]
        expected[c] = unit(0.1 * expected[c] + 0.9 * members[np.argmin(members @ bank.memory.numpy()[c])])
    bank.update(x, y)
    np.testing.assert_allclose(bank.memory, expected, atol=1e-6)


@pytest.mark.parametrize("hard", [False, True])
def test_a_row_that_meets_its_antipode_stays(hard: bool) -> None:
    bank = ClusterMemory(torch.eye(2), momentum=0.5, hard=hard)
    bank.update(torch.tensor([[-1.0, 0.0]]), torch.tensor([0]))
    assert torch.equal(bank.memory, torch.eye(2))


def test_first_argmin_is_the_first() -> None:
    values = torch.tensor([2.0, 1.0, 1.0, -3.0, 5.0, -3.0])
    assert first_argmin(values, torch.tensor([1, 1, 1, 0, 2, 0]), 3).tolist() == [3, 1, 4]


def test_occurrence() -> None:
    assert occurrence(torch.tensor([3, 5, 3, 3, 5])).tolist() == [0, 0, 1, 2, 1]
    assert occurrence(torch.tensor([], dtype=torch.int64)).tolist() == []
    memory = torch.eye(2)
    mix_in_order(memory, torch.tensor([], dtype=torch.int64), torch.zeros(0, 2), 0.1)
    assert torch.equal(memory, torch.eye(2))


def test_gradient_is_that_of_the_rows_before_and_projected() -> None:
    """dL/dx = (I - u u^T) / |x| . 1 / (B tau) sum_c (softmax_c - [c = y]) M_c."""
    x, y, x_np, _ = random_batch(3, n=8, d=6, n_classes=5)
    bank = ClusterMemory(torch.eye(5, 6), temperature=0.5).double()
    rows = bank.memory.numpy().copy()
    x = (2.0 * x.double()).requires_grad_()
    loss = bank.loss(x, y)
    loss.backward()
    bank.update(x, y)
    u = unit(x_np.astype(np.float64))
    p = np.exp(u @ rows.T / 0.5)
    p /= p.sum(1, keepdims=True)
    assert loss.item() == pytest.approx(-np.log(p[np.arange(8), y]).mean(), abs=1e-6)
    p[np.arange(8), y] -= 1
    g = p @ rows / (8 * 0.5)
    np.testing.assert_allclose(x.grad, (g - (g * u).sum(1, keepdims=True) * u) / 2.0, atol=1e-7)


def test_memory_changes_in_update_only_and_is_the_whole_state() -> None:
    bank = ClusterMemory(torch.eye(3))
    x, y = torch.rand(4, 3, requires_grad=True), torch.tensor([0, 1, 1, 2])
    bank.loss(x, y).backward()
    assert torch.equal(bank.memory, torch.eye(3))
    assert list(bank.parameters()) == []
    assert list(bank.state_dict()) == ["memory"]
    rows = torch.eye(3)
    ClusterMemory(rows).update(x, y)
    assert torch.equal(rows, torch.eye(3)), "the rows handed in are copied"


def test_one_cluster_trains_nothing() -> None:
    bank = ClusterMemory(torch.eye(1, 4))
    x = torch.rand(3, 4, requires_grad=True)
    loss = bank.loss(x, torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert not x.grad.any()


def test_float32_under_autocast() -> None:
    bank = ClusterMemory(torch.eye(3))
    x, y = torch.rand(4, 3), torch.tensor([0, 1, 1, 2])
    expected = bank.loss(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bank.loss(x, y), expected)
        assert bank.products(x.bfloat16()).dtype == torch.float32


def test_bad_input_is_named_and_leaves_the_memory() -> None:
    bank = ClusterMemory(torch.eye(3, 4))
    good = torch.ones(2, 4)
    for x, y, message in (
        (good, [0, 3], r"labels holds 3: must lie in 0\.\.2"),
        (good, [-1, 0], "labels holds -1"),
        (good, [0], r"labels has shape \(1,\)"),
        (torch.ones(2, 5), [0, 1], r"x has shape \(2, 5\)"),
        (torch.tensor([[0.0] * 4, [math.nan] * 4]), [0, 1], r"x\[1\] is not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            bank.update(x, torch.tensor(y))
    assert torch.equal(bank.memory, torch.eye(3, 4))
    bank.update(torch.ones(0, 4), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="class 1 has no sample"):
        ClusterMemory.from_means(good, torch.tensor([0, 2]))
    for settings in ({"temperature": 0.0}, {"momentum": 1.0}):
        with pytest.raises(ValueError, match="must be"):
            ClusterMemory(torch.eye(3), **settings)
    with pytest.raises(ValueError, match="rows has shape"):
        ClusterMemory(torch.zeros(0, 4))
    with pytest.raises(ValueError, match="not finite"):
        ClusterMemory(torch.full((2, 2), math.inf))

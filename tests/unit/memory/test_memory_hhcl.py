"""HHCL's memories and its label smoothing: goldens of the original, both readings of the loss, edges."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from banks import load, random_batch, replay, tensor, unit
from torch.nn import functional

from reid.memory.cluster import ClusterMemory
from reid.memory.hhcl import HybridClusterMemory, InstanceClusterMemory
from reid.memory.smoothing import cross_entropy


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("cc_hhcl_cm_smooth", "inputs"),
        ("cc_hhcl_hybrid", "inputs"),
        ("cc_hhcl_hybrid_topk_smooth", "inputs"),
        ("cc_hhcl_hybrid_v2", "inputs"),
        ("cdsm_bank_cmhybrid", "inputs_ema"),
        ("cdsm_bank_cmhybrid_v2", "inputs_ema"),
    ],
)
def test_golden(name: str, features: str) -> None:
    golden = load(name)
    weight = {"weight": golden["hard_weight"]}
    build = {
        "cc_hhcl_cm_smooth": partial(ClusterMemory, normalize=False),
        "cc_hhcl_hybrid_v2": partial(InstanceClusterMemory, n_classes=golden["num_clusters"], **weight),
        "cdsm_bank_cmhybrid_v2": partial(InstanceClusterMemory, n_classes=golden["num_clusters"], **weight),
    }.get(name, partial(HybridClusterMemory, **weight))
    smoothing = 0.1 if golden.get("smooth", 0) else 0.0
    bank = build(
        tensor(golden["memory_0"]), temperature=golden["temp"], momentum=golden["momentum"], smoothing=smoothing
    )
    replay(bank, golden, lambda s: bank.update(tensor(golden[f"{features}_{s}"]), tensor(golden[f"targets_{s}"])))


def test_intended_reading_weighs_the_mean_bank_in_full() -> None:
    x, y, _, _ = random_batch(1, n=12, d=8, n_classes=5)
    rows = functional.normalize(torch.rand(10, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    for reading, share in (("published", 0.3 * 0.7), ("intended", 0.7)):
        bank = HybridClusterMemory(rows, weight=0.3, reading=reading)
        hard, mean = (functional.cross_entropy(x @ half.T / 0.05, y) for half in (rows[:5], rows[5:]))
        assert bank.loss(x, y).item() == pytest.approx((0.3 * hard + share * mean).item(), rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_hybrid_update_by_hand(seed: int) -> None:
    x, y, x_np, y_np = random_batch(seed, n=40, d=6, n_classes=7)
    bank = HybridClusterMemory(torch.eye(14, 6) + 0.1, momentum=0.3)
    expected = bank.memory.numpy().astype(np.float64)
    for c in np.unique(y_np):
        members = x_np[y_np == c].astype(np.float64)
        hardest = members[np.argmin(members @ expected[c])]
        expected[c] = unit(0.3 * expected[c] + 0.7 * hardest)
        expected[c + 7] = unit(0.3 * expected[c + 7] + 0.7 * members.mean(0))
    bank.update(x, y)
    np.testing.assert_allclose(bank.memory, expected, atol=1e-6)


def test_both_banks_start_at_the_means() -> None:
    x, y = torch.rand(12, 5), torch.arange(12) % 4
    bank = HybridClusterMemory.from_means(x, y)
    assert bank.n_classes == 4
    assert torch.equal(bank.memory[:4], bank.memory[4:])
    assert torch.equal(bank.memory[:4], ClusterMemory.from_means(x, y).memory)


def test_instances_are_members_of_their_cluster() -> None:
    x, y = torch.rand(30, 5), torch.tensor([2, 0, 1] * 10)
    bank = InstanceClusterMemory.from_samples(x, y, 4, np.random.default_rng(0), weight=0.4)
    assert torch.equal(bank.memory[:3], ClusterMemory.from_means(x, y).memory)
    slots = bank.memory[3:].view(4, 3, 5)
    source = (slots[:, :, None] == x).all(-1).int().argmax(-1)  # (4, 3) position of the sample
    assert (slots == x[source]).all()
    assert (y[source] == torch.arange(3)).all()
    assert len(source.unique()) > 6
    again = InstanceClusterMemory.from_samples(x, y, 4, np.random.default_rng(0))
    assert torch.equal(bank.memory, again.memory)


def test_instances_are_overwritten_in_batch_order_and_no_further() -> None:
    bank = InstanceClusterMemory(torch.zeros(9, 2) + 1.0, 3, momentum=0.5)
    x = torch.tensor([[1.0, 0], [0, 2], [3, 0], [4, 0]])
    bank.update(x, torch.tensor([1, 0, 1, 1]))
    assert bank.memory[4].tolist() == [1, 0]  # first member of cluster 1
    assert bank.memory[7].tolist() == [3, 0]  # second; the third finds no place
    assert bank.memory[3].tolist() == [0, 2]
    assert bank.memory[6].tolist() == [1, 1]
    mean = 0.5 * np.ones(2) + 0.5 * np.array([8 / 3, 0])
    np.testing.assert_allclose(bank.memory[1], unit(mean), atol=1e-6)
    assert bank.memory[2].tolist() == [1, 1]


def test_smoothing_by_hand() -> None:
    logits = torch.randn(6, 110, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    labels = torch.arange(6)
    loss = cross_entropy(logits, labels, 0.1)
    target = torch.zeros(6, 110, dtype=torch.float64)
    target[torch.arange(6), labels] = 0.9
    for b in range(6):
        for c in logits[b].topk(2).indices:
            target[b, c] += 0.05
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert torch.allclose(torch.autograd.grad(loss, logits)[0], torch.autograd.grad(expected, logits)[0], atol=1e-12)
    few = logits[:, :99].detach()  # 99 // 50 = 1: the plain smoothing
    plain = functional.cross_entropy(few, labels, label_smoothing=0.1)
    assert cross_entropy(few, labels, 0.1).item() == pytest.approx(plain.item(), abs=1e-12)
    assert cross_entropy(logits, labels).item() == pytest.approx(functional.cross_entropy(logits, labels).item())


def test_bad_settings_are_named() -> None:
    rows = torch.eye(6)
    with pytest.raises(ValueError, match="rows has 5 rows: must be even"):
        HybridClusterMemory(rows[:5])
    with pytest.raises(ValueError, match="weight=2"):
        HybridClusterMemory(rows, weight=2.0)
    with pytest.raises(ValueError, match="reading='other'"):
        HybridClusterMemory(rows, reading="other")
    for n_classes in (4, 6):
        with pytest.raises(ValueError, match="rows has 6 rows"):
            InstanceClusterMemory(rows, n_classes)
    with pytest.raises(ValueError, match="n_instances=0"):
        InstanceClusterMemory.from_samples(rows, torch.zeros(6, dtype=torch.int64), 0, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"labels holds 3: must lie in 0\.\.2"):
        HybridClusterMemory(rows).loss(rows, torch.arange(6) % 4)


def test_an_empty_batch_changes_nothing() -> None:
    x, y = torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64)
    for bank in (HybridClusterMemory(torch.eye(6)), InstanceClusterMemory(torch.eye(6), 2)):
        bank.update(x, y)
        assert torch.equal(bank.memory, torch.eye(6))

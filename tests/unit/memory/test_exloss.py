"""The memory of BUC: goldens of the original, the gradient's formula, the order of updates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from reid.memory.exloss import ExLossMemory
from reid.memory.rows import class_means

GOLDEN = Path(__file__).parents[2] / "golden"


def sequential(memory: np.ndarray, x: np.ndarray, targets: np.ndarray, mix: float) -> np.ndarray:
    """The rule as it is written down, in float64."""
    rows = memory.astype(np.float64)
    for vector, y in zip(x.astype(np.float64), targets, strict=True):
        u = mix * rows[y] + (1 - mix) * vector
        rows[y] = u / max(np.linalg.norm(u), 1e-12)
    return rows


@pytest.mark.parametrize("name", ["plain", "dropout", "repeats", "zero_memory"])
def test_golden_batches(name: str) -> None:
    """Loss, logits, gradient and the rows after each batch are the original's."""
    golden = np.load(GOLDEN / f"buc_exloss_{name}.npz")
    memory = ExLossMemory(*golden["memory_before"].shape, t=float(golden["temperature_scale"]))
    memory.memory.copy_(torch.from_numpy(golden["memory_before"]))
    for s in range(len(golden["inputs"])):
        x = torch.from_numpy(golden["inputs"][s]).requires_grad_()
        targets = torch.from_numpy(golden["targets"][s])
        loss = memory.loss(x, targets)
        loss.backward()
        np.testing.assert_allclose(memory.logits(x).detach().numpy(), golden["logits"][s], atol=1e-5, rtol=0)
        np.testing.assert_allclose(loss.item(), golden["loss"][s], atol=1e-5, rtol=0)
        np.testing.assert_allclose(x.grad, golden["grad"][s], atol=2e-6, rtol=0)
        memory.update(x, targets)
        np.testing.assert_allclose(memory.memory.numpy(), golden["memory_after"][s], atol=1e-6, rtol=0)


def test_golden_repeats_do_repeat() -> None:
    """The golden for repeated classes visits some class three times or more in one batch."""
    targets = np.load(GOLDEN / "buc_exloss_repeats.npz")["targets"]
    assert max(np.bincount(row).max() for row in targets) >= 3


def test_golden_class_means() -> None:
    golden = np.load(GOLDEN / "buc_cluster_means.npz")
    labels = torch.from_numpy(golden["labels"].astype(np.int64))
    for name in ("feature", "embedding"):
        values = torch.from_numpy(golden[f"{name}s"])
        means = golden[f"{name}_mean"]
        np.testing.assert_allclose(class_means(values, labels).numpy(), means, atol=1e-6, rtol=0)
        rows = ExLossMemory.from_means(values, labels).memory.numpy()
        unit = means / np.linalg.norm(means, axis=1, keepdims=True)
        np.testing.assert_allclose(rows, unit, atol=1e-6, rtol=0)


def test_row_c_belongs_to_label_c() -> None:
    """Neither the order of the samples nor the numbering of the classes moves a row to another class."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(9, 12))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.repeat(np.arange(9), 5)
    samples = np.repeat(centres, 5, axis=0)
    order, names = rng.permutation(45), rng.permutation(9)
    memory = ExLossMemory.from_means(torch.tensor(samples[order]), torch.tensor(names[labels[order]]))
    np.testing.assert_allclose(memory.memory.numpy()[names], centres, atol=1e-6)
    winner = memory.logits(torch.tensor(samples[order], dtype=torch.float32)).argmax(1)
    assert winner.tolist() == names[labels[order]].tolist()


def test_gradient_formula_in_float64() -> None:
    """dL/dx_b = t / B sum_c (softmax_c - [c = y_b]) V_c, and it agrees with finite differences."""
    generator = torch.Generator().manual_seed(1)
    memory = ExLossMemory(7, 5, t=10.0).double()
    memory.memory.copy_(torch.randn(7, 5, generator=generator, dtype=torch.float64))
    x = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([6, 0, 0, 3])
    memory.loss(x, targets).backward()
    p = np.exp(10 * x.detach().numpy() @ memory.memory.numpy().T)
    p /= p.sum(1, keepdims=True)
    p[np.arange(4), targets] -= 1
    np.testing.assert_allclose(x.grad, 10 / 4 * p @ memory.memory.numpy(), rtol=1e-10, atol=1e-12)
    assert torch.autograd.gradcheck(lambda v: memory.loss(v, targets), (x,))


@pytest.mark.parametrize("mix", [0.0, 0.5, 0.8])
def test_update_is_sequential(mix: float) -> None:
    """Grouped visits give what one sample after the other gives; classes that are absent stay as they are."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(64, 6)).astype(np.float32)
    targets = rng.choice([0, 1, 1, 1, 2, 4], size=64)
    memory = ExLossMemory(6, 6, mix=mix)
    memory.memory[1:4] = torch.eye(6)[1:4]
    expected = sequential(memory.memory.numpy(), x, targets, mix)
    memory.update(torch.from_numpy(x), torch.from_numpy(targets))
    np.testing.assert_allclose(memory.memory.numpy(), expected, atol=1e-6)
    assert torch.equal(memory.memory[3], torch.eye(6)[3])
    assert torch.equal(memory.memory[5], torch.zeros(6))


def test_order_matters_and_is_kept() -> None:
    """A golden-free case by hand: e1 then e2 into one row, and the other way round."""
    for first, second in ((0, 1), (1, 0)):
        memory = ExLossMemory(1, 2)
        memory.update(torch.eye(2)[[first, second]], torch.tensor([0, 0]))
        assert torch.allclose(memory.memory[0], torch.tensor([math.sqrt(0.5)] * 2))
        memory.update(torch.eye(2)[[first]], torch.tensor([0]))
        assert memory.memory[0].argmax() == first


def test_memory_changes_in_update_only() -> None:
    memory = ExLossMemory(3, 4)
    x, targets = torch.ones(2, 4, requires_grad=True), torch.tensor([0, 2])
    loss = memory.loss(x, targets)
    assert loss.item() == pytest.approx(math.log(3), abs=1e-6)
    loss.backward()
    assert not memory.memory.any()
    assert not x.grad.any()
    stale = memory.loss(x, targets)
    memory.update(x, targets)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        stale.backward()
    assert list(memory.parameters()) == []
    assert list(memory.state_dict()) == ["memory"]


def test_logits_stay_float32_under_autocast() -> None:
    memory = ExLossMemory(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert memory.logits(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_bad_input_is_named_and_leaves_the_memory() -> None:
    memory = ExLossMemory(3, 4)
    good = torch.ones(2, 4)
    for x, targets, message in (
        (good, [0, 3], "targets holds 3: classes must lie in 0..2"),
        (good, [-1, 0], "targets holds -1"),
        (good, [0], r"targets has shape \(1,\)"),
        (torch.ones(2, 5), [0, 1], r"x has shape \(2, 5\)"),
        (torch.tensor([[0.0] * 4, [math.nan] * 4]), [0, 1], r"x\[1\] is not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            memory.update(x, torch.tensor(targets))
    assert not memory.memory.any()
    memory.update(torch.ones(0, 4), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="class 1 has no sample"):
        ExLossMemory.from_means(good, torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="labels holds -1"):
        ExLossMemory.from_means(good, torch.tensor([0, -1]))
    for arguments in ({"t": 0.0}, {"mix": 1.0}):
        with pytest.raises(ValueError, match="must be"):
            ExLossMemory(3, 4, **arguments)

"""SpCL's hybrid memory: goldens of the original, the formulas by hand, source classes, overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from banks import load, random_batch, replay, sequential, tensor, unit

from reid.memory.spcl import InstanceMemory


def naive_loss(x: np.ndarray, memory: np.ndarray, labels: np.ndarray, index: np.ndarray, tau: float) -> float:
    """The formula with a loop over samples and classes, in float64."""
    total = 0.0
    for vector, i in zip(x.astype(np.float64), index, strict=True):
        e = {c: np.exp((memory[labels == c] @ vector).mean() / tau) for c in np.unique(labels)}
        total -= np.log(e[labels[i]] / (sum(e.values()) + 1e-6) + 1e-6)
    return total / len(x)


def test_golden() -> None:
    golden = load("spcl_hybrid_memory")
    bank = InstanceMemory(tensor(golden["memory_0"]), temperature=golden["temp"], momentum=golden["momentum"])
    bank.relabel(tensor(golden["labels"]))
    assert (bank.sizes == 0).any(), "the golden has classes without members"
    assert (bank.sizes == 1).any()
    assert max(np.bincount(golden["indexes_2"])) > 1, "and an instance visited twice"
    replay(
        bank, golden, lambda s: bank.update(tensor(golden[f"inputs_{s}"]), tensor(golden[f"indexes_{s}"])),
        labels="indexes",
    )  # fmt: skip


@pytest.mark.parametrize("n_source", [0, 4])
def test_by_hand(n_source: int) -> None:
    x, index, x_np, index_np = random_batch(2, n=20, d=6, n_classes=n_source + 16)
    rows = unit(np.random.default_rng(5).normal(size=(n_source + 16, 6)))
    bank = InstanceMemory(torch.from_numpy(rows), n_source=n_source)
    own = np.array([0, 0, 1, 3, 3, 3, 7, 0, 1, 1, 3, 8, 9, 10, 10, 0])
    bank.relabel(torch.from_numpy(own))
    labels = np.concatenate([np.arange(n_source), own + n_source])
    expected = naive_loss(x_np, rows, labels, index_np, 0.05)
    assert bank.loss(x, index).item() == pytest.approx(expected, abs=2e-5)
    bank.update(x, index)
    np.testing.assert_allclose(bank.memory, sequential(rows, x_np, index_np, 0.2), atol=1e-6)


def test_gradient_in_float64() -> None:
    x, index, _, _ = random_batch(4, n=5, d=4, n_classes=6)
    bank = InstanceMemory(torch.eye(6, 4)).double()
    bank.relabel(torch.tensor([0, 0, 2, 2, 5, 0]))
    x = x.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: bank.loss(v, index), (x,))


def test_low_temperature_does_not_overflow() -> None:
    bank = InstanceMemory(torch.eye(4), temperature=0.005)
    bank.relabel(torch.tensor([0, 1, 2, 2]))
    x = torch.eye(4)[:2].requires_grad_()
    loss = bank.loss(x, torch.tensor([0, 2]))
    loss.backward()
    # exp(200) / (exp(200) + 2) = 1, and nearly 0 for the second
    assert loss.item() == pytest.approx(-np.log(1e-6) / 2, abs=1e-4)
    assert torch.isfinite(x.grad).all()


def test_epsilon_counts_where_all_products_are_low() -> None:
    """The 1e-6 of the denominator stays what it is when the largest logit is taken out."""
    x = -torch.ones(1, 1)
    bank = InstanceMemory(torch.ones(2, 1), temperature=0.05)
    bank.relabel(torch.tensor([0, 1]))
    p = np.exp(-20) / (2 * np.exp(-20) + 1e-6)
    assert bank.loss(x, torch.tensor([0])).item() == pytest.approx(-np.log(p + 1e-6), abs=1e-4)


def test_float32_under_autocast() -> None:
    bank = InstanceMemory(torch.eye(3))
    bank.relabel(torch.tensor([0, 1, 1]))
    x, index = torch.rand(4, 3), torch.tensor([0, 1, 1, 2])
    expected = bank.loss(x, index)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bank.loss(x, index), expected)


def test_features_are_normalised_and_source_classes_stand_in_front() -> None:
    features, source, labels = 3 * torch.rand(5, 4), torch.rand(6, 4), torch.tensor([1, 0, 2, 1, 0, 2])
    bank = InstanceMemory.from_features(features, source, labels)
    assert bank.n_source == 3
    assert len(bank.memory) == 8
    np.testing.assert_allclose(bank.memory[3:], unit(features.numpy()), atol=1e-6)
    np.testing.assert_allclose(bank.memory[1], unit((source[0] + source[3]).numpy()), atol=1e-6)
    assert list(bank.state_dict()) == ["memory"]


def test_relabel_again_and_antipode() -> None:
    bank = InstanceMemory(torch.eye(3), momentum=0.5)
    x, index = unit(np.array([[1.0, 1.0, 0.0]])).astype(np.float32), torch.tensor([0])
    for labels, loss in (
        ([0, 1, 1], np.log1p(np.exp(-0.5 * 0.5**0.5 / 0.05))),
        ([0, 1, 2], np.log(2)),
        ([0, 0, 5], 0.0),
    ):
        bank.relabel(torch.tensor(labels))
        assert bank.loss(torch.from_numpy(x), index).item() == pytest.approx(loss, abs=2e-4)
    x = torch.eye(3)[:1]
    bank.update(-x, index)
    assert torch.equal(bank.memory, torch.eye(3))


def test_bad_input_is_named() -> None:
    bank = InstanceMemory(torch.eye(3))
    with pytest.raises(ValueError, match="call relabel first"):
        bank.loss(torch.eye(3), torch.arange(3))
    with pytest.raises(ValueError, match="labels holds -1"):
        bank.relabel(torch.tensor([0, -1, 1]))
    with pytest.raises(ValueError, match=r"labels has shape \(2,\)"):
        bank.relabel(torch.tensor([0, 1]))
    bank.relabel(torch.tensor([0, 1, 1]))
    with pytest.raises(ValueError, match=r"index holds 3: must lie in 0\.\.2"):
        bank.update(torch.eye(3), torch.tensor([0, 1, 3]))
    with pytest.raises(ValueError, match="n_source=3"):
        InstanceMemory(torch.eye(3), n_source=3)

"""3C's memory: goldens of the original for every rule, camera entropy, rules against loops, edges."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from banks import load, random_batch, sequential, tensor, unit

from reid.memory.ccc import CameraMemory, Rule, camera_entropy, camera_weights

RULES: tuple[Rule, ...] = ("cm", "cm_hard", "cm_camera", "cm_hard_camera", "tccl_camera", "hd_camera")


def naive_update(memory: np.ndarray, x: np.ndarray, labels: np.ndarray, cams: np.ndarray, rule: str) -> np.ndarray:
    """The rules as they are written down: lists of what is mixed in, sample by sample."""
    u, old = unit(x.astype(np.float64)), memory.astype(np.float64)
    rows, new = [], []
    for y in dict.fromkeys(labels):
        members = np.flatnonzero(labels == y)
        groups = [members[cams[members] == c] for c in dict.fromkeys(cams[members])]
        hardest = [g[np.argmin(u[g] @ old[y])] for g in groups]
        centres = [unit(u[g].mean(0)) for g in groups]
        if rule == "cm":
            mixed = list(u[members])
        elif rule == "cm_hard":
            mixed = [u[members[np.argmin(u[members] @ old[y])]]]
        elif rule == "tccl_camera":
            mixed = [min(centres, key=lambda g: g @ old[y])]
        elif rule == "cm_camera":
            mixed = [u[g[0]] for g in groups]
        elif rule == "cm_hard_camera":
            mixed = [u[i] for i in hardest]
        else:
            best = (-1.0, -1)
            for g, centre in zip(groups, centres, strict=True):
                for i in g:
                    s, r = u[i] @ centre + 1, 1 - u[i] @ old[y]
                    if r * s / (r + s) > best[0]:
                        best = (r * s / (r + s), i)
            mixed = [u[best[1]]]
        rows += [y] * len(mixed)
        new += mixed
    return sequential(memory, np.array(new), np.array(rows), 0.1)


def test_all_rules_are_tested() -> None:
    assert set(RULES) == set(get_args(Rule))


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_golden(rule: Rule, entropy: bool) -> None:
    golden = load(f"ccc_memory_{rule}")
    bank = CameraMemory(
        tensor(golden["memory0"]), rule=rule, temperature=golden["temp"], momentum=golden["momentum"], entropy=entropy
    )
    suffix = "cie" if entropy else "plain"
    for s in (1, 2):
        x = tensor(golden[f"inputs{s}"]).requires_grad_()
        batch = tensor(golden[f"targets{s}"]), tensor(golden[f"cameras{s}"])
        loss = bank.loss(x, *batch)
        loss.backward()
        # The sum of a softmax with one entry near 1 has the rounding of 1, not of its own size.
        assert loss.item() == pytest.approx(golden[f"loss{s}_{suffix}"], rel=1e-5, abs=1e-8)
        np.testing.assert_allclose(x.grad, golden[f"grad{s}_{suffix}"], atol=1e-6, rtol=0)
        bank.update(x, *batch)
        np.testing.assert_allclose(bank.memory, golden[f"memory{s}"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_golden_other_settings(rule: Rule) -> None:
    golden = load(f"ccc_memory_{rule}")
    bank = CameraMemory(tensor(golden["memory0"]), rule=rule, temperature=0.07, momentum=0.2, entropy=True)
    x = tensor(golden["inputs1"]).requires_grad_()
    batch = tensor(golden["targets1"]), tensor(golden["cameras1"])
    loss = bank.loss(x, *batch)
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss1_t07_m02"], rel=1e-5)
    np.testing.assert_allclose(x.grad, golden["grad1_t07_m02"], atol=1e-6, rtol=0)
    bank.update(x, *batch)
    np.testing.assert_allclose(bank.memory, golden["memory1_t07_m02"], atol=1e-6, rtol=0)


def test_the_rules_differ() -> None:
    """So the loops can tell them apart. (The goldens of cm_hard and hd_camera choose the same samples.)"""
    _, _, x, y = random_batch(0, n=60, d=6, n_classes=9)
    cams = np.random.default_rng(0).integers(-1, 3, size=60)
    ends = [naive_update(np.eye(9, 6) + 0.1, x, y, cams, rule) for rule in RULES]
    for i, a in enumerate(ends):
        assert all(np.abs(a - b).max() > 1e-3 for b in ends[i + 1 :])


def test_golden_entropy() -> None:
    golden = load("ccc_cie")
    labels, camid = tensor(golden["targets"]), tensor(golden["cameras"])
    present, bits = camera_entropy(labels, camid)
    assert present.tolist() == golden["labels_present"].tolist()
    np.testing.assert_allclose(bits, golden["entropy_bits"][present], atol=1e-6, rtol=0)
    assert not np.delete(golden["entropy_bits"], present).any()
    weights = camera_weights(labels, camid)
    np.testing.assert_allclose(weights, golden["sample_weight"], atol=1e-6, rtol=0)
    first = [labels.tolist().index(y) for y in present]
    np.testing.assert_allclose(weights[first], golden["cluster_weight"], atol=1e-6, rtol=0)
    bank = CameraMemory(tensor(golden["memory"]), temperature=golden["temp"], entropy=True)
    loss = bank.loss(tensor(golden["inputs"]), labels, camid)
    assert loss.item() == pytest.approx(golden["loss"], rel=1e-5, abs=1e-8)
    u = unit(golden["inputs"]).astype(np.float32)
    np.testing.assert_allclose(bank.products(torch.from_numpy(u)), golden["logits"], atol=1e-5, rtol=0)


def test_golden_figure() -> None:
    golden = load("ccc_cie_figure")
    x, labels, camid = (tensor(golden[key]) for key in ("inputs", "targets", "cameras"))
    bank = CameraMemory(tensor(golden["memory"]), temperature=golden["temp"], entropy=True)
    np.testing.assert_allclose(camera_entropy(labels, camid)[1], [1.5, 0, 1], atol=1e-6)
    np.testing.assert_allclose(camera_weights(labels, camid)[[0, 4, 8]], [1.6396, 0.3659, 0.9945], atol=1e-4)
    x.requires_grad_()
    loss = bank.loss(x, labels, camid)
    loss.backward()
    assert loss.item() == pytest.approx(golden["loss"], rel=1e-6)
    np.testing.assert_allclose(x.grad, golden["grad"], atol=1e-6, rtol=0)
    bank.update(x, labels, camid)
    np.testing.assert_allclose(bank.memory, golden["memory_after"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_rules_against_loops(rule: Rule, seed: int) -> None:
    x, y, x_np, y_np = random_batch(seed, n=60, d=6, n_classes=9)
    cams = np.random.default_rng(seed).integers(-1, 3, size=60)
    bank = CameraMemory(torch.eye(9, 6) + 0.1, rule=rule)
    expected = naive_update(bank.memory.numpy(), x_np, y_np, cams, rule)
    bank.update(2 * x, y, torch.from_numpy(cams))
    np.testing.assert_allclose(bank.memory, expected, atol=1e-6)


def test_without_cameras_a_batch_is_one_group() -> None:
    x, y, _, _ = random_batch(0, n=30, d=6, n_classes=5)
    none = torch.full_like(y, -1)
    assert torch.allclose(camera_weights(y, none), torch.ones(30))
    plain, weighted = (CameraMemory(torch.eye(5, 6), entropy=entropy).loss(x, y, none) for entropy in (False, True))
    assert weighted.item() == pytest.approx(plain.item(), rel=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_antipodes(rule: Rule) -> None:
    """A pair whose mean is zero, and a row that meets its antipode: no NaN."""
    pair = torch.tensor([[0.0, 1.0], [0.0, -1.0]])
    bank = CameraMemory(torch.eye(2), rule=rule)
    bank.update(pair, torch.tensor([0, 0]), torch.tensor([1, 1]))
    assert torch.isfinite(bank.memory).all()
    bank = CameraMemory(torch.eye(2), rule=rule, momentum=0.5)
    bank.update(torch.tensor([[-1.0, 0.0]]), torch.tensor([0]), torch.tensor([1]))
    assert torch.equal(bank.memory, torch.eye(2))


def test_float32_under_autocast_and_state() -> None:
    x, y, _, _ = random_batch(0, n=12, d=6, n_classes=5)
    bank = CameraMemory.from_means(x, torch.arange(12) % 5, entropy=True)
    cams = torch.arange(12) % 3
    expected = bank.loss(x, y, cams)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(bank.loss(x, y, cams), expected)
    assert list(bank.state_dict()) == ["memory"]
    np.testing.assert_allclose(CameraMemory(torch.full((1, 4), 2.0)).memory, [[0.5] * 4])


def test_bad_input_is_named() -> None:
    bank = CameraMemory(torch.eye(3))
    with pytest.raises(ValueError, match=r"camid has shape \(2,\)"):
        bank.update(torch.eye(3), torch.arange(3), torch.arange(2))
    with pytest.raises(ValueError, match="labels holds 3"):
        bank.loss(torch.eye(3), torch.arange(3) + 1, torch.arange(3))
    with pytest.raises(ValueError, match=r"x\[0\] is not finite"):
        bank.update(torch.eye(3) * torch.inf, torch.arange(3), torch.arange(3))
    assert torch.equal(bank.memory, torch.eye(3))
    bank.update(torch.eye(3)[:0], torch.arange(0), torch.arange(0))
    with pytest.raises(ValueError, match="rule='hard'"):
        CameraMemory(torch.eye(3), rule="hard")

"""CDSM's memories: goldens of the original, mining against the rule as it is written down, edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from banks import load, random_batch, replay, tensor, unit

from reid.clustering.reliability import DiversityScores
from reid.memory.cdsm import DiversityMemory, SlotMemory, chunk_means, mine_diversity


def reliable(golden: dict[str, Any], s: int) -> torch.Tensor:
    """As published: scores are looked up by the index of the step, whatever it counts."""
    scores = DiversityScores(*(golden[key] for key in ("R_comp", "R_indep", "cluster_R_comp", "cluster_R_indep")))
    return torch.from_numpy(scores.passes(golden[f"indexes_{s}"], golden[f"targets_{s}"]))


def naive_mining(e: np.ndarray, labels: np.ndarray, m: int, ok: np.ndarray) -> tuple[list[int], list[int]]:
    """Selected members and medoids, cluster by cluster and sample by sample."""
    selected, medoids = [], []
    for y in np.unique(labels):
        members = np.flatnonzero(labels == y)
        x = e[members].astype(np.float64)
        d = np.sqrt(np.maximum(((x[:, None] - x) ** 2).sum(2), 1e-12))
        mu = d.mean(1)
        order = sorted(range(len(members)), key=lambda i: -mu[i])
        chosen = [order[0]]
        for i in order[1:]:
            if len(chosen) == m:
                break
            if ok[members[i]] and all(d[i, s] >= mu[s] for s in chosen):
                chosen.append(i)
        selected += sorted(members[chosen])
        medoids.append(members[np.argmin(mu)])
    return sorted(selected), medoids


@pytest.mark.parametrize("name", ["main", "gap20", "filter"])
def test_golden(name: str) -> None:
    golden = load(f"cdsm_v5_{name}")
    c, m = golden["num_clusters"], golden["mem_instances"]
    assert len(golden["memory_0"]) == (m + 1) * c
    bank = DiversityMemory(
        tensor(golden["memory_0"]), c, temperature=golden["temp"], momentum=golden["momentum"],
        weight=golden["hard_weight"], smoothing=0.1 if golden["smooth"] else 0.0,
    )  # fmt: skip

    def update(s: int) -> None:
        e, labels, ok = tensor(golden[f"inputs_ema_{s}"]), tensor(golden[f"targets_{s}"]), reliable(golden, s)
        marginal, medoid = mine_diversity(e, labels, m, ok)
        selected = marginal.numpy().astype(np.uint8)
        selected[medoid] += 2
        np.testing.assert_array_equal(selected, golden[f"selected_{s}"])
        bank.update(e, labels, ok)

    replay(bank, golden, update, tolerance=3e-5)


def test_the_filter_golden_does_reject() -> None:
    golden = load("cdsm_v5_filter")
    e, labels = tensor(golden["inputs_ema_0"]), tensor(golden["targets_0"])
    with_test, _ = mine_diversity(e, labels, golden["mem_instances"], reliable(golden, 0))
    without, _ = mine_diversity(e, labels, golden["mem_instances"])
    assert not torch.equal(with_test, without)


@pytest.mark.parametrize("name", ["main", "gap20"])
def test_golden_first_rows(name: str) -> None:
    golden = load(f"cdsm_v5_{name}")
    core = golden["core_indices"].astype(np.int64)
    bank = DiversityMemory.from_core(
        tensor(golden["features"][core]), tensor(golden["labels_normal"][core]), golden["mem_instances"]
    )
    assert bank.n_classes == golden["num_clusters"]
    np.testing.assert_allclose(bank.memory, golden["memory_0"], atol=1e-6, rtol=0)


def test_golden_v3() -> None:
    golden = load("cdsm_bank_cmhybrid_v3")
    bank = SlotMemory(
        tensor(golden["memory_0"]), golden["num_clusters"], temperature=golden["temp"], momentum=golden["momentum"]
    )
    assert bank.n_slots == golden["num_instances"]
    update = lambda s: bank.update(tensor(golden[f"inputs_ema_{s}"]), tensor(golden[f"targets_{s}"]))  # noqa: E731
    replay(bank, golden, update, tolerance=3e-5)


def test_golden_v4() -> None:
    golden = load("cdsm_bank_cmhybrid_v4")
    bank = DiversityMemory(
        tensor(golden["memory_0"]), golden["num_clusters"], temperature=golden["temp"], momentum=golden["momentum"],
        weight=golden["hard_weight"],
    )  # fmt: skip
    update = lambda s: bank.update(tensor(golden[f"inputs_ema_{s}"]), tensor(golden[f"targets_{s}"]))  # noqa: E731
    replay(bank, golden, update, tolerance=3e-5)


@pytest.mark.parametrize("n_marginal", [1, 2, 4])
@pytest.mark.parametrize("seed", range(8))
def test_mining_against_loops(seed: int, n_marginal: int) -> None:
    rng = np.random.default_rng(seed)
    e, y, e_np, y_np = random_batch(seed, n=50, d=3, n_classes=8)
    ok = rng.random(50) < 0.6
    marginal, medoid = mine_diversity(e, y, n_marginal, torch.from_numpy(ok))
    selected, medoids = naive_mining(e_np, y_np, n_marginal, ok)
    assert marginal.nonzero()[:, 0].tolist() == selected
    assert medoid.tolist() == medoids
    assert np.bincount(y_np[selected]).max() <= n_marginal


def test_loss_by_hand() -> None:
    x, y, x_np, y_np = random_batch(7, n=16, d=5, n_classes=6)
    rows = unit(np.random.default_rng(0).normal(size=(18, 5))).astype(np.float32)
    s = x_np @ rows.T / 0.05
    centre, margin = s[:, :6], np.maximum(s[:, 6:12], s[:, 12:])
    margin[np.arange(16), y_np] = ((s[:, 6:12] + s[:, 12:]) / 2)[np.arange(16), y_np]

    def ce(z: np.ndarray) -> float:
        z = z.astype(np.float64)
        return float((np.log(np.exp(z).sum(1)) - z[np.arange(16), y_np]).mean())

    bank = DiversityMemory(torch.from_numpy(rows), 6, weight=0.3)
    assert bank.loss(x, y).item() == pytest.approx(0.7 * ce(centre) + 0.3 * ce(margin), rel=1e-5)
    slots = SlotMemory(torch.from_numpy(rows), 6)
    assert slots.loss(x, y).item() == pytest.approx(sum(ce(s[:, 6 * k : 6 * k + 6]) for k in range(3)), rel=1e-5)


def test_one_picture_feeds_centre_and_first_marginal_row() -> None:
    bank = DiversityMemory(torch.eye(2).repeat(3, 1), 2, momentum=0.25)
    bank.update(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), torch.tensor([False]))
    for row in (0, 2):
        assert bank.memory[row].tolist() == [0.25, 0.75], "not normalised again"
    assert torch.equal(bank.memory[[1, 3, 4, 5]], torch.eye(2)[[1, 1, 0, 1]])


def test_marginal_rows_are_filled_in_batch_order() -> None:
    """The farthest member is chosen first, but the earlier one in the batch goes to the first row."""
    e = torch.tensor([[-1.0, 0.1], [0.0, 0.0], [0.1, 0.0], [1.5, 0.0]])
    marginal, medoid = mine_diversity(e, torch.zeros(4, dtype=torch.int64), 2)
    assert marginal.tolist() == [True, False, False, True]
    bank = DiversityMemory(torch.ones(3, 2), 1, momentum=0.0)
    bank.update(e, torch.zeros(4, dtype=torch.int64))
    assert torch.equal(bank.memory, e[[medoid.item(), 0, 3]])


def test_copies_in_a_batch() -> None:
    """Equal pictures are equally far; all of them equal: as many as there are rows, the first as the medoid."""
    e = torch.rand(1, 6).repeat(4, 1)
    marginal, medoid = mine_diversity(e, torch.zeros(4, dtype=torch.int64), 3)
    assert marginal.tolist() == [True, True, True, False]
    assert medoid.tolist() == [0]


def test_chunks_by_hand() -> None:
    features = torch.arange(1.0, 9.0)[:, None]
    labels = torch.tensor([0, 1, 0, 0, 0, 1, 0, 2])
    # cluster 0: 1, 3, 4, 5, 7 in parts of ceil(5 / 3) = 2; cluster 1: 2, 6 in parts of 1; cluster 2: 8
    expected = [2.0, 2.0, 8.0, 4.5, 6.0, 8.0, 7.0, 4.0, 8.0]
    assert chunk_means(features, labels, 3)[:, 0].tolist() == expected
    # 5 in 4 parts of 2: only three parts
    assert chunk_means(features, labels, 4)[9, 0].item() == 4.0
    slots = SlotMemory.from_chunks(torch.cat([features, torch.ones(8, 1)], 1), labels, 3)
    assert slots.n_classes == 3
    np.testing.assert_allclose(slots.memory[3], unit(np.array([4.5, 1.0])), atol=1e-6)


def test_slots_beyond_the_last_are_left_out() -> None:
    slots = SlotMemory(torch.eye(2).repeat(2, 1), 2, momentum=0.5)
    slots.update(torch.tensor([[0.0, 1.0], [-1.0, 0.0], [0.0, 9.0]]), torch.tensor([0, 0, 0]))
    np.testing.assert_allclose(slots.memory[0], [0.5**0.5, 0.5**0.5], atol=1e-6)
    assert torch.equal(slots.memory[1:], torch.eye(2).repeat(2, 1)[1:]), "the second met its antipode"


def test_bad_input_is_named() -> None:
    bank = DiversityMemory(torch.eye(6), 2)
    e, y = torch.eye(6)[:2], torch.tensor([0, 1])
    with pytest.raises(ValueError, match=r"reliable has shape \(3,\)"):
        bank.update(e, y, torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="labels holds 2"):
        bank.update(e, y + 1)
    with pytest.raises(ValueError, match=r"x\[0\] is not finite"):
        bank.update(e * torch.nan, y)
    assert torch.equal(bank.memory, torch.eye(6))
    bank.update(e[:0], y[:0])
    for n_classes in (4, 6):
        with pytest.raises(ValueError, match="rows has 6 rows"):
            DiversityMemory(torch.eye(6), n_classes)
    with pytest.raises(ValueError, match="rows has 6 rows"):
        SlotMemory(torch.eye(6), 4)
    with pytest.raises(ValueError, match="class 0 has no sample"):
        DiversityMemory.from_core(e, y + 1)
    with pytest.raises(ValueError, match="n_chunks=0"):
        chunk_means(e, y, 0)

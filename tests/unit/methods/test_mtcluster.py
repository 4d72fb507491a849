"""MTCluster: the head's golden, what a round builds, batches of one cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from reid.data.records import Samples
from reid.methods.mtcluster import MtCluster, MtClusterConfig, heads
from reid.methods.protocol import Assignment, Batch
from reid.models.embedder import Embedder

GOLDEN = Path(__file__).parents[2] / "golden"
HALF = (0.5, 0.5, 0.5)


def tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def test_golden_head() -> None:
    golden = np.load(GOLDEN / "aux_head.npz")
    maps = tensor(golden["maps"])  # (samples, frames, D, h, w)
    network = Embedder("tiny:0.25", mean=HALF, std=HALF)
    network.backbone, network.neck = nn.Identity(), nn.BatchNorm1d(maps.shape[2])  # type: ignore[assignment]
    network.neck.load_state_dict(
        {
            "weight": tensor(golden["bn_weight"]), "bias": torch.zeros(maps.shape[2]),
            "running_mean": tensor(golden["bn_running_mean"]), "running_var": tensor(golden["bn_running_var"]),
            "num_batches_tracked": torch.tensor(0),
        }
    )  # fmt: skip
    network.eval()
    with torch.no_grad():
        f, _ = heads(network, maps)
        np.testing.assert_allclose(f, golden["eval_cluster"], atol=2e-6)
        _, single = heads(network, maps.flatten(0, 1)[:, None])
        searched = functional.normalize(single).unflatten(0, maps.shape[:2]).mean(1)
        np.testing.assert_allclose(searched, golden["eval_infer"], atol=2e-6)
        network.train()
        f, x = heads(network, maps)
    np.testing.assert_allclose(f, golden["train_feat"], atol=2e-6)
    np.testing.assert_allclose(x @ tensor(golden["classifier_weight"]).T, golden["train_logits"], atol=3e-5)
    np.testing.assert_allclose(network.neck.running_mean, golden["bn_running_mean_after"], atol=2e-6)


def method_of(n: int = 12, neck: str = "none", **settings: Any) -> MtCluster:
    settings = {"batch_size": 8, "per_cluster": 2, "k1": 4, "k2": 2, "min_samples": 2, **settings}
    network = Embedder("tiny:0.25", mean=HALF, std=HALF, neck=neck)  # type: ignore[arg-type]
    samples = Samples.from_paths([f"{i}.jpg" for i in range(n)], camid=np.arange(n) % 3)
    return MtCluster(MtClusterConfig(**settings), network, samples)


def begin(method: MtCluster, labels: np.ndarray) -> Any:
    """A round on random features with the given clusters."""
    rows = np.random.default_rng(0).random((len(labels), method.network.out_features), dtype=np.float32)
    method.assign(1, lambda network, *, head=None, normalize=True: rows)
    return method.start_round(1, Assignment(labels), np.random.default_rng(1))


def batch_of(labels: torch.Tensor) -> Batch:
    torch.manual_seed(0)
    return Batch(torch.randn(len(labels), 2, 3, 32, 16), torch.arange(len(labels)), labels, torch.zeros_like(labels))


def test_classifiers_start_at_the_means_of_the_clusters() -> None:
    method, labels = method_of(), np.repeat([0, 1, 2, -1], 3)
    plan = begin(method, labels)
    rows = np.random.default_rng(0).random((12, method.network.out_features), dtype=np.float32)
    for c in range(3):
        mean = rows[labels == c].mean(0)
        np.testing.assert_allclose(method.classifier.weight[c].detach(), mean / np.linalg.norm(mean), rtol=1e-5)
    assert torch.equal(method.teacher_classifier.weight, method.classifier.weight)
    assert not method.teacher_classifier.weight.requires_grad
    assert sorted(method.near[0].tolist()) == [1, 2]
    trained = {id(p) for p in plan.optimizer.param_groups[0]["params"]}
    assert id(method.classifier.weight) in trained
    assert trained >= {id(p) for p in method.network.parameters()}


@pytest.mark.parametrize(("per_cluster", "steps"), [(0.6, 2), (0.1, 1), (0.0, 7)])
def test_steps_of_a_round(per_cluster: float, steps: int) -> None:
    method = method_of(iters_per_cluster=per_cluster, iters=7)
    assert begin(method, np.repeat([0, 1, 2], 4)).steps == steps


@pytest.mark.parametrize("settings", [
    {"id_loss": "ce"}, {"id_loss": "lsce", "tri_loss": "watl"}, {"logits": "raw", "temperature": 1.0, "neck": "bn"}
])  # fmt: skip
def test_a_batch_of_one_cluster_has_no_triplets(settings: dict[str, Any]) -> None:
    losses = []
    for soft_tri in (0.2, 0.9):
        method = method_of(soft_tri=soft_tri, **settings)
        begin(method, np.repeat([0, 1, 2], 4))
        out = method.step(batch_of(torch.zeros(4, dtype=torch.int64)))
        out.loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in method.network.parameters() if p.grad is not None)
        losses.append(out.loss.item())
    assert losses[0] == losses[1] < 100


def test_the_teacher_follows_with_its_classifier() -> None:
    method = method_of()
    plan = begin(method, np.repeat([0, 1, 2], 4))
    batch = batch_of(torch.tensor([0, 0, 1, 1]))
    for group in plan.optimizer.param_groups:
        group["lr"] = 0.1
    for update in range(2):
        out = method.step(batch)
        out.loss.backward()
        plan.optimizer.step()
        method.update(batch, out)
        same = torch.equal(method.teacher_classifier.weight, method.classifier.weight)
        assert same == (update == 0)  # the first update copies
    assert method.updates == 2


def test_the_pooled_feature_is_clustered_where_there_is_a_neck() -> None:
    method = method_of(neck="bn")
    method.teacher.neck.running_mean.fill_(3.0)  # type: ignore[union-attr, operator]
    images = torch.rand(2, 3, 32, 16, generator=torch.Generator().manual_seed(0))
    seen: list[tuple[torch.Tensor, bool]] = []

    def features(network: Embedder, *, head: Any = None, normalize: bool = True) -> np.ndarray:
        with torch.no_grad():
            seen.append((network.eval()(images), normalize))
        return np.random.default_rng(0).random((12, 4), dtype=np.float32)

    method.assign(1, features)
    ((bare, normalize),) = seen
    whole = method.teacher.eval()(images)
    assert normalize
    torch.testing.assert_close(method.teacher.neck(bare), whole)
    assert not torch.allclose(bare, whole)


def test_bad_settings_are_named() -> None:
    for name, value in (("rlsce_k", 0), ("smooth", 1.5), ("soft_tri", -0.1), ("watl_lambda", 0.5)):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            MtClusterConfig(**{name: value})

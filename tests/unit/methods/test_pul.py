"""PUL acts on a collapse as it is told, obeys the camera rule, and ends when its selection has settled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from reid.data.records import Samples
from reid.methods.pul import Pul, PulConfig


class Still(torch.nn.Module):
    """Stands where a network would."""

    def __init__(self) -> None:
        super().__init__()
        self.out_features = 8
        self.weight = torch.nn.Parameter(torch.zeros(1))


def pul(n: int = 400, **settings: Any) -> Pul:
    samples = Samples.from_paths([str(i) for i in range(n)], camid=np.arange(n) % 4)
    network: Any = Still()
    return Pul(PulConfig(n_clusters=10, **settings), network, samples)


def people(spread: float) -> np.ndarray:
    """Unit features (400, 8): 10 identities with 40 pictures, ten in each camera."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(10, 8)), 40, axis=0) + spread * rng.normal(size=(400, 8))
    return np.ascontiguousarray(x / np.linalg.norm(x, axis=1, keepdims=True), dtype=np.float32)


def give(features: np.ndarray) -> Any:
    return lambda network, *, head=None, normalize=True: features


@pytest.mark.parametrize("policy", ["stop", "keep", "retry"])
def test_collapse_is_noticed_and_acted_on(policy: str) -> None:
    method = pul(threshold=0.9999, on_collapse=policy, settle=0.0)
    good = people(0.001)
    first = method.assign(1, give(good))
    assert not first.stop
    assert first.n_clusters == 10
    second = method.assign(2, give(people(0.9)))  # nobody is that close to the middle of a cluster
    assert bool(second.stop) == (policy == "stop")
    assert "5/50/95 %" in second.warnings[0]
    if policy == "keep":
        assert second.labels.tolist() == first.labels.tolist()
    if policy == "retry":
        assert "was taken instead" in second.warnings[0] or "are kept" in second.warnings[0]


def test_a_milder_threshold_is_tried() -> None:
    method = pul(threshold=0.9999, on_collapse="retry", settle=0.0)
    found = method.assign(1, give(people(0.15)))
    assert "was taken instead" in found.warnings[0]
    assert found.n_clusters > 1
    assert not found.stop


def test_forbidden_cameras_never_meet() -> None:
    method = pul(same_camera="forbid", threshold=0.0, settle=0.0)
    labels = method.assign(1, give(people(0.8))).labels
    assert labels.max() >= 1
    for label in range(labels.max() + 1):
        cameras = method.samples.camid[labels == label]
        assert len(np.unique(cameras)) == len(cameras)


def test_the_run_ends_when_the_selection_has_settled() -> None:
    method = pul(threshold=0.5)
    stops = [method.assign(r, give(people(0.05))).stop for r in (1, 2, 3)]
    assert stops[:2] == ["", ""]
    assert "settled" in stops[2]

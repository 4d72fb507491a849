"""Pseudo labels of a Jaccard graph: the camera rule, clusters at three distances, and each guard rail provoked."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from reid.clustering.pseudo import GraphConfig, PseudoLabels
from reid.data.records import Samples


def samples(camid: np.ndarray) -> Samples:
    n = len(camid)
    unknown, never = np.full(n, -1), np.full(n, np.nan)
    return Samples(tuple((f"{i}.jpg",) for i in range(n)), unknown, camid, unknown, never, never)


def groups(n: int, size: int, noise: float, dims: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(n, dims)), size, axis=0) + noise * rng.normal(size=(n * size, dims))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def labeller(camid: np.ndarray, **settings: Any) -> PseudoLabels:
    return PseudoLabels(GraphConfig(**{"k1": 8, "k2": 3, "min_samples": 3, "eps": 0.5, **settings}), samples(camid))


def test_clusters_are_found() -> None:
    found = labeller(np.zeros(120, dtype=int))(groups(12, 10, 0.2))
    assert found.labels.tolist() == np.repeat(np.arange(12), 10).tolist()
    assert (found.facts, found.warnings, found.stop) == ({"eps": 0.5}, (), "")


def test_no_two_of_a_camera_in_a_cluster() -> None:
    camid = np.tile([0, 0, 1, 1, 2], 24)
    found = labeller(camid, same_camera="forbid")(groups(12, 10, 0.2))
    assert found.labels.max() > 5
    for c in range(found.labels.max() + 1):
        cameras = camid[found.labels == c]
        assert len(set(cameras)) == len(cameras)


def test_clusters_at_three_distances_are_nested() -> None:
    x, pseudo = groups(12, 10, 0.5), labeller(np.zeros(120, dtype=int))
    found, three = pseudo(x), pseudo.nested(x, 0.2)
    assert (three.found.labels == found.labels).all()
    assert (three.tight >= 0).sum() <= (three.found.labels >= 0).sum() <= (three.loose >= 0).sum()
    assert (three.found.labels[three.core] >= 0).all()


@pytest.mark.parametrize("policy", ["stop", "keep", "retry"])
def test_noise_is_a_collapse(policy: Literal["stop", "keep", "retry"]) -> None:
    noise = groups(200, 1, 0.0, dims=64)
    found = labeller(np.zeros(200, dtype=int), eps=0.05, min_samples=8, on_collapse=policy)(noise)
    assert "no cluster among 200 samples" in found.stop
    assert "larger eps than 0.05" in found.stop
    assert "squared distances at 5/50/95 %" in found.warnings[0]


def test_keep_takes_the_clusters_of_the_round_before() -> None:
    pseudo = labeller(np.zeros(120, dtype=int), on_collapse="keep")
    good = pseudo(groups(12, 10, 0.2))
    kept = pseudo(np.ones((120, 32), dtype=np.float32) / np.float32(32**0.5))  # all equal: one cluster
    assert (kept.labels == good.labels).all()
    assert "the clusters of the round before are kept" in kept.warnings[0]
    assert kept.stop == ""


def test_a_resumed_labeller_keeps_them_as_well() -> None:
    pseudo = labeller(np.zeros(120, dtype=int), on_collapse="keep")
    good = pseudo(groups(12, 10, 0.2))
    other = labeller(np.zeros(120, dtype=int), on_collapse="keep")
    other.restore(pseudo.state())
    assert (other(np.ones((120, 32), dtype=np.float32)).labels == good.labels).all()


def test_retry_takes_an_eps_that_works() -> None:
    x = groups(12, 10, 0.6)
    pseudo = labeller(np.zeros(120, dtype=int), on_collapse="retry")
    tried: list[float] = []

    def cluster(eps: float) -> np.ndarray:
        tried.append(eps)
        return np.repeat(np.arange(12), 10) if eps > 0.55 else np.full(120, -1)

    found = pseudo.guarded(cluster, x)
    assert found.stop == ""
    assert found.facts["eps"] == tried[-1] > 0.55
    assert "was taken instead" in found.warnings[0]
    assert tried == sorted(tried)


def test_a_giant_cluster_asks_for_a_smaller_eps() -> None:
    found = labeller(np.zeros(120, dtype=int))(np.ones((120, 32), dtype=np.float32))
    assert "smaller eps than 0.5" in found.stop


def test_cameras_that_are_missing_are_named() -> None:
    with pytest.raises(ValueError, match="same_camera='forbid'"):
        labeller(np.full(9, -1), same_camera="forbid")
    with pytest.raises(ValueError, match="center_cameras=True"):
        labeller(np.full(9, -1), center_cameras=True)
    with pytest.raises(ValueError, match="labels='mutual'"):
        labeller(np.zeros(9, dtype=int), labels="mutual")

"""The eps that is chosen from the clusters it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import reid_cluster
from reid.clustering.eps import EPS_HIGH, EPS_LOW, choose_eps, partition_score
from reid.clustering.pseudo import PseudoLabels
from reid.config import from_mapping, read_toml, write_toml
from reid.data.records import Samples
from reid.methods.cluster_contrast import ClusterContrastConfig
from reid.methods.spcl import SpclConfig

GOLDEN = Path(__file__).parents[2] / "golden"


def people(n: int, pictures: int, noise: float, strangers: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    who = np.concatenate([np.repeat(np.arange(n), pictures), n + np.arange(strangers)])
    x = rng.normal(size=(n + strangers, 128))[who] + noise * rng.normal(size=(len(who), 128))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), who


def agreement(x: np.ndarray, who: np.ndarray, eps: float) -> float:
    """ARI of DBSCAN at eps, each outlier a cluster of its own."""
    labels = reid_cluster.dbscan(reid_cluster.jaccard_graph(x, 20, 6, max_distance=1.0), eps, 4)
    alone = labels < 0
    labels[alone] = labels.max() + 1 + np.arange(alone.sum())
    return float(adjusted_rand_score(who, labels))


def pseudo(n: int, **settings: object) -> PseudoLabels:
    config = ClusterContrastConfig(eps="auto", k1=20, k2=6, min_samples=4, **settings)  # type: ignore[arg-type]
    return PseudoLabels(config, Samples.from_paths(["x"] * n))


def test_score_by_hand() -> None:
    assert partition_score(np.array([0, 0, 1, 1, 2, 2])) == pytest.approx(3)
    assert partition_score(np.array([0, 0, 1, 1, -1, -1, -1, -1])) == pytest.approx(2 / 2)
    assert partition_score(np.array([0] * 6 + [1] * 2)) == pytest.approx(64 / 40)
    assert partition_score(np.array([-1, -1])) == 0.0


def test_smallest_of_the_best() -> None:
    tried = []

    def cluster(eps: float) -> np.ndarray:
        tried.append(eps)
        return np.array([0, 0, 1, 1]) if 0.4 <= eps <= 0.6 else np.array([0, 0, 0, 0])

    assert choose_eps(cluster) == 0.4
    assert tried == sorted(tried)
    assert (tried[0], tried[-1], len(tried)) == (EPS_LOW, EPS_HIGH, 26)


@pytest.mark.parametrize(("n", "pictures", "noise"), [(60, 12, 1.0), (40, 15, 1.7), (20, 40, 2.0), (12, 80, 1.3)])
def test_near_the_best_fixed_eps(n: int, pictures: int, noise: float) -> None:
    """From sharp small clusters to blurred large ones no single eps serves; the chosen one does."""
    x, who = people(n, pictures, noise, strangers=50)
    found = pseudo(len(x))(x)
    best = max(agreement(x, who, eps) for eps in np.arange(0.3, 0.8, 0.1))
    assert agreement(x, who, found.facts["eps"]) > best - 0.1


@pytest.mark.parametrize("name", ["jaccard_k20_6", "jaccard_sparse_n", "ccc_jaccard_default"])
def test_goldens_features(name: str) -> None:
    golden = np.load(GOLDEN / f"{name}.npz")
    who = golden["true_pid" if "true_pid" in golden else "pids"].astype(int)
    who[who < 0] = who.max() + 1 + np.arange((who < 0).sum())
    x = golden["features"]
    assert agreement(x, who, pseudo(len(x))(x).facts["eps"]) > max(0.8, agreement(x, who, 0.6) - 0.05)


def test_equal_pictures_stop_the_run() -> None:
    x = np.full((64, 16), 0.25, dtype=np.float32)
    assert "single cluster" in pseudo(64)(x).stop


@pytest.mark.parametrize("on_collapse", ["stop", "retry"])
def test_three_distances_around_the_chosen_one(on_collapse: str) -> None:
    x, _ = people(60, 12, 1.0)
    nested = pseudo(len(x), on_collapse=on_collapse).nested(x, 0.02)
    graph = reid_cluster.jaccard_graph(x, 20, 6, max_distance=1.0)
    eps = nested.found.facts["eps"]
    for labels, at in ((nested.found.labels, eps), (nested.tight, eps - 0.02), (nested.loose, eps + 0.02)):
        np.testing.assert_array_equal(labels, reid_cluster.dbscan(graph, at, 4))


def test_settings(tmp_path: Path) -> None:
    write_toml(tmp_path / "config.toml", SpclConfig(eps="auto"), "spcl")
    values = read_toml(tmp_path / "config.toml")
    assert values.pop("method") == "spcl"
    assert from_mapping(SpclConfig, values, "test").eps == "auto"
    assert from_mapping(SpclConfig, {"eps": 0.4}, "test").eps == 0.4
    with pytest.raises(ValueError, match=r"eps='atuo': did you mean 'auto'\? \(known: auto, a number\)"):
        from_mapping(SpclConfig, {"eps": "atuo"}, "test")
    for wrong in (1, 0.0, float("nan"), True):
        with pytest.raises(ValueError, match="eps"):
            from_mapping(SpclConfig, {"eps": wrong}, "test")
    with pytest.raises(ValueError, match=r"eps_gap=0\.2"):
        SpclConfig(eps="auto", eps_gap=0.2)
    with pytest.raises(ValueError, match="labels='mutual'"):
        ClusterContrastConfig(eps="auto", labels="mutual")

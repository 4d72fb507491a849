"""The eps that is chosen from the clusters it gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score

import reid_cluster
from reid.clustering.eps import EPS_HIGH, EPS_LOW, choose_eps, eps_from_share, partition_score
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
    with pytest.raises(ValueError, match=r"eps='atuo': did you mean 'auto'\? \(known: auto, share, a number\)"):
        from_mapping(SpclConfig, {"eps": "atuo"}, "test")
    for wrong in (1, 0.0, float("nan"), True):
        with pytest.raises(ValueError, match="eps"):
            from_mapping(SpclConfig, {"eps": wrong}, "test")
    with pytest.raises(ValueError, match=r"eps_gap=0\.2"):
        SpclConfig(eps="auto", eps_gap=0.2)
    with pytest.raises(ValueError, match="labels='mutual'"):
        ClusterContrastConfig(eps="auto", labels="mutual")


def test_share_by_hand() -> None:
    d = np.array([0.0, 1e-7, 0.1, 0.2, 0.3, 0.4, 0.5])  # of the 21 pairs of 7 samples
    distances = np.full((7, 7), 0.8, dtype=np.float32)
    distances[0, :] = distances[:, 0] = d
    np.fill_diagonal(distances, 0)
    graph = csr_array(distances)
    found = eps_from_share(graph, neighbors=6 / 7)  # 3 pairs
    assert (found.n_pairs, found.eps) == (3, pytest.approx(0.2))
    assert "only 3 pairs were averaged" in found.warning
    assert eps_from_share(graph, neighbors=6 / 7, zero_tol=0).eps == pytest.approx(0.1)
    assert eps_from_share(graph, 0.1).n_pairs == 2  # of 20


def test_share_that_cannot_be() -> None:
    x, _ = people(20, 10, 0.8)
    graph = reid_cluster.jaccard_graph(x, 20, 6, max_distance=0.6)
    assert eps_from_share(graph, neighbors=5).warning == ""
    assert "nearly equal" in eps_from_share(graph * np.float32(1e-3), neighbors=5, zero_tol=0).warning
    with pytest.raises(ValueError, match=r"neighbors=1000: .* only .* up to the distance 0\.6"):
        eps_from_share(graph, neighbors=1000)
    with pytest.raises(ValueError, match=r"rho=1e-05: is no pair of 200 samples"):
        eps_from_share(graph, 1e-5)
    for both in ({}, {"rho": 0.1, "neighbors": 3}):
        with pytest.raises(ValueError, match="give one of the two"):
            eps_from_share(graph, **both)


def test_share_is_frozen_and_survives_a_resume() -> None:
    x, _ = people(30, 10, 1.0)
    config = ClusterContrastConfig(eps="share", k1=20, k2=6, min_samples=4)
    samples = Samples.from_paths(["x"] * len(x))
    first = PseudoLabels(config, samples)
    eps = first(x).facts["eps"]
    assert eps == eps_from_share(reid_cluster.jaccard_graph(x, 20, 6, max_distance=0.9), neighbors=20 * 13 / 30).eps
    other, _ = people(30, 10, 0.5)
    assert first(other).facts["eps"] == eps
    resumed = PseudoLabels(config, samples)
    resumed.restore(first.state())
    assert resumed(other).facts["eps"] == eps
    assert PseudoLabels(config, samples)(other).facts["eps"] != eps


def test_share_in_settings() -> None:
    x, _ = people(30, 10, 1.0)
    pseudo = PseudoLabels(
        SpclConfig(eps="share", eps_share=0.005, k1=20, k2=6, min_samples=4), Samples.from_paths(["x"] * 300)
    )
    graph = reid_cluster.jaccard_graph(x, 20, 6, max_distance=0.9)
    nested = pseudo.nested(x, 0.02)
    assert nested.found.facts["eps"] == eps_from_share(graph, 0.005).eps
    with pytest.raises(ValueError, match=r"eps_gap=0\.6: must be below the eps"):
        PseudoLabels(pseudo.config, Samples.from_paths(["x"] * 300)).nested(x, 0.6)
    with pytest.raises(ValueError, match="give one of the two"):
        SpclConfig(eps_share=0.1, eps_neighbors=3)
    with pytest.raises(ValueError, match="labels='infomap'"):
        ClusterContrastConfig(eps="share", labels="infomap")

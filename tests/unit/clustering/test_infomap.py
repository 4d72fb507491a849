"""Infomap's modules: the golden of Cluster Contrast's wrapper, what is left out, and the missing package."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import reid_cluster
from reid.clustering.infomap import infomap_labels
from reid.clustering.pseudo import PseudoLabels
from reid.data.records import Samples
from reid.methods.cluster_contrast import ClusterContrastConfig

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def package() -> None:
    pytest.importorskip("infomap", reason="the optional package infomap is not installed")


def groups(sizes: list[int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.repeat(rng.normal(size=(len(sizes), 32)), sizes, axis=0)
    x += 0.2 * rng.normal(size=x.shape)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("i", range(3))
def test_golden(i: int) -> None:
    """The golden was made with Infomap 2.16; other releases settle some pictures elsewhere (ARI 0.87 with 2.9)."""
    golden = np.load(GOLDEN / "cc_infomap.npz")
    eps, smallest = 1 - float(golden["min_sim"][i]), int(golden["max_outlier_size"]) + 1
    neighbors = reid_cluster.knn(golden["features"], int(golden["k"]), n_jobs=1)
    np.testing.assert_array_equal(np.sort(neighbors.indices, axis=1), np.sort(golden["nbrs"], axis=1))
    labels = infomap_labels(neighbors, eps, smallest)
    assert labels.dtype == np.int64
    same_release = metadata.version("infomap").startswith("2.16.")
    assert adjusted_rand_score(golden["labels"][i], labels) >= (1 if same_release else 0.8)
    assert ((labels < 0) == (golden["labels"][i] < 0)).mean() >= (1 if same_release else 0.9)
    np.testing.assert_array_equal(np.unique(labels), np.arange(-1, labels.max() + 1))
    np.testing.assert_array_equal(infomap_labels(neighbors, eps, smallest), labels)


@pytest.mark.usefixtures("package")
def test_small_modules_and_lonely_pictures_are_outliers() -> None:
    x = groups([8, 3, 8, 1])
    neighbors = reid_cluster.knn(x, 15)
    labels = infomap_labels(neighbors, 0.5, 5)
    np.testing.assert_array_equal(np.sort(np.unique(labels[[*range(8), *range(11, 19)]])), [0, 1])
    assert (labels[8:11] == -1).all()
    assert labels[19] == -1
    assert (infomap_labels(neighbors, 0.5, 3) >= 0).sum() == 19
    assert (infomap_labels(reid_cluster.knn(np.eye(6), 4), 0.5, 2) == -1).all()
    assert infomap_labels(reid_cluster.knn(x[:1], 1), 0.5, 2).tolist() == [-1]


@pytest.mark.usefixtures("package")
def test_pseudo_labels_at_three_distances() -> None:
    x = groups([8] * 12)
    config = ClusterContrastConfig(labels="infomap", k1=15, k2=1, min_samples=5)
    nested = PseudoLabels(config, Samples.from_paths(["x"] * 96)).nested(x, 0.02)
    for labels in (nested.found.labels, nested.tight, nested.loose):
        assert adjusted_rand_score(np.repeat(range(12), 8), labels) == 1
    assert nested.core.all()


@pytest.mark.usefixtures("package")
def test_modules_are_taken_apart_by_the_camera_rule() -> None:
    x = groups([8] * 12)
    camid = np.tile(np.arange(4), 24)
    config = ClusterContrastConfig(labels="infomap", k1=15, k2=1, min_samples=4, same_camera="forbid")
    labels = PseudoLabels(config, Samples.from_paths(["x"] * 96, camid=camid))(x).labels
    assert (np.bincount(labels[labels >= 0]) == 4).all()
    assert (labels >= 0).mean() > 0.5
    for label in range(labels.max() + 1):
        assert len(np.unique(camid[labels == label])) == 4


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "infomap", None)
    with pytest.raises(ValueError, match=r"pip install 'reid-cluster\[infomap\]'"):
        PseudoLabels(ClusterContrastConfig(labels="infomap"), Samples.from_paths(["x"]))

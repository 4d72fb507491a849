from __future__ import annotations

import numpy as np
from sklearn.metrics import silhouette_score

import reid_cluster
from reid.evaluation.label_free import drift, mutual_share, reciprocity, silhouette, stability


def test_by_hand() -> None:
    line = np.array([[0.0], [1.0], [10.0], [11.0], [13.0]], np.float32)
    assert reciprocity(line, k=1) == 4 / 5  # the last one's nearest is 11, whose nearest is 10
    assert reciprocity(line, k=4) == 1.0
    assert reciprocity(line, k=99) == 1.0


def test_equals_sets() -> None:
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    distance = np.square(x[:, None] - x[None]).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    near = [set(row) for row in np.argsort(distance, axis=1)[:, :7]]
    shares = [sum(i in near[j] for j in near[i]) / 7 for i in range(60)]
    np.testing.assert_allclose(reciprocity(x, k=7), np.mean(shares))


def test_a_hub_lowers_it() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.normal(size=(8, 40)), 11, axis=0) + 0.01 * rng.normal(size=(88, 40))
    ring = rng.normal(size=(87, 40)) * 10
    hub = np.concatenate([ring, np.zeros((1, 40))])
    assert reciprocity(groups.astype(np.float32)) == 1.0
    assert reciprocity(hub.astype(np.float32)) < 0.7


def test_too_few() -> None:
    assert reciprocity(np.zeros((1, 3), np.float32)) == 0.0
    assert reciprocity(np.zeros((0, 3), np.float32)) == 0.0


def test_stability_looks_at_what_is_clustered_in_both() -> None:
    a = np.array([0, 0, 1, 1, -1, 2])
    assert stability(a, np.array([5, 5, 3, 3, 3, -1])) == 1.0
    assert stability(a, np.array([0, 1, 0, 1, 0, 0])) < 0.1
    assert stability(a, np.full(6, -1)) == 0.0


def test_drift_is_one_minus_the_cosine() -> None:
    x = np.eye(3, dtype=np.float32)
    assert drift(x, x) == 0.0
    np.testing.assert_allclose(drift(x, x[[1, 0, 2]]), 2 / 3)


def test_silhouette_equals_the_dense_one() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(6, 20)), 8, axis=0) + 0.7 * rng.normal(size=(48, 20))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    labels = np.repeat(np.arange(6), 8)
    labels[::11] = -1
    inside = labels >= 0
    dense = reid_cluster.jaccard(x[inside], 10, 3)
    np.fill_diagonal(dense, 0)
    expected = silhouette_score(dense, labels[inside], metric="precomputed")
    np.testing.assert_allclose(silhouette(x, labels, 10, 3), expected, atol=1e-5)
    assert silhouette(x, np.zeros(48, dtype=np.int64)) == 0.0


def test_mutual_share_counts_pictures_with_a_partner() -> None:
    x = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    assert mutual_share(x, np.tile([0, 1], 4)) == 1.0
    assert mutual_share(x, np.zeros(8, dtype=np.int64)) == 0.0

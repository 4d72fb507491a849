"""Reliability of clusters: goldens of SpCL, OpenUnReID and CDSM, the overlaps against sets, edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.cluster import DBSCAN

import reid_cluster
from reid.clustering.reliability import (
    core_samples,
    diversity_scores,
    filtered_position,
    overlap,
    self_paced_labels,
    singletons,
)
from reid.memory.rows import class_means

GOLDEN = Path(__file__).parents[2] / "golden"


def load(name: str) -> dict[str, Any]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: value.item() if value.ndim == 0 else value for key, value in file.items()}


def jaccard(name: np.ndarray) -> np.ndarray:
    """The distances a golden names by its letters."""
    return load(name.tobytes().decode())["J"]


def labellings(distances: np.ndarray, normal: float, tight: float, loose: float) -> list[np.ndarray]:
    return [reid_cluster.dbscan(distances, eps) for eps in (normal, tight, loose)]


@pytest.mark.parametrize("name", ["eps60_gap02", "eps45_gap05", "eps60_gap10"])
def test_golden_spcl(name: str) -> None:
    golden = load(f"spcl_pseudo_{name}")
    eps, gap = golden["eps"], golden["eps_gap"]
    theta = None
    for epoch in (0, 1):
        labels = labellings(jaccard(golden[f"J_epoch{epoch}_from"]), eps, eps - gap, eps + gap)
        for kind, found in zip(("normal", "tight", "loose"), labels, strict=True):
            np.testing.assert_array_equal(singletons(found), singletons(golden[f"labels_{kind}_e{epoch}"]))
        result = self_paced_labels(*labels, theta)
        np.testing.assert_array_equal(result.labels, golden[f"final_labels_e{epoch}"])
        np.testing.assert_allclose(result.compactness, golden[f"R_comp_e{epoch}"], atol=1e-6, rtol=0)
        np.testing.assert_allclose(result.independence, golden[f"R_indep_e{epoch}"], atol=1e-6, rtol=0)
        assert result.theta == pytest.approx(golden[f"indep_thres_e{epoch}"], abs=1e-6)
        theta = result.theta
        classes = singletons(labels[0])
        for values, key in ((result.compactness, "comp"), (result.independence, "indep")):
            lowest = [values[classes == c].min() for c in range(classes.max() + 1)]
            np.testing.assert_allclose(lowest, golden[f"cluster_R_{key}_e{epoch}"], atol=1e-6, rtol=0)


def test_golden_spcl_counts() -> None:
    """22 clusters before, 21 after, 22 in the next epoch, as the notes of the golden say."""
    golden = load("spcl_pseudo_eps60_gap02")
    kept = []
    theta = None
    for epoch in (0, 1):
        labels = [golden[f"labels_{kind}_e{epoch}"] for kind in ("normal", "tight", "loose")]
        result = self_paced_labels(*labels, theta)
        theta = result.theta
        kept.append(result.n_kept)
    assert kept == [21, 22]


def test_golden_openunreid() -> None:
    golden = load("spcl_openunreid_pseudo")
    tight, normal, loose = golden["eps"]
    theta = None
    for epoch in (0, 1):
        labels = labellings(jaccard(golden[f"J_epoch{epoch}_from"]), normal, tight, loose)
        result = self_paced_labels(*labels, theta, keep_last=True)
        theta = result.theta
        np.testing.assert_array_equal(result.labels, golden[f"labels_e{epoch}"])
        assert result.labels.max() + 1 == golden[f"num_classes_e{epoch}"]
        assert np.bincount(result.labels).all()
        assert theta == pytest.approx(golden["indep_thres_e0"], abs=1e-6)
        if epoch == 0:
            means = class_means(torch.from_numpy(golden["features"]), torch.from_numpy(result.labels))
            np.testing.assert_allclose(means, golden["centers_e0"], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["main", "gap20"])
def test_golden_cdsm(name: str) -> None:
    golden = load(f"cdsm_v5_{name}")
    eps, gap = golden["eps"], golden["eps_gap"]
    distances = jaccard(golden["J_from"])
    normal, tight, loose = labellings(distances, eps, eps - gap, eps + gap)
    np.testing.assert_array_equal(normal, golden["labels_normal"])
    for found, kind in ((tight, "tight"), (loose, "loose")):
        np.testing.assert_array_equal(singletons(found), singletons(golden[f"labels_{kind}"]))
    np.testing.assert_array_equal(np.flatnonzero(core_samples(distances, eps)), golden["core_indices"])
    scores = diversity_scores(normal, tight, loose)
    np.testing.assert_allclose(scores.compactness, golden["R_comp"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(scores.independence, golden["R_indep"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(scores.compact_threshold, golden["cluster_R_comp"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(scores.independent_threshold, golden["cluster_R_indep"], atol=1e-6, rtol=0)
    assert scores.reliable(normal)[normal >= 0].all(), "with the right index nothing is rejected"
    assert not scores.reliable(normal)[normal < 0].any()


def test_legacy_index_reads_the_scores_of_another_sample() -> None:
    """Worked by hand: sample 3 is the second inside, so as published it is judged by the scores of sample 1."""
    normal = np.array([-1, -1, 0, 0, 0, 0, 0, 0])
    tight = np.array([-1, -1, 0, 0, 0, 0, 0, -1])
    loose = np.array([1, 1, 0, 0, 0, 0, 0, -1])
    scores = diversity_scores(normal, tight, loose)
    assert scores.compactness.tolist() == pytest.approx([1, 1] + [5 / 6] * 5 + [1 / 6])
    assert scores.independence.tolist() == pytest.approx([0.5, 0.5] + [5 / 6] * 5 + [1 / 6])
    assert scores.reliable(normal).tolist() == [False] * 2 + [True] * 6  # 1/6 is just .2 of 5/6
    strict = diversity_scores(normal, tight, loose, share=0.9)
    assert strict.reliable(normal).tolist() == [False] * 2 + [True] * 5 + [False]
    legacy = strict.reliable(normal, legacy_index=True)
    assert legacy.tolist() == [False] * 2 + [True] * 6, "sample 7 is judged by sample 5"
    assert filtered_position(normal).tolist() == [-1, -1, 0, 1, 2, 3, 4, 5]
    assert strict.passes(np.array([7, 5]), np.array([0, 0])).tolist() == [False, True]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 5)), min_size=1, max_size=40))
def test_overlap_is_that_of_sets(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs).T
    sa, sb = singletons(a), singletons(b)
    expected = []
    for i in range(len(a)):
        x, y = set(np.flatnonzero(sa == sa[i])), set(np.flatnonzero(sb == sb[i]))
        expected.append(len(x & y) / len(x | y))
    np.testing.assert_allclose(overlap(a, b), expected, rtol=1e-6)
    np.testing.assert_array_equal(overlap(a, b), overlap(b, a))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6), st.sampled_from([None, 0.0, 0.3, 1.0]))
def test_keep_last_is_the_sequential_rule(n: int, seed: int, theta: float | None) -> None:
    """Sample after sample with a counter of each class, as OpenUnReID does it."""
    rng = np.random.default_rng(seed)
    normal = np.unique(rng.integers(0, 4, size=n), return_inverse=True)[1]
    normal[rng.random(n) < 0.2] = -1
    normal[normal >= 0] = np.unique(normal[normal >= 0], return_inverse=True)[1]
    tight, loose = rng.integers(-1, 6, size=n), rng.integers(-1, 3, size=n)
    result = self_paced_labels(normal, tight, loose, theta, keep_last=True)
    labels = singletons(normal)
    comp = np.array([result.compactness[labels == c].min() for c in range(labels.max() + 1)])
    indep = np.array([result.independence[labels == c].min() for c in range(labels.max() + 1)])
    bound = np.float32(1 if result.theta is None else result.theta)
    left, free, expected = np.bincount(labels), labels.max() + 1, labels.copy()
    for i, c in enumerate(labels):
        if (indep[c] > bound or result.compactness[i] > comp[c]) and left[c] > 1:
            expected[i] = free
            free += 1
            left[c] -= 1
    np.testing.assert_array_equal(result.labels, expected)


def test_theta_is_the_rounded_entry() -> None:
    """Five clusters: round(.9 x 5) = round(4.5) = 4, half to even; three: min(2, round(2.7) = 3) = 2."""
    for n_clusters, entry in ((5, 4), (3, 2)):
        sizes = np.arange(2, 2 + n_clusters)
        normal = np.repeat(np.arange(n_clusters), sizes)
        # Each cluster joins as many others as its number says when eps grows.
        extra = np.concatenate([np.full(c, c) for c in range(n_clusters)] + [np.zeros(0, int)])
        loose = np.concatenate([normal, extra]).astype(np.int64)
        padded = np.concatenate([normal, np.full(len(extra), -1)]).astype(np.int64)
        result = self_paced_labels(padded, padded, loose)
        expected = sorted(1 - s / (s + c) for c, s in enumerate(sizes))[entry]
        assert result.theta == pytest.approx(expected, abs=1e-6)


def test_nothing_clustered_accepts_everything_and_measures_later() -> None:
    alone = np.full(6, -1)
    result = self_paced_labels(alone, alone, np.zeros(6, np.int64))
    assert result.labels.tolist() == list(range(6))
    assert result.theta is None
    assert result.n_kept == 0


def test_core_samples_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((80, 2))
    distances = np.sqrt(((x[:, None] - x) ** 2).sum(2)).astype(np.float32)
    for eps, min_samples in ((0.1, 4), (0.05, 2), (0.3, 12), (0.01, 1)):
        expected = np.zeros(80, bool)
        expected[DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(distances).core_sample_indices_] = 1
        np.testing.assert_array_equal(core_samples(distances, eps, min_samples), expected)
        near = np.where((distances <= 0.35) & ~np.eye(80, dtype=bool), distances, 0)
        np.testing.assert_array_equal(core_samples(csr_array(near), eps, min_samples), expected)
        with_diagonal = csr_array(near + np.eye(80, dtype=np.float32) * 1e-9)
        np.testing.assert_array_equal(core_samples(with_diagonal, eps, min_samples), expected)


def test_core_samples_of_a_jaccard_graph() -> None:
    golden = load("jaccard_k30_6")
    graph = reid_cluster.jaccard_graph(golden["features"], 30, 6, max_distance=0.7)
    for column, eps in enumerate(golden["eps"]):
        if eps < 0.7:
            np.testing.assert_array_equal(core_samples(graph, float(eps)), golden["dbscan_core"][column].astype(bool))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"labels have shapes \(2,\) and \(3,\)"):
        overlap(np.zeros(2, np.int64), np.zeros(3, np.int64))

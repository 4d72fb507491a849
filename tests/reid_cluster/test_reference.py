"""The fast kernels equal the slow ones that are written for reading."""

from __future__ import annotations

import inspect
import subprocess
import sys

import numpy as np
import pytest
from scipy.sparse import coo_array

import reid_cluster
from reid_cluster import reference

SEEDS = range(8)


def lattice(n, dims, seed, values=2):
    """Small whole numbers: distances are exact, copies and ties are many."""
    return np.random.default_rng(seed).integers(-values, values + 1, (n, dims)).astype(np.float32)


def people(n, seed, dims=12):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(6, dims))[rng.integers(0, 6, n)] + 0.7 * rng.normal(size=(n, dims))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def assert_equal(found, wanted, **tolerance):
    assert type(found) is type(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.mark.parametrize("name", reference.__all__)
def test_names_and_arguments_are_the_same(name):
    fast = inspect.signature(getattr(reid_cluster, name)).parameters
    slow = inspect.signature(getattr(reference, name)).parameters
    wanted = [(p.name, p.kind, p.default) for p in fast.values() if p.name not in ("n_jobs", "progress")]
    assert [(p.name, p.kind, p.default) for p in slow.values()] == wanted


def test_every_kernel_has_one():
    kernels = {name for name in reid_cluster.__all__ if inspect.isfunction(getattr(reid_cluster, name))}
    assert set(reference.__all__) == kernels


def test_it_is_loaded_when_asked_for_only():
    code = "import sys, reid_cluster; sys.exit(any('reference' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_knn(seed):
    x = lattice(40, 3, seed)
    for queries in (None, x[:9], lattice(7, 3, seed + 100)):
        for k in (1, 5, 40):
            assert_equal(reid_cluster.knn(x, k, queries=queries), reference.knn(x, k, queries=queries))


@pytest.mark.parametrize("count_self", [True, False])
@pytest.mark.parametrize("weights", ["inner", "sqeuclidean"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (7, 1), (10, 3), (15, 60), (99, 6)])
def test_jaccard(k1, k2, weights, count_self):
    options = {"count_self": count_self, "weights": weights}
    for x in (lattice(50, 3, k1) / 2, people(60, k1), people(60, k1) * np.linspace(0.5, 1.5, 60)[:, None]):
        found = reid_cluster.jaccard(x, k1, k2, **options)
        np.testing.assert_allclose(found, reference.jaccard(x, k1, k2, **options), rtol=0, atol=3e-6)
        for cut in (0.3, 0.6, 1.0):
            graph = reid_cluster.jaccard_graph(x, k1, k2, max_distance=cut, **options)
            wanted = reference.jaccard_graph(x, k1, k2, max_distance=cut, **options)
            assert type(graph) is type(wanted)
            assert graph.max_distance == wanted.max_distance
            differ = graph.toarray() != 0
            differ ^= wanted.toarray() != 0
            near = np.minimum(np.abs(found - cut), found)  # within rounding of the cut, or of 0
            assert (near[differ] < 3e-6).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_jaccard_of_given_neighbours(seed):
    x, rng = people(40, seed), np.random.default_rng(seed)
    lists = np.array([rng.permutation(40)[:14] for _ in range(40)])
    lists[rng.random(lists.shape) < 0.2] = -1
    lists[:, 5] = lists[:, 2]
    for neighbors in (lists, reid_cluster.knn(x, 14)):
        found = reid_cluster.jaccard(x, 11, 4, neighbors=neighbors)
        np.testing.assert_allclose(found, reference.jaccard(x, 11, 4, neighbors=neighbors), rtol=0, atol=3e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("min_samples", [1, 2, 4, 7])
def test_dbscan(min_samples, seed):
    x = np.random.default_rng(seed).normal(size=(70, 2))
    d = np.linalg.norm(x[:, None] - x, axis=2).astype(np.float32)
    d[np.random.default_rng(seed).random(d.shape) < 0.2] = 9  # no longer symmetric, and the diagonal is not 0
    rows, columns = np.nonzero(d <= 0.6)
    graph = coo_array((d[rows, columns], (rows, columns)), d.shape).tocsr()
    for eps in (0.1, 0.3, 0.5):
        wanted = reference.dbscan(d, eps, min_samples)
        np.testing.assert_array_equal(reid_cluster.dbscan(d, eps, min_samples), wanted)
        np.testing.assert_array_equal(reid_cluster.dbscan(graph, eps, min_samples), wanted)
        np.testing.assert_array_equal(reference.dbscan(graph, eps, min_samples), wanted)
    labels = reference.dbscan(d, 0.3, 3)
    assert labels.max() > 0
    assert labels.min() == -1


@pytest.mark.parametrize("sizes", ["frozen", "live"])
@pytest.mark.parametrize(
    "linkage", [("single", "sqeuclidean"), ("single", "euclidean"), ("average", "sqeuclidean")], ids=str
)
@pytest.mark.parametrize("seed", SEEDS)
def test_bottom_up(seed, linkage, sizes):
    rng = np.random.default_rng(seed)
    options = {"linkage": linkage[0], "distance": linkage[1], "sizes": sizes}
    # Ties only where every sum is exact: no roots, no means.
    x = lattice(22, 3, seed) if linkage == ("single", "sqeuclidean") else rng.normal(size=(22, 3)).astype(np.float32)
    starts = [None, np.unique(rng.integers(0, 12, 22), return_inverse=True)[1]]
    for labels in starts:
        links = rng.integers(0, 22, (30, 2))
        links = links[links[:, 0] != links[:, 1] if labels is None else labels[links[:, 0]] != labels[links[:, 1]]]
        for groups, cannot_link in [
            (None, None),
            (rng.integers(-1, 6, 22), None),
            (None, links),
            (np.arange(22) % 9, links),
        ]:
            for n_merges, penalty, least in [(0, 0.25, 1), (4, 0.0, 1), (9, 0.25, 1), (50, 0.5, 5), (50, 0.25, 1)]:
                options |= {"n_merges": n_merges, "size_penalty": penalty, "min_clusters": least}
                options |= {"groups": groups, "cannot_link": cannot_link}
                found = reid_cluster.bottom_up(x, labels, **options)
                assert_equal(found, reference.bottom_up(x, labels, **options), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ap", ["step", "trapezoid"])
@pytest.mark.parametrize("seed", SEEDS)
def test_ranking(seed, ap):
    rng = np.random.default_rng(seed)
    q, g = lattice(15, 3, seed), lattice(60, 3, seed + 50)
    q_pids, g_pids = rng.integers(-1, 9, 15), rng.integers(-1, 9, 60)
    cameras = rng.integers(0, 3, 15), rng.integers(0, 3, 60)
    d = rng.integers(-3, 20, (15, 60)) / 4
    names = [str(i) for i in q_pids], [str(i) for i in g_pids]
    for pids in ((q_pids, g_pids), names):
        for cams in (cameras, (None, None)):
            ids = (*pids, *cams)
            options = {"max_rank": 7, "ap": ap}
            assert_equal(
                reid_cluster.evaluate_rank(d, *ids, **options), reference.evaluate_rank(d, *ids, **options), atol=1e-12
            )
            found = reid_cluster.evaluate_features(q, g, *ids, **options)
            assert_equal(found, reference.evaluate_features(q, g, *ids, **options), atol=1e-12)
    itself = (g, g, g_pids, g_pids, None, None)
    assert_equal(reid_cluster.evaluate_features(*itself), reference.evaluate_features(*itself), atol=1e-12)
    within = (np.abs(rng.integers(0, 9, (60, 60))), g_pids, g_pids, None, None)
    assert_equal(reid_cluster.evaluate_rank(*within), reference.evaluate_rank(*within), atol=1e-12)


@pytest.mark.parametrize(("k1", "k2", "share"), [(1, 1, 0.3), (7, 4, 0.3), (6, 30, 0.0), (90, 90, 0.5), (20, 6, 1.0)])
def test_rerank(k1, k2, share):
    q, g = people(25, k1), people(50, k1 + 1)
    found = reid_cluster.rerank(q, g, k1, k2, share)
    np.testing.assert_allclose(found, reference.rerank(q, g, k1, k2, share), rtol=0, atol=3e-6)
    d = [
        np.random.default_rng(k2).integers(0, 12, shape).astype(np.float32) for shape in [(25, 50), (25, 25), (50, 50)]
    ]
    found = reid_cluster.rerank_distances(*d, k1, k2, share)
    np.testing.assert_allclose(found, reference.rerank_distances(*d, k1, k2, share), rtol=0, atol=3e-6)

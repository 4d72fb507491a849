"""The Jaccard distance against published code's results and the reference."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_JOBS, assert_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from reid_cluster import dbscan, jaccard, jaccard_graph, knn, reference

steps = import_module("reid_cluster.reference.jaccard")  # the name is the function's, too
GOLDEN = Path(__file__).parent.parent / "golden"
CORNERS = ["jaccard_k20_6", "jaccard_k25_6", "jaccard_k30_6", "jaccard_k30_1"]


def load(name):
    return np.load(GOLDEN / f"{name}.npz")


def dense(graph):
    """The stored distances, 1 elsewhere."""
    full = np.ones(graph.shape, np.float32)
    rows = np.repeat(np.arange(len(full)), np.diff(graph.indptr))
    full[rows, graph.indices] = graph.data
    return full


def people(n, dims=16, identities=8, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(identities, dims))[rng.integers(0, identities, n)] + 0.6 * rng.normal(size=(n, dims))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("name", CORNERS)
def test_published_distances_and_clusters(name):
    z = load(name)
    k1, k2 = int(z["k1"]), int(z["k2"])
    np.testing.assert_array_equal(knn(z["features"], k1).indices, z["initial_rank"])
    for neighbors in (None, z["initial_rank"], z["initial_rank"].astype(np.int64)):
        found = jaccard(z["features"], k1, k2, neighbors=neighbors)
        np.testing.assert_allclose(found, z["J"], rtol=0, atol=2e-6)
        np.testing.assert_array_equal(found == 1, z["J"] == 1)
    graph = jaccard_graph(z["features"], k1, k2, max_distance=float(z["eps"].max()))
    for eps, labels in zip(z["eps"], z["dbscan_labels"], strict=True):
        for distances in (found, graph):
            np.testing.assert_array_equal(dbscan(distances, eps, int(z["min_samples"])), labels)


@pytest.mark.parametrize("name", CORNERS)
def test_the_reference_has_the_published_internals(name):
    z, inner = load(name), load(f"{name}_internals")
    n, ranks = len(z["features"]), z["initial_rank"]
    long, short = steps.depths(n, int(z["k1"]), count_self=True)
    for depth, key in [(long, "recip_k1"), (short, "recip_half")]:
        wanted = csr_array(
            (np.ones(len(inner[f"{key}_indices"])), inner[f"{key}_indices"], inner[f"{key}_indptr"]), (n, n)
        )
        np.testing.assert_array_equal(steps.reciprocal(ranks, depth), wanted.toarray() > 0)
    x = z["features"].astype(np.float64)
    v = steps.weights_of(2 - 2 * x @ x.T, steps.expand(ranks, long, short))
    for found, key in [(v, "V"), (steps.expand_queries(v, ranks, int(z["k2"])), "Vqe")]:
        wanted = csr_array((inner[f"{key}_data"], inner[f"{key}_indices"], inner[f"{key}_indptr"]), (n, n))
        np.testing.assert_allclose(found, wanted.toarray(), rtol=0, atol=3e-7)
        np.testing.assert_array_equal(found > 0, wanted.toarray() > 0)


def test_published_graph():
    z = load("jaccard_sparse_n")
    n, cut = len(z["features"]), float(z["cutoff"])
    everything = jaccard_graph(z["features"], max_distance=1)
    np.testing.assert_array_equal(np.diff(everything.indptr), z["row_nnz_lt1"])
    np.testing.assert_allclose(dense(everything).sum(1, dtype=np.float64), z["row_sum_J"], rtol=0, atol=2e-4)
    wanted = dense(csr_array((z["graph_J"], z["graph_indices"], z["graph_indptr"]), (n, n)))
    np.fill_diagonal(wanted, 0)
    graph = jaccard_graph(z["features"], max_distance=cut)
    found = dense(graph)
    differ = np.abs(found - wanted) > 2e-6
    assert (np.abs(np.minimum(found, wanted)[differ] - cut) < 1e-5).all()
    assert (graph.data == 0).sum() > n  # other pairs at distance 0 are stored, too
    for eps, labels in zip(z["eps"], z["dbscan_labels"], strict=True):
        np.testing.assert_array_equal(dbscan(graph, eps, int(z["min_samples"])), labels)


@pytest.mark.parametrize("name", ["ccc_jaccard_default", "ccc_jaccard_k10", "ccc_jaccard_nok2"])
def test_published_distances_where_k1_does_not_count_the_row(name):
    z = load(name)
    for neighbors in (None, z["initial_rank"]):
        found = jaccard(z["features"], int(z["k1"]), int(z["k2"]), count_self=False, neighbors=neighbors)
        np.testing.assert_allclose(found, z["jaccard"], rtol=0, atol=2e-6)
        np.testing.assert_array_equal(found == 1, z["jaccard"] == 1)


@pytest.mark.parametrize("name", ["ccc_dbscan_default", "ccc_dbscan_k10"])
def test_published_clusters_where_k1_does_not_count_the_row(name):
    z = load(name)
    k1, k2 = z["k1k2"]
    np.testing.assert_array_equal(dbscan(z["mat_dist"], float(z["eps"]), z["min_samples"]), z["labels"])
    graph = jaccard_graph(z["features"], k1, k2, count_self=False, max_distance=float(z["eps"]))
    np.testing.assert_array_equal(dbscan(graph, float(z["eps"]), z["min_samples"]), z["labels"])


@pytest.mark.parametrize("name", ["default", "k20", "nok2", "raw"])
def test_published_tracklet_distances(name):
    z = load(f"aux_jaccard_{name}")
    found = jaccard(z["features"], *z["k1k2"], neighbors=z["initial_rank"])
    np.testing.assert_allclose(found, z["jaccard"], rtol=0, atol=5e-6)
    np.testing.assert_array_equal(found >= 1 - 1e-6, z["jaccard"] >= 1 - 1e-6)


def test_published_distances_of_rows_of_any_length():
    z = load("jaccard_unnormalised")
    found = jaccard(z["features"], int(z["k1"]), int(z["k2"]), weights="sqeuclidean")
    np.testing.assert_allclose(found, z["J_openunreid"], rtol=0, atol=3e-6)
    z = load("jaccard_unnormalised_spcl")
    found = jaccard(z["features"], int(z["k1"]), int(z["k2"]))
    np.testing.assert_allclose(found, z["J_spcl"], rtol=0, atol=3e-6)


def test_published_mix_with_the_distance():
    z = load("jaccard_cdsm_lambda")
    x, share = z["features"].astype(np.float64), float(z["lambda_value"])
    d = 2 - 2 * x @ x.T
    found = (1 - share) * jaccard(x, int(z["k1"]), int(z["k2"])) + share * d / d.max(0)
    np.testing.assert_allclose(found, z["J"], rtol=0, atol=2e-6)


def test_published_half_precision_is_near():
    z = load("jaccard_fp16_k30_6")
    np.testing.assert_allclose(jaccard(z["features"]), z["J"].astype(np.float32), rtol=0, atol=1.2e-2)


def test_k1_beyond_the_number_of_rows_is_clipped():
    z = load("jaccard_small_n")
    found = jaccard(z["features"], int(z["k1"]), int(z["k2"]))
    np.testing.assert_allclose(found, z["J_with_k1_equal_n"], rtol=0, atol=2e-6)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_equals_the_reference(data):
    n = data.draw(st.sampled_from([1, 2, 3, 17, 60]))
    x = people(n, seed=data.draw(st.integers(0, 1000)))
    if data.draw(st.booleans()) and n > 3:
        x[n // 2] = x[0]  # a copy
        x[n // 3] = 0
    if data.draw(st.booleans()):
        x *= np.linspace(0.5, 1.5, n, dtype=np.float32)[:, None]
    k1, k2 = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))
    count_self, squared = data.draw(st.booleans()), data.draw(st.booleans())
    rank = knn(x, n).indices  # so that ties at rank k1 are the same on both sides
    options = {"count_self": count_self, "weights": "sqeuclidean" if squared else "inner"}
    found = jaccard(x, k1, k2, **options)
    wanted = reference.jaccard(x, k1, k2, neighbors=rank, **options)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=3e-6)
    np.testing.assert_array_equal(found, found.T)
    assert found.min() >= 0
    assert found.max() <= 1
    assert not np.diag(found).any()

    graph = jaccard_graph(x, k1, k2, max_distance=1, **options)
    np.testing.assert_array_equal(dense(graph), found)
    assert graph.nnz == (found < 1).sum()
    cut = data.draw(st.sampled_from([0.0, 0.3, 0.6]))
    graph = jaccard_graph(x, k1, k2, max_distance=cut, **options)
    np.testing.assert_array_equal(dense(graph), np.where(found <= np.float32(cut), found, 1))
    assert graph.nnz == (found <= np.float32(cut)).sum()


def test_the_graph_is_a_canonical_csr_array_that_knows_its_cut():
    graph = jaccard_graph(people(200), 12, 3, max_distance=0.7)
    assert isinstance(graph, csr_array)
    assert graph.max_distance == 0.7
    assert (graph.data.dtype, graph.indices.dtype, graph.indptr.dtype) == (np.float32, np.int32, np.int32)
    rebuilt = csr_array((graph.data, graph.indices, graph.indptr), graph.shape)
    assert rebuilt.has_sorted_indices
    assert rebuilt.has_canonical_format
    assert not graph.diagonal().any()


def test_results_do_not_depend_on_threads_or_memory_order():
    x = people(700, seed=3)
    fortran = np.asfortranarray(x)
    rank = knn(x, 30).indices
    wanted = jaccard(x, n_jobs=1).tobytes()
    graphs = [jaccard_graph(x, n_jobs=n) for n in (1, 2, 3, 7)]
    for n in (2, 3, 7):
        assert jaccard(x, n_jobs=n).tobytes() == wanted
    assert jaccard(fortran, neighbors=rank, progress=lambda *_: None).tobytes() == wanted
    for graph in graphs[1:]:
        for part in ("data", "indices", "indptr"):
            assert getattr(graph, part).tobytes() == getattr(graphs[0], part).tobytes()


def test_given_neighbours_are_cleaned():
    x = people(60)
    rank = knn(x, 20).indices
    wanted = jaccard(x, 12, 4)
    np.testing.assert_array_equal(jaccard(x, 12, 4, neighbors=knn(x, 20)), wanted)
    moved = rank.copy()
    moved[:, [0, 1]] = rank[:, [1, 0]]  # a copy of the row came first
    np.testing.assert_array_equal(jaccard(x, 12, 4, neighbors=moved), wanted)
    padded = rank[:, :12].copy()
    padded[:, 8:] = -1
    repeated = rank[:, :12].copy()
    repeated[:, 8:] = rank[:, 3:7]
    np.testing.assert_array_equal(jaccard(x, 12, 4, neighbors=padded), jaccard(x, 12, 4, neighbors=repeated))


def test_rows_of_huge_length_give_distances():
    x = people(50) * np.float32(1e15)
    for weights in ("inner", "sqeuclidean"):
        found = jaccard(x, 10, 3, weights=weights)
        assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"k1": 0}, ValueError, "k1=0: must be at least 1"),
        ({"k1": 2.5}, TypeError, "k1=2.5"),
        ({"k2": -1}, ValueError, "k2=-1"),
        ({"weights": "cosine"}, ValueError, "weights='cosine'"),
        ({"count_self": 1}, TypeError, "count_self=1"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"features": np.full((5, 2), np.inf)}, ValueError, "features has NaN or inf in 5 row"),
        ({"features": np.zeros((0, 2))}, ValueError, "0 samples"),
        ({"features": np.full((5, 2), 1e20)}, ValueError, r"features\[0\] has a squared norm beyond float32"),
        ({"neighbors": np.zeros((5, 2), int)}, ValueError, "neighbors has 2 columns: k1 needs at least 3"),
        ({"neighbors": np.zeros((4, 3), int)}, ValueError, r"neighbors has shape \(4, 3\)"),
        ({"neighbors": np.zeros((5, 3))}, TypeError, "neighbors has dtype float64"),
        ({"neighbors": np.full((5, 3), 5)}, ValueError, r"neighbors\[0, 0\] is 5: must be 0 to 4"),
        ({"neighbors": np.full((5, 3), 2**40)}, ValueError, r"neighbors\[0, 0\]"),
        ({"neighbors": np.full((5, 3), -7)}, ValueError, r"neighbors\[0, 0\]"),
    ],
)
def test_errors_name_the_argument(change, error, words):
    for function in (jaccard, jaccard_graph):
        with pytest.raises(error, match=words):
            function(**{"features": np.eye(5), "k1": 3, "k2": 2, **change})


@pytest.mark.parametrize("function", [jaccard, jaccard_graph])
@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
def test_bad_features_are_refused(case, function):
    assert_refused(lambda x: function(x, 3, 2), case, "features")


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_n_jobs_are_refused(case):
    for function in (jaccard, jaccard_graph):
        assert_refused(lambda n, f=function: f(np.eye(5), 3, 2, n_jobs=n), case, "n_jobs")


@pytest.mark.parametrize("cut", [-0.1, 1.5, np.nan])
def test_the_cut_lies_between_0_and_1(cut):
    with pytest.raises(ValueError, match="max_distance="):
        jaccard_graph(np.eye(5), 3, 2, max_distance=cut)


def test_a_matrix_beyond_memory_is_refused_before_it_is_made():
    n = 3_000_000  # 36 TB
    with pytest.raises(MemoryError, match=r"36000\.0 GB.*jaccard_graph"):
        jaccard(np.ones((n, 1), np.float32), neighbors=np.zeros((n, 30), np.int32))


def test_progress_may_stop_the_call():
    def stop(done, total, stage):
        raise RuntimeError(f"stopped in {stage}")

    with pytest.raises(RuntimeError, match="stopped in"):
        jaccard_graph(people(50), 5, 2, progress=stop)

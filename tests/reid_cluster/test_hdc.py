"""HDC and k-means++ on distances: the authors' labels, the readable version, and cases at the edge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_JOBS, Bad, assert_refused
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from reid_cluster import HDC, hdc, jaccard, jaccard_graph, kmeans_plusplus
from reid_cluster.reference import hdc as readable_hdc
from reid_cluster.reference import kmeans_plusplus as readable_kmeans_plusplus
from reid_cluster.reference.hdc import discrepancies, normalized_distances, outlier_rule, relocate, similarity_distances

GOLDEN = Path(__file__).parents[1] / "golden"
RUNS = ["main", "k10_keepall", "cosine_self", "euler_self", "threshold", "random_norm", "relocate"]


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"ccc_{name}.npz", allow_pickle=False) as file:
        return dict(file)


def arguments(z: dict[str, np.ndarray]) -> dict[str, Any]:
    """The call that a golden run is."""
    threshold = float(z["threshold"])
    return {
        "features": z["features"],
        "distances": z.get("mat_dist"),
        "n_clusters": int(z["n_clusters"]),
        "init": z["init_indices"] if "init_indices" in z else z["init_labels"],
        "max_iter": int(z["max_iter"]),
        "min_iter": int(z["min_iter"]),
        "patience": int(z["n_tol"]),
        "n_sigma": float(z["n_sigma"]),
        "threshold": None if np.isnan(threshold) else threshold,
        "outliers": bool(z["outlier"]),
        "similarity": bytes(z["similarity"]).decode().split()[0].lower(),
        "normalize_centroids": bool(z["normalize_centroid"]),
        "return_trace": True,
    }


def near_only(d: np.ndarray) -> csr_array:
    """A graph of the pairs below 1, zeros stored, without the diagonal."""
    rows, columns = np.nonzero((d < 1) & ~np.eye(len(d), dtype=bool))
    indptr = np.searchsorted(rows, np.arange(len(d) + 1))
    graph = csr_array(d.shape, dtype=np.float32)
    graph.indptr, graph.indices, graph.data = indptr, columns.astype(np.int32), d[rows, columns].astype(np.float32)
    return graph


def unit_rows(n: int, d: int, seed: int, noise: float = 0.8) -> np.ndarray:
    g = np.random.default_rng(seed)
    ids = np.sort(g.integers(0, max(1, n // 12), n))
    x = g.standard_normal((n // 12 + 1, d))[ids] + noise * g.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def same(a: HDC, b: HDC) -> bool:
    """Bit for bit."""
    flat = [[*r[:5], *(r.trace or ())] for r in (a, b)]
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in zip(*flat, strict=True))


# --- the authors' runs ---


@pytest.mark.parametrize("function", [hdc, readable_hdc], ids=["fast", "readable"])
@pytest.mark.parametrize("name", RUNS)
def test_runs_of_the_original_code(name: str, function: Any) -> None:
    z = golden(f"hdc_{name}")
    r = function(**arguments(z))
    assert r.n_iter == z["n_iter"]
    np.testing.assert_array_equal(r.trace.labels_all, z["labels_trace"])
    np.testing.assert_array_equal(r.trace.labels, z["labels_pod_trace"])
    np.testing.assert_allclose(r.trace.scores, z["labels_hd_trace"], atol=5e-6)
    np.testing.assert_array_equal(r.labels, z["final_labels"])
    np.testing.assert_array_equal(r.labels_all, z["labels_trace"][-1])
    np.testing.assert_allclose(r.centroids, z["final_centroids"], atol=1e-6)
    np.testing.assert_allclose(r.shifts, z["shift"], rtol=1e-5)
    np.testing.assert_array_equal(r.scores, r.trace.scores[-1].astype(np.float32))


@pytest.mark.parametrize("name", [name for name in RUNS if "self" not in name])
def test_a_graph_gives_the_same_as_its_matrix(name: str) -> None:
    call = arguments(golden(f"hdc_{name}"))
    d = call.pop("distances")
    np.fill_diagonal(d, 0)
    dense = hdc(distances=d, **call)
    for n_jobs in (1, 2, 3, 7):
        assert same(dense, hdc(distances=near_only(d), n_jobs=n_jobs, **call))
        assert same(dense, hdc(distances=d, n_jobs=n_jobs, **call))


def test_readable_steps_equal_the_original_code() -> None:
    z = golden("distances")
    for name in ("euler", "cosine", "euclidean"):
        raw = similarity_distances(z["X"], z["Y"], name)
        wanted = z[f"raw_{name}"] if name != "cosine" else z["norm_cosine"]
        np.testing.assert_allclose(raw, wanted, atol=1e-4 if name == "euler" else 1e-6)
        normal = normalized_distances(z["X"], z["Y"], name)
        np.testing.assert_allclose(normal, z[f"norm_{name}"], atol=5e-6)
        np.testing.assert_allclose(np.exp(-5 * normal), z[f"membership_{name}"], atol=5e-6)
    np.testing.assert_allclose(1 - np.exp(-z["J"]), z["hd_from_J"], atol=1e-6)
    z = golden("hdc_main")
    labels = z["init_labels"]
    q = z["membership_iter0"][np.arange(len(labels)), labels].astype(float)
    h = discrepancies(-np.expm1(-z["mat_dist"].astype(float)), q, labels, int(z["n_clusters"]))
    np.testing.assert_allclose(h, z["hd_mat_iter0"], atol=5e-6)


@pytest.mark.parametrize("name", ["one", "three", "multi_pass"])
def test_relocation_of_the_original_code(name: str) -> None:
    z = golden(f"relocate_{name}")
    labels, scores = relocate(z["labels_in"], z["labels_hd_in"], z["labels_mem"], z["hd_mat"])
    np.testing.assert_array_equal(labels, z["labels_out"])
    np.testing.assert_array_equal(scores, z["labels_hd_out"])
    np.testing.assert_array_equal(np.bincount(labels), z["counts_out"])


@pytest.mark.parametrize(
    ("name", "rule"), [("sigma_0.5", 0.5), ("sigma_1.0", 1.0), ("sigma_2.0", 2.0), ("threshold_0.3", None)]
)
def test_outliers_of_the_original_code(name: str, rule: float | None) -> None:
    z = golden("peripheral")
    limits = {"threshold": 0.3} if rule is None else {"n_sigma": rule}
    out = outlier_rule(z["labels"], z["labels_hd"], int(z["n_clusters"]), **limits)
    np.testing.assert_array_equal(np.where(out, -1, z["labels"]), z[f"pod_{name}"])


@pytest.mark.parametrize("function", [kmeans_plusplus, readable_kmeans_plusplus], ids=["fast", "readable"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_kmeans_plusplus_of_the_original_code(name: str, function: Any) -> None:
    z = golden(f"kmpp2_{name}")
    k, draws = int(z["n_clusters"]), {"first": int(z["first_index"]), "uniforms": z["uniforms"]}
    chosen = function(z["mat_dist"], k, **draws)
    assert chosen.dtype == np.int32
    np.testing.assert_array_equal(chosen, z["indices"])
    np.testing.assert_array_equal(z["mat_dist"][:, chosen].argmin(1), z["labels"])
    if name == "b":
        np.testing.assert_array_equal(z["features"][chosen], z["centroids"])


# --- the readable version ---


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_equals_the_readable_version(data: st.DataObject) -> None:
    n, seed = data.draw(st.integers(1, 70)), data.draw(st.integers(0, 2**32 - 1))
    g = np.random.default_rng(seed)
    x = unit_rows(n, data.draw(st.sampled_from([3, 40])), seed)
    k = data.draw(st.integers(1, n))
    kind = data.draw(st.sampled_from(["none", "dense", "graph"]))
    d = jaccard(x, 8, 3) if data.draw(st.booleans()) else np.minimum(g.random((n, n)) * 1.6, 1).astype(np.float32)
    if kind != "none":
        np.fill_diagonal(d, 0)
    distances = {"none": None, "dense": d, "graph": near_only(d)}[kind]
    init = data.draw(st.sampled_from(["samples", "labels", "centers"]))
    call = {
        "init": {
            "samples": g.permutation(n)[:k],
            "labels": g.integers(k, size=n) if k < n else g.permutation(n),
            "centers": x[g.integers(n, size=k)] + np.float32(0.01) * g.standard_normal((k, x.shape[1]), np.float32),
        }[init],
        "max_iter": data.draw(st.sampled_from([1, 3, 25])),
        "min_iter": data.draw(st.integers(0, 6)),
        "patience": data.draw(st.integers(0, 4)),
        "n_sigma": data.draw(st.sampled_from([0.5, 1.0, 2.0])),
        "threshold": data.draw(st.sampled_from([None, None, 0.3, 0.6])),
        "outliers": data.draw(st.booleans()),
        "similarity": data.draw(st.sampled_from(["euler", "cosine", "euclidean"])),
        "normalize_centroids": data.draw(st.booleans()),
        "isolated": data.draw(st.sampled_from(["cluster", "outlier"])),
        "return_trace": True,
    }
    found = hdc(x, distances, k, n_jobs=data.draw(st.sampled_from([1, 2, 3, 7])), **call)
    wanted = readable_hdc(x, distances, k, **call)
    # Shifts that are equal but for rounding, of different rounds, stop the one earlier than the other.
    near = np.abs(wanted.shifts[:, None] - wanted.shifts) <= 1e-6 * wanted.shifts
    again = (wanted.trace.labels[:, None] == wanted.trace.labels).all(axis=2)
    assume(not (near & ~again).any())
    np.testing.assert_array_equal(found.trace.labels_all[0], wanted.trace.labels_all[0])
    np.testing.assert_array_equal(found.trace.labels, wanted.trace.labels)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_array_equal(found.labels_all, wanted.labels_all)
    np.testing.assert_allclose(found.trace.scores, wanted.trace.scores, atol=5e-6)
    np.testing.assert_allclose(found.centroids, wanted.centroids, atol=1e-6)
    np.testing.assert_allclose(found.shifts, wanted.shifts, rtol=1e-4, atol=1e-10)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_kmeans_plusplus_equals_the_readable_version(data: st.DataObject) -> None:
    g = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n = data.draw(st.integers(1, 50))
    k = data.draw(st.integers(1, n))
    d = np.minimum(g.random((n, n)) * 1.5, 1).astype(np.float32)
    np.fill_diagonal(d, 0)
    wanted = readable_kmeans_plusplus(d, k, random_state=5)
    for distances in (d, near_only(d)):
        found = kmeans_plusplus(distances, k, random_state=5, n_jobs=data.draw(st.sampled_from([1, 2, 3, 7])))
        np.testing.assert_array_equal(found, wanted)


# --- choices and edges ---


@pytest.mark.parametrize("similarity", ["euler", "cosine", "euclidean"])
@pytest.mark.parametrize("own", [False, True])
def test_threads_change_nothing(similarity: str, own: bool) -> None:
    x = unit_rows(700, 30, 2)
    graph = None if own else jaccard_graph(x, 20, 4, max_distance=1)
    call = {"similarity": similarity, "max_iter": 6, "random_state": 3, "return_trace": True}
    runs = [hdc(x, graph, 60, n_jobs=n_jobs, **call) for n_jobs in (1, 2, 3, 7)]
    assert all(same(runs[0], run) for run in runs[1:])


def test_random_states() -> None:
    x = unit_rows(60, 8, 1)
    d = jaccard(x, 8, 3)
    for init in ("k-means++", "random"):
        first = hdc(x, d, 7, init=init, random_state=4)
        assert same(first, hdc(x, d, 7, init=init, random_state=np.random.default_rng(4)))
        np.testing.assert_array_equal(first.labels, readable_hdc(x, d, 7, init=init, random_state=4).labels)
    chosen = kmeans_plusplus(d, 7, random_state=4)
    assert same(hdc(x, d, 7, random_state=4), hdc(x, d, 7, init=chosen))
    assert len(kmeans_plusplus(d, 7)) == 7


@pytest.mark.parametrize("distances", ["jaccard", "own"])
def test_one_cluster_and_as_many_as_samples(distances: str) -> None:
    x = unit_rows(40, 8, 3)
    d = jaccard(x, 8, 3) if distances == "jaccard" else None
    one = hdc(x, d, 1)
    assert not one.labels_all.any()
    every = hdc(x, d, 40, init=np.arange(40))
    np.testing.assert_array_equal(every.centroids[every.labels], x)
    np.testing.assert_array_equal(np.sort(every.labels), np.arange(40))
    np.testing.assert_array_equal(np.sort(hdc(x, d, 40).labels_all), np.arange(40))
    alone = hdc(x[:1], None, 1)
    assert (alone.labels.tolist(), alone.scores.tolist(), alone.n_iter) == ([0], [0.0], 1)


def test_strangers_fill_the_first_cluster_unless_told_otherwise() -> None:
    x = np.eye(60, dtype=np.float32)
    d = np.ones((60, 60), np.float32) - x
    call = {"init": np.arange(10), "return_trace": True}
    trash = hdc(x, d, 10, **call)
    np.testing.assert_array_equal(np.bincount(trash.labels), [51] + [1] * 9)
    apart = hdc(x, d, 10, isolated="outlier", **call)
    np.testing.assert_array_equal(np.bincount(apart.labels[apart.labels >= 0]), np.ones(10))
    assert (apart.labels_all == -1).sum() == 50


def test_copies_of_one_sample() -> None:
    x = np.tile(unit_rows(1, 16, 0), (60, 1))
    for d in (np.zeros((60, 60), np.float32), None):
        r = hdc(x, d, 5, random_state=0)
        np.testing.assert_array_equal(np.sort(np.bincount(r.labels)), [1, 1, 1, 1, 56])
        assert not r.scores.any()
        np.testing.assert_allclose(r.centroids, x[:5], atol=1e-7)


def test_a_cluster_of_outliers_keeps_its_centroid() -> None:
    z = golden("hdc_main")
    call = arguments(z) | {"threshold": 0.3}
    r = hdc(**call)
    lost = np.setdiff1d(np.arange(call["n_clusters"]), r.labels)
    assert len(lost)
    assert np.isfinite(r.centroids).all()
    np.testing.assert_array_equal(r.labels, readable_hdc(**call).labels)
    assert hdc(**call | {"threshold": 0.0}).n_iter >= 1


def test_more_sigmas_fewer_outliers() -> None:
    call = arguments(golden("hdc_main"))
    count = [(hdc(**call | {"n_sigma": s, "max_iter": 1}).labels < 0).sum() for s in (0.0, 1.0, 3.0, 100.0)]
    assert count == sorted(count, reverse=True)
    assert count[0] > 0 == count[-1]
    kept = hdc(**call | {"outliers": False, "max_iter": 1})
    np.testing.assert_array_equal(kept.labels, kept.labels_all)
    assert (kept.trace.labels == -1).any()


def test_a_sample_each_wins_over_labels() -> None:
    x = unit_rows(6, 4, 0)
    order = np.array([3, 1, 2, 0, 5, 4])
    np.testing.assert_array_equal(hdc(x, None, 6, init=order).labels, np.argsort(order))


def test_inputs_stay_as_they_are() -> None:
    x, d = unit_rows(50, 8, 0), jaccard(unit_rows(50, 8, 0), 8, 3)
    copies = x.copy(), d.copy()
    hdc(x, d, 5)
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(d, copies[1])
    np.testing.assert_array_equal(
        hdc(x.astype(float), d, 5, random_state=0).labels, hdc(x, d, 5, random_state=0).labels
    )


@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
def test_bad_features_are_refused(case: Bad) -> None:
    assert_refused(lambda x: hdc(x, None, 1), case, "features")


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_n_jobs_are_refused(case: Bad) -> None:
    assert_refused(lambda n: hdc(np.eye(3), None, 1, n_jobs=n), case, "n_jobs")
    assert_refused(lambda n: kmeans_plusplus(np.eye(3), 1, n_jobs=n), case, "n_jobs")


BAD_SETTINGS = [
    ({"n_clusters": 0}, ValueError, "n_clusters=0: must be at least 1"),
    ({"n_clusters": 9}, ValueError, "n_clusters=9: must be 1 to 8"),
    ({"n_clusters": 2.0}, TypeError, "n_clusters="),
    ({"max_iter": 0}, ValueError, "max_iter=0"),
    ({"min_iter": -1}, ValueError, "min_iter=-1"),
    ({"patience": -1}, ValueError, "patience=-1"),
    ({"n_sigma": -0.5}, ValueError, "n_sigma="),
    ({"n_sigma": np.nan}, ValueError, "n_sigma="),
    ({"threshold": np.inf}, ValueError, "threshold="),
    ({"similarity": "dot"}, ValueError, "similarity='dot'"),
    ({"isolated": "x"}, ValueError, "isolated='x'"),
    ({"init": "best"}, ValueError, "init='best'"),
    ({"init": np.arange(3)}, ValueError, r"init has shape \(3,\)"),
    ({"init": np.array([0, 8])}, ValueError, "init has the sample 8: must be 0 to 7"),
    ({"init": np.array([0.0, 1.0])}, TypeError, "init must hold integers"),
    ({"init": np.full(8, 2)}, ValueError, "init has the label 2: must be 0 to 1"),
    ({"init": np.full(8, -1)}, ValueError, "init has the label -1"),
    ({"init": np.zeros((2, 9))}, ValueError, r"init has shape \(2, 9\)"),
    ({"init": np.full((2, 8), np.nan)}, ValueError, "init has NaN"),
    ({"random_state": -1}, ValueError, "random_state"),
    ({"random_state": "a"}, TypeError, "random_state"),
    ({"distances": np.zeros((7, 7))}, ValueError, "distances has 7 rows and features 8"),
    ({"distances": np.zeros((8, 7))}, ValueError, "must be square"),
    ({"distances": np.full((8, 8), np.nan)}, ValueError, r"distances\[0, 0\] is NaN"),
    ({"distances": np.full((8, 8), -1)}, ValueError, r"distances\[0, 0\] is -1"),
    ({"distances": jaccard_graph(np.eye(8), 3, 1, max_distance=0.5)}, ValueError, "cut at max_distance=0.5: build"),
]


@pytest.mark.parametrize(("wrong", "error", "words"), BAD_SETTINGS)
def test_bad_settings_are_refused(wrong: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        hdc(**{"features": np.eye(8), "distances": np.ones((8, 8)), "n_clusters": 2} | wrong)
    if not wrong.keys() - {"n_clusters", "distances", "random_state"} and "features" not in words:
        with pytest.raises(error, match=words):
            kmeans_plusplus(**{"distances": np.ones((8, 8)), "n_clusters": 2} | wrong)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"first": 8}, ValueError, "first=8: must be below 8"),
        ({"first": -1}, ValueError, "first=-1"),
        ({"uniforms": [0.5]}, ValueError, r"uniforms has shape \(1,\): must be \(2, L\)"),
        ({"uniforms": np.zeros((2, 0))}, ValueError, "uniforms has 0 numbers"),
        ({"uniforms": [[0.5], [1.0]]}, ValueError, "uniforms has 1: must be"),
        ({"uniforms": [["a"], ["b"]]}, TypeError, "uniforms must hold real numbers"),
    ],
)
def test_bad_draws_are_refused(wrong: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        kmeans_plusplus(np.ones((8, 8)), 3, **wrong)


def test_progress_is_told() -> None:
    seen: list[tuple[int, int, str]] = []
    hdc(unit_rows(50, 8, 0), None, 5, max_iter=3, progress=lambda *args: seen.append(args))
    assert (3, 3, "hdc") in seen

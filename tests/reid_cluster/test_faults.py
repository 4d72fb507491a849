"""What holds for every function, from one table of them all: faults refused, threads without effect on the result."""

from __future__ import annotations

import decimal
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from bad_inputs import BAD_FEATURES, BAD_JOBS, Bad, assert_refused, digest
from scipy.sparse import csr_array

import reid_cluster
from reid_cluster import constrained_dbscan, dbscan

N = 12
X = np.random.default_rng(0).standard_normal((N, 4)).astype(np.float32)
D = np.sqrt(((X[:, None] - X) ** 2).sum(-1)) / 8
PIDS, CAMIDS = np.arange(N) % 4, np.arange(N) % 3
Q = 5
IDS = {"q_pids": PIDS[:Q], "g_pids": PIDS, "q_camids": CAMIDS[:Q], "g_camids": CAMIDS}

#: A call of each function that succeeds, with every argument but n_jobs and progress.
CALLS: dict[str, dict[str, Any]] = {
    "bottom_up": {
        "features": X, "labels": np.arange(N), "n_merges": 3, "size_penalty": 0.003, "distance": "sqeuclidean",
        "linkage": "single", "sizes": "frozen", "min_clusters": 1, "groups": None, "cannot_link": None,
    },
    "constrained_dbscan": {"distances": D, "eps": 0.3, "cannot_link": [(0, 1)], "min_samples": 2, "relaxed": None},
    "dbscan": {"distances": D, "eps": 0.3, "min_samples": 2},
    "evaluate_features": {"query": X[:Q], "gallery": X, **IDS, "max_rank": 5, "ap": "step"},
    "evaluate_rank": {"distances": D[:Q], **IDS, "max_rank": 5, "ap": "step"},
    "hdc": {
        "features": X, "distances": D, "n_clusters": 3, "init": "k-means++", "max_iter": 5, "min_iter": 2,
        "patience": 2, "n_sigma": 1.0, "threshold": None, "outliers": True, "similarity": "euler",
        "normalize_centroids": False, "isolated": "cluster", "return_trace": False, "random_state": 0,
    },
    "jaccard": {"features": X, "k1": 5, "k2": 2, "count_self": True, "weights": "inner", "neighbors": None},
    "jaccard_graph": {
        "features": X, "k1": 5, "k2": 2, "max_distance": 0.5, "count_self": True, "weights": "inner",
        "neighbors": None,
    },
    "kmeans": {
        "features": X, "n_clusters": 3, "init": "k-means++", "n_init": 1, "max_iter": 9, "tol": 1e-4,
        "random_state": 0,
    },
    "kmeans_plusplus": {"distances": D, "n_clusters": 3, "first": None, "uniforms": None, "random_state": 0},
    "knn": {"features": X, "k": 3, "queries": None},
    "rerank": {"query": X[:Q], "gallery": X, "k1": 4, "k2": 2, "lambda_value": 0.3},
    "rerank_distances": {
        "query_gallery": D[:Q], "query_query": D[:Q, :Q], "gallery_gallery": D, "k1": 4, "k2": 2,
        "lambda_value": 0.3,
    },
    "time_overlap": {
        "start": np.arange(N), "end": np.arange(N) + 2, "camera": CAMIDS, "clock": None, "scope": "cross",
        "margin": 0, "exempt": (),
    },
}  # fmt: skip

#: Arguments that are rows of features: (function, argument, what else the call needs for an array of so many rows).
FEATURES: list[tuple[str, str, Callable[[int, int], dict[str, Any]]]] = [
    ("bottom_up", "features", lambda n, d: {"labels": None}),
    ("evaluate_features", "query", lambda n, d: {"gallery": np.ones((N, d)), **_ids(n, N)}),
    ("evaluate_features", "gallery", lambda n, d: {"query": np.ones((Q, d)), **_ids(Q, n)}),
    ("evaluate_rank", "distances", lambda n, d: _ids(n, d)),
    ("hdc", "features", lambda n, d: {"distances": None, "n_clusters": 1}),
    ("jaccard", "features", lambda n, d: {}),
    ("jaccard_graph", "features", lambda n, d: {}),
    ("kmeans", "features", lambda n, d: {"n_clusters": 1}),
    ("knn", "features", lambda n, d: {"k": 1}),
    ("knn", "queries", lambda n, d: {"features": np.ones((N, d))}),
    ("rerank", "query", lambda n, d: {"gallery": np.ones((N, d))}),
    ("rerank", "gallery", lambda n, d: {"query": np.ones((Q, d))}),
]
GRAPHS = ["constrained_dbscan", "dbscan", "hdc", "kmeans_plusplus"]

#: Values that are wrong for every argument.
STRANGE: dict[str, Any] = {
    "object": object(),
    "dict": {"a": 1},
    "set": {1, 2},
    "complex": 1j,
    "NaN": float("nan"),
    "decimal NaN": decimal.Decimal("NaN"),
    "many digits": -(10**5000),
    "long text": "a" * 100_000,
    "lines": "a\nb",
    "surrogate": "\ud800",
    "ragged": [[1.0], [1.0, 2.0]],
    "3-d": np.zeros((2, 3, 4)),
    "matrix of text": np.full((N, 4), "a"),
    "objects": [None] * N,
    "dates": np.zeros(N, "M8[s]"),
    "meta tensor": torch.empty(N, 4, device="meta"),
    "sparse tensor": torch.eye(N).to_sparse(),
}


class Failing:
    """No conversion of it succeeds."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise KeyError("no\narray")

    def __index__(self) -> int:
        raise RuntimeError("no index")

    def __float__(self) -> float:
        raise RuntimeError("no float")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


STRANGE["failing"] = Failing()


def call(function: str, **changed: Any) -> Any:
    return getattr(reid_cluster, function)(**{"n_jobs": 1, **CALLS[function], **changed})


def _ids(n_query: int, n_gallery: int) -> dict[str, np.ndarray]:
    q, g = np.zeros(n_query, int), np.zeros(n_gallery, int)
    return {"q_pids": q, "g_pids": g, "q_camids": q, "g_camids": g + 1}


def arguments() -> Iterator[tuple[str, str]]:
    return ((function, name) for function, options in CALLS.items() for name in options)


def flat(result: Any) -> list[bytes | float | int | None]:
    """A result's bits, whatever it is made of."""
    if isinstance(result, tuple):
        return [bits for part in result for bits in flat(part)]
    if isinstance(result, csr_array):
        return flat((result.indptr, result.indices, result.data))
    if isinstance(result, np.ndarray):
        return [str(result.dtype).encode(), str(result.shape).encode(), result.tobytes()]
    return [np.float64(result).tobytes() if isinstance(result, float) else result]


def test_the_table_has_every_function_and_argument() -> None:
    public = {name for name in reid_cluster.__all__ if inspect.isfunction(getattr(reid_cluster, name))}
    assert set(CALLS) == public
    for function, options in CALLS.items():
        known = inspect.signature(getattr(reid_cluster, function)).parameters
        assert {*options, "n_jobs", "progress"} == set(known), function
    named = {(function, name) for function, name, _ in FEATURES}
    rows = {"features", "query", "gallery", "queries"}
    assert {(function, name) for function, name in arguments() if name in rows} <= named
    assert {function for function, name in arguments() if name == "distances"} == {*GRAPHS, "evaluate_rank"}


@pytest.mark.parametrize("function", CALLS)
def test_results_do_not_depend_on_threads_and_inputs_stay(function: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((700, 20)).astype(np.float32)
    x[500:] = x[:200]  # ties
    d = np.sqrt(np.maximum(((x[:, None] - x[None]) ** 2).sum(-1), 0)) / 10
    pids, cams = rng.integers(50, size=700), rng.integers(4, size=700)
    start = rng.integers(5000, size=700)
    ids = {"q_pids": pids[:200], "g_pids": pids, "q_camids": cams[:200], "g_camids": cams}
    data: dict[str, dict[str, Any]] = {
        "bottom_up": {"features": x, "labels": None, "n_merges": 400, "cannot_link": rng.integers(700, size=(50, 2))},
        "constrained_dbscan": {"distances": d, "eps": 0.45, "cannot_link": rng.integers(700, size=(2000, 2))},
        "dbscan": {"distances": d, "eps": 0.45},
        "evaluate_features": {"query": x[:200], "gallery": x, **ids},
        "evaluate_rank": {"distances": d[:200], **ids},
        "hdc": {"features": x, "distances": np.minimum(d, 1), "n_clusters": 40, "return_trace": True},
        "jaccard": {"features": x, "k1": 20},
        "jaccard_graph": {"features": x, "k1": 20},
        "kmeans": {"features": x, "n_clusters": 40, "n_init": 2},
        "kmeans_plusplus": {"distances": d, "n_clusters": 40},
        "knn": {"features": x, "k": 9},
        "rerank": {"query": x[:200], "gallery": x},
        "rerank_distances": {"query_gallery": d[:200], "query_query": d[:200, :200], "gallery_gallery": d},
        "time_overlap": {"start": start, "end": start + 50, "camera": cams},
    }
    before = {name: digest(value) for name, value in data[function].items()}
    wanted = flat(call(function, **data[function]))
    for n_jobs in (2, 3, 7):
        assert flat(call(function, **data[function], n_jobs=n_jobs)) == wanted, n_jobs
    assert {name: digest(value) for name, value in data[function].items()} == before


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
@pytest.mark.parametrize("function", CALLS)
def test_bad_n_jobs_are_refused(function: str, case: Bad) -> None:
    assert_refused(lambda n: call(function, n_jobs=n), case, "n_jobs")


@pytest.mark.parametrize("function", CALLS)
def test_progress_must_be_callable_and_its_error_comes_back(function: str) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, stage: str) -> None:
        raise Stop

    with pytest.raises(TypeError, match="progress='no': must be callable"):
        call(function, progress="no")
    with pytest.raises(Stop):
        call(function, progress=stop)


@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
@pytest.mark.parametrize(
    ("function", "name", "rest"), FEATURES, ids=[f"{function}-{name}" for function, name, _ in FEATURES]
)
def test_bad_features_are_refused(function: str, name: str, rest: Any, case: Bad) -> None:
    shape = np.shape(case.value) if isinstance(case.value, np.ndarray) and case.value.ndim == 2 else (N, 4)
    if case.name == "too large":
        shape = (N, 4)
    if function == "knn" and name == "queries" and case.value is None:
        pytest.skip("None stands for the rows themselves")
    if (function, case.name) == ("evaluate_rank", "square beyond float32"):
        pytest.skip("distances are not squared")
    others = rest(shape[0], max(shape[1], 1))
    assert_refused(lambda x: call(function, **{**others, name: x}), case, name)


@pytest.mark.parametrize(("function", "name"), list(arguments()))
def test_strange_values_are_refused_by_name_in_one_line(function: str, name: str) -> None:
    for what, value in STRANGE.items():
        if name == "progress" or (what == "NaN" and name in ("start", "end")):
            continue
        with pytest.raises((TypeError, ValueError)) as caught:
            call(function, **{name: value})
            pytest.fail(f"{what} passed as {name}")
        text = str(caught.value)
        assert name in text, (what, text)
        assert "\n" not in text, (what, text)
        assert len(text) < 600, (what, len(text))
        assert "panicked" not in text


def graph(**changed: Any) -> csr_array:
    """Four points in a row, 0.5 apart, with one part changed after scipy has looked at it."""
    x = csr_array((np.full(6, 0.5, np.float32), np.int32([1, 0, 2, 1, 3, 2]), np.int32([0, 1, 3, 5, 6])), shape=(4, 4))
    for name, value in changed.items():
        setattr(x, name, value)
    return x


def with_graph(function: str, distances: Any) -> Any:
    return call(
        function, distances=distances, **({"features": X[: max(distances.shape[0], 1)]} if function == "hdc" else {})
    )


BAD_GRAPHS = [
    Bad("column N", graph(indices=np.int32([1, 0, 4, 1, 3, 2])), ValueError, ("row 1", "column index 4", "0 to 3")),
    Bad("negative column", graph(indices=np.int32([1, 0, -1, 1, 3, 2])), ValueError, ("row 1", "-1")),
    Bad("column 2^32", graph(indices=np.int64([1, 0, 2**32, 1, 3, 2])), ValueError, ("row 1",)),
    Bad("column 2^63", graph(indices=np.uint64([1, 0, 2**63, 1, 3, 2])), ValueError, ("row 1",)),
    Bad("first of indptr", graph(indptr=np.int32([1, 1, 3, 5, 6])), ValueError, ("indptr starts with 1", "0")),
    Bad("indptr falls", graph(indptr=np.int32([0, 4, 3, 5, 6])), ValueError, ("indptr falls from 4 to 3 at row 1",)),
    Bad("negative indptr", graph(indptr=np.int32([0, -3, 3, 5, 6])), ValueError, ("indptr falls", "row 0")),
    Bad("indptr beyond int64", graph(indptr=np.uint64([0, 2**64 - 1, 3, 5, 6])), ValueError, ("indptr falls",)),
    Bad("last of indptr", graph(indptr=np.int64([0, 1, 3, 5, 2**62])), ValueError, ("indptr ends", "must be 6")),
    Bad("length of indptr", graph(indptr=np.int32([0, 1, 3, 6])), ValueError, ("4 entries for 4 rows", "5")),
    Bad("empty indptr", graph(indptr=np.int32([])), ValueError, ("0 entries for 4 rows",)),
    Bad("too little data", graph(data=np.float32([0.5] * 5)), ValueError, ("6 entries", "data 5")),
    Bad("too much data", graph(data=np.float32([0.5] * 7)), ValueError, ("6 entries", "data 7")),
    Bad("float columns", graph(indices=np.float32([1, 0, 2, 1, 3, 2])), TypeError, ("indices", "float32")),
    Bad("2-D columns", graph(indices=np.int32([[1, 0, 2, 1, 3, 2]])), TypeError, ("indices", "(1, 6)")),
    Bad("float indptr", graph(indptr=np.float64([0, 1, 3, 5, 6])), TypeError, ("indptr", "float64")),
    Bad("complex data", graph(data=np.ones(6, complex)), TypeError, ("data", "complex128")),
    Bad("NaN", graph(data=np.float32([1, 1, np.nan, 1, 1, 1])), ValueError, ("distances[1, 2] is NaN",)),
    Bad("negative", graph(data=np.float32([1, 1, -0.5, 1, 1, 1])), ValueError, ("distances[1, 2] is -0.5",)),
    Bad("-inf", graph(data=np.float32([1, 1, -np.inf, 1, 1, 1])), ValueError, ("distances[1, 2] is -inf",)),
    Bad("stored twice", graph(indices=np.int32([1, 2, 2, 1, 3, 2])), ValueError, ("distances[1, 2]", "twice")),
    Bad("not square", csr_array((4, 5)), ValueError, ("(4, 5)", "square")),
    Bad("no rows", csr_array((0, 0)), ValueError, ("0 samples",)),
    Bad("columns first", graph().tocsc(), TypeError, ("csc", "tocsr")),
    Bad("triples", graph().tocoo(), TypeError, ("coo", "tocsr")),
    Bad("cut of NaN", graph(max_distance=float("nan")), ValueError, ("max_distance=nan",)),
    Bad("cut of text", graph(max_distance="a"), ValueError, ("max_distance='a'",)),
    Bad("dense, not square", np.zeros((4, 5)), ValueError, ("(4, 5)", "square")),
    Bad("dense NaN", np.full((4, 4), np.nan), ValueError, ("distances[0, 0] is NaN",)),
    Bad("dense negative", np.eye(4) * -1, ValueError, ("distances[0, 0] is -1",)),
]


@pytest.mark.parametrize("case", BAD_GRAPHS, ids=lambda case: case.name)
@pytest.mark.parametrize("function", GRAPHS)
def test_bad_graphs_are_refused(function: str, case: Bad) -> None:
    assert_refused(lambda x: with_graph(function, x), case, "distances")


@pytest.mark.parametrize("function", GRAPHS)
def test_graphs_in_any_type_and_order_give_the_same(function: str) -> None:
    wanted = flat(with_graph(function, graph()))
    x = graph()
    shuffled = graph(indices=np.int32([1, 2, 0, 3, 1, 2]))
    wide = graph(indices=x.indices.astype(">i8"), indptr=x.indptr.astype(np.int64), data=x.data.astype(">f8"))
    narrow = graph(indices=x.indices.astype(np.uint8), indptr=x.indptr.astype(np.uint16), data=x.data.astype("f2"))
    for same in (shuffled, wide, narrow):
        before = [digest(part) for part in (same.indptr, same.indices, same.data)]
        assert flat(with_graph(function, same)) == wanted
        assert [digest(part) for part in (same.indptr, same.indices, same.data)] == before


@pytest.mark.parametrize("function", GRAPHS)
def test_random_bytes_as_a_graph_give_an_error_or_a_result(function: str) -> None:
    rng = np.random.default_rng(47)
    messages = []
    for _ in range(400):
        parts = {}
        for name in ("indptr", "indices", "data"):
            good = getattr(graph(), name)
            wild = np.frombuffer(rng.bytes(good.nbytes), good.dtype).copy()
            near = rng.integers(-1, 8, size=len(good)).astype(good.dtype)
            parts[name] = (good, good, near, wild)[rng.integers(4)]
        try:
            found = with_graph(function, graph(**parts))
        except ValueError as error:
            messages.append(str(error))
        else:
            assert len(flat(found)) > 0
    assert 200 < len(messages) < 400
    assert all("distances" in message for message in messages)


def test_links_count_once_in_any_order_and_stay_as_they_are() -> None:
    rng = np.random.default_rng(50)
    links = rng.integers(N, size=(9, 2))
    before = links.copy()
    wanted = constrained_dbscan(D, 0.3, links, 2)
    twice = np.concatenate([links, links[::-1, ::-1], links])
    for same in (links, twice, links[rng.permutation(9)], [tuple(pair) for pair in links], np.asfortranarray(links)):
        np.testing.assert_array_equal(constrained_dbscan(D, 0.3, same, 2), wanted)
    np.testing.assert_array_equal(links, before)


def test_where_every_pair_is_linked_nobody_shares_a_cluster() -> None:
    d = np.zeros((400, 400))
    links = np.argwhere(np.triu(np.ones((400, 400)), 1))
    assert set(dbscan(d, 0.5, 2)) == {0}
    np.testing.assert_array_equal(constrained_dbscan(d, 0.5, links, 1), np.arange(400))
    np.testing.assert_array_equal(constrained_dbscan(d, 0.5, links, 2), np.full(400, -1))

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_JOBS, Bad, assert_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from reid_cluster import knn


def naive(x: np.ndarray, q: np.ndarray | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """All distances in float64, stable order, each row itself first."""
    d = ((np.float64(x if q is None else q)[:, None] - np.float64(x)[None]) ** 2).sum(-1)
    order = d - np.eye(len(x)) if q is None else d
    indices = np.argsort(order, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(d, indices, 1)


@given(data=st.data(), n=st.integers(1, 40), d=st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_equals_the_definition_with_ties(data: st.DataObject, n: int, d: int) -> None:
    x = data.draw(arrays(np.float32, (n, d), elements=st.integers(-3, 3).map(float)))
    k = data.draw(st.integers(1, n))
    for q in (None, x[: data.draw(st.integers(1, n))]):
        found = knn(x, k, queries=q)
        indices, distances = naive(x, q, k)
        np.testing.assert_array_equal(found.indices, indices)
        np.testing.assert_array_equal(found.distances, distances)


@pytest.mark.parametrize("d", [1, 2, 7, 16, 33, 70])
def test_every_width(d: int) -> None:
    x = np.random.default_rng(d).standard_normal((90, d)).astype(np.float32)
    found = knn(x, 10)
    assert (found.indices.dtype, found.distances.dtype) == (np.int32, np.float32)
    _, distances = naive(x, None, 10)
    np.testing.assert_allclose(found.distances, distances, atol=1e-4)


@pytest.mark.parametrize("q", [1, 30, 700])
def test_threads_do_not_matter(q: int) -> None:
    g = np.random.default_rng(0)
    x = g.standard_normal((10, 8))[g.integers(0, 10, 1300)] + 0.01 * g.integers(0, 3, (1300, 8))
    for queries in (None, x[:q] + 0.5):
        first = knn(x, 12, queries=queries, n_jobs=1)
        for n_jobs in (2, 3, 7):
            again = knn(x, 12, queries=queries, n_jobs=n_jobs)
            assert again.indices.tobytes() == first.indices.tobytes()
            assert again.distances.tobytes() == first.distances.tobytes()


def test_copies_come_after_oneself_in_order_of_index() -> None:
    found = knn(np.ones((2000, 9)), 4)
    assert found.indices[:3].tolist() == [[0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 1, 3]]
    assert found.indices[-1].tolist() == [1999, 0, 1, 2]
    assert not found.distances.any()
    queried = knn(np.ones((2000, 9)), 3, queries=np.ones((2, 9)))
    assert queried.indices.tolist() == [[0, 1, 2], [0, 1, 2]]


def test_a_query_that_is_a_row_is_at_distance_zero() -> None:
    x = np.random.default_rng(1).standard_normal((500, 300)) * 1e3
    found = knn(x, 1, queries=x)
    assert found.indices[:, 0].tolist() == list(range(500))
    assert not found.distances.any()
    assert not np.signbit(found.distances).any()


def test_extreme_norms_stay_finite() -> None:
    x = np.random.default_rng(2).standard_normal((60, 8))
    x *= np.logspace(-30, 18, 60)[:, None]
    found = knn(x, 60)
    assert np.isfinite(found.distances).all()
    assert (found.distances >= 0).all()
    _, distances = naive(np.float32(x), None, 60)
    scale = (np.float64(x) ** 2).sum(1).max()
    np.testing.assert_allclose(found.distances, distances, atol=1e-6 * scale)


def test_zero_rows_and_one_row() -> None:
    assert knn(np.zeros((3, 2)), 3).distances.tolist() == [[0.0] * 3] * 3
    assert knn(np.ones((1, 1)), 1).indices.tolist() == [[0]]


def test_inputs_are_unchanged() -> None:
    x = np.random.default_rng(3).standard_normal((50, 4)).astype(np.float32)
    before = x.copy()
    knn(x, 5, queries=x[:7])
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["features", "queries"])
def test_bad_arrays(name: str, case: Bad) -> None:
    if name == "features":
        assert_refused(lambda x: knn(x, 1), case, name)
    elif case.value is not None:
        shape = getattr(case.value, "shape", ())
        d = shape[1] if len(shape) == 2 and 0 < shape[1] < 99 else 3
        assert_refused(lambda x: knn(np.ones((4, d)), 1, queries=x), case, name)


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_jobs(case: Bad) -> None:
    assert_refused(lambda n: knn(np.ones((4, 2)), 1, n_jobs=n), case, "n_jobs")


@pytest.mark.parametrize(
    ("k", "options", "error", "words"),
    [
        (0, {}, ValueError, "k=0"),
        (-2, {}, ValueError, "k=-2"),
        (5, {}, ValueError, "k=5: must be 1 to 4"),
        (2**63, {}, ValueError, "k="),
        (2.0, {}, TypeError, "k=2.0"),
        (True, {}, TypeError, "k=True"),
        (1, {"queries": np.ones((4, 3))}, ValueError, "queries has 3 columns and features 2"),
        (1, {"progress": "bar"}, TypeError, "progress='bar'"),
    ],
)
def test_bad_arguments(k: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        knn(np.ones((4, 2)), k, **options)


def test_too_many_neighbours_for_memory() -> None:
    x = np.ones((2_000_000, 1), np.float32)
    with pytest.raises(MemoryError, match=r"k=2000000 neighbours of 2000000 rows needs 64000.0 GB"):
        knn(x, len(x))

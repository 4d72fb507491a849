"""DBSCAN against scikit-learn, on dense distances and on graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD_JOBS, assert_refused
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array
from sklearn.cluster import DBSCAN

from reid_cluster import dbscan, jaccard_graph

GOLDEN = Path(__file__).parent.parent / "golden"


def graph(indptr=(0, 2, 4), indices=(0, 1, 0, 1), data=(0.0, 0.5, 0.5, 0.0), n=2):
    """A csr_array that scipy has not looked into."""
    x = csr_array((n, n), dtype=np.float32)
    x.indptr, x.indices, x.data = np.asarray(indptr), np.asarray(indices), np.asarray(data)
    return x


def cut_at(d, cut):
    """All pairs up to `cut`, zeros stored."""
    rows, columns = np.nonzero(d <= cut)
    return coo_array((d[rows, columns], (rows, columns)), d.shape).tocsr()


def test_border_points():
    z = np.load(GOLDEN / "jaccard_dbscan_border.npz")
    for a, eps in enumerate(z["eps"]):
        for b, min_samples in enumerate(z["min_samples"]):
            for distances in (z["D"], cut_at(z["D"], z["eps"].max())):
                np.testing.assert_array_equal(dbscan(distances, eps, min_samples), z["labels"][a, b])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_equals_scikit_learn(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n, levels = data.draw(st.integers(1, 60)), data.draw(st.sampled_from([6, 1000]))
    d = (rng.integers(0, levels, (n, n)) * (8 / levels)).astype(np.float32)
    if data.draw(st.booleans()):
        points = rng.normal(size=(n, 2)).astype(np.float32)
        d = np.linalg.norm(points[:, None] - points, axis=2)
    if data.draw(st.booleans()):  # else it is not symmetric, and rows are taken as they are
        d = np.minimum(d, d.T)
    np.fill_diagonal(d, 0)
    eps = data.draw(st.sampled_from([0.1, 0.4, 1.0, 2.0]))
    min_samples, n_jobs = data.draw(st.integers(1, 6)), data.draw(st.sampled_from([1, 2, 3, 7]))
    wanted = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit_predict(d)
    found = dbscan(d, eps, min_samples, n_jobs=n_jobs)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, wanted)
    sparse = cut_at(d, eps + data.draw(st.sampled_from([0.0, 0.5])))
    np.testing.assert_array_equal(dbscan(sparse, eps, min_samples, n_jobs=n_jobs), wanted)


def test_graphs_are_read_in_any_integer_type_and_order():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 2))
    d = np.linalg.norm(points[:, None] - points, axis=2)
    x = cut_at(d, 0.4)
    wanted = dbscan(x, 0.3)
    assert wanted.max() > 1
    assert (wanted == -1).any()
    for kind in (np.int32, np.int64, np.uint32, np.uint64, np.int16):
        typed = graph(x.indptr.astype(kind), x.indices.astype(kind), x.data, n=300)
        np.testing.assert_array_equal(dbscan(typed, 0.3), wanted)
    for row in range(300):
        part = slice(x.indptr[row], x.indptr[row + 1])
        order = rng.permutation(part.stop - part.start)
        x.indices[part], x.data[part] = x.indices[part][order], x.data[part][order]
    shuffled = graph(x.indptr, x.indices, x.data, n=300)
    before = [part.tobytes() for part in (shuffled.indptr, shuffled.indices, shuffled.data)]
    np.testing.assert_array_equal(dbscan(shuffled, 0.3), wanted)
    assert [part.tobytes() for part in (shuffled.indptr, shuffled.indices, shuffled.data)] == before


def test_zeros_count_and_the_diagonal_is_implied():
    pairs = graph([0, 1, 2, 2], [1, 0], [0.0, 0.0], n=3)
    np.testing.assert_array_equal(dbscan(pairs, 0.1, 2), [0, 0, -1])
    np.testing.assert_array_equal(dbscan(csr_array((3, 3), dtype=np.float32), 0.1, 1), [0, 1, 2])
    far_from_itself = [[5.0, 1.0], [1.0, 5.0]]
    np.testing.assert_array_equal(dbscan(far_from_itself, 1.0, 2), [0, 0])
    np.testing.assert_array_equal(dbscan([[0.0, np.inf], [np.inf, 0.0]], 1.0, 1), [0, 1])


def test_eps_is_compared_in_float32():
    d = np.float32([[0, 0.6], [0.6, 0]])
    assert float(d[0, 1]) > 0.6
    np.testing.assert_array_equal(dbscan(d, 0.6, 2), [0, 0])


def test_eps_beyond_the_cut_is_refused():
    x = jaccard_graph(np.eye(12), 4, 1, max_distance=0.5)
    dbscan(x, 0.5)
    with pytest.raises(ValueError, match=r"eps=0\.6: the graph holds .* max_distance=0\.5; build"):
        dbscan(x, 0.6)
    with pytest.raises(ValueError, match="eps=1"):
        dbscan(jaccard_graph(np.eye(12), 4, 1, max_distance=1), 1)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (graph(indices=[0, 2, 0, 1]), "row 0 has the column index 2: must be 0 to 1"),
        (graph(indices=[0, 1, -1, 1]), "row 1 has the column index -1"),
        (graph(indices=np.array([0, 2**40, 0, 1])), "row 0 has the column index"),
        (graph(indices=np.array([0, 2**32 + 1, 0, 1])), "row 0 has the column index"),
        (graph(indices=np.array([0, 1, 2**63, 1], np.uint64)), "row 1 has the column index"),
        (graph(indptr=[1, 2, 4]), "indptr starts with 1"),
        (graph(indptr=[0, 5, 4]), "indptr falls from 5 to 4 at row 1"),
        (graph(indptr=[0, 2, 9]), "indptr ends with 9"),
        (graph(indptr=[0, 4]), "indptr has 2 entries for 2 rows"),
        (graph(data=[0.0, 0.5, 0.5]), "indices has 4 entries and distances.data 3"),
        (graph(data=[0.0, np.nan, 0.5, 0.0]), r"distances\[0, 1\] is NaN"),
        (graph(data=[0.0, 0.5, -0.5, 0.0]), r"distances\[1, 0\] is -0.5"),
        (graph(indices=[0, 1, 0, 0]), r"distances\[1, 0\] is stored twice"),
        (csr_array((2, 3), dtype=np.float32), r"shape \(2, 3\): must be square"),
        (np.zeros((2, 3)), r"shape \(2, 3\): must be square"),
        (np.array([[0, np.nan], [0, 0]]), r"distances\[0, 1\] is NaN"),
        (np.array([[0, 1], [-1, 0]]), r"distances\[1, 0\] is -1"),
        (np.zeros((0, 0)), "0 samples"),
    ],
)
def test_broken_distances_are_refused_by_place(broken, words):
    with pytest.raises(ValueError, match=words):
        dbscan(broken, 0.5)


@pytest.mark.parametrize("wrong", [coo_array((2, 2)), "abc", np.zeros((2, 2), complex), graph(data=list("abcd"))])
def test_other_types_are_refused(wrong):
    with pytest.raises(TypeError, match="distances"):
        dbscan(wrong, 0.5)


@pytest.mark.parametrize("eps", [0, -1, np.nan, np.inf])
def test_eps_is_positive(eps):
    with pytest.raises(ValueError, match="eps="):
        dbscan(np.zeros((2, 2)), eps)


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-3, ValueError), (2.5, TypeError)])
def test_min_samples_is_a_count(value, error):
    with pytest.raises(error, match="min_samples="):
        dbscan(np.zeros((2, 2)), 0.5, value)


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_n_jobs_are_refused(case):
    assert_refused(lambda n: dbscan(np.zeros((2, 2)), 0.5, n_jobs=n), case, "n_jobs")

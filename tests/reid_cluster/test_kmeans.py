"""k-means against recorded runs of scikit-learn, the readable version, and its own definition."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_JOBS, assert_refused
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_cluster import kmeans, reference

GOLDEN = Path(__file__).parents[1] / "golden"


def blobs(n=600, d=24, centers=40, seed=0, spread=0.7):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((centers, d))[rng.integers(centers, size=n)] + spread * rng.standard_normal((n, d))
    return x.astype(np.float32)


def nearest(x, centers):
    return ((x[:, None].astype(float) - centers) ** 2).sum(axis=2).argmin(axis=1)


@pytest.mark.parametrize("name", ["pul_kmeans", "ccc_kmeans"])
def test_recorded_runs(name):
    z = np.load(GOLDEN / f"{name}.npz")
    found = kmeans(z["features"], len(z["init"]), init=z["init"], max_iter=int(z["max_iter"]), tol=float(z["tol"]))
    np.testing.assert_array_equal(found.labels, z["labels"])
    np.testing.assert_allclose(found.centers, z["centers"], rtol=0, atol=1e-5)
    assert found.inertia == pytest.approx(float(z["inertia"]), rel=1e-5)
    assert found.n_iter == z["n_iter"]
    assert (found.labels.dtype, found.centers.dtype) == (np.int64, np.float32)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_equals_the_readable_version(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    # In one or two columns rows come so close that float32 and float64 take another of two centres.
    n, d = data.draw(st.integers(1, 80)), data.draw(st.integers(4, 9))
    k = data.draw(st.integers(1, n))
    x = rng.standard_normal((n, d)).astype(np.float32)
    start = 3 * rng.standard_normal((k, d)).astype(np.float32)
    options = {
        "init": start,
        "max_iter": data.draw(st.sampled_from([1, 3, 300])),
        "tol": data.draw(st.sampled_from([0.0, 1e-4, 0.1])),
    }
    found, slow = kmeans(x, k, **options), reference.kmeans(x, k, **options)
    np.testing.assert_array_equal(found.labels, slow.labels)
    np.testing.assert_allclose(found.centers, slow.centers, rtol=0, atol=1e-5)
    assert found.n_iter == slow.n_iter
    assert found.inertia == pytest.approx(slow.inertia, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_equals_scikit_learn(offset):
    cluster = pytest.importorskip("sklearn.cluster")
    x = blobs(2000, 64, 150) + np.float32(offset)
    start = x[::20]
    peer = cluster.KMeans(len(start), init=start, n_init=1).fit(x)
    found = kmeans(x, len(start), init=start)
    np.testing.assert_array_equal(found.labels, peer.labels_)
    np.testing.assert_allclose(found.centers, peer.cluster_centers_, rtol=0, atol=1e-4)
    assert found.n_iter == peer.n_iter_


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_a_run_ends_at_its_own_centres(init):
    x = blobs()
    found = kmeans(x, 40, init=init, tol=0, random_state=3)
    np.testing.assert_array_equal(found.labels, nearest(x, found.centers))
    np.testing.assert_array_equal(np.unique(found.labels), np.arange(40))
    means = np.stack([x[found.labels == k].astype(float).mean(axis=0) for k in range(40)])
    np.testing.assert_allclose(found.centers, means, rtol=0, atol=1e-6)
    assert found.inertia == pytest.approx(((x - found.centers[found.labels]).astype(float) ** 2).sum(), rel=1e-6)
    early = kmeans(x, 40, init=init, max_iter=1, random_state=3)
    assert early.n_iter == 1
    np.testing.assert_array_equal(early.labels, nearest(x, early.centers))
    again = kmeans(x, 40, init=found.centers, tol=0)
    np.testing.assert_array_equal(again.labels, found.labels)


def test_the_draws_are_as_good_as_those_of_the_readable_version():
    x = blobs(400, 8, 30, spread=0.3)
    fast = [kmeans(x, 30, max_iter=1, random_state=i).inertia for i in range(30)]
    slow = [reference.kmeans(x, 30, max_iter=1, random_state=i).inertia for i in range(30)]
    even = [kmeans(x, 30, max_iter=1, init="random", random_state=i).inertia for i in range(30)]
    error = np.sqrt((np.var(fast) + np.var(slow)) / 30)
    assert abs(np.mean(fast) - np.mean(slow)) < 5 * error
    assert np.mean(fast) < 0.8 * np.mean(even)


def test_the_state_decides_the_draws():
    x = blobs()
    a, b = (kmeans(x, 30, random_state=5) for _ in range(2))
    np.testing.assert_array_equal(a.centers, b.centers)
    generator = np.random.default_rng(5)
    first, second = (kmeans(x, 30, random_state=generator) for _ in range(2))
    np.testing.assert_array_equal(first.centers, a.centers)
    assert (second.centers != a.centers).any()
    assert (kmeans(x, 30).centers != kmeans(x, 30).centers).any()


def test_the_best_of_several_runs_counts():
    x = blobs()
    seeds = np.random.default_rng(9)
    several = kmeans(x, 40, n_init=5, random_state=9)
    assert several.inertia == min(kmeans(x, 40, random_state=seeds).inertia for _ in range(5))


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_results_do_not_depend_on_threads(init):
    x = blobs(3000, 33, 60, seed=2)
    results = [kmeans(x, 70, init=init, n_init=2, random_state=1, n_jobs=n) for n in (1, 2, 3, 4, 7)]
    results.append(kmeans(np.asfortranarray(x), 70, init=init, n_init=2, random_state=1, progress=lambda *_: None))
    for result in results[1:]:
        assert [np.asarray(a).tobytes() for a in result] == [np.asarray(a).tobytes() for a in results[0]]


def test_an_empty_cluster_takes_the_farthest_row():
    x = np.array([[0.0], [1.0], [10.0], [12.0], [40.0]])
    found = kmeans(x, 3, init=[[0.0], [12.0], [-99.0]], max_iter=1)
    np.testing.assert_array_equal(found.labels, [0, 0, 1, 1, 2])  # 40 is 28 away from 12
    np.testing.assert_allclose(found.centers, [[0.5], [11.0], [40.0]])
    equal = kmeans([[0.0], [2.0], [20.0], [22.0]], 3, init=[[1.0], [21.0], [99.0]], max_iter=1)
    np.testing.assert_array_equal(equal.labels, [2, 0, 1, 1])  # all are 1 away: the first row moves


def test_limits():
    x = blobs(30, 5)
    one = kmeans(x, 1)
    np.testing.assert_allclose(one.centers[0], x.mean(axis=0), atol=1e-6)
    assert not one.labels.any()
    for init in ("k-means++", "random"):
        every = kmeans(x, 30, init=init)
        assert every.inertia == 0
        np.testing.assert_array_equal(every.centers[every.labels], x)
    alone = kmeans([[3.0, 4.0]], 1)
    np.testing.assert_array_equal(alone.centers, [[3.0, 4.0]])


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_copies(init):
    x = np.repeat(blobs(12, 3), 50, axis=0)
    found = kmeans(x, 12, init=init, random_state=0)
    assert found.inertia == pytest.approx(0, abs=1e-9)
    assert len(np.unique(found.labels)) == 12
    with pytest.raises(ValueError, match="n_clusters=13: features has only 12 rows that can be told apart"):
        kmeans(x, 13, init=init, random_state=0)
    equal = kmeans(np.ones((5000, 64)), 1, init=init)
    assert equal.inertia == 0


def test_small_and_large_values():
    x = blobs(300, 8, 10, spread=0.1)
    labels = kmeans(x, 10, init=x[:10]).labels
    for scale in (1e-15, 1e15):
        scaled = (x * scale).astype(np.float32)
        np.testing.assert_array_equal(kmeans(scaled, 10, init=scaled[:10]).labels, labels)


def test_inputs_stay_as_they_are():
    x, start = blobs(), blobs(7)
    for array in (x, start):
        array.setflags(write=False)
    kmeans(x, 7, init=start)
    np.testing.assert_array_equal(start, blobs(7))


def test_progress_comes_in_order():
    seen = []
    kmeans(blobs(), 30, n_init=3, random_state=0, progress=lambda *at: seen.append((*at, threading.get_ident())))
    assert {ident for *_, ident in seen} == {threading.get_ident()}
    stages = list(dict.fromkeys(stage for _, _, stage, _ in seen))
    assert stages[-2:] == ["seeds", "kmeans"]
    assert [s for _, _, s, _ in seen] == sorted((s for _, _, s, _ in seen), key=stages.index)
    for stage in stages:
        steps = [(done, total) for done, total, s, _ in seen if s == stage]
        assert steps == sorted(steps)
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_clusters": 0}, ValueError, "n_clusters=0: must be at least 1"),
        ({"n_clusters": 31}, ValueError, "n_clusters=31: must be 1 to 30"),
        ({"n_clusters": 2.0}, TypeError, "n_clusters=2.0"),
        ({"init": "k-means"}, ValueError, "init='k-means': must be one of 'k-means"),
        ({"init": np.ones((3, 5))}, ValueError, r"init has shape \(3, 5\): must be \(4, 5\)"),
        ({"init": np.ones((4, 6))}, ValueError, r"init has shape \(4, 6\): must be \(4, 5\)"),
        ({"init": np.ones((4, 5)), "n_init": 2}, ValueError, "n_init=2: must be 1"),
        ({"n_init": 0}, ValueError, "n_init=0"),
        ({"max_iter": 0}, ValueError, "max_iter=0"),
        ({"tol": -1e-4}, ValueError, "tol=-0.0001"),
        ({"tol": np.nan}, ValueError, "tol=nan"),
        ({"random_state": -1}, ValueError, "random_state=-1"),
        ({"random_state": "a"}, TypeError, "random_state='a'"),
        ({"progress": 3}, TypeError, "progress=3"),
    ],
)
def test_errors_name_the_argument(options, error, words):
    with pytest.raises(error, match=words):
        kmeans(blobs(30, 5), **{"n_clusters": 4, **options})


@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
def test_bad_arrays_are_refused(case):
    assert_refused(lambda x: kmeans(x, 1), case, "features")
    if not isinstance(case.value, str):
        shape = getattr(case.value, "shape", ())
        rows, columns = shape if len(shape) == 2 and 0 < max(shape) < 1000 else (600, 7)
        good = np.eye(max(rows, 1), max(columns, 1))
        assert_refused(lambda x: kmeans(good, max(rows, 1), init=x), case, "init")


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_n_jobs_are_refused(case):
    assert_refused(lambda n: kmeans(np.eye(3), 2, n_jobs=n), case, "n_jobs")

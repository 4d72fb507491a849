"""The estimators: scikit-learn's own checks, and the results of the functions they wrap."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import reid_cluster.sklearn
from reid_cluster import bottom_up, dbscan, jaccard, jaccard_graph
from reid_cluster.sklearn import BottomUpClustering, JaccardDBSCAN, KReciprocalTransformer

ESTIMATORS = [getattr(reid_cluster.sklearn, name)() for name in reid_cluster.sklearn.__all__]
#: As the methods set them, and not as the defaults are.
VARIANTS = [
    JaccardDBSCAN(20, 1, eps=0.5, count_self=False, weights="sqeuclidean", n_jobs=-1),
    BottomUpClustering(3, linkage="average", sizes="live", n_jobs=-1),
    KReciprocalTransformer(20, 1, max_distance=1, count_self=False, weights="sqeuclidean", n_jobs=-1),
]


def people(n: int = 400, d: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of n / 10 identities, and who is who."""
    rng = np.random.default_rng(seed)
    ids = np.arange(n) % (n // 10)
    x = rng.standard_normal((n // 10, d))[ids] + 0.7 * rng.standard_normal((n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), ids


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS + VARIANTS)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_not_imported_by_the_kernels():
    code = "import sys, reid_cluster; assert not [m for m in sys.modules if 'sklearn' in m]"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("estimator", ESTIMATORS + VARIANTS, ids=repr)
def test_copies_behave_alike(estimator):
    x, _ = people(100)
    fitted = clone(estimator).fit(x)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.get_params() == estimator.get_params() == clone(fitted).get_params()
    if hasattr(fitted, "transform"):
        np.testing.assert_array_equal(again.transform(x).toarray(), fitted.transform(x).toarray())
    else:
        np.testing.assert_array_equal(again.labels_, fitted.labels_)
    assert type(estimator).__name__ in fitted._repr_html_()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_data_frames_give_their_names(estimator):
    pandas = pytest.importorskip("pandas")
    x, _ = people(60, 3)
    fitted = clone(estimator).fit(pandas.DataFrame(x, columns=["a", "b", "c"]))
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    assert fitted.n_features_in_ == 3


def test_jaccard_dbscan_is_the_functions():
    x, ids = people()
    for settings in ({}, {"k1": 20, "eps": 0.5}, {"k2": 1, "count_self": False, "weights": "sqeuclidean"}):
        found = JaccardDBSCAN(**settings).fit(x)
        eps = settings.pop("eps", 0.6)
        graph = jaccard_graph(x, **settings, max_distance=eps)
        np.testing.assert_array_equal(found.labels_, dbscan(graph, eps))
    peer = DBSCAN(metric="precomputed", eps=0.5, min_samples=4).fit(jaccard(x, 20))
    found = JaccardDBSCAN(20, eps=0.5).fit(x)
    np.testing.assert_array_equal(found.labels_, peer.labels_)
    np.testing.assert_array_equal(found.core_sample_indices_, peer.core_sample_indices_)
    assert adjusted_rand_score(ids, found.labels_) > 0.8


@pytest.mark.parametrize("eps", [0, -1, 1, 1 - 1e-9, np.nan, np.inf])
def test_eps_is_a_jaccard_distance(eps):
    with pytest.raises(ValueError, match="eps="):
        JaccardDBSCAN(eps=eps).fit(people(20)[0])


@pytest.mark.parametrize(("n_jobs", "error"), [(0, ValueError), (2.5, ValueError), (True, ValueError)])
def test_bad_n_jobs(n_jobs, error):
    for estimator in ESTIMATORS:
        with pytest.raises(error, match="n_jobs="):
            clone(estimator).set_params(n_jobs=n_jobs).fit(people(20)[0])


def test_bottom_up_is_the_function():
    x, ids = people()
    start, cameras = bottom_up(x, n_merges=50).labels, np.arange(400) % 7
    found = BottomUpClustering(1, n_merges=20, linkage="average").fit(x, labels=start, groups=cameras)
    wanted = bottom_up(x, start, n_merges=20, linkage="average", groups=cameras)
    np.testing.assert_array_equal(found.labels_, wanted.labels)
    np.testing.assert_array_equal(found.pairs_, wanted.pairs)
    np.testing.assert_array_equal(found.weights_, wanted.weights)
    assert (found.n_clusters_, found.next_weight_) == (wanted.n_clusters, wanted.next_weight)
    whole = BottomUpClustering(40, linkage="average", sizes="live").fit(x)
    assert whole.n_clusters_ == 40
    assert adjusted_rand_score(ids, whole.labels_) > 0.8
    with pytest.raises(ValueError, match="n_clusters=401: must be at most n_samples=400"):
        BottomUpClustering(401).fit(x)


@pytest.mark.parametrize(
    "settings", [{}, {"k1": 7}, {"k2": 1}, {"count_self": False}, {"weights": "sqeuclidean"}, {"k1": 900, "k2": 900}]
)
@pytest.mark.parametrize("cut", [0.6, 1])
def test_graph_of_the_fitted_rows(settings, cut):
    x, _ = people(200)
    x *= np.linspace(0.5, 1.5, len(x), dtype=np.float32)[:, None]
    found = KReciprocalTransformer(**settings, max_distance=cut).fit_transform(x)
    wanted = jaccard_graph(x, **settings, max_distance=cut)
    np.testing.assert_array_equal(found.toarray(), wanted.toarray())
    assert found.nnz == wanted.nnz
    assert found.max_distance == cut
    rows = np.split(found.data, found.indptr[1:-1])
    assert all((np.diff(row) >= 0).all() for row in rows)
    later = KReciprocalTransformer(**settings, max_distance=cut).fit(x).transform(x)
    np.testing.assert_allclose(later.toarray(), wanted.toarray(), atol=2e-6)


def test_graph_of_later_rows_is_the_mean_of_their_neighbors():
    """Against the definition: dense neighbourhoods of the fitted rows, their mean over the nearest."""
    x, _ = people()
    x, new = x[:300], x[300:]
    nearest = np.argsort(((x[:, None] - x) ** 2).sum(2), axis=1, kind="stable")

    def mutual(depth):
        near = np.zeros((300, 300), bool)
        np.put_along_axis(near, nearest[:, :depth], True, axis=1)
        return near & near.T

    long, short = mutual(20), mutual(11)
    sets = long.copy()
    for i, j in np.argwhere(long):
        if 3 * (short[j] & long[i]).sum() > 2 * short[j].sum():
            sets[i] |= short[j]
    v = np.where(sets, np.exp(2 * x @ x.T - 2), 0)
    v /= v.sum(1, keepdims=True)
    fitted = v[nearest[:, :6]].mean(1)
    later = v[np.argsort(((new[:, None] - x) ** 2).sum(2), axis=1, kind="stable")[:, :6]].mean(1)
    shared = np.array([np.minimum(row, fitted).sum(1) for row in later])
    wanted = 1 - shared / (2 - shared)
    transformer = KReciprocalTransformer(20, max_distance=1).fit(x)
    found = transformer.transform(new)
    assert found.shape == wanted.shape == (100, 300)
    dense = np.ones(found.shape)
    dense[np.repeat(np.arange(100), np.diff(found.indptr)), found.indices] = found.data
    np.testing.assert_allclose(dense, wanted, atol=1e-6)
    assert transformer.get_feature_names_out()[-1] == "kreciprocaltransformer299"


def test_pipelines():
    x, ids = people()
    pipeline = make_pipeline(KReciprocalTransformer(20), DBSCAN(metric="precomputed", eps=0.5, min_samples=4))
    np.testing.assert_array_equal(pipeline.fit_predict(x), JaccardDBSCAN(20, eps=0.5).fit_predict(x))
    vote = make_pipeline(KReciprocalTransformer(20, max_distance=1), KNeighborsClassifier(3, metric="precomputed"))
    assert cross_val_score(vote, x, ids, cv=3).min() > 0.9

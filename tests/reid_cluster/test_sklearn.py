"""The estimators: scikit-learn's own checks, and the results of the functions they wrap."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.utils.estimator_checks import parametrize_with_checks

import reid_cluster.sklearn
from reid_cluster import bottom_up, constrained_dbscan, dbscan, hdc, jaccard, jaccard_graph, time_overlap
from reid_cluster.sklearn import (
    BottomUpClustering,
    ConstrainedDBSCAN,
    HarmonicDiscrepancyClustering,
    JaccardDBSCAN,
    KReciprocalTransformer,
)

ESTIMATORS = [getattr(reid_cluster.sklearn, name)() for name in reid_cluster.sklearn.__all__]
#: As the methods set them, and not as the defaults are.
VARIANTS = [
    JaccardDBSCAN(20, 1, eps=0.5, count_self=False, weights="sqeuclidean", n_jobs=-1),
    ConstrainedDBSCAN(20, 1, eps=0.5, relaxed=-1.5, count_self=False, weights="sqeuclidean", n_jobs=-1),
    BottomUpClustering(3, linkage="average", sizes="live", n_jobs=-1),
    HarmonicDiscrepancyClustering(
        3, metric="similarity", similarity="cosine", outliers=False, random_state=0, n_jobs=-2
    ),
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
    assert fitted.n_features_in_ == 32
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
@pytest.mark.parametrize("kind", [JaccardDBSCAN, ConstrainedDBSCAN])
def test_eps_is_a_jaccard_distance(kind, eps):
    with pytest.raises(ValueError, match="eps="):
        kind(eps=eps).fit(people(20)[0])


def seen(n: int = 400) -> dict[str, np.ndarray]:
    """Camera and times of each of :func:`people`."""
    rng = np.random.default_rng(1)
    start = rng.integers(0, 1000, n)
    return {"start": start, "end": start + 5, "camera": rng.integers(0, 6, n)}


@pytest.mark.parametrize("scope", ["all", "cross", "same"])
@pytest.mark.parametrize("relaxed", [None, 0.5, -1])
def test_constrained_dbscan_is_the_functions(scope, relaxed):
    x, _ = people()
    settings = {"scope": scope, "margin": 2, "exempt": [(0, 1)]}
    graph = jaccard_graph(x, 20, max_distance=0.6)
    overlaps = time_overlap(**seen(), **settings)
    for extra in (np.empty((0, 2), int), np.array([[3, 43], [7, 7], [90, 10]])):
        wanted = constrained_dbscan(graph, 0.5, np.concatenate([overlaps, extra]), relaxed=relaxed)
        model = ConstrainedDBSCAN(20, eps=0.5, relaxed=relaxed, **settings)
        np.testing.assert_array_equal(model.fit_predict(x, cannot_link=extra, **seen()), wanted)
        assert len(model.cannot_link_) == len(overlaps) + len(extra)
        given = clone(model).set_params(metric="precomputed")
        np.testing.assert_array_equal(given.fit_predict(graph, cannot_link=extra, **seen()), wanted)
    assert model.labels_[3] != model.labels_[43] or relaxed is not None
    assert len(overlaps) > 100
    free = clone(model).fit(x)
    assert free.cannot_link_.shape == (0, 2)
    assert free.labels_.max() > wanted.max() / 2


def test_constrained_dbscan_on_given_distances():
    x, _ = people()
    graph = jaccard_graph(x, 20, max_distance=0.5)
    model = ConstrainedDBSCAN(eps=0.5, metric="precomputed")
    dense = np.ones((400, 400), np.float32)
    dense[np.repeat(np.arange(400), np.diff(graph.indptr)), graph.indices] = graph.data
    np.testing.assert_array_equal(model.fit_predict(graph), model.fit_predict(dense))
    with pytest.raises(ValueError, match=r"eps=0\.6: the graph holds distances up to max_distance=0\.5"):
        model.set_params(eps=0.6).fit(graph)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        ConstrainedDBSCAN().fit(graph)


@pytest.mark.parametrize(
    ("settings", "data", "words"),
    [
        ({"metric": "euclidean"}, {}, "metric='euclidean'"),
        ({"relaxed": -2}, {}, "relaxed=-2: eps"),
        ({}, {"start": np.zeros(20)}, "end=None: give both"),
        ({}, {"end": np.zeros(20)}, "start=None: give both"),
        ({"scope": "cross"}, {"start": np.zeros(20), "end": np.ones(20)}, "camera"),
        ({}, {"cannot_link": [[0, 20]]}, "20"),
    ],
)
def test_bad_constraints(settings, data, words):
    with pytest.raises(ValueError, match=words):
        ConstrainedDBSCAN(**settings).fit(people(20)[0], **data)


@pytest.mark.parametrize("metric", ["k_reciprocal", "similarity"])
@pytest.mark.parametrize("init", ["k-means++", "random", list(range(40))])
def test_hdc_is_the_function(metric, init):
    x, ids = people()
    found = HarmonicDiscrepancyClustering(40, init=init, metric=metric, k1=10, max_iter=12, random_state=5).fit(x)
    graph = jaccard_graph(x, 10, max_distance=1, count_self=False) if metric == "k_reciprocal" else None
    wanted = hdc(x, graph, 40, init=init, max_iter=12, random_state=5)
    np.testing.assert_array_equal(found.labels_, wanted.labels)
    np.testing.assert_array_equal(found.labels_all_, wanted.labels_all)
    np.testing.assert_array_equal(found.cluster_centers_, wanted.centroids)
    np.testing.assert_array_equal(found.scores_, wanted.scores)
    assert found.n_iter_ == wanted.n_iter
    if metric == "k_reciprocal" and init != "random":
        assert adjusted_rand_score(ids, found.labels_all_) > 0.8


def test_hdc_draws_as_scikit_learn_does():
    x, _ = people(100)

    def labels(state):
        return HarmonicDiscrepancyClustering(10, init="random", max_iter=1, random_state=state).fit(x).labels_

    np.testing.assert_array_equal(labels(np.random.RandomState(3)), labels(np.random.RandomState(3)))
    np.random.seed(3)  # noqa: NPY002 - what random_state=None means in scikit-learn
    first = labels(None)
    assert (first != labels(None)).any()
    np.random.seed(3)  # noqa: NPY002
    np.testing.assert_array_equal(labels(None), first)


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
    x, _ = people()
    pipeline = make_pipeline(KReciprocalTransformer(20), DBSCAN(metric="precomputed", eps=0.5, min_samples=4))
    np.testing.assert_array_equal(pipeline.fit_predict(x), JaccardDBSCAN(20, eps=0.5).fit_predict(x))
    times = seen()
    model = ConstrainedDBSCAN(20, eps=0.5, scope="cross", relaxed=-1)
    wanted = clone(model).fit_predict(x, **times)
    by_step = {f"constraineddbscan__{name}": column for name, column in times.items()}
    np.testing.assert_array_equal(make_pipeline(Normalizer(), model).fit_predict(x, **by_step), wanted)
    given = make_pipeline(KReciprocalTransformer(20), clone(model).set_params(metric="precomputed"))
    np.testing.assert_array_equal(given.fit_predict(x, **by_step), wanted)
    with config_context(enable_metadata_routing=True):
        routed = make_pipeline(Normalizer(), model.set_fit_request(start=True, end=True, camera="camid"))
        times["camid"] = times.pop("camera")
        np.testing.assert_array_equal(routed.fit_predict(x, **times), wanted)


@pytest.mark.parametrize(
    "wrong", [{"k2": 0}, {"max_distance": np.nan}, {"max_distance": 2}, {"weights": "x"}, {"count_self": "no"}]
)
def test_settings_of_the_transformer_are_checked_when_fitted(wrong):
    with pytest.raises((TypeError, ValueError), match=f"{next(iter(wrong))}="):
        KReciprocalTransformer(**wrong).fit(people(20)[0])


def test_votes_of_the_nearest_fitted_rows():
    x, ids = people()
    vote = make_pipeline(KReciprocalTransformer(20, max_distance=1), KNeighborsClassifier(3, metric="precomputed"))
    assert cross_val_score(vote, x, ids, cv=3).min() > 0.9

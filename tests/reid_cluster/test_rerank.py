"""Re-ranking against published code's results and the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_JOBS, assert_refused
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_cluster import evaluate_rank, reference, rerank, rerank_distances

GOLDEN = Path(__file__).parent.parent / "golden"


def load(name):
    return np.load(GOLDEN / f"{name}.npz")


def squared(x, y):
    return np.maximum((x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T, 0)


def distances(q, g):
    """What `rerank_distances` takes, in float64."""
    q, g = np.float64(q), np.float64(g)
    return [np.sqrt(squared(a, b)) for a, b in [(q, g), (q, q), (g, g)]]


def assert_same_order(found, wanted, tolerance=2e-6):
    """Each row is ranked alike, but for items that are as far as their neighbours in the list."""
    order = np.argsort(wanted, axis=1, kind="stable")
    steps = np.diff(np.take_along_axis(found, order, axis=1), axis=1)
    assert (steps > -tolerance).all()
    clear = np.diff(np.take_along_axis(wanted, order, axis=1), axis=1) > 2 * tolerance
    assert clear.mean() > 0.5
    assert (steps[clear] > 0).all()


def people(q, g, dims=16, identities=12, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(identities, dims))
    x = centres[rng.integers(0, identities, q + g)] + 0.6 * rng.normal(size=(q + g, dims))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return x[:q], x[q:]


def test_similarities_turned_into_squared_distances_are_squared_once_more():
    z = load("jaccard_rerank_layumi")
    q, g = z["query"], z["gallery"]
    found = rerank_distances(*(2 - 2 * a @ b.T for a, b in [(q, g), (q, q), (g, g)]), 20, 6, 0.3)
    np.testing.assert_allclose(found, z["final_k20_6_l03"], rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    ("key", "parameters"),
    [
        ("final_k20_6_l03", {}),
        ("final_k20_6_l03", {"k1": 20, "k2": 6, "lambda_value": 0.3}),
        ("final_k10_1_l05", {"k1": 10, "k2": 1, "lambda_value": 0.5}),
        ("jaccard_only_k20_6", {"lambda_value": 0}),
    ],
)
def test_the_authors_results(key, parameters):
    z, within = load("jaccard_rerank_original"), load("jaccard_rerank_inputs")
    from_distances = rerank_distances(z["q_g_dist"], within["q_q_dist"], within["g_g_dist"], **parameters)
    for found in (from_distances, rerank(z["query"], z["gallery"], **parameters)):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, z[key], rtol=0, atol=2e-6)
        assert_same_order(found, z[key])


def test_squared_distances_are_squared_again():
    z, within = load("jaccard_rerank_original"), load("jaccard_rerank_inputs")
    given = [d**2 for d in (z["q_g_dist"], within["q_q_dist"], within["g_g_dist"])]
    found = rerank_distances(*given)
    np.testing.assert_allclose(found, z["final_squared_input_k20_6_l03"], rtol=0, atol=2e-6)
    assert_same_order(found, z["final_squared_input_k20_6_l03"])


def test_a_compiled_copy_of_it():
    z = load("ccc_rerank")
    given = (z["q_g"], z["q_q"], z["g_g"])
    assert z["g_g"].min() < 0  # by rounding
    found = rerank_distances(*given, int(z["k1"]), int(z["k2"]), float(z["lambda_value"]))
    np.testing.assert_allclose(found, z["reranked"], rtol=0, atol=2e-6)
    assert_same_order(found, z["reranked"])
    other = rerank_distances(*given, 10, 1, 0.5)
    np.testing.assert_allclose(other, z["reranked_k10_1_l05"], rtol=0, atol=2e-6)
    metrics = evaluate_rank(found, z["q_pid"], z["g_pid"], z["q_cam"], z["g_cam"])
    assert metrics.map == pytest.approx(float(z["mAP"]), abs=1e-6)


@pytest.mark.parametrize("kind", ["base", "sts"])
def test_tracklets_and_their_times(kind):
    z = load("aux_eval_rerank")
    k1, k2, share = z["k1_k2_lambda"]
    q, g = z["qf"], z["gf"]
    cross = squared(q, g)
    if kind == "sts":
        cross = cross * (1 + float(z["lambda_s"]) * np.exp(-float(z["gamma"]) * z["p"]))
    found = rerank_distances(cross, squared(q, q), squared(g, g), int(k1), int(k2), share)
    np.testing.assert_allclose(found, z[f"{kind}_rerank_dist"], rtol=0, atol=5e-6)
    metrics = evaluate_rank(found, z["qp"], z["gp"], z["qc"], z["gc"])
    np.testing.assert_allclose([metrics.cmc[0], metrics.map], z[f"{kind}_rerank_top1_map"], rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_distances_equal_the_reference(data):
    q, g = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    levels = data.draw(st.sampled_from([2, 5, 1000]))  # squares are exact, so that ties are ties on both sides
    d = rng.integers(0, levels, (q + g, q + g)).astype(np.float32)  # not symmetric, no zeros on the diagonal
    if data.draw(st.booleans()):
        d[:, : q + 2] = 0  # points at no distance to any other
    given = (d[:q, q:], d[:q, :q], d[q:, q:])
    parameters = (data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70)), data.draw(st.sampled_from([0, 0.3, 1])))
    found = rerank_distances(*given, *parameters, n_jobs=data.draw(st.sampled_from([1, 2, 3])))
    assert (found.shape, found.dtype) == ((q, g), np.float32)
    np.testing.assert_allclose(found, reference.rerank_distances(*given, *parameters), rtol=0, atol=2e-6)
    assert found.min() >= 0
    assert found.max() <= 1


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_features_equal_the_reference(data):
    q, g = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    values = data.draw(st.sampled_from([1, 2, 4]))
    x = rng.integers(-values, values + 1, (q + g, data.draw(st.integers(1, 4)))).astype(np.float32)
    parameters = (data.draw(st.integers(1, 70)), data.draw(st.integers(1, 70)), data.draw(st.sampled_from([0, 0.3, 1])))
    found = rerank(x[:q], x[q:], *parameters, n_jobs=data.draw(st.sampled_from([1, 2, 3])))
    d = [squared(a, b) for a, b in [(x[:q], x[q:]), (x[:q], x[:q]), (x[q:], x[q:])]]
    assert all((np.square(np.sqrt(part)).round() == part).all() for part in d)
    wanted = reference.rerank_distances(*map(exact_root, d), *parameters)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6)


def exact_root(d):
    """Roots that are different only where the squares are."""
    values, places = np.unique(d, return_inverse=True)
    return np.sqrt(values.astype(np.float64))[places.reshape(d.shape)]


def test_features_and_their_distances_rank_alike():
    q, g = (np.rint(10 * part) for part in people(530, 1400))  # several blocks of each; whole numbers, exact squares
    found = rerank(q, g)
    np.testing.assert_allclose(found, rerank_distances(*distances(q, g)), rtol=0, atol=3e-6)
    q, g = people(60, 200)
    assert_same_order(rerank(q, g), reference.rerank(q, g), tolerance=4e-6)


def test_results_do_not_depend_on_threads_or_memory_order():
    q, g = people(540, 1100, seed=1)
    d = distances(q, g)
    wanted, given = rerank(q, g, n_jobs=1).tobytes(), rerank_distances(*d, n_jobs=1).tobytes()
    for n in (2, 3, 7):
        assert rerank(q, g, n_jobs=n).tobytes() == wanted
        assert rerank_distances(*d, n_jobs=n).tobytes() == given
    assert rerank(np.asfortranarray(q), g[::-1][::-1], progress=lambda *_: None).tobytes() == wanted
    assert rerank_distances(*map(np.asfortranarray, d)).tobytes() == given


def test_equal_rows_and_one_of_each():
    np.testing.assert_array_equal(rerank([[1.0, 2.0]], [[1.0, 2.0]]), [[0.0]])
    np.testing.assert_array_equal(rerank([[0.0]], [[1.0]], 1, 1, lambda_value=1), [[1.0]])
    same = rerank(np.ones((3, 4)), np.ones((600, 4)), lambda_value=1)
    assert not same.any()
    mixed = rerank(np.ones((3, 4)), np.ones((600, 4)))
    assert ((mixed >= 0) & (mixed <= 1)).all()


def test_a_gallery_with_the_queries_in_it():
    q, g = people(20, 200, seed=2)
    found = rerank(q, np.concatenate([g, q]))
    assert (found.argmin(1) == 200 + np.arange(20)).all()


def test_inputs_are_unchanged():
    q, g = people(30, 60)
    before = q.tobytes(), g.tobytes()
    rerank(q, g)
    assert (q.tobytes(), g.tobytes()) == before


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"k1": 0}, ValueError, "k1=0: must be at least 1"),
        ({"k1": 2.5}, TypeError, "k1=2.5"),
        ({"k2": -1}, ValueError, "k2=-1"),
        ({"lambda_value": -0.1}, ValueError, r"lambda_value=-0\.1"),
        ({"lambda_value": 1.1}, ValueError, r"lambda_value=1\.1: must be 0 to 1"),
        ({"lambda_value": np.nan}, ValueError, "lambda_value=nan"),
        ({"lambda_value": "0.3"}, ValueError, "lambda_value='0.3'"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"progress": 3}, TypeError, "progress=3"),
    ],
)
def test_errors_name_the_argument(change, error, words):
    with pytest.raises(error, match=words):
        rerank(np.eye(5), np.eye(5), **change)
    with pytest.raises(error, match=words):
        rerank_distances(np.eye(5), np.eye(5), np.eye(5), **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({0: np.ones((2, 3)), 2: np.ones((4, 4))}, r"gallery_gallery has shape \(4, 4\): must be \(3, 3\)"),
        ({1: np.ones((2, 3))}, r"query_query has shape \(2, 3\): must be \(2, 2\)"),
        ({0: np.full((2, 3), np.nan)}, "query_gallery has NaN or inf in 2 row"),
        ({2: np.full((3, 3), -np.inf)}, "gallery_gallery has NaN or inf"),
        ({2: np.full((3, 3), 1e20)}, "gallery item 0 has a distance whose square is beyond float32"),
        ({0: np.full((2, 3), -1e20)}, "query 0 has a distance whose square is beyond float32"),
        ({1: np.ones(4)}, "query_query must have shape"),
    ],
)
def test_broken_distances_are_refused(change, words):
    given = [change.get(i, np.ones(shape)) for i, shape in enumerate([(2, 3), (2, 2), (3, 3)])]
    with pytest.raises(ValueError, match=words):
        rerank_distances(*given)


def test_features_must_fit_each_other():
    with pytest.raises(ValueError, match="query has 2 columns, gallery has 3"):
        rerank(np.ones((2, 2)), np.ones((2, 3)))


@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
def test_bad_features_are_refused(case):
    shape = getattr(case.value, "shape", ())
    good = np.eye(600, max(shape[1], 1) if len(shape) == 2 and max(shape) < 1000 else 7)
    assert_refused(lambda x: rerank(x, good), case, "query")
    assert_refused(lambda x: rerank(good, x), case, "gallery")


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_n_jobs_are_refused(case):
    assert_refused(lambda n: rerank([[1.0]], [[1.0]], n_jobs=n), case, "n_jobs")
    assert_refused(lambda n: rerank_distances([[1.0]], [[1.0]], [[1.0]], n_jobs=n), case, "n_jobs")


def test_what_does_not_fit_is_refused_before_the_work():
    many = np.ones((3_000_000, 1), np.float32)
    with pytest.raises(MemoryError, match=r"3000000 queries in a gallery of 3000000 needs .* GB: .* fewer queries"):
        rerank(many, many)
    with pytest.raises(MemoryError, match="smaller k1 and k2"):
        rerank(many[:1], many, k1=10**18)


def test_progress_goes_through_the_stages():
    seen = []
    rerank(*people(40, 100), progress=lambda done, total, stage: seen.append((stage, done, total)))
    stages = list(dict.fromkeys(stage for stage, *_ in seen))
    assert stages.index("search") < stages.index("weights") < stages.index("rerank")
    assert seen[-1] == ("rerank", 40, 40)


def test_progress_may_stop_the_call():
    def stop(done, total, stage):
        if stage == "search":
            raise RuntimeError("stopped")

    for call in (
        lambda: rerank(np.eye(50), np.eye(50), progress=stop),
        lambda: rerank_distances(*[np.eye(9)] * 3, progress=stop),
    ):
        with pytest.raises(RuntimeError, match="stopped"):
            call()

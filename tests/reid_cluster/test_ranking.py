"""Retrieval metrics against published evaluators' results and a naive loop."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from bad_inputs import BAD_FEATURES, BAD_JOBS, assert_refused
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_cluster import evaluate_features, evaluate_rank, knn

GOLDEN = Path(__file__).parent.parent / "golden"


def naive(d, q_pids, g_pids, q_camids, g_camids, ap):
    """(ap, inp, rank of the first match) of each query, from the definitions."""
    scores = []
    for row, pid, cam in zip(d, q_pids, q_camids, strict=True):
        keep = (g_pids != -1) & ~((g_pids == pid) & (g_camids == cam))
        order = np.argsort(row[keep], kind="stable")
        distances, match = row[keep][order], g_pids[keep][order] == pid
        if not match.any():
            scores.append((np.nan, np.nan, np.inf))
            continue
        ends = np.flatnonzero(np.append(np.diff(distances) != 0, True))
        recall = np.cumsum(match)[ends] / match.sum()
        precision = np.cumsum(match)[ends] / (ends + 1)
        before = np.append(1.0, precision[:-1])
        height = precision if ap == "step" else (precision + before) / 2
        ranks = np.flatnonzero(match) + 1
        scores.append((np.sum(np.diff(recall, prepend=0) * height), match.sum() / ranks[-1], ranks[0]))
    return np.array(scores).T


@pytest.mark.parametrize(("name", "ap"), [("buc_eval", "trapezoid"), ("ccc_eval", "step")])
def test_published_evaluators(name, ap):
    z = np.load(GOLDEN / f"{name}.npz")
    ids = [z[k] for k in ("query_ids", "gallery_ids", "query_cams", "gallery_cams")] if "cmc" in z else None
    ids = ids or [z[k] for k in ("q_pid", "g_pid", "q_cam", "g_cam")]
    cmc = z["cmc"] if "cmc" in z else z["cmc20"]
    found = evaluate_rank(z["distmat"], *ids, max_rank=len(cmc), ap=ap)
    np.testing.assert_allclose(found.cmc, cmc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.ap, z["AP"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.map, z["mAP"], rtol=0, atol=1e-9)
    assert found.n_valid == np.isfinite(z["AP"]).sum()


@pytest.mark.parametrize(("name", "ap"), [("buc_eval_ties", "trapezoid"), ("ccc_eval_ties", "step")])
def test_published_evaluators_with_ties(name, ap):
    z = np.load(GOLDEN / f"{name}.npz")
    keys = ("query_ids", "gallery_ids", "query_cams", "gallery_cams")
    keys = keys if keys[0] in z else ("q_pid", "g_pid", "q_cam", "g_cam")
    found = evaluate_rank(z["distmat"], *(z[k] for k in keys), ap=ap)
    np.testing.assert_allclose(found.ap, z["AP"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.map, z["mAP"], rtol=0, atol=1e-9)


def test_market_toolkit_with_junk():
    z = np.load(GOLDEN / "pul_eval.npz")
    ids = [z[k] for k in ("query_ids", "gallery_ids", "query_cams", "gallery_cams")]
    assert (z["gallery_ids"] == -1).any()
    found = evaluate_rank(-z["similarity"], *ids, max_rank=len(z["cmc"]), ap="trapezoid")
    np.testing.assert_allclose(found.cmc, z["cmc"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.map, z["mAP"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.cmc[z["rank_k"] - 1], z["rank_v"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", ["base", "all"])
def test_tracklet_evaluator(kind):
    z = np.load(GOLDEN / "aux_eval.npz")
    ids = [z[k] for k in ("qp", "gp", "qc", "gc")]
    found = evaluate_rank(z[f"{kind}_distmat"], *ids, max_rank=100)
    np.testing.assert_array_equal(found.cmc, z[f"{kind}_cmc"])
    np.testing.assert_allclose(found.map, z[f"{kind}_map"], rtol=0, atol=1e-6)
    if kind == "base":
        from_features = evaluate_features(z["qf"], z["gf"], *ids, max_rank=100)
        np.testing.assert_allclose(from_features.map, z["base_map"], rtol=0, atol=2e-3)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_equals_the_naive_loop(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    levels = data.draw(st.sampled_from([2, 5, 1000]))
    queries, gallery = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 40))
    ap = data.draw(st.sampled_from(["step", "trapezoid"]))
    rng = np.random.default_rng(seed)
    d = (rng.integers(0, levels, (queries, gallery)) - 1).astype(np.float32)
    ids = [rng.integers(low, high, n) for low, high in [(-1, 4), (0, 3)] for n in (queries, gallery)]
    wanted, inp, first = naive(d, *ids, ap)
    if np.isnan(wanted).all():
        with pytest.raises(ValueError, match="no query has a match"):
            evaluate_rank(d, *ids, ap=ap)
        return
    found = evaluate_rank(d, *ids, ap=ap, max_rank=7, n_jobs=data.draw(st.sampled_from([1, 2, 3])))
    valid = np.isfinite(wanted)
    np.testing.assert_allclose(found.ap, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.inp, inp, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.cmc, [(first <= r).sum() / valid.sum() for r in range(1, 8)])
    np.testing.assert_allclose([found.map, found.minp], [wanted[valid].mean(), inp[valid].mean()])
    assert found.n_valid == valid.sum()


def sets(seed=0, queries=300, gallery=1300, dims=40):
    rng = np.random.default_rng(seed)
    g_pids, q_pids = rng.integers(-1, 60, gallery), rng.integers(0, 60, queries)
    centres = rng.normal(size=(61, dims))
    q, g = ((centres[p] + 2 * rng.normal(size=(len(p), dims))).astype(np.float32) for p in (q_pids, g_pids))
    return q, g, q_pids, g_pids, rng.integers(0, 4, queries), rng.integers(0, 4, gallery)


def test_features_use_the_distances_of_knn():
    q, g, *ids = sets()
    found = knn(g, len(g), queries=q)
    d = np.empty((len(q), len(g)), np.float32)
    np.put_along_axis(d, found.indices, found.distances, axis=1)
    a, b = evaluate_rank(d, *ids), evaluate_features(q, g, *ids)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_results_do_not_depend_on_threads():
    q, g, *ids = sets(1)
    results = [evaluate_features(q, g, *ids, n_jobs=n) for n in (1, 2, 3, 7)]
    results += [evaluate_features(q[::-1][::-1], np.asfortranarray(g), *ids, progress=lambda *_: None)]
    for result in results[1:]:
        assert [np.asarray(x).tobytes() for x in result] == [np.asarray(x).tobytes() for x in results[0]]


def test_several_definitions_from_one_pass():
    q, g, *ids = sets(3)
    d = ((q[:, None] - g) ** 2).sum(axis=2)
    for call in (lambda ap: evaluate_features(q, g, *ids, ap=ap), lambda ap: evaluate_rank(d, *ids, ap=ap)):
        both = call(("trapezoid", "step"))
        for name, found in zip(("trapezoid", "step"), both, strict=True):
            assert [np.asarray(x).tobytes() for x in found] == [np.asarray(x).tobytes() for x in call(name)]
        assert both[0].map != both[1].map
        assert len(call(("step",))) == 1


def test_without_cameras_only_the_query_itself_is_left_out():
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    pids = [1, 1, 2, 2]
    same = evaluate_features(x, x, pids, pids, None, None, max_rank=3)
    np.testing.assert_allclose(same.cmc, [0.75, 1, 1])  # 1 is as near to 2 as 3 is
    np.testing.assert_allclose(same.ap, [1, 0.5, 0.5, 1])
    d = (x - x.T) ** 2
    for a, b in zip(same, evaluate_rank(d, pids, pids, None, None, max_rank=3), strict=True):
        np.testing.assert_array_equal(a, b)
    other = evaluate_features(x, x.copy(), pids, pids, None, None)
    np.testing.assert_array_equal(other.cmc, np.ones(50))  # each finds its own copy first


def test_ids_may_be_names_lists_or_any_integers():
    q, g, q_pids, g_pids, q_cams, g_cams = sets(2)
    wanted = evaluate_features(q, g, q_pids, g_pids, q_cams, g_cams)
    kinds = [
        lambda ids: ids.tolist(),
        lambda ids: [str(i) for i in ids],
        lambda ids: np.array([str(i) for i in ids], dtype=object),
        lambda ids: ids.astype(np.int8),
        lambda ids: ids.astype(">i4"),
    ]
    for kind in kinds:
        found = evaluate_features(q, g, *map(kind, (q_pids, g_pids, q_cams, g_cams)))
        np.testing.assert_array_equal(found.ap, wanted.ap)


def test_the_curve_goes_on_beyond_the_gallery():
    found = evaluate_rank([[0.3, 0.2]], [5], [5, 6], [0], [1, 1], max_rank=4)
    np.testing.assert_array_equal(found.cmc, [0, 1, 1, 1])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"distances": np.full((2, 3), np.nan)}, ValueError, "distances has NaN or inf"),
        ({"distances": np.zeros(3)}, ValueError, "distances"),
        ({"q_pids": [1, 2, 3]}, ValueError, "q_pids has 3 entries for 2 queries"),
        ({"g_camids": [1]}, ValueError, "g_camids has 1 entries for 3 gallery items"),
        ({"g_camids": None}, ValueError, "g_camids=None"),
        ({"q_pids": [0.5, 1.0]}, TypeError, "q_pids has dtype float64"),
        ({"q_pids": ["a", "b"]}, TypeError, "mix integers and strings"),
        ({"q_pids": [[1, 2]]}, ValueError, "q_pids has shape"),
        ({"g_pids": [7, 7, 7]}, ValueError, "no query has a match"),
        ({"max_rank": 0}, ValueError, "max_rank=0"),
        ({"max_rank": 10**15}, MemoryError, "lower max_rank"),
        ({"ap": "voc"}, ValueError, "ap='voc'"),
        ({"ap": ("step", "voc")}, ValueError, "ap='voc'"),
        ({"ap": ()}, ValueError, "ap="),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
    ],
)
def test_errors_name_the_argument(change, error, words):
    given = {
        "distances": np.zeros((2, 3)),
        "q_pids": [1, 2],
        "g_pids": [1, 2, 3],
        "q_camids": [0, 0],
        "g_camids": [1, 1, 1],
        **change,
    }
    with pytest.raises(error, match=words.replace("(", r"\(")):
        evaluate_rank(**given)


@pytest.mark.parametrize("case", BAD_FEATURES, ids=lambda case: case.name)
def test_bad_features_are_refused(case):
    shape = getattr(case.value, "shape", ())
    rows, columns = shape if len(shape) == 2 and 0 < max(shape) < 1000 else (600, 7)
    good, few, many = np.eye(600, max(columns, 1)), [1] * rows, [1] * 600
    assert_refused(lambda x: evaluate_features(x, good, few, many, few, many), case, "query")
    assert_refused(lambda x: evaluate_features(good, x, many, few, many, few), case, "gallery")


@pytest.mark.parametrize("case", BAD_JOBS, ids=lambda case: case.name)
def test_bad_n_jobs_are_refused(case):
    ids = [[1], [1], [0], [1]]
    assert_refused(lambda n: evaluate_rank([[1.0]], *ids, n_jobs=n), case, "n_jobs")
    assert_refused(lambda n: evaluate_features([[1.0]], [[1.0]], *ids, n_jobs=n), case, "n_jobs")


def test_features_must_fit_each_other():
    with pytest.raises(ValueError, match="query has 2 columns, gallery has 3"):
        evaluate_features(np.ones((2, 2)), np.ones((2, 3)), [1, 1], [1, 1], [0, 0], [1, 1])


def test_real_features_reach_their_recorded_figures():
    folder = Path(os.environ.get("REID_TEST_DATA", "")) / "features"
    if "REID_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("REID_TEST_DATA names no folder with features/")
    for name, figures in json.loads((folder / "reference_metrics.json").read_text()).items():
        z = np.load(folder / f"{name}.npz")
        q, g = z["split"] == "query", z["split"] == "gallery"
        x, pid, cam = z["feat"], z["pid"], z["cam"]
        found = evaluate_features(x[q], x[g], pid[q], pid[g], cam[q], cam[g])
        assert found.n_valid == figures["valid_queries"]
        shares = [found.cmc[0], found.cmc[4], found.map]
        np.testing.assert_allclose(
            np.multiply(shares, 100), [figures["rank1"], figures["rank5"], figures["mAP"]], atol=0.02
        )

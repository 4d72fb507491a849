"""Who searches whom by each protocol, and all figures of retrieval against the kernels, published figures and loops."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_curve

import reid_cluster
from reid.data.records import Dataset, Samples
from reid.evaluation import ranked
from reid.evaluation.figures import evaluate_table, queries_csv
from reid.evaluation.intervals import intervals
from reid.evaluation.protocols import make_plan
from reid.evaluation.ranked import rank
from reid.evaluation.retrieval import evaluate_retrieval
from reid.evaluation.roc import PairCounts
from reid.evaluation.rows import with_data
from reid.evaluation.settings import EvalConfig
from reid.feature_table import FeatureTable, read_features

GOLDEN = Path(__file__).parents[2] / "golden"
QUICK = EvalConfig(resamples=0)


def table_of(q: np.ndarray, g: np.ndarray, q_ids: np.ndarray, g_ids: np.ndarray, **columns: np.ndarray) -> FeatureTable:
    n = len(q) + len(g)
    names = [f"/data/{i}.jpg" for i in range(n)]
    samples = Samples.from_paths(names, pid=np.concatenate([q_ids, g_ids]), **columns)  # type: ignore[arg-type]
    split = np.array(["query"] * len(q) + ["gallery"] * len(g))
    return FeatureTable(np.concatenate([q, g]).astype(np.float32), samples, split, Path("/data"))


def random_table(seed: int = 0, n: int = 120, **columns: np.ndarray) -> FeatureTable:
    rng = np.random.default_rng(seed)
    pid = rng.integers(0, 12, n)
    pid[rng.random(n) < 0.1] = -1
    x = rng.normal(size=(13, 8))[pid] + rng.normal(size=(n, 8))
    camid = columns.pop("camid", rng.integers(-1, 3, n))
    return table_of(x[:40], x[40:], pid[:40], pid[40:], camid=camid, **columns)


@pytest.mark.parametrize("name", ["buc_eval", "ccc_eval", "pul_eval"])
def test_published_evaluators(name: str) -> None:
    z = np.load(GOLDEN / f"{name}.npz")
    keys = {
        "buc_eval": ("query_features", "gallery_features", "query_ids", "gallery_ids", "query_cams", "gallery_cams"),
        "pul_eval": ("query_features", "gallery_features", "query_ids", "gallery_ids", "query_cams", "gallery_cams"),
        "ccc_eval": ("q_feat", "g_feat", "q_pid", "g_pid", "q_cam", "g_cam"),
    }[name]
    q, g, q_ids, g_ids, q_cams, g_cams = (z[key] for key in keys)
    result = evaluate_table(table_of(q, g, q_ids, g_ids, camid=np.concatenate([q_cams, g_cams])), QUICK).result
    figures = result["figures"]
    cmc = z["cmc"] if "cmc" in z else z["cmc20"]
    np.testing.assert_allclose([figures[f"rank{r}"] for r in (1, 5, 10, 20)], cmc[[0, 4, 9, 19]], atol=1e-9)
    by = "mAP" if name == "ccc_eval" else "mAP_trapezoid"
    np.testing.assert_allclose(figures[by], z["mAP"], atol=1e-6)


def test_published_tracklet_evaluator() -> None:
    z = np.load(GOLDEN / "aux_eval.npz")
    plan = make_plan(
        table_of(z["qf"], z["gf"], z["qp"], z["gp"], camid=np.concatenate([z["qc"], z["gc"]])),
        replace(QUICK, protocol="cross-camera"),
    )
    assert "brought to unit length" in plan.notes[0]
    as_they = replace(plan, features=np.concatenate([z["qf"], z["gf"]]))
    for distances in (None, z["base_distmat"]):
        lists = rank(as_they, plan.trials[0], PairCounts(), None, distances=distances)
        valid = np.isfinite(lists.ap)
        assert np.mean(lists.ap[valid]) == pytest.approx(float(z["base_map"]), abs=1e-6)
        for r in (1, 5, 10, 20):
            assert np.mean(lists.first[valid] <= r) == pytest.approx(z["base_cmc"][r - 1])


@pytest.mark.parametrize("set_name", ["uit_vehicle_reid", "holstein2025"])
def test_reference_figures_of_real_features(set_name: str, real_data: Path) -> None:
    name = f"{set_name}__mobilenetv2_w035_imagenet"
    wanted = json.loads((real_data / "features" / "reference_metrics.json").read_text())[name]
    result = evaluate_table(read_features(real_data / "features" / f"{name}.npz"), QUICK).result
    assert result["n_valid"] == wanted["valid_queries"]
    for key in ("rank1", "rank5", "mAP"):
        assert round(100 * result["figures"][key], 2) == wanted[key]


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_kernel_query_by_query(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranked, "CELLS", 300)  # several blocks
    table = random_table(seed)
    found = evaluate_table(table, replace(QUICK, protocol="cross-camera"))
    x, s = found.plan.features, found.plan.samples
    q, g = (np.flatnonzero((table.split == side) & (s.pid >= 0)) for side in ("query", "gallery"))
    cameras = np.where(s.camid[q] < 0, -2, s.camid[q]), s.camid[g]
    step, trapezoid = reid_cluster.evaluate_features(
        x[q], x[g], s.pid[q], s.pid[g], *cameras, ap=("step", "trapezoid"), max_rank=20
    )
    np.testing.assert_allclose(found.lists[0].ap, step.ap, atol=1e-12)
    np.testing.assert_allclose(found.lists[0].ap_trapezoid, trapezoid.ap, atol=1e-12)
    np.testing.assert_allclose(found.lists[0].inp, step.inp, atol=1e-12)
    figures = found.result["figures"]
    assert [figures[f"rank{r}"] for r in (1, 5, 10, 20)] == pytest.approx(step.cmc[[0, 4, 9, 19]].tolist())
    own = evaluate_retrieval(x[q], x[g], s.take(q), s.take(g))
    assert (figures["mAP"], figures["mAP_trapezoid"]) == pytest.approx((own["mAP"], own["mAP_trapezoid"]))
    assert found.result["n_valid"] == own["n_queries"]


def test_ties_are_one_threshold_and_go_to_the_first_row() -> None:
    x = np.tile([[1.0, 0.0]], (4, 1))
    table = table_of(x[:1], x[1:], np.array([5]), np.array([6, 5, 5]))
    found = evaluate_table(table, QUICK)
    assert found.lists[0].first.tolist() == [2]
    assert found.lists[0].ap.tolist() == pytest.approx([2 / 3])
    assert found.lists[0].inp.tolist() == pytest.approx([2 / 3])


@pytest.mark.parametrize("protocol", ["any-camera", "leave-one-out", "time-gap", "tracklet"])
def test_rules_against_a_loop(protocol: str) -> None:
    rng = np.random.default_rng(30)
    start = rng.integers(0, 300, 120).astype(float)
    table = random_table(3, start=start, end=start + 5, clock=np.zeros(120, int), tracklet=np.arange(120))
    found = evaluate_table(table, replace(QUICK, protocol=protocol, min_gap=50))  # type: ignore[arg-type]
    x, s, trial = found.plan.features, found.plan.samples, found.plan.trials[0]
    known = np.flatnonzero(s.pid >= 0)
    if protocol == "leave-one-out":
        assert trial.query.tolist() == trial.gallery.tolist() == known.tolist()
    else:
        assert sorted([*trial.query, *trial.gallery]) == known.tolist()
    for b, i in enumerate(trial.query):
        keep = []
        for j in trial.gallery:
            apart = max(s.start[j] - s.end[i], s.start[i] - s.end[j])
            left_out = {
                "any-camera": False,
                "leave-one-out": i == j,
                "time-gap": apart <= 50,
                "tracklet": s.camid[i] == s.camid[j] >= 0,
            }[protocol]
            if not (s.pid[i] == s.pid[j] and left_out):
                keep.append(j)
        order = np.array(keep)[np.argsort(((x[keep] - x[i]) ** 2).sum(1), kind="stable")]
        match = s.pid[order] == s.pid[i]
        if not match.any():
            assert np.isnan(found.lists[0].ap[b])
            continue
        precision = np.cumsum(match) / np.arange(1, len(match) + 1)
        assert found.lists[0].ap[b] == pytest.approx(precision[match].mean())
        assert found.lists[0].first[b] == match.argmax() + 1


def test_vehicleid_draws_one_gallery_picture_an_identity() -> None:
    table = random_table(1)
    config = replace(QUICK, protocol="vehicleid", draws=4, seed=5)
    plan = make_plan(table, config)
    for trial in plan.trials:
        pid = plan.samples.pid
        assert len(trial.gallery) == len(np.unique(pid[trial.gallery])) == len(np.unique(pid[pid >= 0]))
        assert sorted([*trial.query, *trial.gallery]) == np.flatnonzero(pid >= 0).tolist()
    assert len({tuple(trial.gallery) for trial in plan.trials}) == 4
    found = evaluate_table(table, config)
    means = [np.nanmean(lists.ap) for lists in found.lists]
    assert found.result["figures"]["mAP"] == pytest.approx(np.mean(means))
    assert found.result["figures"]["mINP"] == pytest.approx(np.mean(means))  # one match: both are 1 / rank
    assert evaluate_table(table, config).result == found.result


def test_tracklets_are_pooled_on_both_sides() -> None:
    x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2], [1.0, 1.0], [-1.0, 0.0]])
    tracklet, camid = np.array([4, 4, 9, -1, 4]), np.array([1, 1, 2, 2, 1])
    table = table_of(x[:2], x[2:], np.array([7, 7]), np.array([8, 7, 7]), tracklet=tracklet, camid=camid)
    plan = make_plan(table, replace(QUICK, protocol="tracklet"))
    np.testing.assert_allclose(plan.features[0], [np.sqrt(0.5)] * 2, rtol=1e-6)
    assert plan.samples.frames[0] == ("/data/0.jpg", "/data/1.jpg")
    assert plan.names == ["0.jpg", "2.jpg", "3.jpg", "4.jpg"]
    found = evaluate_table(table, replace(QUICK, protocol="tracklet"))
    # The gallery's piece of tracklet 4 is the query itself in another picture; row 3 is the one match.
    assert (found.lists[0].first.tolist(), found.lists[0].inp.tolist()) == ([1], [1])
    with pytest.raises(ValueError, match="no row has a tracklet"):
        make_plan(random_table(), replace(QUICK, protocol="tracklet"))


def test_one_set_searches_itself() -> None:
    table = random_table(2)
    pooled = replace(table, split=np.full(120, "train"))
    found = evaluate_table(pooled, replace(QUICK, protocol="any-camera")).result
    assert found["figures"] == evaluate_table(table, replace(QUICK, protocol="leave-one-out")).result["figures"]
    assert "every row searches all others" in found["notes"][1]
    with pytest.raises(ValueError, match="rerank: query and gallery share"):
        evaluate_table(pooled, replace(QUICK, rerank=True))


def test_a_picture_in_both_sets_is_not_its_own_match() -> None:
    table = random_table(4, camid=np.full(120, -1))
    rows = np.r_[0:40, 0:40]  # the gallery is the queries
    both = FeatureTable(table.features[rows], table.samples.take(rows), table.split[np.r_[0:40, 40:80]], table.root)
    assert make_plan(both, QUICK).protocol == "any-camera"
    first, second = (evaluate_table(both, replace(QUICK, protocol=p)).result for p in ("any-camera", "leave-one-out"))
    assert first["figures"] == second["figures"]


def test_roc_is_that_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranked, "CELLS", 1000)
    rng = np.random.default_rng(8)
    pid = rng.integers(0, 20, 400)
    x = rng.normal(size=(20, 16))[pid] + 0.8 * rng.normal(size=(400, 16))
    found = evaluate_table(table_of(x[:200], x[200:], pid[:200], pid[200:]), QUICK)
    unit = found.plan.features.astype(float)
    d = ((unit[:200, None] - unit[200:]) ** 2).sum(-1).ravel()
    same = (pid[:200, None] == pid[200:]).ravel()
    assert (found.result["n_same_pairs"], found.result["n_different_pairs"]) == (same.sum(), (~same).sum())
    for fpr in (1e-2, 1e-3, 1e-4):
        key = f"tpr_at_fpr_1e{int(np.log10(fpr))}"
        fprs, tprs, _ = roc_curve(same, -d, drop_intermediate=False)
        # A bin is 1/8192 of the distance wide at most: a pair or two may fall on its other side.
        assert found.result["figures"][key] == pytest.approx(tprs[fprs <= fpr].max(), abs=2.5 / same.sum())
    few = evaluate_table(table_of(x[:20], x[200:], pid[:20], pid[200:]), QUICK).result["figures"]
    assert few["tpr_at_fpr_1e-2"] is not None
    assert few["tpr_at_fpr_1e-4"] is None  # below 10,000 pairs of two identities


def test_camera_table_against_smaller_galleries() -> None:
    table = random_table(6)
    rows = evaluate_table(table, replace(QUICK, protocol="cross-camera")).result["cameras"]
    assert {(r["query"], r["gallery"]) for r in rows} == {(a, b) for a in range(3) for b in range(3) if a != b}
    for row in rows:
        s = table.samples
        keep = ((table.split == "query") & (s.camid == row["query"])) | (
            (table.split == "gallery") & (s.camid == row["gallery"])
        )
        part = FeatureTable(table.features[keep], s.take(keep), table.split[keep], table.root)
        alone = evaluate_table(part, QUICK).result
        assert row["n_queries"] == alone["n_valid"]
        assert (row["rank1"], row["mAP"]) == pytest.approx((alone["figures"]["rank1"], alone["figures"]["mAP"]))


def test_reranked_figures_are_those_of_the_kernel() -> None:
    table = random_table(7, n=160)
    found = evaluate_table(table, replace(QUICK, protocol="cross-camera", rerank=True, k1=6, k2=2))
    trial, s = found.plan.trials[0], found.plan.samples
    distances = reid_cluster.rerank(found.plan.features[trial.query], found.plan.features[trial.gallery], 6, 2, 0.3)
    cameras = np.where(s.camid[trial.query] < 0, -2, s.camid[trial.query]), s.camid[trial.gallery]
    kernel = reid_cluster.evaluate_rank(distances, s.pid[trial.query], s.pid[trial.gallery], *cameras)
    assert found.result["reranked"]["figures"]["mAP"] == pytest.approx(kernel.map)
    assert found.result["reranked"]["figures"]["rank1"] == pytest.approx(kernel.cmc[0])
    assert found.result["reranked"]["figures"] != found.result["figures"]
    header, first = queries_csv(found).splitlines()[:2]
    assert header.split(",")[-1] == "reranked_inp"
    assert len(first.split(",")) == 10


def test_intervals_draw_identities() -> None:
    rng = np.random.default_rng(0)
    pid = np.repeat(np.arange(50), 10)
    value = np.repeat(rng.random(50) < 0.5, 10).astype(float)[:, None]  # queries of one identity agree
    low, high = intervals(value, pid)[0]
    assert low < value.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 50), rel=0.15)  # 50 draws, not 500
    np.testing.assert_array_equal(intervals(value, pid), intervals(value, pid))
    spread = value + np.linspace(0, 1, 500)[:, None]
    assert not np.array_equal(intervals(spread, pid), intervals(spread, pid, seed=1))
    found = evaluate_table(random_table(), EvalConfig(resamples=50)).result
    for name, (low, high) in found["intervals"].items():
        assert low <= found["figures"][name] <= high


def test_identities_of_the_data_go_to_features_by_name(tmp_path: Path) -> None:
    table = random_table()
    bare = FeatureTable(table.features, table.samples.without_pid(), np.full(120, "train"), Path("/data"))
    root = tmp_path / "moved"
    named = [str(root / f"{i}.jpg") for i in range(120)]

    def part(rows: np.ndarray) -> Samples:
        s = table.samples.take(rows)
        return Samples.from_paths([named[i] for i in rows], pid=s.pid, camid=s.camid)

    order = np.random.default_rng(0).permutation(np.arange(40, 120))
    data = Dataset("x", "table", root, part(np.arange(0)), part(np.arange(40)), part(order), ())
    again = evaluate_table(with_data(bare, data), QUICK).result["figures"]
    assert again == pytest.approx(evaluate_table(table, QUICK).result["figures"])
    short = FeatureTable(bare.features[:100], bare.samples.take(np.arange(100)), bare.split[:100], bare.root)
    with pytest.raises(ValueError, match="20 of 80 gallery pictures have no features"):
        with_data(short, data)


@pytest.mark.parametrize(
    ("columns", "protocol", "said"),
    [
        ({}, "time-gap", "have no time"),
        ({"start": np.arange(120.0), "clock": np.arange(120) % 2}, "time-gap", "2 clocks"),
        ({"start": np.arange(120.0)}, "time-gap", "clocks that are not known"),
        ({"camid": np.zeros(120, int)}, "cross-camera", "none of 3. queries has a match.*or try any-camera"),
    ],
)
def test_what_is_refused(columns: dict[str, np.ndarray], protocol: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate_table(random_table(**columns), replace(QUICK, protocol=protocol))  # type: ignore[arg-type]


def test_no_identities_and_settings_out_of_range() -> None:
    table = random_table()
    with pytest.raises(ValueError, match="identities: none are known"):
        make_plan(replace(table, samples=table.samples.without_pid()), QUICK)
    for setting in ({"draws": 0}, {"min_gap": float("nan")}, {"lambda_value": 1.5}, {"protocol": "cross"}):
        with pytest.raises(ValueError, match=next(iter(setting))):
            EvalConfig(**setting)  # type: ignore[arg-type]

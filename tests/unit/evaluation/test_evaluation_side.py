"""Retrieval with what cameras and clocks say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import reid_cluster
from reid.clustering.travel_times import Moments, TravelTimes, learn_travel_times, write_travel_times
from reid.data.records import Samples
from reid.evaluation import side
from reid.evaluation.retrieval import evaluate_retrieval
from reid.evaluation.side import check_side, evaluate_side, side_distances
from reid.methods.buc import BucConfig
from reid.methods.hhcl import HhclConfig

GOLDEN = Path(__file__).parents[2] / "golden"
WIDTH = 300.0


def columns(pid: np.ndarray, camid: np.ndarray, span: np.ndarray) -> Samples:
    paths = [f"{i}.jpg" for i in range(len(pid))]
    return Samples.from_paths(paths, pid=pid, camid=camid, start=span[:, 0], end=span[:, 1])


def golden() -> tuple[Any, Samples, Samples, TravelTimes]:
    """Queries and gallery of the authors' run; the table is read back from the p of all pairs."""
    g = np.load(GOLDEN / "aux_eval.npz")
    query, gallery = columns(g["qp"], g["qc"], g["q_span"]), columns(g["gp"], g["gc"], g["g_span"])
    q, t = (Moments.of(samples) for samples in (query, gallery))
    gap = q.time[:, None] - t.time
    rows = [np.broadcast_to(c, gap.shape) for c in (q.camid[:, None], t.camid[None])]
    bins = (np.abs(gap) / WIDTH).astype(int)
    table = np.zeros((5, 5, bins.max() + 1), dtype=np.float32)
    table[np.where(gap >= 0, rows[0], rows[1]), np.where(gap >= 0, rows[1], rows[0]), bins] = g["p"]
    return g, query, gallery, TravelTimes(table, np.arange(5), WIDTH)


SETTINGS: dict[str, dict[str, Any]] = {
    "base": {}, "toc": {"toc": True}, "scp": {"scp": True}, "sts": {"sts": True},
    "all": {"toc": True, "scp": True, "sts": True},
}  # fmt: skip


def asked(kind: str, g: Any, times: TravelTimes) -> dict[str, Any]:
    on = SETTINGS[kind]
    return {
        "toc": "toc" in on, "scp": float(g["lambda_c"]) if "scp" in on else 0.0,
        "times": times if "sts" in on else None, "strength": float(g["lambda_s"]), "decay": float(g["gamma"]),
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_figures_of_the_authors(kind: str) -> None:
    g, query, gallery, times = golden()
    settings = asked(kind, g, times)
    distances = side_distances(g["base_distmat"], query, gallery, **settings)
    found = reid_cluster.evaluate_rank(distances, query.pid, gallery.pid, query.camid, gallery.camid, max_rank=100)
    np.testing.assert_allclose(found.cmc, g[f"{kind}_cmc"], rtol=0, atol=1e-12)
    # The authors' 1000 times the factor of STS orders what goes behind; here its own distance does.
    assert found.map == pytest.approx(float(g[f"{kind}_map"]), abs=2e-5 if kind == "all" else 1e-6)
    own = evaluate_side(g["qf"], g["gf"], query, gallery, **settings)
    assert own["side_mAP"] == pytest.approx(float(g[f"{kind}_map"]), abs=2e-3)
    assert own["side_rank1"] == pytest.approx(float(g[f"{kind}_cmc"][0]), abs=0.02)


def test_distances_of_the_authors() -> None:
    g, query, gallery, times = golden()
    p = times.plausibility(Moments.of(query).take((slice(None), None)), Moments.of(gallery).take((None, slice(None))))
    assert (p == g["p"]).all()
    found = side_distances(g["base_distmat"], query, gallery, **asked("all", g, times))
    meets = g["overlap"].astype(bool)
    np.testing.assert_allclose(found[~meets], g["all_distmat"][~meets], rtol=0, atol=3e-6)
    assert (g["all_distmat"][meets] >= 1000).all()
    assert found[meets].min() > 1e6 * found[~meets].max()
    added = (
        g["base_distmat"]
        + np.float32(1000) * meets
        + np.float32(g["lambda_c"]) * (query.camid[:, None] == gallery.camid)
    )
    added *= 1 + np.float32(g["lambda_s"]) * np.exp(np.float32(-g["gamma"]) * g["p"])
    as_they = reid_cluster.evaluate_rank(added, query.pid, gallery.pid, query.camid, gallery.camid)
    assert as_they.map == pytest.approx(float(g["all_map"]), abs=1e-6)
    kept = side_distances(g["base_distmat"], query, gallery, toc=True)[meets]
    assert (kept / np.float32(2.0**64) == g["base_distmat"][meets]).all()  # no digit is lost


@pytest.mark.parametrize("kind", ["base", "sts"])
def test_re_ranking_of_the_authors(kind: str) -> None:
    z = np.load(GOLDEN / "aux_eval_rerank.npz")
    g, query, gallery, times = golden()
    squared = [
        np.maximum(np.square(a).sum(1)[:, None] + np.square(b).sum(1) - 2 * a @ b.T, 0)
        for a, b in ((z["qf"], z["gf"]), (z["qf"], z["qf"]), (z["gf"], z["gf"]))
    ]
    cross = side_distances(squared[0], query, gallery, **asked(kind, g, times))
    k1, k2, share = z["k1_k2_lambda"]
    found = reid_cluster.rerank_distances(cross, squared[1], squared[2], int(k1), int(k2), share)
    np.testing.assert_allclose(found, z[f"{kind}_rerank_dist"], rtol=0, atol=5e-6)


def test_off_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    g, query, gallery, _ = golden()
    distances = side_distances(g["base_distmat"], query, gallery)
    assert distances.tobytes() == g["base_distmat"].tobytes()
    blind = [Samples.from_paths(["x"] * len(s), pid=s.pid) for s in (query, gallery)]  # no cameras: none is the same
    for sets in ((query, gallery), blind):
        plain = evaluate_retrieval(g["qf"], g["gf"], *sets)
        for cells in (2**22, 240, 1000):  # all at once, one query at a time, four
            monkeypatch.setattr(side, "CELLS", cells)
            own = evaluate_side(g["qf"], g["gf"], *sets)
            assert own["side_mAP"] == pytest.approx(plain["mAP"], abs=1e-9)
            assert own["side_rank1"] == pytest.approx(plain["rank1"], abs=1e-9)


def test_what_meets_goes_last_whatever_its_distance() -> None:
    query = columns(np.array([1]), np.array([0]), np.array([[10.0, 20.0]]))
    spans = np.array([[20.0, 30.0], [21.0, 30.0], [0.0, 9.0], [12.0, 13.0], [np.nan, np.nan]])
    gallery = columns(np.arange(5), np.arange(5), spans)
    for scale in (1e-12, 1.0, 1e6):
        distances = np.array([[0.0, 2.0, 1.0, 0.5, 4.0]], dtype=np.float32) * np.float32(scale)
        order = side_distances(distances, query, gallery, toc=True).argsort(axis=1)
        assert order.tolist() == [[2, 1, 4, 0, 3]]
    other_clock = Samples.from_paths(
        ["x"] * 5, camid=np.arange(5), start=spans[:, 0], end=spans[:, 1], clock=np.full(5, 3)
    )
    distances = np.ones((1, 5), dtype=np.float32)
    assert (side_distances(distances, query, other_clock, toc=True) == 1).all()


def test_unknown_cameras_and_times_change_nothing() -> None:
    g, _, gallery, times = golden()
    blind = Samples.from_paths(["x"] * len(g["qp"]), pid=g["qp"])
    found = side_distances(g["base_distmat"], blind, gallery, **asked("all", g, times))
    assert (found == g["base_distmat"]).all()


def test_what_the_data_lack_is_said(tmp_path: Path) -> None:
    _, query, gallery, times = golden()
    check_side(BucConfig(), query, None, None)
    full = BucConfig(toc_test=True, scp_test=0.03, sts_test=True)
    check_side(full, query, query, gallery)
    with pytest.raises(ValueError, match="toc_test: is for retrieval"):
        check_side(full, query, None, None)
    timeless = Samples.from_paths(["x"] * 9, camid=np.zeros(9, dtype=int))
    nowhere = Samples.from_paths(["x"] * 9, start=np.zeros(9))
    with pytest.raises(ValueError, match=r"toc_test: needs the times .* gallery"):
        check_side(BucConfig(toc_test=True), query, query, timeless)
    with pytest.raises(ValueError, match="scp_test: needs camera ids; the query"):
        check_side(BucConfig(scp_test=0.03), query, nowhere, gallery)
    with pytest.raises(ValueError, match=r"sts_test: needs the times .* training"):
        check_side(BucConfig(sts_test=True), timeless, query, gallery)
    path = tmp_path / "own.npz"
    with pytest.raises(ValueError, match="no such file"):
        check_side(HhclConfig(sts_test=True, sts_table=str(path)), timeless, query, gallery)
    write_travel_times(path, times)
    check_side(HhclConfig(sts_test=True, sts_table=str(path)), timeless, query, gallery)
    with pytest.raises(ValueError, match="scp_test=-1"):
        BucConfig(scp_test=-1)


def test_learned_times_find_people() -> None:
    """Everybody takes 100 seconds from camera 0 to camera 1, and all look much alike."""
    rng = np.random.default_rng(0)
    n = 60
    look, start = rng.normal(size=(n, 16)), rng.uniform(0, 1e4, n)
    x = look + 2 * rng.normal(size=(2, n, 16))
    x = (x / np.linalg.norm(x, axis=2, keepdims=True)).astype(np.float32)
    sets = [
        Samples.from_paths(["x"] * n, pid=np.arange(n), camid=np.full(n, c), start=start + 100 * c + rng.normal(size=n))
        for c in (0, 1)
    ]
    both = Moments(np.repeat([0, 1], n), np.concatenate([s.start for s in sets]), np.full(2 * n, -1))
    times = learn_travel_times(np.tile(np.arange(n), 2), both)
    plain = evaluate_retrieval(x[0], x[1], *sets)
    timed = evaluate_side(x[0], x[1], *sets, times=times)
    assert timed["side_mAP"] > plain["mAP"] + 0.2
